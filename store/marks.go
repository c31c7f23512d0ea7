package store

import (
	"encoding/binary"
	"fmt"
	"slices"
	"sync/atomic"

	"github.com/cockroachdb/pebble/v2"

	"cartwheel/cluster/ring"
	"cartwheel/store/version"
)

// marks are the flush marks: what was written in a database at or before its
// mark is gone (design section 4). A mark only grows. It hides once it is
// committed; the sweeper reclaims the rows behind it.
type marks struct {
	byDB [Databases]atomic.Uint64
	// reclaim says that rows of a database may be left behind its mark.
	reclaim [Databases]atomic.Bool
}

func (m *marks) of(db uint8) version.HLC { return version.HLC(m.byDB[db].Load()) }

// FlushMark returns the flush mark of a database; 0 where it was never flushed.
func (s *Store) FlushMark(db uint8) version.HLC { return s.marks.of(db) }

func (s *Store) loadMarks() error {
	iter, err := s.db.NewIter(&pebble.IterOptions{LowerBound: []byte{prefixMark}, UpperBound: prefixEnd(prefixMark)})
	if err != nil {
		return err
	}
	for iter.First(); iter.Valid(); iter.Next() {
		row, v := iter.Key(), iter.Value()
		if len(row) != 2 || row[1] >= Databases || len(v) != 9 {
			_ = iter.Close()
			return fmt.Errorf("flush mark %x = %x is malformed", row, v)
		}
		mark := version.HLC(binary.BigEndian.Uint64(v))
		s.marks.byDB[row[1]].Store(uint64(mark))
		s.issueAbove(mark)
		s.marks.reclaim[row[1]].Store(v[8] != 0)
	}
	return iter.Close()
}

// setMark adds a mark to the open batch, whose lock the caller holds.
func (s *Store) setMark(db uint8, mark version.HLC, reclaim bool) {
	v := append(binary.BigEndian.AppendUint64(nil, uint64(mark)), 0)
	if reclaim {
		v[8] = 1
	}
	s.open.rows.set(append(s.open.rows.key(), prefixMark, db), v)
}

// issueAbove makes the HLCs issued from now on be above a mark, so that it hides
// no later write, whatever the wall clock says.
func (s *Store) issueAbove(mark version.HLC) {
	_ = s.lease.gen.Observe(mark, mark.Milliseconds()) // never too far ahead of itself
}

// FlushMarks returns the flush marks of all databases.
func (s *Store) FlushMarks() (marks [Databases]version.HLC) {
	for db := range marks {
		marks[db] = s.marks.of(uint8(db))
	}
	return marks
}

// Flush raises the flush marks of some databases to mark, where they are lower,
// and commits that.
func (s *Store) Flush(dbs []uint8, mark version.HLC) error {
	var marks [Databases]version.HLC
	for _, db := range dbs {
		marks[db] = mark
	}
	return s.flush(marks)
}

// RaiseMarks is a Flush up to the marks of another node, of the databases in
// which they are higher. Marks too far in the future are ErrDrift.
func (s *Store) RaiseMarks(marks [Databases]version.HLC) error {
	highest, news := version.HLC(0), false
	for db, mark := range marks {
		highest, news = max(highest, mark), news || mark > s.marks.of(uint8(db))
	}
	if !news {
		return nil
	}
	if err := s.Observe(highest); err != nil {
		return err
	}
	return s.flush(marks)
}

