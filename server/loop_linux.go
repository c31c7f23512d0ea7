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

	"cartwheel/cluster/quorum"
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

	commits      chan commitDue // for the committer
	isCommitting bool
	committing   []*loopConn   // whose replies the commit under way holds
	waiting      []*loopConn   // whose replies the commit after it holds
	commitTook   time.Duration // the last one

	watchedCommitting, watchedWaiting []*watched // the same of those that are watched

	ready   []*loopConn // to be stepped in the next round
	stepped []*loopConn // memory for that after it
	again   []*loopConn // the same, without an event
	dirty   []*loopConn // with replies to be sent
	stalled map[*loopConn]struct{}
	checked time.Duration // when cutStalled last ran, by uptime
	spare   [][]byte      // output buffers

	readable  []*watched // that may have something to read
	spareRead []*watched // memory for readable

	sleeping atomic.Bool
	mu       sync.Mutex
	inbox    []func()           // guarded by mu: what others want done
	advanced []*loopConn        // guarded by mu: calls of them can be advanced
	spareAdv []*loopConn        // memory for advanced
	watching map[int32]*watched // guarded by mu; nil: the loop has ended
	stopping bool               // no commands are taken any more
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
	var threads []int
	for range max(1, runtime.GOMAXPROCS(0)*3/4) { // the rest is for Pebble and the garbage collector
		l, err := newLoop(s)
		if err != nil {
			return fmt.Errorf("start an event loop: %w", err)
		}
		s.loops = append(s.loops, l)
		s.shards = append(s.shards, l.shard)
		thread := make(chan int)
		s.serving.Go(func() {
			runtime.LockOSThread() // which ends with the loop
			thread <- unix.Gettid()
			l.run()
		})
		threads = append(threads, <-thread)
		s.serving.Go(l.runCommitter)
	}
	if s.opts.BackgroundNice > 0 {
		if err := lowerOthers(threads, s.opts.BackgroundNice); err != nil { // they serve all the same
			s.log.Warn().Err(err).Msg("what runs in the background does not give way to clients")
		}
	}
	return nil
}

func newLoop(s *Server) (*loop, error) {
	l := &loop{srv: s, shard: newShard(s.table), stalled: make(map[*loopConn]struct{}), watching: make(map[int32]*watched), commits: make(chan commitDue, 1)}
	var err error
	if l.epoll, err = unix.EpollCreate1(unix.EPOLL_CLOEXEC); err != nil {
		return nil, err
	}
	if l.wake, err = unix.Eventfd(0, unix.EFD_NONBLOCK|unix.EFD_CLOEXEC); err != nil {
		return nil, err
	}
	return l, unix.EpollCtl(l.epoll, unix.EPOLL_CTL_ADD, l.wake, &unix.EpollEvent{Events: unix.EPOLLIN, Fd: int32(l.wake)})
}

// Pollers returns what watches sockets beside those of clients. Call Listen before.
func (s *Server) Pollers() (pollers []quorum.Poller) {
	for _, l := range s.loops {
		pollers = append(pollers, l)
	}
	return pollers
}

// toLoop moves a connection to a loop, which owns it from then on.
func (s *Server) toLoop(conn net.Conn) bool {
	tcp, ok := conn.(*net.TCPConn)
	if !ok || len(s.loops) == 0 {
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
		sess.tell = func() { l.tell(c) }
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
	defer l.mu.Unlock()
	l.inbox = append(l.inbox, f)
	l.signal()
}

// signal wakes the loop if it sleeps. The caller holds mu: without it, the loop could have ended by
// the time of the write, and the eventfd's number be a file's.
func (l *loop) signal() {
	if l.sleeping.Load() && l.sleeping.CompareAndSwap(true, false) {
		_, _ = unix.Write(l.wake, []byte{1, 0, 0, 0, 0, 0, 0, 0})
	}
}

// tell has the loop advance calls of a connection.
func (l *loop) tell(c *loopConn) {
	l.mu.Lock()
	defer l.mu.Unlock()
	l.advanced = append(l.advanced, c)
	l.signal()
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
		l.readWatched()
		l.readInbox()
		l.round()
	}
	l.endWatched()
	l.unwatchAll()
	close(l.commits)
	_ = unix.Close(l.epoll)
	_ = unix.Close(l.wake)
}

// wait returns the number of events there are; it blocks only if nothing else
// is to be done.
func (l *loop) wait(events []unix.EpollEvent) int {
	n := pollNow(l.epoll, events)
	if n > 0 || len(l.again) > 0 || len(l.readable) > 0 {
		return n
	}
	l.sleeping.Store(true)
	defer l.sleeping.Store(false)
	l.mu.Lock()
	waiting := len(l.inbox) + len(l.advanced)
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
	if int(e.Fd) >= len(l.conns) || l.conns[e.Fd] == nil {
		l.noticeWatched(e)
		return
	}
	c := l.conns[e.Fd]
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
	inbox, advanced := l.inbox, l.advanced
	l.inbox, l.advanced = nil, l.spareAdv[:0]
	l.mu.Unlock()
	for _, f := range inbox {
		f()
	}
	for i, c := range advanced {
		l.regroup(c)
		advanced[i] = nil
	}
	l.spareAdv = advanced
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
