package server

import (
	"fmt"
	"net"
	"runtime"
	"sync"
	"sync/atomic"
	"syscall"
	"time"
	"unsafe"

	"golang.org/x/sys/unix"

	"cartwheel/resp"
)

// A loop serves many connections by one goroutine. Beside Go's own poller, with
// a goroutine a connection, it saves two goroutine switches a request and, what
// counts for more, it sees all requests that have come in at the same time:
//
//  1. epoll names the connections that have input (edge-triggered, registered
//     once). Each is read once, and the commands in it are run. Their changes
//     go into the store's open batch, their replies into the connection's
//     buffer.
//  2. One commit makes all changes of the round durable. Where commits take
//     long (the disk stalls) it is the committer, another goroutine, that waits
//     for it: the connections whose replies need the commit rest, and the loop
//     goes on with the others. There is one commit at a time, and
//     the next takes all that has come together meanwhile.
//  3. The replies are sent.
//
// A command that may block leaves the loop for a goroutine of its own; its
// connection rests until it is done. No connection is read while more than
// outBytesSoft of its replies wait to be sent.
type loop struct {
	srv   *Server
	shard *shard
	epoll int
	wake  int // an eventfd: there is something in inbox
	conns []*loopConn
	open  int

	commits    chan uint64   // sequences for the committer
	committing []*loopConn   // whose replies the commit under way holds
	waiting    []*loopConn   // whose replies the commit after it holds
	commitTook time.Duration // the last one

	ready   []*loopConn // to be stepped in the next round
	stepped []*loopConn // memory for that after it
	again   []*loopConn // the same, without an event
	dirty   []*loopConn // with replies to be sent
	stalled map[*loopConn]struct{}
	checked time.Duration // when cutStalled last ran, by uptime
	spare   [][]byte      // output buffers

	sleeping atomic.Bool
	mu       sync.Mutex
	inbox    []func() // guarded by mu: what others want done
	stopping bool     // no commands are taken any more
}

// A loopConn is a session with a place in a loop.
type loopConn struct {
	*session
	fd       int
	queued   bool // in ready or again
	isDirty  bool
	readable bool // there may be more to read
	hup      bool // the client has closed its side, perhaps behind bytes to read
	more     bool // commands wait for output to be sent
	resting  bool // a slow command runs
	pending  bool // its replies wait for a commit: in committing or waiting
	ended    bool // the client has closed, or is to be cut off
	closed   bool
	sent     int           // of out.Buf
	stuck    time.Duration // when sending last made no progress, by uptime; 0: it did
	slow     resp.Writer
	due      uint64 // what the replies in out depend on; seq is a slow command's to change
}

const (
	loopEventsMax = 512
	spareBuffers  = 64
	stalledCheck  = time.Second
)

func (s *Server) startLoops() error {
	if s.opts.TLS != nil {
		return nil
	}
	for range max(1, runtime.GOMAXPROCS(0)/2) {
		l, err := newLoop(s)
		if err != nil {
			return fmt.Errorf("start an event loop: %w", err)
		}
		s.loops = append(s.loops, l)
		s.shards = append(s.shards, l.shard)
		s.serving.Go(l.run)
		s.serving.Go(l.runCommitter)
	}
	return nil
}

func newLoop(s *Server) (*loop, error) {
	l := &loop{srv: s, shard: newShard(s.table), stalled: make(map[*loopConn]struct{}), commits: make(chan uint64, 1)}
	var err error
	if l.epoll, err = unix.EpollCreate1(unix.EPOLL_CLOEXEC); err != nil {
		return nil, err
	}
	if l.wake, err = unix.Eventfd(0, unix.EFD_NONBLOCK|unix.EFD_CLOEXEC); err != nil {
		return nil, err
	}
	return l, unix.EpollCtl(l.epoll, unix.EPOLL_CTL_ADD, l.wake, &unix.EpollEvent{Events: unix.EPOLLIN, Fd: int32(l.wake)})
}

