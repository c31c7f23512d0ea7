package server

import (
	"context"
	"hash/maphash"
	"runtime/debug"
	"sync"
	"sync/atomic"
	"time"

	"cartwheel/cluster/quorum"
	"cartwheel/resp"
)

// A session is one client's connection as commands see it. It belongs to the
// goroutine that serves it, or to the one of a slow command while that runs;
// only what is marked so is for others.
type session struct {
	srv   *Server
	shard *shard
	in    resp.Reader
	out   resp.Writer
	call  *call // the one to be run next, or the slow one that runs

	// group are the calls, in the order of their commands, of which some are
	// pending, as many as unended says. Their replies come when none is. Until
	// then in is not read: their arguments lie there.
	group   []*call
	unended int

	doneMu    sync.Mutex
	done      []*call // guarded by doneMu: calls to be advanced
	spareDone []*call // memory for done
	tell      func()  // that there is something in done; called from anywhere

	ahead   [][][]byte // commands taken out of in, to be run from aheadAt on
	aheadAt int

	// seq is the highest sequence that a reply in out depends on; held of
	// them, from out.Buf[heldFrom:] on, wait for its commit.
	seq      uint64
	held     int
	heldFrom int

	db        uint8
	need      quorum.Need // as QUORUM has set it
	forwarded bool        // not a client's: another node has passed its command on
	authed    bool
	mute      bool  // CLIENT REPLY OFF
	muteNext  uint8 // CLIENT REPLY SKIP: of so many commands, itself included
	closing   bool  // after what is in out

	waited time.Duration // of the call under way, in block

	shared
}

// shared is what other goroutines see of a session.
type shared struct {
	id      uint64
	addr    string // of the client
	laddr   string // that it connected to
	fd      int
	created time.Time
	ctx     context.Context // done when the connection is to end
	cancel  context.CancelFunc
	cut     func() // makes whoever serves the connection end it; may be called from anywhere

	activeMS atomic.Int64  // since the server's start, when the last command came
	command  atomic.Int32  // the ID of the last command, -1 none
	commands atomic.Uint64 // executed
	dbNow    atomic.Uint32
	inBytes  atomic.Int64
	outBytes atomic.Int64
	resp3    atomic.Bool
	noEvict  atomic.Bool
	noTouch  atomic.Bool
	gone     func() bool // whether the client has closed its side
	unblock  chan bool   // to a blocked command; true: with an error
	blocked  atomic.Bool

	mu      sync.Mutex
	name    string // guarded by mu, like the two below
	libName string
	libVer  string
}

// What consume stopped for.
type stopped uint8

const (
	stoppedDrained stopped = iota // no whole command is left
	stoppedFull                   // enough output waits to be sent
	stoppedSlow                   // s.call may block and has not been run: run it, then consume again
	stoppedGroup                  // calls are pending: consume again after the group has ended
	stoppedClosing                // nothing more is to be read
)

// outBytesSoft is how much output may wait before no more commands are taken.
const outBytesSoft = 1 << 20

// consume runs the commands that are buffered, in order, until it must stop.
// A panic in one ends the connection.
func (s *session) consume() (why stopped) {
	from := len(s.out.Buf) // where the reply under way begins
	defer func() {
		if fault := recover(); fault != nil {
			s.fault(s.call, fault)
			s.out.Buf = s.out.Buf[:from] // a handler may have replied before it changes anything
			why = stoppedClosing
		}
	}()
	if s.closing {
		return stoppedClosing
	}
	s.call.nowMS = s.srv.keys.NowMS()
	began := s.srv.uptime()
	commands := uint64(0)
	for why = stoppedDrained; !s.closing; {
		if len(s.out.Buf) > outBytesSoft {
			why = stoppedFull
			break
		}
		args := s.next()
		if args == nil {
			break
		}
		from = len(s.out.Buf)
		s.call.began = began
		did := s.dispatch(args)
		if did == dispatchLater {
			s.aheadAt--
			break
		}
		commands++
		if did == dispatchSlow {
			why = stoppedSlow
			break
		}
		began = s.srv.uptime()
		if len(s.group) == 0 {
			s.record(s.call, began)
		} else if len(s.group) >= groupMax {
			break
		}
	}
	if len(s.group) > 0 {
		why = stoppedGroup
	}
	if commands > 0 {
		s.commands.Add(commands)
		s.activeMS.Store(began.Milliseconds())
		if s.call.cmd != nil {
			s.command.Store(int32(s.call.cmd.ID))
		}
	}
	if s.closing && why != stoppedGroup {
		return stoppedClosing
	}
	return why
}

// groupMax is how many calls of a session may be under way together.
const groupMax = 128

// join makes the call the last of the group.
func (s *session) join(c *call) {
	if c.isPending() {
		s.unended++
	}
	if h := c.h; h.read != nil || h.write != nil {
		c.hash = maphash.Bytes(hashSeed, c.args[c.cmd.FirstKey])
	}
	s.group = append(s.group, c)
	s.call = s.srv.newCall(s)
	s.call.nowMS = c.nowMS
}

var hashSeed = maphash.MakeSeed()

// conflicts reports that c must not run before all of the group have ended: one
// of them is about the same key. Two that only read may run together, and what
// comes behind a write that has been applied here will see it.
func (s *session) conflicts(c *call) bool {
	reads := c.h.read != nil
	direct := c.h.direct != nil && !c.h.each && c.h.direct(c)
	hash := maphash.Bytes(hashSeed, c.args[c.cmd.FirstKey])
	for _, before := range s.group {
		switch {
		case reads && before.h.read != nil:
		case before.h.each || c.h.each:
			return true
		case before.hash == hash && !(before.solid && (reads || direct)):
			return true
		}
	}
	return false
}

