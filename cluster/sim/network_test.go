package sim

import (
	"context"
	"errors"
	"hash/fnv"
	"math/rand/v2"
	"net"
	"strings"
	"sync"
	"syscall"
	"time"
)

// A network connects hosts. It delays what is sent, by links, and cuts them in one
// direction or both. Where a link is unruly, frames between nodes come twice, late and
// in another order, which TCP would not do to them: whatever a frame is about, the
// receiver must not depend on it.
type network struct {
	seed  uint64
	trace *trace

	mu    sync.Mutex // guards all of the network, its hosts, links and streams
	hosts map[string]*host
	links map[[2]string]*link // from, to
	apart map[[2]string]bool  // likewise: nothing that is sent arrives
	calm  bool                // no link is unruly
}

func newNetwork(seed uint64, tr *trace) *network {
	return &network{
		seed: seed, trace: tr, hosts: map[string]*host{}, links: map[[2]string]*link{}, apart: map[[2]string]bool{},
	}
}

// A link is one direction between two hosts.
type link struct {
	rand   *rand.Rand
	delay  time.Duration
	jitter time.Duration
	// late and twice are how likely, in a thousand, a frame is held up on its own, and
	// comes again.
	late, twice int
}

// link returns what is between two hosts. The caller holds mu.
func (n *network) link(from, to string) *link {
	l := n.links[[2]string{from, to}]
	if l == nil {
		h := fnv.New64a()
		_, _ = h.Write([]byte(from + ">" + to))
		r := rand.New(rand.NewPCG(n.seed, h.Sum64()))
		l = &link{rand: r, delay: time.Duration(20+r.IntN(300)) * time.Microsecond, jitter: 100 * time.Microsecond}
		switch r.IntN(6) {
		case 0: // far away
			l.delay += time.Duration(r.IntN(30)) * time.Millisecond
			l.jitter = time.Duration(r.IntN(10_000)) * time.Microsecond
		case 1, 2: // unruly
			l.late, l.twice = 1+r.IntN(30), 1+r.IntN(30)
		}
		n.links[[2]string{from, to}] = l
	}
	return l
}

// A host is one process, or what clients run on.
type host struct {
	n         *network
	name      string
	listeners map[string]*listener
	conns     []*conn // in the order in which they came to be
	gone      bool    // the process is dead; it may not know yet
	silent    bool    // and its machine too: nobody says so to those who are connected
}

// newHost is a new process of that name. The connections that others still have to the
// one before break.
func (n *network) newHost(name string) *host {
	n.mu.Lock()
	defer n.mu.Unlock()
	if old := n.hosts[name]; old != nil {
		old.silent = false
		old.breakAll()
	}
	h := &host{n: n, name: name, listeners: map[string]*listener{}}
	n.hosts[name] = h
	return h
}

// die ends a process: all that it has open breaks, unless its machine dies too.
func (h *host) die(silent bool) {
	h.n.mu.Lock()
	defer h.n.mu.Unlock()
	h.gone, h.silent = true, silent
	for _, address := range sortedKeys(h.listeners) {
		h.listeners[address].closeLocked()
	}
	h.breakAll()
}

// breakAll breaks the connections of a process. The caller holds n.mu.
func (h *host) breakAll() {
	for _, c := range append([]*conn(nil), h.conns...) {
		c.out.mute = c.out.mute || h.silent
		c.closeLocked()
	}
}

// breakSome breaks one in so many connections between nodes.
func (n *network) breakSome(r *rand.Rand, in int) {
	n.mu.Lock()
	defer n.mu.Unlock()
	for _, name := range sortedKeys(n.hosts) {
		for _, c := range append([]*conn(nil), n.hosts[name].conns...) {
			if c.out.frames != nil && r.IntN(in) == 0 {
				c.closeLocked()
			}
		}
	}
}

// setApart cuts or mends what is sent from one host to another.
func (n *network) setApart(from, to string, apart bool) {
	n.mu.Lock()
	defer n.mu.Unlock()
	if apart {
		n.apart[[2]string{from, to}] = true
		return
	}
	delete(n.apart, [2]string{from, to})
	n.release()
}

// heal mends all links.
func (n *network) heal() {
	n.mu.Lock()
	defer n.mu.Unlock()
	clear(n.apart)
	n.release()
}

// release lets arrive what waited for a link to be mended. The caller holds mu.
func (n *network) release() {
	for _, name := range sortedKeys(n.hosts) {
		for _, c := range n.hosts[name].conns {
			c.in.release()
		}
	}
}

// setCalm says whether links are what they should be.
func (n *network) setCalm(calm bool) {
	n.mu.Lock()
	defer n.mu.Unlock()
	n.calm = calm
}

func hostOf(address string) string {
	name, _, _ := strings.Cut(address, ":")
	return name
}

type address string

func (a address) Network() string { return "memory" }
func (a address) String() string  { return string(a) }

// A listener is open at one address of a host.
type listener struct {
	h       *host
	address string
	waiting []*conn
	came    sync.Cond // a connection, or the end
	closed  bool
}

// Listen is for cluster.Network and for servers.
func (h *host) Listen(at string) (net.Listener, error) {
	h.n.mu.Lock()
	defer h.n.mu.Unlock()
	if h.gone {
		return nil, errGone
	}
	if h.listeners[at] != nil {
		return nil, syscall.EADDRINUSE
	}
	l := &listener{h: h, address: at, came: sync.Cond{L: &h.n.mu}}
	h.listeners[at] = l
	return l, nil
}

var errGone = errors.New("the process is dead")

func (l *listener) Addr() net.Addr { return address(l.address) }

func (l *listener) Accept() (net.Conn, error) {
	l.h.n.mu.Lock()
	defer l.h.n.mu.Unlock()
	for len(l.waiting) == 0 && !l.closed {
		l.came.Wait()
	}
	if l.closed {
		return nil, net.ErrClosed
	}
	c := l.waiting[0]
	l.waiting = l.waiting[1:]
	return c, nil
}

func (l *listener) Close() error {
	l.h.n.mu.Lock()
	defer l.h.n.mu.Unlock()
	l.closeLocked()
	return nil
}

func (l *listener) closeLocked() {
	if l.closed {
		return
	}
	l.closed = true
	delete(l.h.listeners, l.address)
	for _, c := range l.waiting {
		c.closeLocked()
	}
	l.came.Broadcast()
}

// Dial is for cluster.Network and for clients. A host that is not there does not
// answer; one that does not listen refuses.
func (h *host) Dial(ctx context.Context, to string) (net.Conn, error) {
	n := h.n
	n.mu.Lock()
	there := hostOf(to)
	round := n.link(h.name, there).delay + n.link(there, h.name).delay
	n.mu.Unlock()
	select {
	case <-time.After(round):
	case <-ctx.Done():
		return nil, ctx.Err()
	}
	n.mu.Lock()
	defer n.mu.Unlock()
	remote := n.hosts[there]
	apart := n.apart[[2]string{h.name, there}] || n.apart[[2]string{there, h.name}]
	if h.gone || remote == nil || apart || remote.silent {
		n.mu.Unlock()
		<-ctx.Done()
		n.mu.Lock()
		return nil, ctx.Err()
	}
	l := remote.listeners[to]
	if l == nil {
		return nil, syscall.ECONNREFUSED
	}
	near, far := n.connect(h, remote, to)
	l.waiting = append(l.waiting, far)
	l.came.Signal()
	return near, nil
}
