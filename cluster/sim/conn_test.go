package sim

import (
	"errors"
	"io"
	"net"
	"os"
	"slices"
	"strings"
	"sync"
	"syscall"
	"time"
)

// A stream is one direction of a connection. What is written is cut into units (whole
// frames, between nodes), and each arrives after the link's delay, in order unless the
// link is unruly. Its fields are guarded by the network's mu.
type stream struct {
	n        *network
	from, to string
	frames   *framer // nil: a client's, which has no frames
	changed  sync.Cond
	last     time.Time // when the latest unit in order arrives
	underWay int       // bytes that have not been read
	held     [][]byte  // that have arrived while the link was cut, or before it was mended
	arrived  []byte    // to be read
	closed   bool      // by the writer; what is under way arrives before
	ended    bool      // that has arrived
	deaf     bool      // the reader has closed
	mute     bool      // the writer's machine is dead: nobody learns that it is closed
}

const streamBytesMax = 1 << 20

// send sends what was written. The caller holds n.mu.
func (s *stream) send(b []byte) {
	l := s.n.link(s.from, s.to)
	units := [][]byte{slices.Clone(b)}
	if s.frames != nil {
		units = s.frames.cut(b)
	}
	var together []byte // units that arrive at once
	at := time.Now().Add(l.delay + time.Duration(l.rand.Int64N(int64(l.jitter)+1)))
	if at.Before(s.last) {
		at = s.last
	}
	for _, unit := range units {
		s.underWay += len(unit)
		unruly := !s.n.calm && s.frames != nil && mayStray(unit)
		switch {
		case unruly && l.rand.IntN(1000) < l.late:
			s.arriveAt(at.Add(time.Duration(l.rand.Int64N(l.rand.Int64N(int64(3*time.Second))+1))), unit)
			continue
		case unruly && l.rand.IntN(1000) < l.twice:
			s.underWay += len(unit)
			s.arriveAt(at.Add(time.Duration(l.rand.Int64N(l.rand.Int64N(int64(3*time.Second))+1))), unit)
		}
		together = append(together, unit...)
	}
	if len(together) > 0 {
		s.last = at
		s.arriveAt(at, together)
	}
}

func (s *stream) arriveAt(at time.Time, unit []byte) {
	time.AfterFunc(time.Until(at), func() {
		s.n.mu.Lock()
		defer s.n.mu.Unlock()
		s.arrive(unit)
	})
}

// arrive lets a unit arrive; nil is the end. The caller holds n.mu.
func (s *stream) arrive(unit []byte) {
	if s.deaf || s.ended {
		return
	}
	if len(s.held) > 0 || s.n.apart[[2]string{s.from, s.to}] {
		s.held = append(s.held, unit)
		return
	}
	s.n.trace.delivered(s.from, s.to, unit)
	if unit == nil {
		s.ended = true
	}
	s.arrived = append(s.arrived, unit...)
	s.changed.Broadcast()
}

// release lets arrive what was held. The caller holds n.mu.
func (s *stream) release() {
	if s.n.apart[[2]string{s.from, s.to}] {
		return
	}
	held := s.held
	s.held = nil
	for _, unit := range held {
		s.arrive(unit)
	}
}

// A conn is one end of a connection.
type conn struct {
	h             *host
	in, out       *stream
	local, remote string
	closed        bool
	reads, writes limit
}

// connect makes both ends of a connection. The caller holds n.mu.
func (n *network) connect(from, to *host, at string) (near, far *conn) {
	between := func(a, b *host) *stream {
		s := &stream{n: n, from: a.name, to: b.name, changed: sync.Cond{L: &n.mu}}
		if isPeerPort(at) {
			s.frames = &framer{}
		}
		return s
	}
	there, back := between(from, to), between(to, from)
	near = &conn{h: from, in: back, out: there, local: from.name, remote: at}
	far = &conn{h: to, in: there, out: back, local: at, remote: from.name}
	from.conns, to.conns = append(from.conns, near), append(to.conns, far)
	return near, far
}

