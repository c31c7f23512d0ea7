package store

import (
	"encoding/binary"
	"errors"
	"fmt"
	"slices"
	"sync"
	"sync/atomic"

	"cartwheel/cluster/ring"
	"cartwheel/store/version"
)

// Levels say what a replica of a partition has and what it may have forgotten
// (design section 9).
//
//  1. Stable: it has everything with a dot at or below it, and so has every other
//     owner; no node holds a hint or rows that are not its own of it.
//  2. Purge: dead objects at or below it may be gone, and clock entries. It is
//     raised only when Stable of every owner has come that far.
//  3. So one whose Stable is below another's Purge has forgotten something that
//     the other needs no longer remember: it was rolled back, or wiped.
//
// What comes from elsewhere comes with the Levels of where it was, read before it
// was read there: what is vouched for. Hints come with none.
type Levels struct {
	Stable, Purge version.HLC
}

// stability is the Levels of all partitions. They are on the disk before anyone
// sees them, in one record:
//
//	for each partition: stable 8, purge 8, flags 1
//
// They only grow, but that what is dropped is not stable any more.
type stability struct {
	mu   sync.Mutex // held while they are changed
	rows []stabilityRow
}

type stabilityRow struct {
	stable, purge atomic.Uint64
	refilling     atomic.Bool
	doubts        atomic.Uint64 // see reconcile
	filled        atomic.Uint64 // what stable is about to be (Trust)
}

const (
	recordStability   = "stability"
	stabilityRowBytes = 8 + 8 + 1
	flagRefilling     = 1
)

// loadStability reads the record. Without one that can be read this node knows of
// nothing that it has everything, as if it were new: the other owners' levels tell
// it so.
func (s *Store) loadStability() error {
	s.stability.rows = make([]stabilityRow, s.node.Partitions)
	text, err := s.ReadRecord(recordStability)
	if err == nil && text != nil && len(text) != s.node.Partitions*stabilityRowBytes {
		err = &opError{ErrCorrupt, fmt.Errorf("the record %s has %d bytes", recordStability, len(text))}
	}
	if errors.Is(err, ErrCorrupt) {
		s.log.Error().Err(err).Msg("what was stable is not known: the partitions are to be filled anew")
		return nil
	}
	if err != nil || text == nil {
		return err
	}
	for p := range s.stability.rows {
		row, b := &s.stability.rows[p], text[p*stabilityRowBytes:]
		row.stable.Store(binary.BigEndian.Uint64(b))
		row.purge.Store(binary.BigEndian.Uint64(b[8:]))
		row.refilling.Store(b[16]&flagRefilling != 0)
		s.issueAbove(max(version.HLC(row.stable.Load()), version.HLC(row.purge.Load())))
	}
	return nil
}

// Levels returns those of a partition here.
func (s *Store) Levels(p ring.Partition) Levels {
	row := &s.stability.rows[p]
	purge := row.purge.Load() // first: stable may be raised between
	return Levels{version.HLC(row.stable.Load()), version.HLC(purge)}
}

// Refilling says whether a partition is to be filled anew: it lacks, or has still,
// what it should not.
func (s *Store) Refilling(p ring.Partition) bool { return s.stability.rows[p].refilling.Load() }

// Doubts counts what has been taken into a partition that lacks things, of which it is
// not known whether it is alive: a pass with a node that has everything must begin after
// the last of it.
func (s *Store) Doubts(p ring.Partition) uint64 { return s.stability.rows[p].doubts.Load() }

// A standing is what is written down of a partition.
type standing struct {
	Levels
	refilling bool
}

