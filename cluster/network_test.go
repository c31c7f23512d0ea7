package cluster

import (
	"context"
	"errors"
	"io"
	"math/rand/v2"
	"net"
	"os"
	"sync"
	"syscall"
	"time"
)

// A network connects nodes of one process. It can delay what is sent, cut links
// in one direction or both, and break connections.
type network struct {
	mu        sync.Mutex
	listeners map[string]*memListener // guarded by mu, like the rest
	cut       map[[2]string]bool      // from, to: nothing that is sent arrives
	conns     map[*memConn]struct{}
	rand      *rand.Rand
	delayMax  time.Duration
}

func newNetwork(seed uint64) *network {
	return &network{
		listeners: make(map[string]*memListener), cut: make(map[[2]string]bool),
		conns: make(map[*memConn]struct{}), rand: rand.New(rand.NewPCG(seed, 1)),
	}
}

// at is the network as the node of one address has it.
func (n *network) at(address string) Network { return netAt{n, address} }

type netAt struct {
	n       *network
	address string
}

type memAddr string

func (a memAddr) Network() string { return "memory" }
func (a memAddr) String() string  { return string(a) }

type memListener struct {
	n       *network
	address string
	backlog chan net.Conn
	closed  chan struct{}
	once    sync.Once
}

func (l *memListener) Addr() net.Addr { return memAddr(l.address) }

func (l *memListener) Accept() (net.Conn, error) {
	select {
	case c := <-l.backlog:
		return c, nil
	case <-l.closed:
		return nil, net.ErrClosed
	}
}

func (l *memListener) Close() error {
	l.once.Do(func() {
		l.n.mu.Lock()
		defer l.n.mu.Unlock()
		if l.n.listeners[l.address] == l {
			delete(l.n.listeners, l.address)
		}
		close(l.closed)
	})
	return nil
}

func (a netAt) Listen(address string) (net.Listener, error) {
	a.n.mu.Lock()
	defer a.n.mu.Unlock()
	if a.n.listeners[address] != nil {
		return nil, syscall.EADDRINUSE
	}
	l := &memListener{n: a.n, address: address, backlog: make(chan net.Conn, 64), closed: make(chan struct{})}
	a.n.listeners[address] = l
	return l, nil
}

func (a netAt) Dial(ctx context.Context, address string) (net.Conn, error) {
	a.n.mu.Lock()
	l := a.n.listeners[address]
	apart := a.n.cut[[2]string{a.address, address}] || a.n.cut[[2]string{address, a.address}]
	a.n.mu.Unlock()
	if apart {
		<-ctx.Done()
		return nil, ctx.Err()
	}
	if l == nil {
		return nil, syscall.ECONNREFUSED
	}
	there, back := newStream(a.n, a.address, address), newStream(a.n, address, a.address)
	near := &memConn{n: a.n, in: back, out: there, local: a.address, remote: address}
	far := &memConn{n: a.n, in: there, out: back, local: address, remote: a.address}
	near.peer, far.peer = far, near
	select {
	case l.backlog <- far:
	case <-l.closed:
		return nil, syscall.ECONNREFUSED
	case <-ctx.Done():
		return nil, ctx.Err()
	}
	a.n.mu.Lock()
	defer a.n.mu.Unlock()
	a.n.conns[near], a.n.conns[far] = struct{}{}, struct{}{}
	return near, nil
}

// setCut cuts or mends what is sent from one address to another.
func (n *network) setCut(from, to string, cut bool) {
	n.mu.Lock()
	defer n.mu.Unlock()
	if cut {
		n.cut[[2]string{from, to}] = true
	} else {
		delete(n.cut, [2]string{from, to})
	}
	for c := range n.conns {
		c.in.wake()
	}
}

// heal mends all links.
func (n *network) heal() {
	n.mu.Lock()
	defer n.mu.Unlock()
	clear(n.cut)
	for c := range n.conns {
		c.in.wake()
	}
}

// breakSome breaks about one in so many connections.
func (n *network) breakSome(in int) {
	n.mu.Lock()
	var broken []*memConn
	for c := range n.conns {
		if n.rand.IntN(in) == 0 {
			broken = append(broken, c)
		}
	}
	n.mu.Unlock()
	for _, c := range broken {
		_ = c.Close()
	}
}

// crash breaks all connections of an address and its listener: a process that is
// killed.
func (n *network) crash(address string) {
	n.mu.Lock()
	l := n.listeners[address]
	var broken []*memConn
	for c := range n.conns {
		if c.local == address {
			broken = append(broken, c)
		}
	}
	n.mu.Unlock()
	if l != nil {
		_ = l.Close()
	}
	for _, c := range broken {
		_ = c.Close()
	}
}

func (n *network) isCut(from, to string) bool {
	n.mu.Lock()
	defer n.mu.Unlock()
	return n.cut[[2]string{from, to}]
}

// setDelay delays what is sent by up to so long.
func (n *network) setDelay(most time.Duration) {
	n.mu.Lock()
	defer n.mu.Unlock()
	n.delayMax = most
}