// completed takes a call that can be advanced. It may be called from anywhere.
func (s *session) completed(c *call) {
	s.doneMu.Lock()
	s.done = append(s.done, c)
	first := len(s.done) == 1
	s.doneMu.Unlock()
	if first {
		s.tell()
	}
}

// advance takes on the calls that have completed what they waited for, and
// reports whether the group has ended, and its replies are in out.
func (s *session) advance() (ended bool) {
	s.doneMu.Lock()
	calls := s.done
	s.done = s.spareDone[:0]
	s.doneMu.Unlock()
	for i, c := range calls {
		if c.advance() {
			s.unended--
		}
		calls[i] = nil
	}
	s.spareDone = calls
	if s.unended > 0 || len(s.group) == 0 {
		return false
	}
	now := s.srv.uptime()
	for i, c := range s.group {
		from := len(s.out.Buf)
		s.out.Buf = append(s.out.Buf, c.own.Buf...)
		s.record(c, now)
		s.ran(from)
		if !c.spoiled {
			s.srv.free(c)
		}
		s.group[i] = nil
	}
	s.group = s.group[:0]
	s.activeMS.Store(now.Milliseconds())
	return true
}

// aheadMax is how many commands are taken out of the input before the first of
// them runs.
const aheadMax = 16

// next takes the next command out of the input, or nil. It takes several at
// once, so that the key space can fetch what they will look at together: most
// of the time of a command is waiting for memory.
func (s *session) next() [][]byte {
	if s.aheadAt == len(s.ahead) {
		s.lookAhead()
		if len(s.ahead) == 0 {
			return nil
		}
	}
	s.aheadAt++
	return s.ahead[s.aheadAt-1]
}

func (s *session) lookAhead() {
	s.ahead, s.aheadAt = s.ahead[:0], 0
	lim := s.limits()
	for len(s.ahead) < aheadMax {
		args, err := s.in.Next(lim)
		if err != nil && len(s.ahead) == 0 && len(s.group) == 0 { // else it will be there the next time
			s.out.Error("ERR " + err.Error())
			s.held++
			s.srv.stats.protocolErrors.Add(1)
			s.closing = true
		}
		if args == nil {
			break
		}
		s.ahead = append(s.ahead, args)
		if !s.authed || is(args[0], "reset") {
			break // the limits of the next depend on this one
		}
	}
	if len(s.ahead) > 1 {
		s.prefetch()
	}
}

// prefetch says which keys come next: nearly all commands have one in the same place.
func (s *session) prefetch() {
	keys := make([][]byte, 0, aheadMax)
	for _, args := range s.ahead {
		if len(args) > 1 {
			keys = append(keys, args[1])
		}
	}
	s.srv.keys.Prefetch(s.db, keys)
}

// hasInput says that there may be a command to run without reading more.
func (s *session) hasInput() bool { return s.aheadAt < len(s.ahead) || s.in.Buffered() > 0 }

// rest gives memory back once the input is drained: a connection may be idle for
// long, and what its last commands looked at must not stay because of it.
func (s *session) rest() {
	s.in.Release()
	clear(s.ahead[:cap(s.ahead)])
	s.ahead, s.aheadAt = s.ahead[:0], 0
	s.call.rest()
}

// fault logs a panic of a command and lets the connection end.
func (s *session) fault(c *call, v any) {
	name := "?"
	if c.cmd != nil {
		name = c.cmd.FullName()
	}
	s.srv.log.Error().Interface("panic", v).Str("command", name).Uint64("client", s.id).
		Bytes("stack", debug.Stack()).Msg("a command failed: its connection is closed")
	s.closing = true
}

// runSlow runs the command that consume stopped for, into w. It may block.
func (s *session) runSlow(w *resp.Writer) {
	defer func() {
		if fault := recover(); fault != nil {
			s.fault(s.call, fault)
			w.Buf = w.Buf[:0]
		}
	}()
	c := s.call
	c.began = s.srv.uptime()
	*w = resp.Writer{Buf: w.Buf[:0], RESP3: s.out.RESP3}
	c.w = w
	if err := s.srv.keys.Commit(s.seq); err != nil {
		w.Error(wireText(err))
		return
	}
	if s.srv.waitUnpaused(s) {
		c.nowMS = s.srv.keys.NowMS()
		c.began = s.srv.uptime()
		c.wake = make(chan struct{}, 1)
		c.runBlocking()
		c.wake = nil
		c.began += s.waited // being blocked is no work
		s.waited = 0
	}
	s.record(c, s.srv.uptime())
}

// finishSlow takes over what runSlow wrote.
func (s *session) finishSlow(w *resp.Writer) {
	from := len(s.out.Buf)
	s.out.Buf = append(s.out.Buf, w.Buf...)
	s.out.RESP3 = w.RESP3
	s.ran(from)
	s.activeMS.Store(s.srv.uptime().Milliseconds()) // it was not idle meanwhile
}

// replied does what CLIENT REPLY asks for with a reply that begins at from.
func (s *session) replied(from int) {
	switch {
	case s.mute:
		s.out.Buf = s.out.Buf[:from]
		s.held--
	case s.muteNext > 0:
		s.out.Buf = s.out.Buf[:from]
		s.held--
		s.muteNext--
	}
}

// release says how the commit of what was held ended. If it failed, each reply
// becomes that error.
func (s *session) release(err error) {
	if err != nil {
		s.out.Buf = s.out.Buf[:s.heldFrom]
		for range s.held {
			s.out.Error(wireText(err))
		}
	}
	s.held, s.heldFrom = 0, len(s.out.Buf)
}

func (s *session) limits() *resp.Limits {
	if s.authed {
		return s.srv.limits.Load()
	}
	return s.srv.limitsUnauthenticated.Load()
}
