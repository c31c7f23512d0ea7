package store

import (
	"bytes"
	"errors"
	"sync"
	"time"

	"github.com/cockroachdb/pebble/v2"

	"cartwheel/cluster/ring"
	"cartwheel/store/version"
)

// rebuildCounters makes the counts and the hash trees from what is stored,
// partition by partition:
//
//  1. under the partition's lock, commit what is open, take a snapshot, and set
//     the partition's counts and leaves to zero; changes go on to be added to
//     them;
//  2. without the lock, scan the snapshot;
//  3. under the lock again, add what the scan has found.
//
// It goes on after an error, and returns the first.
func (s *Store) rebuildCounters() (failed error) {
	for p := range ring.Partition(s.node.Partitions) {
		if s.closing.Load() {
			break
		}
		began := time.Now()
		read, err := s.recount(p)
		if err != nil && failed == nil {
			failed = err
		}
		s.rest(read, time.Since(began))
	}
	return failed
}

// recount returns how many bytes it has read.
func (s *Store) recount(p ring.Partition) (read int, _ error) {
	s.counters.setting.Lock()
	defer s.counters.setting.Unlock()
	lock := &s.locks[p]
	lock.Lock()
	newer, err := s.committedOf(p)
	if err != nil {
		lock.Unlock()
		return 0, err
	}
	snapshot := s.db.NewSnapshot()
	for db := range uint8(Databases) {
		s.counters.byDB[db][p].reset()
		s.trees.reset(db, p)
	}
	lock.Unlock()
	defer snapshot.Close()

	var found census
	err = s.countPartition(snapshot, newer, p, &found)
	lock.Lock()
	defer lock.Unlock()
	for db := range uint8(Databases) {
		s.counters.add(p, db, found.counts[db])
		s.trees.join(db, p, &found.leaves[db])
	}
	return found.bytes, err
}

// committedOf commits what is open, and returns the rows of a partition that Pebble may not have. The caller holds the partition's lock.
func (s *Store) committedOf(p ring.Partition) (*newerRows, error) {
	if err := s.commitOpen(); err != nil {
		return nil, err
	}
	newer, ok := s.gathered.newerObjects(p.Span(s.node.Partitions))
	if !ok {
		return nil, s.checkpoint()
	}
	newer.lookUpAll()
	return newer, nil
}

// A census is what a scan of one partition finds.
type census struct {
	counts [Databases]Counts
	leaves leafSums
	bytes  int
}

func (s *Store) countPartition(from pebble.Reader, newer *newerRows, p ring.Partition, found *census) error {
	first, last := p.Span(s.node.Partitions)
	var o version.Object
	return s.scanObjects(from, newer, first, last, func(k Key, text []byte) error {
		found.bytes += len(k.User) + len(text)
		if _, err := s.decodeStored(k, text, &o); err != nil {
			found.counts[k.DB].add(weighCorrupt(k))
			return nil
		}
		found.counts[k.DB].add(weigh(k, &o))
		found.leaves.add(&s.trees, k, o.Hash())
		raise(&s.highest, o.MaxHLC())
		return nil
	})
}

// suspects are the partitions in which something was found corrupt: what it had
// been counted as is not known any more.
type suspects struct {
	mu         sync.Mutex
	partitions map[ring.Partition]struct{}
}

// suspect makes a partition be counted again.
func (s *Store) suspect(p ring.Partition) {
	s.suspects.mu.Lock()
	defer s.suspects.mu.Unlock()
	if s.suspects.partitions == nil {
		s.suspects.partitions = make(map[ring.Partition]struct{})
	}
	s.suspects.partitions[p] = struct{}{}
}

// recountSuspects counts again the partitions in which something was corrupt.
func (s *Store) recountSuspects() {
	s.suspects.mu.Lock()
	partitions := s.suspects.partitions
	s.suspects.partitions = nil
	s.suspects.mu.Unlock()
	for p := range partitions {
		if _, err := s.recount(p); err != nil {
			s.counters.partial.Store(true)
			s.log.Error().Err(err).Uint32("partition", uint32(p)).Msg("cannot count a partition again")
		}
	}
}

// countsAreRight says whether the counts and the hash trees may be saved for the
// next start.
func (s *Store) countsAreRight() bool {
	select {
	case <-s.counters.ready:
	default:
		return false
	}
	s.suspects.mu.Lock()
	defer s.suspects.mu.Unlock()
	return len(s.suspects.partitions) == 0 && !s.counters.partial.Load()
}

// saveCounters commits the counts and the hash trees for the next start, if they
// are right.
func (s *Store) saveCounters() error {
	if !s.countsAreRight() {
		return nil
	}
	s.open.mu.Lock()
	s.open.rows.set(append(s.open.rows.key(), prefixCounters), s.counters.encode())
	for db := range uint8(Databases) {
		if text := s.trees.encode(db); text != nil {
			s.open.rows.set(append(s.open.rows.key(), prefixTrees, db), text)
		}
	}
	seq := s.open.seq
	s.open.mu.Unlock()
	return s.Commit(seq)
}

// loadCounters takes the counts and the hash trees that a clean stop saved and
// removes them, since only a clean stop may leave them. It reports whether there
// were any.
func (s *Store) loadCounters() (bool, error) {
	counted, err := s.takeSaved([]byte{prefixCounters}, s.counters.decode)
	if err != nil {
		return false, err
	}
	sound := true
	for db := range uint8(Databases) {
		_, err := s.takeSaved([]byte{prefixTrees, db}, func(text []byte) bool {
			sound = sound && s.trees.decode(db, text)
			return sound
		})
		if err != nil {
			return false, err
		}
	}
	if !counted || !sound {
		s.forgetCounts()
		return false, nil
	}
	return true, nil
}

// takeSaved removes a row and reports whether it was there and decode took it.
func (s *Store) takeSaved(row []byte, decode func([]byte) bool) (taken bool, err error) {
	text, closer, err := s.db.Get(row)
	if errors.Is(err, pebble.ErrNotFound) {
		return false, nil
	}
	if err != nil {
		return false, err
	}
	text = bytes.Clone(text)
	if err := closer.Close(); err != nil {
		return false, err
	}
	if err := s.db.Delete(row, pebble.NoSync); err != nil {
		return false, err
	}
	return decode(text), nil
}

// forgetCounts sets all to zero, for a rebuild.
func (s *Store) forgetCounts() {
	for db := range uint8(Databases) {
		for p := range ring.Partition(s.node.Partitions) {
			s.counters.byDB[db][p].reset()
			s.trees.reset(db, p)
		}
	}
}