// changeStability changes some partitions, durably and then for all to see.
func (s *Store) changeStability(change func(p ring.Partition, st *standing)) error {
	s.stability.mu.Lock()
	defer s.stability.mu.Unlock()
	text := make([]byte, 0, len(s.stability.rows)*stabilityRowBytes)
	after := make([]standing, len(s.stability.rows))
	changed := false
	for i := range after {
		p := ring.Partition(i)
		before := standing{s.Levels(p), s.Refilling(p)}
		after[i] = before
		change(p, &after[i])
		changed = changed || after[i] != before
		flags := byte(0)
		if after[i].refilling {
			flags = flagRefilling
		}
		text = binary.BigEndian.AppendUint64(text, uint64(after[i].Stable))
		text = append(binary.BigEndian.AppendUint64(text, uint64(after[i].Purge)), flags)
	}
	if !changed {
		return nil
	}
	if err := s.WriteRecord(recordStability, text); err != nil {
		return err
	}
	for i := range after {
		row := &s.stability.rows[i]
		row.refilling.Store(after[i].refilling)
		row.stable.Store(uint64(after[i].Stable))
		row.purge.Store(uint64(after[i].Purge))
	}
	return nil
}

// RaiseStable notes up to where everything is here. All of it is on the disk
// first: else a power cut would leave a level above what is here. One that is to be
// filled anew stays as it is.
func (s *Store) RaiseStable(to map[ring.Partition]version.HLC) error {
	if err := s.observeAll(to); err != nil {
		return err
	}
	if err := s.Sync(); err != nil {
		return err
	}
	return s.changeStability(func(p ring.Partition, st *standing) {
		if !st.refilling {
			st.Stable = max(st.Stable, to[p])
		}
	})
}

// RaisePurge notes up to where dead objects may be purged.
func (s *Store) RaisePurge(to map[ring.Partition]version.HLC) error {
	if err := s.observeAll(to); err != nil {
		return err
	}
	return s.changeStability(func(p ring.Partition, st *standing) { st.Purge = max(st.Purge, to[p]) })
}

// Distrust notes that partitions are to be filled anew, because other owners have
// purged up to these HLCs: what is at or below them comes from now on only from
// those who have everything.
func (s *Store) Distrust(purged map[ring.Partition]version.HLC) error {
	if err := s.observeAll(purged); err != nil {
		return err
	}
	return s.changeStability(func(p ring.Partition, st *standing) {
		if to, named := purged[p]; named {
			st.refilling, st.Purge = true, max(st.Purge, to)
		}
	})
}

// Filled says up to where a partition is stable that was filled, if nothing doubtful has
// come since Doubts was this.
type Filled struct {
	Stable version.HLC
	Doubts uint64
}

// Trust notes that partitions have been filled, but those into which something doubtful
// has come meanwhile, or of which other owners have purged more. It returns which it noted.
//
// From the moment at which it looks, what is doubtful is no longer taken, though it takes a
// write to the disk until the levels say why: else it would get in between, and be vouched
// for.
func (s *Store) Trust(filled map[ring.Partition]Filled) (trusted []ring.Partition, err error) {
	if err := s.Sync(); err != nil {
		return nil, err
	}
	var sure []ring.Partition
	for p, f := range filled {
		row := &s.stability.rows[p]
		s.locks[p].Lock()
		if row.doubts.Load() == f.Doubts {
			row.filled.Store(uint64(f.Stable))
			sure = append(sure, p)
		}
		s.locks[p].Unlock()
	}
	err = s.changeStability(func(p ring.Partition, st *standing) {
		if slices.Contains(sure, p) && st.Purge <= filled[p].Stable {
			st.refilling, st.Stable = false, max(st.Stable, filled[p].Stable)
			trusted = append(trusted, p)
		}
	})
	for _, p := range sure {
		s.stability.rows[p].filled.Store(0)
	}
	return trusted, err
}

// observeAll takes note of levels: one too far ahead is ErrDrift, and must not get
// into the record.
func (s *Store) observeAll(levels map[ring.Partition]version.HLC) error {
	for _, to := range levels {
		if err := s.Observe(to); err != nil {
			return err
		}
	}
	return nil
}

// forgetStable notes that nothing is stable here of a partition that is about to be
// dropped. What others purged stays known.
func (s *Store) forgetStable(p ring.Partition) error {
	return s.changeStability(func(q ring.Partition, st *standing) {
		if q == p {
			st.Stable, st.refilling = 0, false
		}
	})
}

