package store

import (
	"bytes"
	"errors"
	"slices"
	"sync"
	"sync/atomic"

	"github.com/cockroachdb/pebble/v2"

	"cartwheel/cluster/ring"
	"cartwheel/store/version"
)

// hints are objects that this node holds for owners that were absent, one for
// each owner and key.
//
//  1. A hint is a row of its own, read and changed under its key's partition
//     lock and committed with all else. A cache of their own, written through,
//     has what is not committed yet, so that a read cannot miss it in Pebble.
//  2. How many there are, and their bytes, is known by owner in memory, and
//     counted at the start.
//  3. Past bytesMax a hint is refused; that the owner is owed a repair of the
//     partition is noted instead (owed.go).
//  4. What a flush mark hides is neither shown nor counted as there; its rows go
//     when the sweeper comes by.
type hints struct {
	cache    *cache
	bytesMax int64
	total    atomic.Int64 // how many there are
	bytes    atomic.Int64 // of their rows
	reclaim  atomic.Bool  // a flush may have hidden some

	mu     sync.Mutex
	owners map[ring.NodeID]*HintStat                 // guarded by mu: those that have hints
	owed   map[ring.NodeID]map[ring.Partition]uint64 // guarded by mu: with the sequence that notes it
}

// A HintStat is what is held for one owner.
type HintStat struct {
	Owner ring.NodeID
	Count int64
	Bytes int64
	// OldestMS is a Unix time at which, or later, all of them came. After a
	// restart it is that of the oldest write among them.
	OldestMS int64
}

// hintCacheKey is what the cache knows a hint by.
func hintCacheKey(owner ring.NodeID, k Key) []byte {
	key := make([]byte, 0, len(owner)+1+len(k.User))
	return append(append(append(key, owner[:]...), k.DB), k.User...)
}

func (h *hints) hash(cacheKey []byte) uint64 { return h.cache.hash(0, cacheKey) }

// flushed takes note of a flush. The caller holds all partition locks, and all is
// committed.
func (h *hints) flushed() {
	h.cache.clear()
	h.reclaim.Store(h.total.Load() > 0)
}

// count takes note that the hints of an owner became more or fewer.
func (h *hints) count(owner ring.NodeID, hints, bytes, atMS int64) {
	h.total.Add(hints)
	h.bytes.Add(bytes)
	h.mu.Lock()
	defer h.mu.Unlock()
	st := h.owners[owner]
	if st == nil {
		st = &HintStat{Owner: owner, OldestMS: atMS}
		h.owners[owner] = st
	}
	st.Count += hints
	st.Bytes += bytes
	st.OldestMS = min(st.OldestMS, atMS)
	if st.Count == 0 {
		delete(h.owners, owner)
	}
}

// HoldsHints says whether anything is held for anyone.
func (s *Store) HoldsHints() bool { return s.hints.total.Load() > 0 }

// HintOwners returns what is held for each owner that hints are held for.
func (s *Store) HintOwners() []HintStat {
	s.hints.mu.Lock()
	defer s.hints.mu.Unlock()
	all := make([]HintStat, 0, len(s.hints.owners))
	for _, st := range s.hints.owners {
		all = append(all, *st)
	}
	slices.SortFunc(all, func(a, b HintStat) int { return bytes.Compare(a.Owner[:], b.Owner[:]) })
	return all
}

// loadHint sets o to the hint for an owner under a key, whose partition lock the
// caller holds; stored is the bytes of its row, 0 where there is none. An object
// that is hidden by a flush has no siblings, though there is a row.
func (s *Store) loadHint(owner ring.NodeID, k Key, o *version.Object) (stored int64, seq uint64, err error) {
	cacheKey := hintCacheKey(owner, k)
	hash := s.hints.hash(cacheKey)
	row := k.appendHint(nil, owner)
	text, _, seq, found := s.hints.cache.get(hash, cacheKey)
	if found {
		if len(text) == 0 {
			o.Reset()
			return 0, seq, nil
		}
		return int64(len(row) + len(text)), seq, o.DecodeTrusted(text)
	}
	text, closer, err := s.get(row)
	if errors.Is(err, pebble.ErrNotFound) {
		o.Reset()
		s.hints.cache.put(hash, k.Token, cacheKey, len(cacheKey), 0)
		return 0, 0, nil
	}
	if err != nil {
		o.Reset()
		return 0, 0, s.corruptHint(row, err)
	}
	defer closer.Close()
	stored = int64(len(row) + len(text))
	buf := append(cacheKey, text...)
	flushed, err := s.decodeStored(k, buf[len(cacheKey):], o)
	if err != nil {
		o.Reset()
		return stored, 0, s.corruptHint(row, err)
	}
	if !flushed && len(buf) <= s.hints.cache.entryBytesMax {
		s.hints.cache.put(hash, k.Token, buf, len(cacheKey), 0)
	}
	return stored, 0, nil
}

func (s *Store) corruptHint(row []byte, err error) error {
	s.stats.corrupt.Add(1)
	s.log.Error().Err(err).Hex("row", row).Msg("a hint is corrupt")
	return &opError{ErrCorrupt, err}
}