// toLoop moves a connection to a loop, which owns it from then on.
func (s *Server) toLoop(conn net.Conn) bool {
	tcp, ok := conn.(*net.TCPConn)
	if !ok {
		return false
	}
	raw, err := tcp.SyscallConn()
	if err != nil {
		return false
	}
	fd := -1
	err = raw.Control(func(from uintptr) {
		fd, _ = unix.FcntlInt(from, unix.F_DUPFD_CLOEXEC, 0)
	})
	if err != nil || fd < 0 {
		return false
	}
	l := s.loops[int(s.stats.connections.Load())%len(s.loops)]
	c := &loopConn{fd: fd}
	cut := func() { l.post(func() { l.cut(c) }) }
	ok = s.add(conn, fd, l.shard, cut, func(sess *session) {
		c.session = sess
		sess.gone = func() bool { return hungUp(fd) }
		l.post(func() { l.register(c) })
	})
	_ = conn.Close() // fd stays
	if !ok {
		_ = unix.Close(fd)
	}
	return true
}

// hungUp reports that the other side of a socket sends no more.
func hungUp(fd int) bool {
	poll := []unix.PollFd{{Fd: int32(fd), Events: unix.POLLRDHUP}}
	n, err := unix.Poll(poll, 0)
	return err == nil && n > 0
}

// post has the loop call f soon.
func (l *loop) post(f func()) {
	l.mu.Lock()
	l.inbox = append(l.inbox, f)
	l.mu.Unlock()
	if l.sleeping.Load() {
		_, _ = unix.Write(l.wake, []byte{1, 0, 0, 0, 0, 0, 0, 0})
	}
}

func (l *loop) register(c *loopConn) {
	for c.fd >= len(l.conns) {
		l.conns = append(l.conns, make([]*loopConn, max(64, len(l.conns)))...)
	}
	l.conns[c.fd] = c
	l.open++
	const events = unix.EPOLLIN | unix.EPOLLOUT | unix.EPOLLRDHUP | unix.EPOLLET
	if err := unix.EpollCtl(l.epoll, unix.EPOLL_CTL_ADD, c.fd, &unix.EpollEvent{Events: events & 0xffffffff, Fd: int32(c.fd)}); err != nil {
		l.srv.log.Error().Err(err).Msg("cannot watch a connection")
		l.close(c)
		return
	}
	c.readable = true
	l.enqueue(c)
}

// run serves until stopLoops, and all slow commands have ended.
func (l *loop) run() {
	events := make([]unix.EpollEvent, loopEventsMax)
	for !l.stopping || l.open > 0 {
		n := l.wait(events)
		if l.watches() {
			l.cutStalled()
		}
		for i := range events[:n] {
			l.notice(&events[i])
		}
		l.readInbox()
		l.round()
	}
	close(l.commits)
	_ = unix.Close(l.epoll)
	_ = unix.Close(l.wake)
}

// wait returns the number of events there are; it blocks only if nothing else
// is to be done.
func (l *loop) wait(events []unix.EpollEvent) int {
	n := pollNow(l.epoll, events)
	if n > 0 || len(l.again) > 0 {
		return n
	}
	l.sleeping.Store(true)
	defer l.sleeping.Store(false)
	l.mu.Lock()
	waiting := len(l.inbox)
	l.mu.Unlock()
	if waiting > 0 {
		return 0
	}
	timeoutMS := -1
	if l.watches() {
		timeoutMS = int(stalledCheck / time.Millisecond)
	}
	n, err := unix.EpollWait(l.epoll, events, timeoutMS)
	if err != nil {
		n = 0 // EINTR
	}
	return n
}

// watches reports that there are connections for cutStalled to look at.
func (l *loop) watches() bool { return len(l.stalled) > 0 || l.srv.settings.timeoutS.Load() > 0 }

// pollNow is epoll_wait without waiting, and so without the scheduler's leave.
func pollNow(epoll int, events []unix.EpollEvent) int {
	n, _, errno := syscall.RawSyscall6(unix.SYS_EPOLL_PWAIT, uintptr(epoll), uintptr(unsafe.Pointer(&events[0])), uintptr(len(events)), 0, 0, 0)
	if errno != 0 {
		return 0
	}
	return int(n)
}

