package version

import (
	"fmt"
	"slices"
)

// Type says what the payloads of an object are. The zero Type is that of an absent key's object.
type Type uint8

// TypeString is the type of opaque values. Later types take later numbers (design.md section 13).
const TypeString Type = 1

// Object is all that is stored under a key. The zero Object is that of an absent key.
//
// Invariants, which every method and Merge keep and Decode checks:
//   - the clock covers every sibling's dot;
//   - the siblings are sorted newest first, by (Written, Dot) descending, dead ones taking part, so
//     that Siblings[0] is the winner of last-write-wins;
//   - no two siblings have the same dot;
//   - an object that has siblings has a type.
type Object struct {
	Type     Type
	Clock    Clock
	Siblings []Sibling
}

// Winner is the sibling that a plain read shows, dead or not; nil where there is none. It is valid
// until the object changes.
func (o *Object) Winner() *Sibling {
	if len(o.Siblings) == 0 {
		return nil
	}
	return &o.Siblings[0]
}

// Put applies a write in place: the siblings that context covers go, s comes, and the clock has then
// seen context and s. An object without a type becomes a string. It takes over s.Payload, and
// allocates only to grow the two slices.
//
// context may be o.Clock itself, to overwrite everything. One that is to be used again after the Put
// has to be a copy.
//
// It panics unless s.Dot.HLC is above every HLC in the object and in context: a dot below one of them
// could be covered by a clock that never saw it, and so be lost. It panics as well on a sibling
// that is against the rules of its fields.
func (o *Object) Put(context Clock, s Sibling) {
	if newest := max(o.MaxHLC(), context.MaxHLC()); s.Dot.HLC <= newest {
		panic(fmt.Sprintf("version: put with dot HLC %v, which is not above %v of the object and its context", s.Dot.HLC, newest))
	}
	if s.Written == 0 || s.Written > s.Dot.HLC {
		panic(fmt.Sprintf("version: put of a value written at %v with dot HLC %v", s.Written, s.Dot.HLC))
	}
	if s.Tombstone && (len(s.Payload) > 0 || s.ExpireAtMS != 0) {
		panic("version: put of a tombstone that has a payload or an expiry")
	}

	o.dropSiblings(func(old *Sibling) bool { return context.Covers(old.Dot) })
	i := 0
	for i < len(o.Siblings) && o.Siblings[i].compare(&s) > 0 {
		i++
	}
	o.Siblings = slices.Insert(o.Siblings, i, s)
	o.Clock = o.Clock.join(context).add(s.Dot)
	if o.Type == 0 {
		o.Type = TypeString
	}
}

// Alive is the winner if a reader at that time sees a value in it, else nil. It is valid until the
// object changes.
func (o *Object) Alive(nowMS int64) *Sibling {
	if len(o.Siblings) == 0 || o.Siblings[0].DeadAt(nowMS) {
		return nil
	}
	return &o.Siblings[0]
}

// MaxHLC is the highest HLC anywhere in the object, zero where there is none.
func (o *Object) MaxHLC() HLC {
	highest := o.Clock.MaxHLC()
	for i := range o.Siblings {
		highest = max(highest, o.Siblings[i].Dot.HLC, o.Siblings[i].Written)
	}
	return highest
}

// DeadAt says whether no sibling is alive at that time: also where there is none.
func (o *Object) DeadAt(nowMS int64) bool {
	for i := range o.Siblings {
		if !o.Siblings[i].DeadAt(nowMS) {
			return false
		}
	}
	return true
}

// Bury makes tombstones, in place, of the siblings that expired at or before a
// time, and reports whether there were any. The dots stay: it forgets payloads
// that nobody will see again, and changes nothing for anyone who has them still.
// Where a merge finds a dot both buried and not, it is buried.
func (o *Object) Bury(expiredMS int64) (changed bool) {
	for i := range o.Siblings {
		if s := &o.Siblings[i]; !s.Tombstone && s.DeadAt(expiredMS) {
			s.bury()
			changed = true
		}
	}
	return changed
}

// Buried says whether all siblings are tombstones.
func (o *Object) Buried() bool {
	for i := range o.Siblings {
		if !o.Siblings[i].Tombstone {
			return false
		}
	}
	return true
}

// Flush drops, in place, the siblings written at or before mark. The clock stays, so that a replica
// which has not flushed yet cannot bring them back.
func (o *Object) Flush(mark HLC) {
	o.dropSiblings(func(s *Sibling) bool { return s.Written <= mark })
}

// Prune drops, in place, the clock entries that no sibling's dot needs, once the whole object is at
// or below the watermark, below which every owner has everything. Before that it drops nothing.
//
// An entry's own age is not enough. Say this object saw the write a and then a newer one that
// overwrote it: a's entry is all that says so. While the newer write is above the watermark, an owner
// may still hold a and not the newer; without the entry, a merge would take its a for news.
func (o *Object) Prune(watermark HLC) {
	if o.Clock.MaxHLC() > watermark {
		return
	}
	needed := make([]bool, len(o.Clock))
	for i := range o.Siblings {
		if at, found := o.Clock.search(o.Siblings[i].Dot.Incarnation); found {
			needed[at] = true
		}
	}
	kept := o.Clock[:0]
	for i, entry := range o.Clock {
		if needed[i] {
			kept = append(kept, entry)
		}
	}
	o.Clock = kept
}

// Reset makes o an absent key's object and keeps its memory for the next use.
func (o *Object) Reset() {
	clear(o.Siblings) // so that the payloads can be collected
	*o = Object{Clock: o.Clock[:0], Siblings: o.Siblings[:0]}
}

// Rest is Reset for one that may not be used for long: it holds no payloads, and little
// memory.
func (o *Object) Rest() {
	clear(o.Siblings[:cap(o.Siblings)])
	if cap(o.Siblings) > restSiblings || cap(o.Clock) > restEntries {
		*o = Object{}
	}
	o.Reset()
}

// What an object keeps of its memory.
const (
	restSiblings = 16
	restEntries  = 64
)

// Equal says whether both are the same in every field, payloads by their bytes.
func (o *Object) Equal(other *Object) bool {
	return o.Type == other.Type &&
		o.Clock.Equal(other.Clock) &&
		slices.EqualFunc(o.Siblings, other.Siblings, func(a, b Sibling) bool { return a.equal(&b) })
}

// dropSiblings removes those that gone picks. It neither allocates nor keeps their payloads alive.
func (o *Object) dropSiblings(gone func(*Sibling) bool) {
	kept := 0
	for i := range o.Siblings {
		if gone(&o.Siblings[i]) {
			continue
		}
		if kept != i {
			o.Siblings[kept] = o.Siblings[i]
		}
		kept++
	}
	clear(o.Siblings[kept:])
	o.Siblings = o.Siblings[:kept]
}
