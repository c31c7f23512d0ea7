package main

import (
	"context"
	"errors"
	"fmt"
	"io"
	"net"
	"runtime"
	"slices"
	"strings"
	"time"

	"golang.org/x/sys/unix"
)

// How the load runs: one thread and epoll, as in redis-benchmark, so that the load takes little of what
// it shares with the servers. A connection sends its pipeline in one write, and the next when all replies
// are there; or, where there is a rate, when the next is due, and as soon as it can where it is overdue.
// Latency is from when a pipeline was due: a server that stalls is charged for all that had to wait.
const (
	loadTimerMin   = 50 * time.Microsecond // open loop: how finely what is due is looked for
	loadSilenceMax = 20 * time.Second      // a reply that takes longer is an error
)

// loader is one run.
type loader struct {
	load    clusterLoad
	conns   []*loadConn
	byFD    map[int32]*loadConn
	epoll   int
	timer   int
	random  uint64
	slice   time.Duration
	stop    <-chan struct{}
	took    []*latencies // by slices of the time since it began
	done    int          // commands that were answered, without WAIT
	began   time.Time
	until   time.Time
	lasted  time.Duration
	arrived int // pipelines that have become due
}

type loadConn struct {
	fd      int
	file    io.Closer
	request *request
	left    int       // replies to come; 0: idle
	since   time.Time // when the pipeline on its way was due
	waiting int       // pipelines that are due and not sent
	due     time.Time // when the oldest of them was
	buffer  []byte
	filled  int
}

// runClusterLoad puts the load on the addresses, its connections spread evenly over them, for that long.
func runClusterLoad(ctx context.Context, addrs []string, load clusterLoad, d time.Duration) (_ throughput, err error) {
	l, err := runLoader(ctx, addrs, load, d, d, nil)
	if err != nil {
		return throughput{}, err
	}
	took := &latencies{}
	for _, each := range l.took {
		took.join(each)
	}
	ms := func(share float64) float64 { return float64(took.quantile(share)) / float64(time.Millisecond) }
	return throughput{
		PerSecond: float64(l.done) / l.lasted.Seconds(),
		P50MS:     ms(0.5), P99MS: ms(0.99), P999MS: ms(0.999),
	}, nil
}

// runSlicedLoad does the same, and returns when it began and the latencies of the pipelines that were
// due in each slice of the time since. It ends sooner where stop is closed.
func runSlicedLoad(ctx context.Context, addrs []string, load clusterLoad, d, slice time.Duration, stop <-chan struct{}) (began time.Time, took []*latencies, _ error) {
	l, err := runLoader(ctx, addrs, load, d, slice, stop)
	if err != nil {
		return time.Time{}, nil, err
	}
	return l.began, l.took, nil
}

func runLoader(ctx context.Context, addrs []string, load clusterLoad, d, slice time.Duration, stop <-chan struct{}) (_ *loader, err error) {
	l := &loader{load: load, slice: slice, stop: stop, byFD: map[int32]*loadConn{}, random: 0x9e3779b97f4a7c15}
	defer func() { err = errors.Join(err, l.close()) }()
	if l.epoll, err = unix.EpollCreate1(unix.EPOLL_CLOEXEC); err != nil {
		return nil, fmt.Errorf("making an epoll: %w", err)
	}
	if l.timer, err = unix.TimerfdCreate(unix.CLOCK_MONOTONIC, unix.TFD_CLOEXEC|unix.TFD_NONBLOCK); err != nil {
		return nil, fmt.Errorf("making a timer: %w", err)
	}
	if err := l.watch(l.timer); err != nil {
		return nil, err
	}
	for n := range loadConnections {
		if err := l.connect(ctx, addrs[n%len(addrs)]); err != nil {
			return nil, err
		}
	}
	runtime.LockOSThread()
	defer runtime.UnlockOSThread()
	if err := l.run(ctx, d); err != nil {
		return nil, fmt.Errorf("%v: %w", load, err)
	}
	l.lasted = time.Since(l.began)
	return l, nil
}