func (l *loop) notice(e *unix.EpollEvent) {
	if int(e.Fd) == l.wake {
		var b [8]byte
		_, _ = unix.Read(l.wake, b[:])
		return
	}
	c := l.conns[e.Fd]
	if c == nil {
		return
	}
	if e.Events&(unix.EPOLLIN|unix.EPOLLRDHUP|unix.EPOLLHUP|unix.EPOLLERR) != 0 {
		c.readable = true
		c.hup = c.hup || e.Events&^(unix.EPOLLIN|unix.EPOLLOUT) != 0
	}
	l.enqueue(c)
}

func (l *loop) enqueue(c *loopConn) {
	if !c.queued && !c.closed {
		c.queued = true
		l.ready = append(l.ready, c)
	}
}

func (l *loop) readInbox() {
	l.mu.Lock()
	inbox := l.inbox
	l.inbox = nil
	l.mu.Unlock()
	for _, f := range inbox {
		f()
	}
}

// step takes one read's worth of commands from a connection.
func (l *loop) step(c *loopConn) {
	if c.closed {
		return
	}
	if c.pending {
		c.more = true
		return
	}
	l.markDirty(c)
	if c.resting || c.closing || c.ended {
		return
	}
	if c.waiting() > outBytesSoft {
		c.more = true
		return
	}
	why := stoppedDrained
	if c.hasInput() && !l.stopping {
		why = l.consume(c)
	}
	if why == stoppedDrained && c.readable {
		if !l.read(c) {
			return
		}
		if !l.stopping {
			why = l.consume(c)
		}
	}
	switch {
	case why == stoppedSlow:
		l.runSlow(c)
	case why == stoppedFull:
		c.more = true
	case why == stoppedDrained && c.readable:
		l.later(c)
	case why == stoppedDrained:
		if c.in.Buffered() > 0 { // a long request counts as activity
			c.activeMS.Store(l.srv.uptime().Milliseconds())
		}
		c.rest()
	}
	if !c.account(c.stuck != 0) {
		c.ended = true
	}
}

// read fills the input buffer once.
func (l *loop) read(c *loopConn) bool {
	into := c.in.Buffer(c.limits())
	n, _, errno := syscall.RawSyscall(unix.SYS_READ, uintptr(c.fd), uintptr(unsafe.Pointer(&into[0])), uintptr(len(into)))
	switch {
	case errno == unix.EAGAIN:
		c.readable = false
		c.in.Wrote(0)
		c.rest()
		return false
	case errno == unix.EINTR:
		n = 0
	case errno != 0:
		c.in.Wrote(0)
		c.ended = true
		return false
	case n == 0:
		c.in.Wrote(0)
		c.closing = true // its replies are sent before: it may read on
		return false
	}
	c.in.Wrote(int(n))
	// A short read has emptied the socket: the next bytes make a new edge, but
	// for a client's close, which may have come with these.
	if int(n) < len(into) && errno == 0 && !c.hup {
		c.readable = false
	}
	l.shard.netIn.Add(uint64(n))
	return true
}

func (l *loop) consume(c *loopConn) stopped {
	if c.out.Buf == nil && len(l.spare) > 0 {
		c.out.Buf = l.spare[len(l.spare)-1]
		l.spare = l.spare[:len(l.spare)-1]
	}
	why := c.session.consume()
	c.due = c.seq
	return why
}

func (l *loop) markDirty(c *loopConn) {
	if !c.isDirty {
		c.isDirty = true
		l.dirty = append(l.dirty, c)
	}
}

// later has the connection stepped in the next round.
func (l *loop) later(c *loopConn) {
	if !c.queued {
		c.queued = true
		l.again = append(l.again, c)
	}
}

// runSlow runs the command that consume stopped for in a goroutine.
func (l *loop) runSlow(c *loopConn) {
	c.resting = true
	l.srv.serving.Go(func() {
		c.session.runSlow(&c.slow)
		l.post(func() {
			c.resting = false
			c.finishSlow(&c.slow)
			c.due = c.seq
			c.slow.Buf = nil
			c.readable = true
			l.enqueue(c)
		})
	})
}