func (n *network) delay() time.Duration {
	n.mu.Lock()
	defer n.mu.Unlock()
	if n.delayMax == 0 {
		return 0
	}
	return time.Duration(n.rand.Int64N(int64(n.delayMax)))
}

// A stream is one direction of a connection.
type stream struct {
	n        *network
	from, to string
	mu       sync.Mutex
	changed  chan struct{} // guarded by mu: closed and replaced at every change
	chunks   []chunk       // guarded by mu
	bytes    int           // guarded by mu
	closed   bool          // guarded by mu
	deaf     bool          // guarded by mu: the reader has closed
}

type chunk struct {
	b  []byte
	at time.Time // when it arrives
}

const streamBytesMax = 256 << 10

func newStream(n *network, from, to string) *stream {
	return &stream{n: n, from: from, to: to, changed: make(chan struct{})}
}

func (s *stream) wake() {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.wakeLocked()
}

func (s *stream) wakeLocked() {
	close(s.changed)
	s.changed = make(chan struct{})
}

func (s *stream) close(byReader bool) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.closed, s.deaf = true, s.deaf || byReader
	s.wakeLocked()
}

func (s *stream) write(b []byte, deadline <-chan struct{}) (int, error) {
	at := time.Now().Add(s.n.delay())
	for {
		s.mu.Lock()
		if s.closed {
			s.mu.Unlock()
			return 0, syscall.EPIPE
		}
		if s.bytes < streamBytesMax {
			s.chunks = append(s.chunks, chunk{append([]byte(nil), b...), at})
			s.bytes += len(b)
			s.wakeLocked()
			s.mu.Unlock()
			return len(b), nil
		}
		changed := s.changed
		s.mu.Unlock()
		select {
		case <-changed:
		case <-deadline:
			return 0, os.ErrDeadlineExceeded
		}
	}
}

func (s *stream) read(b []byte, deadline <-chan struct{}) (int, error) {
	for {
		cut := s.n.isCut(s.from, s.to)
		s.mu.Lock()
		var wait time.Duration
		if len(s.chunks) > 0 && !cut {
			if wait = time.Until(s.chunks[0].at); wait <= 0 {
				n := copy(b, s.chunks[0].b)
				if s.chunks[0].b = s.chunks[0].b[n:]; len(s.chunks[0].b) == 0 {
					s.chunks = s.chunks[1:]
				}
				s.bytes -= n
				s.wakeLocked()
				s.mu.Unlock()
				return n, nil
			}
		}
		if s.deaf {
			s.mu.Unlock()
			return 0, net.ErrClosed
		}
		if s.closed && !cut {
			s.mu.Unlock()
			return 0, io.EOF
		}
		changed := s.changed
		s.mu.Unlock()
		var later <-chan time.Time
		if wait > 0 {
			later = time.After(wait)
		}
		select {
		case <-changed:
		case <-later:
		case <-deadline:
			return 0, os.ErrDeadlineExceeded
		}
	}
}

// A memConn is one end of a connection.
type memConn struct {
	n             *network
	in, out       *stream
	local, remote string
	peer          *memConn
	once          sync.Once
	reads, writes deadline
}

func (c *memConn) Read(b []byte) (int, error)  { return c.in.read(b, c.reads.wait()) }
func (c *memConn) Write(b []byte) (int, error) { return c.out.write(b, c.writes.wait()) }
func (c *memConn) LocalAddr() net.Addr         { return memAddr(c.local) }
func (c *memConn) RemoteAddr() net.Addr        { return memAddr(c.remote) }

func (c *memConn) Close() error {
	c.once.Do(func() {
		c.in.close(true)
		c.out.close(false)
		c.n.mu.Lock()
		defer c.n.mu.Unlock()
		delete(c.n.conns, c)
	})
	return nil
}

func (c *memConn) SetDeadline(t time.Time) error {
	return errors.Join(c.SetReadDeadline(t), c.SetWriteDeadline(t))
}

func (c *memConn) SetReadDeadline(t time.Time) error {
	c.reads.set(t)
	return nil
}

func (c *memConn) SetWriteDeadline(t time.Time) error {
	c.writes.set(t)
	return nil
}

// A deadline is closed when it passes.
type deadline struct {
	mu     sync.Mutex
	timer  *time.Timer
	passed chan struct{}
}

func (d *deadline) wait() <-chan struct{} {
	d.mu.Lock()
	defer d.mu.Unlock()
	if d.passed == nil {
		d.passed = make(chan struct{})
	}
	return d.passed
}

func (d *deadline) set(t time.Time) {
	d.mu.Lock()
	defer d.mu.Unlock()
	if d.timer != nil {
		d.timer.Stop()
		d.timer = nil
	}
	if d.passed == nil {
		d.passed = make(chan struct{})
	}
	over := false
	select {
	case <-d.passed:
		over = true
	default:
	}
	if over {
		d.passed = make(chan struct{})
	}
	if t.IsZero() {
		return
	}
	passed := d.passed
	if left := time.Until(t); left <= 0 {
		close(passed)
	} else {
		d.timer = time.AfterFunc(left, func() {
			d.mu.Lock()
			defer d.mu.Unlock()
			select {
			case <-passed:
			default:
				close(passed)
			}
		})
	}
}
