package store

import (
	"cartwheel/cluster/ring"
	"cartwheel/store/version"
)

// ScanLeaf calls visit with the objects below one leaf of a partition's hash
// tree, in token order, until visit returns false. It leaves out those that are
// dead and at or below the watermark. A corrupt object is passed as nil. What it
// passes is valid during the call.
func (s *Store) ScanLeaf(p ring.Partition, leaf int, visit func(k Key, o *version.Object) bool) error {
	if err := s.commitOpen(); err != nil { // a scan sees what is committed
		return err
	}
	first := ring.Token(uint64(int(p)*Leaves+leaf) << s.trees.shift)
	last := first + (1<<s.trees.shift - 1)
	nowMS := s.NowMS()
	return s.Scan(first, last, func(k Key, o *version.Object) bool {
		return o != nil && s.purgeable(k, o, nowMS) || visit(k, o)
	})
}

// DropPartition forgets all objects of a partition, and commits that. It holds
// the partition's lock meanwhile, and has said before that nothing is stable here
// any more. Hints for others stay. The room on the disk is
// free some seconds later, when the range has been compacted.
func (s *Store) DropPartition(p ring.Partition) error {
	if err := s.writable(true); err != nil {
		return err
	}
	if err := s.forgetStable(p); err != nil {
		return err
	}
	s.counters.setting.Lock()
	defer s.counters.setting.Unlock()
	s.locks[p].Lock()
	defer s.locks[p].Unlock()
	first, last := p.Span(s.node.Partitions)
	s.open.mu.Lock()
	for _, prefix := range [...]byte{prefixObject, prefixQuarantine} {
		s.open.rows.removeRange(tokenRange(prefix, first, last))
	}
	seq := s.open.seq
	s.open.mu.Unlock()
	if err := s.Commit(seq); err != nil {
		return err
	}
	s.dropped.add(p)
	s.cache.drop(first, last)
	for db := range uint8(Databases) {
		s.counters.byDB[db][p].reset()
		s.trees.reset(db, p)
	}
	return nil
}
