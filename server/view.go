package server

import (
	"errors"

	"cartwheel/cluster/sabotage"
	"cartwheel/store/version"
)

// A view is what a handler sees of one key: the object as it is, and the winner
// of last-write-wins as plain commands have it. A write handler changes it by
// set, touch, remove or put, at most once.
type view struct {
	o   *version.Object
	win *version.Sibling // nil: there is no value to see

	c       *call
	lost    bool // something is there that cannot be read; a blind write replaces it
	changed bool
	touched bool  // by a change that keeps when the value was written
	err     error // why it could not be changed
}

func (v *view) look(c *call, o *version.Object) {
	*v = view{o: o, win: o.Alive(c.nowMS), c: c}
}

func (v *view) exists() bool { return v.win != nil }

// value is the winner's; it must not be written to. nil where there is none.
func (v *view) value() []byte {
	if v.win == nil {
		return nil
	}
	return v.win.Payload
}

// expireAtMS is the winner's expiry, 0 where it has none.
func (v *view) expireAtMS() int64 {
	if v.win == nil {
		return 0
	}
	return v.win.ExpireAtMS
}

// set overwrites all siblings with one value. A time of expiry that is past
// deletes, as in Redis; 0 is none.
func (v *view) set(value []byte, expireAtMS int64) {
	if expireAtMS != 0 && expireAtMS <= v.c.nowMS {
		v.remove()
		return
	}
	v.put(v.o.Clock, version.Sibling{Payload: value, ExpireAtMS: expireAtMS})
}

// touch changes the winner's expiry and nothing else: the value keeps the time
// at which it was written.
func (v *view) touch(expireAtMS int64) {
	if expireAtMS != 0 && expireAtMS <= v.c.nowMS {
		v.remove()
		return
	}
	v.put(v.o.Clock, version.Sibling{Payload: v.win.Payload, ExpireAtMS: expireAtMS, Written: v.win.Written})
}

// remove deletes what is there. Where other nodes may have what this one does not
// see, a tombstone is written even if nothing is: it must win over what they have.
func (v *view) remove() {
	if v.c.alone && v.o.DeadAt(v.c.nowMS) && !v.lost {
		return
	}
	v.put(v.o.Clock, version.Sibling{Tombstone: true})
}

// errLate ends a command that was forwarded, which comes when another node has run it and the key
// was written since. Whoever forwarded it still waits for it only if clocks differ a lot.
var errLate = errors.New("NOREPLICAS The command came too late, nothing was done")

// put adds a sibling in the place of those that the context covers. Its dot,
// and its Written unless that is set, are made here.
func (v *view) put(context version.Clock, s version.Sibling) {
	span := v.c.need.Span
	s.Dot, v.err = v.c.srv.keys.Dot(v.c.writingKey, v.o.Clock, v.c.nowMS, max(v.o.MaxHLC(), context.MaxHLC(), span.After))
	if v.err != nil {
		return
	}
	latest := version.HLC(0)
	if win := v.o.Winner(); win != nil {
		latest = win.Written
	}
	if span.Before != 0 { // else it counts as written by its dot, which is above all that was heard of
		latest = max(latest, v.c.srv.keys.FlushMark(v.c.db))
	}
	written, late := span.Written(s.Dot.HLC, latest)
	if late && !sabotage.On(sabotage.LateFrameApplied) {
		v.err = errLate
		return
	}
	v.touched = s.Written != 0
	if !v.touched || sabotage.On(sabotage.TouchStamped) {
		s.Written = written
	}
	v.o.Put(context, s)
	v.changed = true
}
