package store

import (
	"errors"

	"cartwheel/cluster/ring"
	"cartwheel/store/version"
)

// Merge joins an object from elsewhere, a peer's write, a read repair, a hint or
// an exchange's, into what is stored under a key, and returns the sequence to
// Commit before it is acknowledged: also where it changed nothing, since what is
// there may wait for its commit. o is memory to work in, left as the result; its
// payloads are remote's or the store's.
//
//  1. What the object shows of this node's own writes comes first: if that is
//     more than it remembers, it takes a new incarnation.
//  2. An HLC too far ahead is ErrDrift. Otherwise those that are issued from now
//     on are above all in the object.
//  3. Under the partition's lock both are rid of what the other side has forgotten the
//     end of (reconcile; from is what vouches for remote), and merged. A stored object that is
//     corrupt is quarantined and replaced. What a flush hides is left out.
//
// Where nothing was applied the error is one of ErrDrift, ErrDiskFull, ErrStopped
// and ErrCorrupt, that where of remote nothing is left to replace what is there,
// or says why a new incarnation could not be made durable.
func (s *Store) Merge(db uint8, user []byte, nowMS int64, remote, o *version.Object, from Levels) (seq uint64, changed bool, err error) {
	return s.MergeFormed(db, user, nowMS, remote, nil, o, from)
}

// MergeFormed is Merge of an object whose form is at hand, which is not kept: where it
// takes the place of what is there, that need not be formed again.
func (s *Store) MergeFormed(db uint8, user []byte, nowMS int64, remote *version.Object, form []byte, o *version.Object, from Levels) (seq uint64, changed bool, err error) {
	if err := s.meet(nowMS, remote); err != nil {
		return 0, false, err
	}
	seq, changed, full, err := s.merge(db, user, nowMS, formed{remote, form}, o, from)
	if full {
		err = s.Commit(seq)
	}
	return seq, changed, err
}

// meet takes note of what an object from elsewhere says of clocks.
func (s *Store) meet(nowMS int64, remote *version.Object) error {
	present := s.Incarnation()
	if err := s.recall(present, remote.Clock.At(present)); err != nil {
		return err
	}
	return s.observe(nowMS, remote.MaxHLC())
}

func (s *Store) merge(db uint8, user []byte, nowMS int64, sent formed, o *version.Object, from Levels) (seq uint64, changed, full bool, err error) {
	lock := s.partitionLock(ring.SlotOf(user))
	lock.Lock()
	defer lock.Unlock()
	hash := s.cache.hash(db, user)
	k, seq, err := s.load(db, user, hash, o)
	before := s.footprintOf(k, o)
	corrupt := errors.Is(err, ErrCorrupt)
	if corrupt {
		before.counts = weighCorrupt(k)
		s.suspect(s.partitionOf(k))
	} else if err != nil {
		return 0, false, false, err
	}
	s.pruneWide(k, o)
	remote, forgot := s.reconcile(s.partitionOf(k), o, sent.object, from)
	narrower := len(remote.Clock) < len(o.Clock) // perhaps pruned, as this one may be by now
	if merged := mergeIn(o, remote); !(merged || forgot || narrower) || !s.news(k, nowMS, o, before.hash) {
		if corrupt {
			return 0, false, false, err // there is nothing to replace it by
		}
		return seq, false, false, nil
	}
	seq, _, full, err = s.store(k, hash, nowMS, o, before, sent)
	return seq, err == nil, full, err
}

// news reports whether of a merged object anything is to be stored that is not
// there already. A peer may bring back what was flushed, purged or pruned here.
func (s *Store) news(k Key, nowMS int64, o *version.Object, storedHash uint64) bool {
	if !s.settle(k, nowMS, o) {
		return storedHash != 0
	}
	return o.Hash() != storedHash
}