func (l *loader) close() (err error) {
	for _, c := range l.conns {
		err = errors.Join(err, c.file.Close())
	}
	return errors.Join(err, unix.Close(l.timer), unix.Close(l.epoll))
}

func (l *loader) watch(fd int) error {
	event := unix.EpollEvent{Events: unix.EPOLLIN | unix.EPOLLET, Fd: int32(fd)}
	if err := unix.EpollCtl(l.epoll, unix.EPOLL_CTL_ADD, fd, &event); err != nil {
		return fmt.Errorf("watching a file: %w", err)
	}
	return nil
}

func (l *loader) connect(ctx context.Context, addr string) error {
	conn, err := new(net.Dialer).DialContext(ctx, "tcp", addr)
	if err != nil {
		return err
	}
	defer conn.Close()
	if l.load.prelude != "" {
		if err := prelude(conn, l.load.prelude); err != nil {
			return fmt.Errorf("%s: %w", l.load.prelude, err)
		}
	}
	// A duplicate of the descriptor, so that Go's own poller keeps out of it.
	file, err := conn.(*net.TCPConn).File()
	if err != nil {
		return err
	}
	c := &loadConn{fd: int(file.Fd()), file: file, request: l.load.request(), buffer: make([]byte, loadBufferBytes)}
	l.conns = append(l.conns, c)
	l.byFD[int32(c.fd)] = c
	if err := unix.SetNonblock(c.fd, true); err != nil {
		return err
	}
	return l.watch(c.fd)
}

// prelude sends one command and reads its reply.
func prelude(conn net.Conn, words string) error {
	if err := conn.SetDeadline(time.Now().Add(loadSilenceMax)); err != nil {
		return err
	}
	if _, err := conn.Write(appendCommand(nil, strings.Fields(words)...)); err != nil {
		return err
	}
	reply := make([]byte, loadReplyBytesMax)
	for filled := 0; filled < len(reply); {
		n, err := conn.Read(reply[filled:])
		if err != nil {
			return err
		}
		filled += n
		if whole, err := skipReply(reply[:filled], false); whole > 0 || err != nil {
			return err
		}
	}
	return errors.New("the reply is too long")
}

// run sends and reads until the time is over and every reply is there.
func (l *loader) run(ctx context.Context, d time.Duration) error {
	l.began = time.Now()
	l.until = l.began.Add(d)
	if l.load.rate == 0 {
		for _, c := range l.conns {
			if err := l.send(c, l.began); err != nil {
				return err
			}
		}
	}
	events := make([]unix.EpollEvent, len(l.conns)+1)
	for heard := l.began; ; {
		now := time.Now()
		select {
		case <-l.stop:
			l.stop, l.until = nil, now
		default:
		}
		if err := l.arrive(now); err != nil {
			return err
		}
		if now.After(l.until) && l.idle() {
			return nil
		}
		if ctx.Err() != nil {
			return context.Cause(ctx)
		}
		n, err := unix.EpollWait(l.epoll, events, 100)
		if err != nil && !errors.Is(err, unix.EINTR) {
			return fmt.Errorf("waiting for replies: %w", err)
		}
		now = time.Now()
		for _, event := range events[:max(n, 0)] {
			if c := l.byFD[event.Fd]; c != nil {
				heard = now
				if err := l.read(c, now); err != nil {
					return err
				}
			}
		}
		if now.Sub(heard) > loadSilenceMax {
			return fmt.Errorf("no reply for %v", loadSilenceMax)
		}
	}
}

func (l *loader) idle() bool {
	return !slices.ContainsFunc(l.conns, func(c *loadConn) bool { return c.left > 0 || c.waiting > 0 })
}

