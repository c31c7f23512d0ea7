package store

import (
	"slices"

	"cartwheel/cluster/ring"
)

// OweRepair notes that an owner must be compared with in a partition when it is
// back, because not all that it missed is held as hints. It returns the sequence
// of the commit that makes the note durable.
func (s *Store) OweRepair(owner ring.NodeID, p ring.Partition) (seq uint64, err error) {
	if err := s.writable(false); err != nil {
		return 0, err
	}
	s.hints.mu.Lock()
	defer s.hints.mu.Unlock()
	if seq, noted := s.hints.owed[owner][p]; noted {
		return seq, nil
	}
	s.open.mu.Lock()
	defer s.open.mu.Unlock()
	s.open.rows.set(appendOwed(s.open.rows.key(), owner, p), nil)
	s.hints.owe(owner, p, s.open.seq)
	return s.open.seq, nil
}

// owe notes in memory what seq makes durable. The caller holds mu, or is alone.
func (h *hints) owe(owner ring.NodeID, p ring.Partition, seq uint64) {
	if h.owed[owner] == nil {
		h.owed[owner] = make(map[ring.Partition]uint64)
	}
	h.owed[owner][p] = seq
}

// RepairOwed returns the partitions in which an owner is owed a repair, in order.
func (s *Store) RepairOwed(owner ring.NodeID) []ring.Partition {
	s.hints.mu.Lock()
	defer s.hints.mu.Unlock()
	owed := make([]ring.Partition, 0, len(s.hints.owed[owner]))
	for p := range s.hints.owed[owner] {
		owed = append(owed, p)
	}
	slices.Sort(owed)
	return owed
}

// RepairDone takes back what OweRepair noted. It returns the sequence of the
// commit that makes that durable.
func (s *Store) RepairDone(owner ring.NodeID, p ring.Partition) (seq uint64, err error) {
	if err := s.writable(true); err != nil {
		return 0, err
	}
	s.hints.mu.Lock()
	defer s.hints.mu.Unlock()
	if _, noted := s.hints.owed[owner][p]; !noted {
		return 0, nil
	}
	delete(s.hints.owed[owner], p)
	if len(s.hints.owed[owner]) == 0 {
		delete(s.hints.owed, owner)
	}
	s.open.mu.Lock()
	defer s.open.mu.Unlock()
	s.open.rows.remove(appendOwed(s.open.rows.key(), owner, p))
	return s.open.seq, nil
}

// RepairsOwed returns the owners that are owed a repair of any partition.
func (s *Store) RepairsOwed() []ring.NodeID {
	s.hints.mu.Lock()
	defer s.hints.mu.Unlock()
	owners := make([]ring.NodeID, 0, len(s.hints.owed))
	for owner := range s.hints.owed {
		owners = append(owners, owner)
	}
	return owners
}