// AddHint merges an object into what is held for an absent owner under a key,
// and returns the sequence to Commit before that counts. The errors are Merge's
// and ErrHintsFull: then seq is the commit of the note that a repair is owed in
// its place.
func (s *Store) AddHint(owner ring.NodeID, db uint8, user []byte, nowMS int64, remote *version.Object) (seq uint64, err error) {
	if err := s.meet(nowMS, remote); err != nil {
		return 0, err
	}
	if err := s.writable(false); err != nil {
		return 0, err
	}
	seq, full, err := s.addHint(owner, NewKey(db, user), nowMS, remote)
	if full {
		err = errors.Join(err, s.Commit(seq))
	}
	return seq, err
}

func (s *Store) addHint(owner ring.NodeID, k Key, nowMS int64, remote *version.Object) (seq uint64, full bool, err error) {
	lock := s.partitionLock(k.Token.Slot())
	lock.Lock()
	defer lock.Unlock()
	var o version.Object
	stored, seq, err := s.loadHint(owner, k, &o)
	if err != nil && stored == 0 {
		return 0, false, err // not even its size is known
	}
	if err != nil { // what it held is lost
		if _, err := s.OweRepair(owner, s.partitionOf(k)); err != nil {
			return 0, false, err
		}
	}
	changed := o.MergeIn(remote)
	o.Flush(s.marks.of(k.DB))
	if !changed || len(o.Siblings) == 0 {
		return seq, false, err
	}
	cacheKey := hintCacheKey(owner, k)
	buf := version.AppendObject(slices.Grow(cacheKey, encodedBytes(&o)), &o)
	text := buf[len(cacheKey):]
	row := k.appendHint(nil, owner)
	more := int64(len(row)+len(text)) - stored
	if more > 0 && s.hints.bytes.Load()+more > s.hints.bytesMax {
		seq, err := s.OweRepair(owner, s.partitionOf(k))
		return seq, false, errors.Join(ErrHintsFull, err)
	}
	seq, full = s.setHint(owner, k, row, buf, len(cacheKey))
	added := int64(0)
	if stored == 0 {
		added = 1
	}
	s.hints.count(owner, added, more, nowMS)
	return seq, full, nil
}

// setHint adds a hint's row to the open batch, and to the cache: buf is the
// cache's key and the object, which if it is empty goes. The caller holds the
// partition's lock.
func (s *Store) setHint(owner ring.NodeID, k Key, row, buf []byte, keyLen int) (seq uint64, full bool) {
	s.open.mu.Lock()
	defer s.open.mu.Unlock()
	rows := s.open.rows
	if len(buf) == keyLen {
		rows.remove(append(rows.key(), row...))
	} else {
		rows.set(append(rows.key(), row...), buf[keyLen:])
	}
	s.hints.cache.put(s.hints.hash(buf[:keyLen]), k.Token, buf, keyLen, s.open.seq)
	if s.failure.Load() != nil {
		s.forgetUncommitted() // fail may have done so before the put
	}
	return s.open.seq, rows.bytes > batchBytesMax
}

// RemoveHint removes the hint for an owner under a key, if it is still what was
// sent to that owner: something that came since stays. It returns the sequence
// of the commit that makes that durable.
func (s *Store) RemoveHint(owner ring.NodeID, k Key, sent *version.Object) (seq uint64, err error) {
	if err := s.writable(true); err != nil {
		return 0, err
	}
	lock := s.partitionLock(k.Token.Slot())
	lock.Lock()
	defer lock.Unlock()
	var o version.Object
	stored, seq, err := s.loadHint(owner, k, &o)
	if err != nil || stored == 0 || !o.Equal(sent) {
		return seq, err
	}
	return s.dropHint(owner, k, stored), nil
}

// dropHint removes a hint whose row has so many bytes. The caller holds the
// partition's lock.
func (s *Store) dropHint(owner ring.NodeID, k Key, stored int64) (seq uint64) {
	cacheKey := hintCacheKey(owner, k)
	seq, _ = s.setHint(owner, k, k.appendHint(nil, owner), cacheKey, len(cacheKey))
	s.hints.count(owner, -1, -stored, s.NowMS())
	return seq
}

// GetHinted sets o to the merge of all that is held under a key for any owner.
// seq is as Get's. Where no hints are held at all it costs nothing.
func (s *Store) GetHinted(db uint8, user []byte, o *version.Object) (found bool, seq uint64, err error) {
	o.Reset()
	if s.hints.total.Load() == 0 {
		return false, 0, nil
	}
	k := NewKey(db, user)
	lock := s.partitionLock(k.Token.Slot())
	lock.Lock()
	defer lock.Unlock()
	var hint version.Object
	for _, st := range s.HintOwners() {
		_, loaded, err := s.loadHint(st.Owner, k, &hint)
		if err != nil {
			o.Reset()
			return false, 0, err
		}
		o.MergeIn(&hint)
		seq = max(seq, loaded)
	}
	return len(o.Siblings) > 0, seq, nil
}
