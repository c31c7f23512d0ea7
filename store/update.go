package store

import (
	"bytes"
	"errors"
	"slices"

	"github.com/cockroachdb/pebble/v2"

	"cartwheel/cluster/ring"
	"cartwheel/cluster/sabotage"
	"cartwheel/store/version"
)

// A Change is what a write does to an object; while it is applied it must not
// call the store but for NextHLC.
type Change = version.Change

// A Keeper is a Change that wants to know the form of what it made, where that is
// stored. It may keep it, and must not write to it.
type Keeper interface {
	Change
	Keep(form []byte)
}

// PrefetchMax is how many keys one Prefetch takes.
const PrefetchMax = 16

// Prefetch says which keys, at most PrefetchMax, are likely to be asked for
// next. Those that are in the object cache will be found faster.
func (s *Store) Prefetch(db uint8, keys [][]byte) {
	var hashes [PrefetchMax]uint64
	for i, user := range keys {
		hashes[i] = s.cache.hash(db, user)
	}
	tokens, touched := s.cache.prefetch(hashes[:len(keys)])
	for _, token := range tokens[:len(keys)] {
		touched ^= s.trees.touch(db, token)
	}
	s.stats.prefetched.Store(touched)
}

// Get sets o to the object under a key; its payloads must not be written to,
// and stay valid. Where the key is absent, o has no siblings. seq is the commit
// that makes what was read durable: it may be one to come.
func (s *Store) Get(db uint8, user []byte, o *version.Object) (seq uint64, err error) {
	hash := s.cache.hash(db, user)
	text, _, seq, found := s.cache.get(hash, user)
	if found {
		return seq, decodeCached(text, o)
	}
	lock := s.partitionLock(ring.SlotOf(user))
	lock.Lock()
	defer lock.Unlock()
	_, seq, err = s.load(db, user, hash, o)
	return seq, err
}

func decodeCached(text []byte, o *version.Object) error {
	if len(text) == 0 {
		o.Reset()
		return nil
	}
	return o.DecodeTrusted(text)
}

func (s *Store) partitionOf(k Key) ring.Partition {
	return ring.PartitionOf(k.Token.Slot(), s.node.Partitions)
}

// load is Get by one who holds the key's partition lock: what it puts into the
// cache cannot be older than what is there.
func (s *Store) load(db uint8, user []byte, hash uint64, o *version.Object) (k Key, seq uint64, err error) {
	text, token, seq, found := s.cache.get(hash, user)
	if found {
		return Key{token, db, user}, seq, decodeCached(text, o)
	}
	k = NewKey(db, user)
	return k, 0, s.loadStored(k, hash, o)
}

// loadStored is load of what the cache does not have.
func (s *Store) loadStored(k Key, hash uint64, o *version.Object) error {
	row := k.appendObject(make([]byte, 0, len(k.User)+1+tailSizeMax))
	text, closer, err := s.get(row)
	if errors.Is(err, pebble.ErrNotFound) {
		o.Reset()
		s.cache.put(hash, k.Token, slices.Clone(k.User), len(k.User), 0)
		return nil
	}
	if err != nil {
		o.Reset()
		s.stats.corrupt.Add(1)
		s.log.Error().Err(err).Hex("row", row).Msg("cannot read an object")
		return &opError{ErrCorrupt, err}
	}
	defer closer.Close()
	buf := make([]byte, 0, len(k.User)+len(text))
	buf = append(append(buf, k.User...), text...)
	text = buf[len(k.User):]
	flushed, err := s.decodeStored(k, text, o)
	if err != nil {
		s.quarantine(k, text, err)
		return &opError{ErrCorrupt, err}
	}
	if len(o.Siblings) == 0 {
		buf = buf[:len(k.User)]
	}
	if len(buf) <= s.cache.entryBytesMax && (!flushed || len(o.Siblings) == 0) {
		s.cache.put(hash, k.Token, buf, len(k.User), 0)
	}
	return nil
}

// decodeStored decodes an object as it is on disk, takes from it what a flush
// has hidden and reports whether that was anything.
func (s *Store) decodeStored(k Key, text []byte, o *version.Object) (flushed bool, err error) {
	if err := o.Decode(text); err != nil {
		return false, err
	}
	if mark := s.marks.of(k.DB); mark != 0 {
		stored := len(o.Siblings)
		o.Flush(mark)
		flushed = len(o.Siblings) < stored
	}
	if len(o.Siblings) == 0 {
		o.Reset()
	}
	return flushed, nil
}

