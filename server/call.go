package server

import (
	"errors"
	"fmt"
	"runtime/debug"
	"sync/atomic"
	"time"

	"cartwheel/cluster/quorum"
	"cartwheel/cluster/ring"
	"cartwheel/resp"
	"cartwheel/server/command"
	"cartwheel/store/version"
)

// A call is one command on its way.
//
// It has a part for each of its keys. On a ring of one node all of them end
// where they begin, and so does the call. Else:
//
//  1. run starts all parts. A part that reads asks for the object; one that
//     writes asks for it too if it must know what other owners have, or starts
//     its update, or has another node run the command for its key.
//  2. Where something is pending, run returns, and the last part to be told of its
//     end passes the call to its owner, who calls advance.
//  3. advance starts the updates of the parts that have only read so far, which
//     may be pending again, or calls the handlers of reads, and replies.
//
// A call belongs to the goroutine that owns its session (for a slow command: to
// the one that runs it), but for waiting and what Done sets.
type call struct {
	s     *session
	srv   *Server
	w     *resp.Writer
	own   resp.Writer // where replies to earlier commands are to come before
	from  int         // where the reply begins in w
	cmd   *command.Command
	h     *handler
	args  [][]byte // the name first
	db    uint8
	nowMS int64
	need  quorum.Need
	began time.Duration

	part    part // of a command of one key
	parts   []part
	replied int           // of parts, from the first on
	asked   []*part       // those that were pending; the call is while there are any
	waiting atomic.Int32  // how many of them have not ended; see startGuard
	wake    chan struct{} // of a slow command: told when waiting is 0
	hash    uint64        // of the key, for conflicts
	solid   bool          // its write is applied here already
	alone   bool          // no other node holds the key
	spoiled bool          // by a panic: parts may be under way that nobody waits for

	key      int // the position of the key that the handler is called for
	view     view
	count    int64 // for commands of several keys to sum up in
	set      setOptions
	bitfield []bitfieldOp
	digits   [20]byte
	restore  restoreOptions
	version  versionOptions

	writing    func(c *call, v *view) // the handler under way in update
	writingKey []byte
	blind      bool
	lost       bool // what is under the key cannot be read
	fault      any  // its panic
}

// A part is what a call does with one key.
type part struct {
	c      *call
	key    int // its position in the arguments
	step   step
	object version.Object
	seq    uint64
	err    error
	reply  []byte // of another node
	moved  int    // how often it has been routed again
}

type step uint8

const (
	stepNone    step = iota
	stepRead         // the object is asked for, for a handler that reads
	stepLook         // the same, for one that writes
	stepWrite        // the update is under way
	stepForward      // another node runs it
	stepEnded
)

// startGuard is in call.waiting while parts are being started, or none is under
// way: those that end meanwhile do not bring it to 0.
const startGuard = 1 << 30

func (s *Server) newCall(sess *session) *call {
	c, _ := s.calls.Get().(*call)
	if c == nil {
		c = &call{srv: s}
		c.waiting.Store(startGuard)
	}
	c.s = sess
	return c
}

// free gives a call's memory back, for another session, too.
func (s *Server) free(c *call) {
	c.rest()
	c.s, c.cmd, c.h = nil, nil, nil
	s.calls.Put(c)
}

// rest drops what a call that has ended looked at.
func (c *call) rest() {
	c.args = nil
	c.view = view{}
	c.writing, c.writingKey = nil, nil
	c.part.rest()
	if len(c.parts) > 0 {
		for i := range c.parts {
			c.parts[i].rest()
		}
		c.parts = c.parts[:0]
		if cap(c.parts) > partsKept {
			c.parts, c.asked = nil, nil
		}
	}
	if cap(c.own.Buf) > outBytesSmall {
		c.own.Buf = nil
	}
	c.own.Buf = c.own.Buf[:0]
	if c.set.expiry != nil {
		c.set = setOptions{}
	}
	if c.version.context != nil {
		c.version = versionOptions{}
	}
	if cap(c.bitfield) > bitfieldKept {
		c.bitfield = nil
	}
	c.wake = nil
	c.solid = false
}

func (p *part) rest() {
	p.object.Rest()
	p.reply, p.err, p.moved = nil, nil, 0
}

// What a call keeps of its memory: room for parts, and for operations of
// BITFIELD.
const (
	partsKept    = 16
	bitfieldKept = 64
)

// Done tells a part how its read or update ended.
func (p *part) Done(seq uint64, err error) {
	p.seq, p.err = seq, err
	p.c.partEnded()
}

// ForwardDone tells a part how the command that another node ran ended.
func (p *part) ForwardDone(reply []byte, err error) {
	p.reply, p.err = reply, err
	p.c.partEnded()
}

func (c *call) partEnded() {
	if c.waiting.Add(-1) == 0 {
		c.allEnded()
	}
}

// allEnded passes the call to whoever is to advance it.
func (c *call) allEnded() {
	if c.wake != nil {
		c.wake <- struct{}{}
		return
	}
	c.s.completed(c)
}

// isPending reports that the call has not ended.
func (c *call) isPending() bool { return len(c.asked) > 0 }

// run runs the handler, and leaves one reply in c.w unless the call is pending
// then.
func (c *call) run() {
	c.from = len(c.w.Buf)
	switch h := c.h; {
	case h.local != nil:
		h.local(c)
	case h.slow != nil:
		h.slow(c)
	case h.begin != nil && !h.begin(c):
	case h.each:
		c.startEach()
		return
	default:
		p := &c.part
		p.c, p.key = c, c.cmd.FirstKey
		if c.start(p) {
			c.settle()
			return
		}
		if err := c.reply(p); err != nil {
			c.refuse(err)
		}
	}
	c.finish()
}