// forgetAllStable notes that nothing is known to be stable here, since commits were
// lost.
func (s *Store) forgetAllStable() error {
	return s.changeStability(func(_ ring.Partition, st *standing) { st.Stable = 0 })
}

// reconcile takes from the two objects of one key, the one here and one from
// elsewhere, what either side has forgotten the end of, and returns the other; the
// caller holds the partition's lock.
//
//  1. Where the other is vouched for up to this node's purge, it has all that was
//     deleted there: what it shows alive is alive, even if it is missing here. A key
//     that was lost comes back so.
//  2. Else a sibling at or below the purge that is not here was superseded, and that
//     was forgotten: if this node has everything itself. One that is being filled lacks
//     what is alive too, and to take a clock without the siblings that it covers would
//     supersede them everywhere. It takes all, and counts a doubt: what is dead of it
//     goes by rule 3.
//  3. What is here was superseded, and that was forgotten, where the other side has
//     everything and has purged beyond what is stable here, does not show it, and this
//     node has taken note of that (Distrust, or RaisePurge when it is filled). Levels are
//     read before the object, so what the other does not show it did not have when it had
//     everything.
func (s *Store) reconcile(p ring.Partition, here, other *version.Object, from Levels) (_ *version.Object, changed bool) {
	row := &s.stability.rows[p]
	filled := version.HLC(row.filled.Load()) // first: when that is over the levels say it
	own := s.Levels(p)
	own.Stable = max(own.Stable, filled)
	kept := other
	if from.Stable < own.Purge {
		kept = other.WithoutForgotten(own.Purge, here)
		if kept != other && own.Stable < own.Purge {
			row.doubts.Add(1)
			kept = other
		}
	}
	if own.Stable < from.Purge && from.Purge <= min(own.Purge, from.Stable) {
		changed = here.DropForgotten(from.Purge, other)
	}
	return kept, changed
}

// Fence makes everything with a dot at or below an HLC that this node has issued in
// some partitions be stored and committed, and all that it issues later be above
// it. An HLC too far ahead is ErrDrift.
//
// A dot is issued and stored under its partition's lock. So who is not seen there
// any more has stored it; who comes later finds the HLC observed.
func (s *Store) Fence(at version.HLC, partitions []ring.Partition) error {
	if err := s.Observe(at); err != nil {
		return err
	}
	if err := s.lease.cover(at); err != nil { // also what is issued after a crash
		return err
	}
	for _, p := range partitions {
		s.locks[p].Lock()
		//lint:ignore SA2001 whoever held it has stored what it issued
		s.locks[p].Unlock()
	}
	return s.commitOpen()
}

// TreesWhole says whether the hash trees show all that is stored: after a flush
// they do not until the sweeper has come by.
func (s *Store) TreesWhole() bool {
	for db := range s.marks.reclaim {
		if s.marks.reclaim[db].Load() {
			return false
		}
	}
	return s.countsAreRight()
}

// HintPartitions returns the partitions that hints are held of for anyone, as far
// as that is committed. It skips from one partition to the next.
func (s *Store) HintPartitions() (map[ring.Partition]ring.NodeID, error) {
	held := map[ring.Partition]ring.NodeID{}
	for _, st := range s.HintOwners() {
		from := ring.Token(0)
		for more := true; more; {
			more = false
			prefix := append([]byte{prefixHint}, st.Owner[:]...)
			err := s.scanPrefix(prefix, binary.BigEndian.AppendUint64(nil, uint64(from)), func(row, _ []byte) error {
				_, k, err := parseHintKey(row)
				if err != nil {
					return err
				}
				p := s.partitionOf(k)
				held[p] = st.Owner
				_, last := p.Span(s.node.Partitions)
				from, more = last+1, last+1 != 0
				return errStopScan
			})
			if err != nil && !errors.Is(err, errStopScan) {
				return nil, err
			}
		}
	}
	return held, nil
}