// waiting is the output that has yet to be sent.
func (c *loopConn) waiting() int { return len(c.out.Buf) - c.sent }

// send sends what the socket takes.
func (l *loop) send(c *loopConn) {
	for c.waiting() > 0 {
		from := c.out.Buf[c.sent:]
		n, _, errno := syscall.RawSyscall(unix.SYS_WRITE, uintptr(c.fd), uintptr(unsafe.Pointer(&from[0])), uintptr(len(from)))
		if errno == unix.EINTR {
			continue
		}
		if errno == unix.EAGAIN {
			if c.stuck == 0 {
				c.stuck = l.srv.uptime()
				l.stalled[c] = struct{}{}
				if !c.account(true) {
					c.ended = true
				}
			}
			break
		}
		if errno != 0 {
			c.ended = true
			c.sent = len(c.out.Buf)
			break
		}
		c.sent += int(n)
		l.shard.netOut.Add(uint64(n))
		if c.stuck != 0 {
			c.stuck = 0
			delete(l.stalled, c)
		}
	}
	if c.waiting() == 0 {
		l.sentAll(c)
	}
	if c.ended && !c.resting {
		l.close(c)
	}
}

// sentAll gives the output buffer back.
func (l *loop) sentAll(c *loopConn) {
	c.sent, c.heldFrom = 0, 0
	if c.stuck != 0 {
		c.stuck = 0
		delete(l.stalled, c)
	}
	if buf := c.out.Buf; buf != nil {
		c.out.Buf = nil
		if cap(buf) <= outBytesSmall && len(l.spare) < spareBuffers {
			l.spare = append(l.spare, buf[:0])
		}
	}
	if c.outBytes.Load() != 0 {
		c.account(false)
	}
	switch {
	case !c.resting && (c.closing || l.stopping):
		c.ended = true
	case c.more:
		c.more = false
		l.later(c)
	}
}

// cut ends a connection from outside, after what runs. A loop that stops ends
// all of them by itself, once their replies are sent.
func (l *loop) cut(c *loopConn) {
	if c.closed {
		return
	}
	if !l.stopping {
		c.ended = true
	}
	c.session.cancel()
	l.enqueue(c)
}

// cutStalled ends the connections whose clients take no replies, and those
// that have been idle for as long as the setting timeout says. However often it
// is called, it looks at them once a second.
func (l *loop) cutStalled() {
	now := l.srv.uptime()
	if now-l.checked < stalledCheck {
		return
	}
	l.checked = now
	patience := writeTimeout
	if l.stopping {
		patience = stopWriteTimeout
	}
	for c := range l.stalled {
		if now-c.stuck > patience {
			l.srv.slowReader(&c.shared, c.waiting())
			l.close(c)
		}
	}
	idle := l.srv.settings.timeoutS.Load()
	if idle <= 0 {
		return
	}
	for _, c := range l.conns {
		if c != nil && !c.resting && !c.pending && now.Milliseconds()-c.activeMS.Load() > idle*1000 {
			l.close(c)
		}
	}
}

func (l *loop) close(c *loopConn) {
	if c.closed {
		return
	}
	c.closed = true
	delete(l.stalled, c)
	if l.conns[c.fd] == c {
		l.conns[c.fd] = nil
		l.open--
	}
	_ = unix.Close(c.fd)
	c.out.Buf = nil
	l.srv.remove(c.session)
}

// wakeLoops has the loops look at the settings.
func (s *Server) wakeLoops() {
	for _, l := range s.loops {
		l.post(func() {})
	}
}

// stopLoops has the loops send the replies to what has been run, and end.
func (s *Server) stopLoops() {
	for _, l := range s.loops {
		l.post(func() {
			l.stopping = true
			for _, c := range l.conns {
				if c != nil {
					l.enqueue(c)
				}
			}
		})
	}
}