func (c *conn) Read(b []byte) (int, error) {
	s := c.in
	s.n.mu.Lock()
	defer s.n.mu.Unlock()
	for {
		switch {
		case c.closed:
			return 0, net.ErrClosed
		case len(s.arrived) > 0:
			n := copy(b, s.arrived)
			s.arrived = s.arrived[n:]
			s.underWay -= n
			s.changed.Broadcast()
			return n, nil
		case s.ended:
			return 0, io.EOF
		case c.reads.passed():
			return 0, os.ErrDeadlineExceeded
		}
		c.reads.wait(s)
	}
}

func (c *conn) Write(b []byte) (int, error) {
	s := c.out
	s.n.mu.Lock()
	defer s.n.mu.Unlock()
	for {
		switch {
		case c.closed:
			return 0, net.ErrClosed
		case s.deaf || s.closed:
			return 0, syscall.EPIPE
		case c.writes.passed():
			return 0, os.ErrDeadlineExceeded
		case s.underWay < streamBytesMax:
			s.send(b)
			return len(b), nil
		}
		c.writes.wait(s)
	}
}

func (c *conn) Close() error {
	c.h.n.mu.Lock()
	defer c.h.n.mu.Unlock()
	c.closeLocked()
	return nil
}

func (c *conn) closeLocked() {
	if c.closed {
		return
	}
	c.closed = true
	c.reads.set(time.Time{})
	c.writes.set(time.Time{})
	c.in.deaf, c.out.closed = true, true
	if !c.out.mute {
		l := c.in.n.link(c.out.from, c.out.to)
		at := time.Now().Add(l.delay)
		if at.Before(c.out.last) {
			at = c.out.last
		}
		c.out.arriveAt(at, nil)
	}
	c.in.changed.Broadcast()
	c.out.changed.Broadcast()
	c.h.conns = slices.DeleteFunc(c.h.conns, func(other *conn) bool { return other == c })
}

func (c *conn) LocalAddr() net.Addr  { return address(c.local) }
func (c *conn) RemoteAddr() net.Addr { return address(c.remote) }

func (c *conn) SetDeadline(t time.Time) error {
	return errors.Join(c.SetReadDeadline(t), c.SetWriteDeadline(t))
}

func (c *conn) SetReadDeadline(t time.Time) error  { return c.setLimit(&c.reads, c.in, t) }
func (c *conn) SetWriteDeadline(t time.Time) error { return c.setLimit(&c.writes, c.out, t) }

func (c *conn) setLimit(l *limit, s *stream, t time.Time) error {
	s.n.mu.Lock()
	defer s.n.mu.Unlock()
	if c.closed {
		return net.ErrClosed
	}
	if l.set(t) {
		s.changed.Broadcast()
	}
	return nil
}

// A limit is a deadline.
type limit struct {
	at      time.Time
	timer   *time.Timer // that wakes who waits
	waiting int
}

func (l *limit) passed() bool { return !l.at.IsZero() && !time.Now().Before(l.at) }

// set reports whether anybody waits, who is to look again.
func (l *limit) set(at time.Time) (awaited bool) {
	if l.timer != nil {
		l.timer.Stop()
		l.timer = nil
	}
	l.at = at
	return l.waiting > 0
}

// wait waits for the stream to change, until the deadline. The caller holds n.mu.
func (l *limit) wait(s *stream) {
	if left := time.Until(l.at); !l.at.IsZero() && l.timer == nil && left > 0 {
		l.timer = time.AfterFunc(left, func() {
			s.n.mu.Lock()
			defer s.n.mu.Unlock()
			s.changed.Broadcast()
		})
	}
	l.waiting++
	s.changed.Wait()
	l.waiting--
}

const (
	peerPort   = ":7000"
	clientPort = ":6379"
)

func isPeerPort(address string) bool { return strings.HasSuffix(address, peerPort) }