// flush raises flush marks and commits that. It holds all partition locks
// meanwhile, and shows nothing of it before: a reader must not miss what a crash
// may bring back. The counts and the hash trees of these databases are empty
// from then on; what was written after the mark, if there is anything, is added
// when the sweeper has looked at it.
func (s *Store) flush(marks [Databases]version.HLC) error {
	if err := s.writable(true); err != nil {
		return err
	}
	s.counters.setting.Lock()
	defer s.counters.setting.Unlock()
	for p := range s.locks {
		s.locks[p].Lock()
		defer s.locks[p].Unlock()
	}
	var raised []uint8
	lowest := ^version.HLC(0)
	for db := range uint8(Databases) {
		if marks[db] > s.marks.of(db) {
			raised, lowest = append(raised, db), min(lowest, marks[db])
		}
		s.issueAbove(marks[db])
	}
	if len(raised) == 0 {
		return nil
	}
	whole := s.nothingOutside(raised, lowest)
	s.open.mu.Lock()
	for _, db := range raised {
		s.setMark(db, marks[db], !whole)
	}
	if whole {
		for _, prefix := range [...]byte{prefixObject, prefixExpiry} {
			s.open.rows.removeRange([]byte{prefix}, prefixEnd(prefix))
		}
	}
	seq := s.open.seq
	s.open.mu.Unlock()
	if err := s.Commit(seq); err != nil {
		return err
	}
	if err := s.checkpoint(); err != nil { // the caches are to be cleared
		return err
	}
	for _, db := range raised {
		s.marks.byDB[db].Store(uint64(marks[db]))
		s.marks.reclaim[db].Store(!whole)
		for p := range s.counters.byDB[db] {
			s.counters.byDB[db][p].reset()
			s.trees.reset(db, ring.Partition(p))
		}
	}
	s.cache.clear() // all that only it had is committed
	s.hints.flushed()
	return nil
}

// nothingOutside reports that nothing was written after the mark and that the
// databases that are not flushed are known to be empty, so that the rows can go
// as one range. The caller holds all partition locks.
func (s *Store) nothingOutside(flushed []uint8, mark version.HLC) bool {
	if !s.countsAreRight() || s.highest.Load() > uint64(mark) {
		return false
	}
	for db := range uint8(Databases) {
		if !slices.Contains(flushed, db) && (s.marks.reclaim[db].Load() || s.counters.sum(db) != (Counts{})) {
			return false
		}
	}
	return true
}

// reclaimFlushed deletes the rows that flush marks hide, a partition at a time,
// and counts those of the same databases that they do not hide.
func (s *Store) reclaimFlushed() error {
	var marked [Databases]version.HLC
	some := false
	for db := range marked {
		if s.marks.reclaim[db].Load() {
			marked[db], some = s.marks.of(uint8(db)), true
		}
	}
	if !some {
		return nil
	}
	for p := range ring.Partition(s.node.Partitions) {
		if s.closing.Load() {
			return nil
		}
		if err := s.reclaimPartition(p, marked); err != nil {
			return err
		}
	}
	s.counters.setting.Lock() // so that no mark is being raised
	defer s.counters.setting.Unlock()
	s.open.mu.Lock()
	for db, mark := range marked {
		if mark != 0 && s.marks.of(uint8(db)) == mark {
			s.setMark(uint8(db), mark, false)
			s.marks.reclaim[db].Store(false)
		}
	}
	seq := s.open.seq
	s.open.mu.Unlock()
	return s.Commit(seq)
}

func (s *Store) reclaimPartition(p ring.Partition, marked [Databases]version.HLC) error {
	s.counters.setting.Lock()
	defer s.counters.setting.Unlock()
	first, last := p.Span(s.node.Partitions)
	lock := &s.locks[p]
	lock.Lock()
	defer lock.Unlock()
	if err := s.checkpointOpen(); err != nil {
		return err
	}
	var left census
	var o version.Object
	nowMS := s.NowMS()
	err := s.scanObjects(s.db, nil, first, last, func(k Key, text []byte) error {
		if marked[k.DB] == 0 {
			return nil
		}
		hidden, err := s.decodeStored(k, text, &o)
		if err != nil {
			left.counts[k.DB].add(weighCorrupt(k))
			return nil
		}
		s.open.mu.Lock()
		defer s.open.mu.Unlock()
		if len(o.Siblings) != 0 {
			left.counts[k.DB].add(weigh(k, &o))
			left.leaves.add(&s.trees, k, o.Hash())
			if due := s.dueOf(&o); hidden && due != 0 { // its row was of what is hidden
				s.open.rows.set(k.appendExpiry(s.open.rows.key(), max(due, nowMS)), nil)
			}
			return nil
		}
		s.open.rows.remove(k.appendObject(s.open.rows.key()))
		return nil
	})
	if err != nil {
		return err
	}
	for db := range uint8(Databases) {
		if marked[db] != 0 {
			s.counters.byDB[db][p].reset()
			s.counters.add(p, db, left.counts[db])
			s.trees.reset(db, p)
			s.trees.join(db, p, &left.leaves[db])
		}
	}
	return s.commitOpen()
}