// startEach starts the parts of a command of several keys.
func (c *call) startEach() {
	last := c.cmd.LastKey
	if last < 0 {
		last += len(c.args)
	}
	n := (last-c.cmd.FirstKey)/c.cmd.KeyStep + 1
	if cap(c.parts) < n {
		c.parts = make([]part, n)
	}
	c.parts = c.parts[:n]
	c.count = 0
	c.replied = 0
	for i := range c.parts {
		p := &c.parts[i]
		p.c, p.key = c, c.cmd.FirstKey+i*c.cmd.KeyStep
		if c.start(p) || c.replied < i {
			continue
		}
		if err := c.reply(p); err != nil {
			c.parts = c.parts[:i+1]
			c.refuse(err)
			c.finish()
			return
		}
		c.replied++
	}
	if c.replied < n {
		c.settle()
		return
	}
	c.finishEach()
}

// start begins what a part does, and reports whether it is pending.
func (c *call) start(p *part) (pending bool) {
	key := c.args[p.key]
	if c.h.read != nil {
		return c.ask(p, stepRead)
	}
	direct := c.h.direct != nil && c.h.direct(c)
	to, place := c.srv.keys.Route(key, direct || c.h.lone != nil || c.s.forwarded)
	c.alone = place == quorum.Alone
	switch {
	case place == quorum.Away && c.s.forwarded:
		p.err = errNotHere
		return false
	case place == quorum.Alone || place == quorum.Here && direct:
		c.solid = place == quorum.Here
		return c.update(p)
	case place == quorum.Here:
		return c.ask(p, stepLook)
	default:
		return c.forward(p, to, direct)
	}
}

// errNotHere ends a command that was forwarded to a node which cannot run it: it
// does not go on to a third.
var errNotHere = errors.New("NOREPLICAS The nodes do not agree on who is up, nothing was done")

// ask asks for the object of a part's key.
func (c *call) ask(p *part, why step) (pending bool) {
	p.step = why
	seq, pending, err := c.srv.keys.Read(c.db, c.args[p.key], c.need, &p.object, p)
	if pending { // then Done has set the others, or will
		c.asked = append(c.asked, p)
		return true
	}
	p.seq, p.err = seq, err
	return why == stepLook && p.err == nil && c.update(p)
}

// update runs the write handler on a part's object.
func (c *call) update(p *part) (pending bool) {
	p.step = stepWrite
	blind := c.h.blind != nil && c.h.blind(c)
	c.key = p.key
	seq, pending, err := c.apply(c.db, c.args[p.key], &p.object, c.h.write, blind, p)
	if pending {
		c.asked = append(c.asked, p)
		return true
	}
	p.seq, p.err = seq, err
	if errors.Is(err, quorum.ErrMoved) && p.moved < movesMax {
		p.moved++
		return c.start(p)
	}
	return false
}

// movesMax is how often a part is routed again because its key has moved, or the
// node that it was forwarded to says so.
const movesMax = 5

// forward has another node run the command for a part's key.
func (c *call) forward(p *part, to ring.NodeID, direct bool) (pending bool) {
	p.step = stepForward
	f := &quorum.Forwarded{DB: c.db, RESP3: c.w.RESP3, Need: c.need, Args: c.args}
	f.Again = direct && !c.h.versioned && !c.need.Strict // what is run twice must not make siblings, nor reads go back
	if c.h.lone != nil {
		f.Args = c.h.lone(c, p.key)
	}
	if err := c.srv.keys.Forward(to, f, p); err != nil {
		p.err = err
		return false
	}
	c.asked = append(c.asked, p)
	return true
}

// apply runs a write handler on one key.
func (c *call) apply(db uint8, key []byte, o *version.Object, write func(c *call, v *view), blind bool, done quorum.Done) (seq uint64, pending bool, err error) {
	c.writing, c.writingKey, c.blind, c.lost = write, key, blind, false
	seq, pending, err = c.srv.keys.Update(db, key, c.need, c.nowMS, o, c, done)
	if c.fault != nil {
		fault := c.fault
		c.fault = nil
		panic(fault)
	}
	if err == nil && !pending {
		err = c.view.err
	}
	return seq, pending, err
}

// Apply runs the write handler. A panic must not leave the store's locks held:
// it goes on once they are not.
func (c *call) Apply(o *version.Object) (changed bool) {
	defer func() {
		if fault := recover(); fault != nil {
			c.fault = fmt.Sprintf("%v\n%s", fault, debug.Stack())
			changed = false
		}
	}()
	c.view.look(c, o)
	c.view.lost = c.lost
	c.writing(c, &c.view)
	return c.view.changed && c.view.err == nil
}

// Blind says that a write handler can go ahead without what is stored. It is
// asked where that cannot be read, and only there.
func (c *call) Blind() bool {
	c.lost = true
	return c.blind
}

// Plain says that a write must win over all that was written before it: that of
// plain commands, but for those that keep the time at which a value was written.
func (c *call) Plain() bool { return !c.h.versioned && !c.view.touched }

// depend makes the reply wait for the commit of seq.
func (c *call) depend(seq uint64) {
	if seq > c.s.seq {
		c.s.seq = seq
	}
}

// ending returns an error if the connection is to end.
func (c *call) ending() error {
	if c.s.ctx.Err() != nil {
		return errEnding
	}
	return nil
}

// tooLarge reports that the reply that begins at from is larger than it may be,
// and then has put an error in its place.
func (c *call) tooLarge(from int) bool {
	if len(c.w.Buf)-from <= c.srv.replyBytesMax {
		return false
	}
	c.w.Buf = c.w.Buf[:from]
	c.w.Error(errReplyTooLarge.Error())
	return true
}
