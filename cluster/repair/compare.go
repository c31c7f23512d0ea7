package repair

import (
	"bytes"
	"encoding/binary"
	"slices"

	"cartwheel/cluster/ring"
	"cartwheel/store"
	"cartwheel/store/version"
)

// An entry is a key and the hash of what one side has under it.
type entry struct {
	key  store.Key
	hash uint64
}

// A comparison is one page of a pass over an extent: all that the caller has in
// it, beside what the callee has.
type comparison struct {
	extent
	mode    byte
	levels  store.Levels // the caller's
	entries []entry      // rising
}

func (c *comparison) append(dst []byte) []byte {
	dst = append(dst, c.mode)
	dst = binary.AppendUvarint(dst, uint64(c.partition))
	dst = appendLevels(dst, c.levels)
	dst = binary.BigEndian.AppendUint64(dst, uint64(c.mask))
	flags := byte(0)
	if c.from != nil {
		flags |= flagFrom
	}
	if c.to != nil {
		flags |= flagTo
	}
	dst = append(dst, flags)
	if c.from != nil {
		dst = appendKey(dst, *c.from)
	}
	if c.to != nil {
		dst = appendKey(dst, *c.to)
	}
	for _, e := range c.entries {
		dst = appendKey(dst, e.key)
		dst = binary.BigEndian.AppendUint64(dst, e.hash)
	}
	return dst
}

// parse reads a comparison; its keys alias the message.
func (c *comparison) parse(in *reader, partitions int) error {
	c.mode = in.byte()
	c.partition = in.partition(partitions)
	c.levels = in.levels()
	c.mask = leafMask(in.uint64())
	flags := in.byte()
	if c.mode&^(modesKnown&^modeSums) != 0 || flags&^(flagFrom|flagTo) != 0 {
		return errMessage
	}
	if flags&flagFrom != 0 {
		k := in.key()
		c.from = &k
	}
	if flags&flagTo != 0 {
		k := in.key()
		c.to = &k
	}
	for len(in.rest) > 0 {
		e := entry{key: in.key(), hash: in.uint64()}
		if in.bad || len(c.entries) == entriesMax || !c.has(e.key, partitions) ||
			(len(c.entries) > 0 && compareKeys(c.entries[len(c.entries)-1].key, e.key) >= 0) {
			return errMessage
		}
		c.entries = append(c.entries, e)
	}
	return in.end()
}

// A walk goes along the caller's entries and the callee's objects of one
// comparison together, and appends what it finds. It is pure.
//
//	both have it, alike       nothing
//	both have it, otherwise   the callee's clock: the caller sees who is behind
//	only the caller has it    wanted
//	only the callee has it    the object, unless the caller wants none
type walk struct {
	c       *comparison
	next    int // the entry that comes next
	out     []byte
	keys    int // looked at
	bytes   int // of the objects looked at
	objects int // found
	reached *store.Key
}

// visit takes the next of the callee's objects, nil where it is corrupt, and
// reports whether it has room for more.
func (w *walk) visit(k store.Key, o *version.Object) bool {
	if w.full() {
		k.User = slices.Clone(k.User)
		w.reached = &k
		return false
	}
	w.keys++
	w.before(k)
	if o == nil {
		return true // as if it were not there: a whole one replaces it
	}
	size := objectBytes(o)
	w.bytes += size
	if w.next < len(w.c.entries) && compareKeys(w.c.entries[w.next].key, k) == 0 {
		if w.c.entries[w.next].hash != o.Hash() {
			w.out = binary.AppendUvarint(append(w.out, findDiffers), uint64(w.next))
			w.out = appendClock(w.out, o.Clock)
		}
		w.next++
		return true
	}
	if w.c.mode&modePushOnly != 0 {
		return true
	}
	w.objects++
	w.out = appendKey(append(w.out, findObject), k)
	text := version.AppendObject(nil, o)
	w.out = appendBytes(w.out, text)
	return true
}

// full says that the page is. The first object always has room.
func (w *walk) full() bool {
	return w.keys >= scanKeysMax || w.bytes >= scanBytesMax || len(w.out) >= pageBytesMax
}

// before wants the entries that come before k.
func (w *walk) before(k store.Key) {
	for w.next < len(w.c.entries) && compareKeys(w.c.entries[w.next].key, k) < 0 {
		w.want()
	}
}

func (w *walk) want() {
	w.out = binary.AppendUvarint(append(w.out, findWanted), uint64(w.next))
	w.next++
}

// end wants what is left, up to where the walk has come.
func (w *walk) end() {
	if w.reached != nil {
		w.before(*w.reached)
		return
	}
	for w.next < len(w.c.entries) {
		w.want()
	}
}

// siblingBytes is about what a sibling takes beside its payload.
const siblingBytes = 32

// objectBytes is about what an object encodes to.
func objectBytes(o *version.Object) int {
	n := clockEntryBytes * len(o.Clock)
	for i := range o.Siblings {
		n += siblingBytes + len(o.Siblings[i].Payload)
	}
	return n
}

func (s *service) compare() error {
	var c comparison
	if err := c.parse(&s.in, s.table.Partitions()); err != nil {
		return err
	}
	if !s.owns(c.partition) {
		return errNotOwner
	}
	if c.mode&modeShared != 0 && !s.engaged.join(c.partition, s.from) {
		return errBusy
	}
	if c.mode&modeExact != 0 && c.from == nil {
		if err := s.opts.Store.CommitAll(); err != nil {
			return err
		}
	}
	s.out = appendLevels(s.out, s.opts.Store.Levels(c.partition))
	w := walk{c: &c}
	if err := s.scan(&c.extent, s.table.Partitions(), w.visit); err != nil {
		return err
	}
	w.end()
	s.objectCount += w.objects
	s.admission.spend(w.bytes / scanDiscount)
	if w.reached == nil {
		s.out = append(s.out, 0)
	} else {
		s.out = appendKey(append(s.out, flagReached), *w.reached)
	}
	s.out = append(s.out, w.out...)
	return nil
}

// scanDiscount is how much less reading costs than sending and merging.
const scanDiscount = 8

// purgedMax is how much one look at an extent purges.
const purgedMax = 512

// scan calls visit with what is stored in an extent, in order, until it returns
// false. What is dead and at or below the purge level counts as absent, and is purged, at most purgedMax of it: the
// sweeper of another owner has been there sooner, and until this one has, their trees differ.
func (r *Repair) scan(e *extent, partitions int, visit func(k store.Key, o *version.Object) bool) (err error) {
	var dead []store.Key
	defer func() {
		if len(dead) > 0 {
			_ = r.opts.Store.Purge(dead) // the store says by itself that it has failed
		}
	}()
	e.tokenRanges(partitions, func(first, last ring.Token) bool {
		more := true
		err = r.opts.Store.Scan(first, last, func(k store.Key, o *version.Object) bool {
			if e.from != nil && compareKeys(k, *e.from) < 0 {
				return true
			}
			if e.to != nil && compareKeys(k, *e.to) >= 0 {
				more = false
				return false
			}
			if o != nil && r.opts.Store.Purgeable(k, o) {
				if len(dead) < purgedMax {
					dead = append(dead, store.Key{DB: k.DB, User: bytes.Clone(k.User), Token: k.Token})
				}
				return true
			}
			more = visit(k, o)
			return more
		})
		return more && err == nil
	})
	return err
}
