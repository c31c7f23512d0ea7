package store

import (
	"cartwheel/cluster/ring"
	"cartwheel/store/version"
)

// Digest returns the hash of the object under a key, 0 where it is absent, for
// comparing it with another owner's. seq is as Get's.
func (s *Store) Digest(db uint8, user []byte) (hash, seq uint64, err error) {
	at := s.cache.hash(db, user)
	text, _, seq, found := s.cache.get(at, user)
	if found {
		return version.HashEncoded(text), seq, nil
	}
	var o version.Object
	seq, err = s.loadLocked(db, user, at, &o)
	return o.Hash(), seq, err
}

// GetEncoded appends the form of the object under a key to dst; nothing where it
// is absent. seq is as Get's.
func (s *Store) GetEncoded(db uint8, user, dst []byte) (text []byte, seq uint64, err error) {
	at := s.cache.hash(db, user)
	cached, _, seq, found := s.cache.get(at, user)
	if found {
		return append(dst, cached...), seq, nil
	}
	var o version.Object
	seq, err = s.loadLocked(db, user, at, &o)
	if err != nil || len(o.Siblings) == 0 {
		return dst, seq, err
	}
	return version.AppendObject(dst, &o), seq, nil
}

// loadLocked is load by one who does not hold the partition's lock.
func (s *Store) loadLocked(db uint8, user []byte, hash uint64, o *version.Object) (seq uint64, err error) {
	lock := s.partitionLock(ring.SlotOf(user))
	lock.Lock()
	defer lock.Unlock()
	_, seq, err = s.load(db, user, hash, o)
	return seq, err
}