// quarantine keeps the bytes of a corrupt object where they can be looked at,
// and leaves them in their place too: the key must not turn into an absent one.
func (s *Store) quarantine(k Key, text []byte, cause error) {
	s.stats.corrupt.Add(1)
	row := k.appendQuarantine(nil)
	s.log.Error().Err(cause).Hex("row", row).Int("bytes", len(text)).Msg("a stored object is corrupt: quarantined")
	_ = s.checkpoint() // a failure stops the writes by itself
	kept, closer, err := s.db.Get(row)
	if err == nil {
		known := bytes.Equal(kept, text)
		_ = closer.Close()
		if known { // each read comes here again
			return
		}
	}
	s.suspect(s.partitionOf(k))
	if s.writable(false) == nil {
		s.open.mu.Lock()
		s.open.rows.set(append(s.open.rows.key(), row...), text)
		seq := s.open.seq
		s.open.mu.Unlock()
		_ = s.Commit(seq) // a failure stops the writes by itself
	}
}

// Update changes the object under a key and returns the sequence to Commit
// before the change is acknowledged. Others see it before that, with the same
// sequence. o is memory to work in; it is left as the change made it.
//
// Where nothing was applied the error is one of ErrDiskFull, ErrStopped,
// ErrCorrupt.
func (s *Store) Update(db uint8, user []byte, nowMS int64, o *version.Object, change Change) (seq uint64, err error) {
	seq, full, err := s.update(db, user, nowMS, o, change)
	if full {
		err = s.Commit(seq)
	}
	return seq, err
}

func (s *Store) update(db uint8, user []byte, nowMS int64, o *version.Object, change Change) (seq uint64, full bool, err error) {
	lock := s.partitionLock(ring.SlotOf(user))
	lock.Lock()
	defer lock.Unlock()
	hash := s.cache.hash(db, user)
	k, seq, err := s.load(db, user, hash, o)
	before := s.footprintOf(k, o)
	if err != nil {
		if !change.Blind() || !errors.Is(err, ErrCorrupt) {
			return 0, false, err
		}
		before.counts = weighCorrupt(k)
		s.suspect(s.partitionOf(k))
	}
	s.pruneWide(k, o)
	if !change.Apply(o) {
		return seq, false, nil
	}
	seq, form, full, err := s.store(k, hash, nowMS, o, before, formed{})
	if keeper, is := change.(Keeper); is && form != nil {
		keeper.Keep(form)
	}
	return seq, full, err
}

// UpdateMany changes the objects under several different keys, all under their
// locks and in one commit. apply gets them in the order of keys and says by
// setting changed which it changed. objects is memory to work in, as long as
// keys.
func (s *Store) UpdateMany(keys []Key, nowMS int64, objects []version.Object, apply func(objects []version.Object, changed []bool)) (seq uint64, err error) {
	partitions := make([]ring.Partition, len(keys))
	for i, k := range keys {
		partitions[i] = s.partitionOf(k)
	}
	slices.Sort(partitions)
	partitions = slices.Compact(partitions)
	for _, p := range partitions {
		s.locks[p].Lock()
		defer s.locks[p].Unlock()
	}
	before := make([]footprint, len(keys))
	for i, k := range keys {
		_, loaded, err := s.load(k.DB, k.User, s.cache.hash(k.DB, k.User), &objects[i])
		if err != nil {
			return 0, err
		}
		seq = max(seq, loaded)
		before[i] = s.footprintOf(k, &objects[i])
		s.pruneWide(k, &objects[i])
	}
	if err := s.writable(false); err != nil {
		return 0, err
	}
	changed := make([]bool, len(keys))
	apply(objects, changed)
	s.open.mu.Lock() // one batch for all: a commit cannot come between
	defer s.open.mu.Unlock()
	for i, k := range keys {
		if changed[i] {
			s.storeLocked(k, s.cache.hash(k.DB, k.User), nowMS, &objects[i], before[i], formed{})
			seq = s.open.seq
		}
	}
	return seq, nil
}

// A footprint is what of an object matters for what is kept beside it.
type footprint struct {
	counts Counts
	dueMS  int64
	hash   uint64 // 0: absent
}

func (s *Store) footprintOf(k Key, o *version.Object) footprint {
	if len(o.Siblings) == 0 {
		return footprint{}
	}
	return footprint{weigh(k, o), s.dueOf(o), o.Hash()}
}

// dueOf returns when the sweeper should look at an object: when the last of its
// siblings expires or, where all were deleted, some time after that. It is 0 if
// one is there for ever.
func (s *Store) dueOf(o *version.Object) int64 {
	var last int64
	for i := range o.Siblings {
		sib := &o.Siblings[i]
		if sib.Tombstone {
			continue
		}
		if sib.ExpireAtMS == 0 {
			return 0
		}
		last = max(last, sib.ExpireAtMS)
	}
	if last == 0 {
		return o.MaxHLC().Milliseconds() + s.retryMS(0)
	}
	return last
}