// arrive sends what has become due, and sets the timer for the next. Pipeline n is due at n/rate, on
// the connections in turn.
func (l *loader) arrive(now time.Time) error {
	if l.load.rate == 0 {
		return nil
	}
	for {
		due := l.dueAt(l.arrived)
		if due.After(l.until) {
			return nil
		}
		if due.After(now) {
			wait := max(due.Sub(now), loadTimerMin)
			spec := unix.ItimerSpec{Value: unix.NsecToTimespec(wait.Nanoseconds())}
			if err := unix.TimerfdSettime(l.timer, 0, &spec, nil); err != nil {
				return fmt.Errorf("setting the timer: %w", err)
			}
			return nil
		}
		c := l.conns[l.arrived%len(l.conns)]
		if c.waiting == 0 {
			c.due = due
		}
		c.waiting++
		l.arrived++
		if err := l.sendWaiting(c); err != nil {
			return err
		}
	}
}

func (l *loader) dueAt(n int) time.Time {
	return l.began.Add(time.Duration(float64(n) / l.load.rate * float64(time.Second)))
}

// sendWaiting sends the oldest pipeline that is due, if the connection is idle.
func (l *loader) sendWaiting(c *loadConn) error {
	if c.waiting == 0 || c.left > 0 {
		return nil
	}
	due := c.due
	c.waiting--
	c.due = due.Add(time.Duration(float64(len(l.conns)) / l.load.rate * float64(time.Second)))
	return l.send(c, due)
}

// send writes a pipeline; since is when its latency begins.
func (l *loader) send(c *loadConn, since time.Time) error {
	c.request.choose(l.next)
	c.left, c.since = c.request.replies, since
	for text := c.request.text; len(text) > 0; {
		n, err := unix.Write(c.fd, text)
		switch {
		case errors.Is(err, unix.EAGAIN):
			poll := []unix.PollFd{{Fd: int32(c.fd), Events: unix.POLLOUT}}
			if _, err := unix.Poll(poll, int(loadSilenceMax.Milliseconds())); err != nil && !errors.Is(err, unix.EINTR) {
				return fmt.Errorf("waiting to send: %w", err)
			}
		case err != nil && !errors.Is(err, unix.EINTR):
			return fmt.Errorf("sending: %w", err)
		default:
			text = text[max(n, 0):]
		}
	}
	return nil
}

// read takes what has come in, and sends the next pipeline if that was the last reply.
func (l *loader) read(c *loadConn, now time.Time) error {
	n, err := unix.Read(c.fd, c.buffer[c.filled:])
	switch {
	case errors.Is(err, unix.EAGAIN) || errors.Is(err, unix.EINTR):
		return nil
	case err != nil:
		return fmt.Errorf("receiving: %w", err)
	case n == 0:
		return errors.New("the server closed a connection")
	}
	c.filled += n
	at := 0
	for c.left > 0 {
		took, err := skipReply(c.buffer[at:c.filled], c.request.waits && c.left == 1)
		if err != nil {
			return err
		}
		if took == 0 {
			break
		}
		at += took
		c.left--
	}
	c.filled = copy(c.buffer, c.buffer[at:c.filled])
	if c.left > 0 {
		return nil
	}
	if c.filled > 0 {
		return fmt.Errorf("a reply that was not asked for: %q", c.buffer[:c.filled])
	}
	l.done += l.load.pipeline
	l.sliceOf(c.since).add(now.Sub(c.since))
	if l.load.rate > 0 {
		return l.sendWaiting(c)
	}
	if now.After(l.until) {
		return nil
	}
	return l.send(c, now)
}

// sliceOf returns where the latency of a pipeline that was due then counts.
func (l *loader) sliceOf(due time.Time) *latencies {
	n := int(max(0, due.Sub(l.began)) / l.slice)
	for len(l.took) <= n {
		l.took = append(l.took, &latencies{})
	}
	return l.took[n]
}

// next is xorshift64 (Marsaglia, "Xorshift RNGs"): the keys of a run are the same each time.
func (l *loader) next() uint64 {
	l.random ^= l.random << 13
	l.random ^= l.random >> 7
	l.random ^= l.random << 17
	return l.random
}
