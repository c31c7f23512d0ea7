package member

import (
	"context"
	"math/rand/v2"
	"net"
	"net/netip"
	"slices"
	"sync"
	"syscall"
	"testing"
	"time"

	"github.com/rs/zerolog"

	"cartwheel/cluster/ring"
)

// A hall is a network in memory on which memberlist itself runs, in the time of a
// bubble.
type hall struct {
	mu   sync.Mutex // guards what follows
	rng  *rand.Rand
	at   map[string]*hallPort
	sent traffic
}

func newHall(seed uint64) *hall {
	return &hall{rng: rand.New(rand.NewPCG(seed, 3)), at: make(map[string]*hallPort)}
}

// hallPort is a listener and a packet connection at one address.
type hallPort struct {
	hall    *hall
	address netip.AddrPort
	conns   chan net.Conn
	packets chan hallPacket
	closed  chan struct{}
	once    sync.Once
}

type hallPacket struct {
	b    []byte
	from net.Addr
}

func (h *hall) open(address netip.AddrPort) *hallPort {
	p := &hallPort{
		hall: h, address: address, conns: make(chan net.Conn, 128),
		packets: make(chan hallPacket, 256), closed: make(chan struct{}),
	}
	h.mu.Lock()
	defer h.mu.Unlock()
	h.at[address.String()] = p
	return p
}

func (h *hall) to(address string) *hallPort {
	h.mu.Lock()
	defer h.mu.Unlock()
	return h.at[address]
}

// traffic is what has been sent.
type traffic struct{ streams, streamBytes, packets, packetBytes int }

// counted returns what has been sent since the last time.
func (h *hall) counted() traffic {
	h.mu.Lock()
	defer h.mu.Unlock()
	counted := h.sent
	h.sent = traffic{}
	return counted
}

func (p *hallPort) Accept() (net.Conn, error) {
	select {
	case conn := <-p.conns:
		return conn, nil
	case <-p.closed:
		return nil, net.ErrClosed
	}
}

func (p *hallPort) Addr() net.Addr { return net.TCPAddrFromAddrPort(p.address) }

func (p *hallPort) Close() error {
	p.once.Do(func() { close(p.closed) })
	return nil
}

func (p *hallPort) dial(ctx context.Context, address string) (net.Conn, error) {
	to := p.hall.to(address)
	if to == nil {
		return nil, syscall.ECONNREFUSED
	}
	near, far := net.Pipe()
	p.hall.mu.Lock()
	p.hall.sent.streams++
	p.hall.mu.Unlock()
	select {
	case to.conns <- &hallConn{far, p.hall}:
		return &hallConn{near, p.hall}, nil
	case <-to.closed:
		return nil, syscall.ECONNREFUSED
	case <-ctx.Done():
		return nil, ctx.Err()
	}
}

type hallConn struct {
	net.Conn
	hall *hall
}

func (c *hallConn) RemoteAddr() net.Addr { return &net.TCPAddr{IP: net.IPv4(10, 255, 0, 1), Port: 1} }

func (c *hallConn) Write(b []byte) (int, error) {
	n, err := c.Conn.Write(b)
	c.hall.mu.Lock()
	defer c.hall.mu.Unlock()
	c.hall.sent.streamBytes += n
	return n, err
}

// hallPackets is the packet connection of a port.
type hallPackets struct{ *hallPort }

func (p hallPackets) LocalAddr() net.Addr              { return net.UDPAddrFromAddrPort(p.address) }
func (p hallPackets) SetDeadline(time.Time) error      { return nil }
func (p hallPackets) SetReadDeadline(time.Time) error  { return nil }
func (p hallPackets) SetWriteDeadline(time.Time) error { return nil }

func (p hallPackets) ReadFrom(b []byte) (int, net.Addr, error) {
	select {
	case packet := <-p.packets:
		return copy(b, packet.b), packet.from, nil
	case <-p.closed:
		return 0, nil, net.ErrClosed
	}
}

func (p hallPackets) WriteTo(b []byte, to net.Addr) (int, error) {
	other := p.hall.to(to.String())
	p.hall.mu.Lock()
	p.hall.sent.packets++
	p.hall.sent.packetBytes += len(b)
	delay := time.Duration(p.hall.rng.Int64N(int64(scaleDelayMax)))
	p.hall.mu.Unlock()
	if other == nil {
		return len(b), nil
	}
	packet := hallPacket{slices.Clone(b), p.LocalAddr()}
	time.AfterFunc(delay, func() {
		select {
		case other.packets <- packet:
		default: // lost
		}
	})
	return len(b), nil
}

// start starts the gossip of a node that has that document.
func (h *hall) start(t *testing.T, id int, seed string, d *ring.Document) *gossiper {
	t.Helper()
	address := netip.AddrPortFrom(netip.AddrFrom4([4]byte{10, 0, byte(id >> 8), byte(id)}), 7201)
	port := h.open(address)
	n := &gossiper{address: address.String(), log: &logBuffer{}, known: &knownFile{}, current: d}
	log := zerolog.Nop()
	n.port = NewPort(PortOptions{Listener: port, Packets: hallPackets{port}, Dial: port.dial, Log: log})
	opts := GossipOptions{
		Self: nodeID(id), Cluster: ring.ClusterID{7}, Port: n.port,
		Contact: Contact{Peer: n.address, Client: n.address, Cluster: n.address, Run: uint64(id)},
		Known:   n.known, Document: n.installed, Install: n.install, Log: log,
	}
	if seed != "" {
		opts.Seeds = []string{seed}
	}
	var err error
	if n.Gossip, err = StartGossip(opts); err != nil {
		t.Fatal(err)
	}
	return n
}