// purgeable is the one predicate of what may be forgotten: an object of which
// nothing is alive, and all of which every owner has seen. Where there are other
// owners no clock may find it alive.
func (s *Store) purgeable(k Key, o *version.Object, nowMS int64) bool {
	watermark := s.purgeMark(k, nowMS)
	if o.MaxHLC() > watermark {
		return false
	}
	if watermark != Everything {
		nowMS -= s.clockMarginMS()
	}
	return o.DeadAt(nowMS)
}

// Everything is the watermark of a ring of one: nobody else could bring anything
// back, or look at it by another clock.
const Everything = ^version.HLC(0)

// clockMarginMS is by how much two clocks of the ring may differ.
func (s *Store) clockMarginMS() int64 { return 2 * s.opts.MaxClockDrift.Milliseconds() }

// Purgeable says whether an object counts as absent, though it may still be here
// until the sweeper comes by.
func (s *Store) Purgeable(k Key, o *version.Object) bool { return s.purgeable(k, o, s.NowMS()) }

// pruneWide prunes a clock before a change makes it new again: an object that is
// written often never rests at or below the watermark. Narrow clocks are left alone,
// since owners that prune at different moments differ until they are compared.
func (s *Store) pruneWide(k Key, o *version.Object) {
	if len(o.Clock) > wideClock {
		o.Prune(s.pruneMark(k))
	}
}

// settle takes from an object what is not to be stored of it, and reports
// whether anything of it is.
func (s *Store) settle(k Key, nowMS int64, o *version.Object) (stays bool) {
	o.Flush(s.marks.of(k.DB)) // it may come late, from where the flush has not
	if len(o.Siblings) == 0 || s.purgeable(k, o, nowMS) {
		return false
	}
	o.Prune(s.pruneMark(k))
	return true
}

// A formed is an object with its form, if that is at hand.
type formed struct {
	object *version.Object
	form   []byte
}

func (s *Store) store(k Key, hash uint64, nowMS int64, o *version.Object, before footprint, known formed) (seq uint64, form []byte, full bool, err error) {
	if err := s.writable(s.purgeable(k, o, nowMS)); err != nil {
		return 0, nil, false, err
	}
	s.open.mu.Lock()
	defer s.open.mu.Unlock()
	form = s.storeLocked(k, hash, nowMS, o, before, known)
	return s.open.seq, form, s.open.rows.bytes > batchBytesMax, nil
}

// storeLocked adds the changed object, what is kept beside it and the cache's
// entry to the open batch, whose lock the caller holds. It returns the form of what
// stays, which must not change any more; known may be the same object.
func (s *Store) storeLocked(k Key, hash uint64, nowMS int64, o *version.Object, before footprint, known formed) (form []byte) {
	var after footprint
	var buf []byte
	raise(&s.highest, o.MaxHLC())
	stays := s.settle(k, nowMS, o)
	rows := s.open.rows
	row := k.appendObject(rows.key())
	if !stays {
		rows.remove(row)
		buf = slices.Clone(k.User)
	} else {
		after = s.footprintOf(k, o)
		if known.form != nil && o.Equal(known.object) {
			buf = append(append(make([]byte, 0, len(k.User)+len(known.form)), k.User...), known.form...)
		} else {
			buf = make([]byte, 0, len(k.User)+encodedBytes(o))
			buf = version.AppendObject(append(buf, k.User...), o)
		}
		form = buf[len(k.User):len(buf):len(buf)]
		rows.set(row, form)
		if len(o.Clock) > wideClock {
			s.stats.wideClocks.Add(1)
		}
	}
	// The row may be of a sibling that a flush hides: then it is too late, or there is none.
	flushed := s.marks.reclaim[k.DB].Load()
	if after.dueMS != 0 && (before.dueMS == 0 || after.dueMS < before.dueMS || flushed) {
		// One that has expired already is still to be found by the sweeper, which
		// has passed its time.
		rows.set(k.appendExpiry(rows.key(), max(after.dueMS, nowMS)), nil)
	}
	s.cache.put(hash, k.Token, buf, len(k.User), s.open.seq)
	if s.failure.Load() != nil {
		s.forgetUncommitted() // fail may have done so before the put
	}
	s.counters.add(s.partitionOf(k), k.DB, after.counts.minus(before.counts))
	if stays || !sabotage.Once(sabotage.TreeNotUpdated, 3) {
		s.trees.change(k, before.hash, after.hash)
	}
	return form
}

// wideClock is the number of entries past which a vector clock is counted.
const wideClock = 10

// encodedBytes is about what an object encodes to, never less than what
// AppendObject wants to have free.
func encodedBytes(o *version.Object) int {
	n := 12 + 16*len(o.Clock)
	for i := range o.Siblings {
		sib := &o.Siblings[i]
		n += 16 + len(sib.Payload)
		if sib.Written != sib.Dot.HLC || sib.ExpireAtMS != 0 || len(sib.Payload) >= 1<<14 || len(o.Clock) >= 1<<7 {
			n += 24
		}
	}
	return n
}
