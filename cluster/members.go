package cluster

import (
	"context"
	"crypto/rand"
	"crypto/tls"
	"crypto/x509"
	"errors"
	"fmt"
	"net"
	"sync"
	"time"

	"cartwheel/cluster/member"
	"cartwheel/cluster/ring"
	"cartwheel/cluster/sabotage"
	"cartwheel/cluster/wire"
	"cartwheel/store"
	"cartwheel/store/version"
)

// members are the other nodes that this one has links to.
type members struct {
	mu     sync.Mutex
	byID   map[ring.NodeID]*peer // guarded by mu
	closed bool                  // guarded by mu
}

func (m *members) close() {
	m.mu.Lock()
	m.closed = true
	all := m.byID
	m.byID = nil
	m.mu.Unlock()
	for _, p := range all {
		p.link.Close()
	}
}

func newRun() (run [8]byte) {
	_, _ = rand.Read(run[:]) // never fails
	return run
}

// records keeps what agreement must remember, as records of the store.
type records struct{ store *store.Store }

const (
	recordDocument = "ring"
	recordAcceptor = "acceptor"
)

func (r records) Load() (document, acceptor []byte, err error) {
	if document, err = r.store.ReadRecord(recordDocument); err != nil {
		return nil, nil, err
	}
	acceptor, err = r.store.ReadRecord(recordAcceptor)
	return document, acceptor, err
}

func (r records) SaveDocument(b []byte) error { return r.store.WriteRecord(recordDocument, b) }
func (r records) SaveAcceptor(b []byte) error { return r.store.WriteRecord(recordAcceptor, b) }

// known keeps the addresses of peers for gossip.
type known struct{ c *Coordinator }

const recordKnown = "peers"

func (k known) LoadKnown() ([]byte, error) { return k.c.store.ReadRecord(recordKnown) }
func (k known) SaveKnown(b []byte) error   { return k.c.store.WriteRecord(recordKnown, b) }

// messenger carries the messages of agreement.
type messenger struct{ c *Coordinator }

func (m messenger) Call(ctx context.Context, to ring.NodeID, request []byte) ([]byte, error) {
	p := m.c.peer(to)
	if p == nil {
		return nil, errDown
	}
	return m.c.call(ctx, p, wire.Small, opAgree, 0, request)
}

// peers is the cluster as package repair sees it.
type peers struct{ c *Coordinator }

func (ps peers) Self() ring.NodeID { return ps.c.store.NodeID() }
func (ps peers) Ring() *ring.Ring  { return ps.c.view.Load().ring }
func (ps peers) Up(id ring.NodeID) bool {
	p := ps.c.peer(id)
	return p != nil && p.up()
}

func (ps peers) Tried(id ring.NodeID) bool {
	p := ps.c.peer(id)
	return p == nil || p.tried.Load()
}

func (ps peers) Call(ctx context.Context, to ring.NodeID, msg []byte) ([]byte, error) {
	p := ps.c.peer(to)
	if p == nil {
		return nil, errDown
	}
	return ps.c.call(ctx, p, wire.Bulk, opRepair, ps.c.view.Load().epoch, msg)
}

// peer returns the link to a node, nil where there is none.
func (c *Coordinator) peer(id ring.NodeID) *peer {
	c.members.mu.Lock()
	defer c.members.mu.Unlock()
	return c.members.byID[id]
}

// onDocument makes a document the ring that this node goes by. Agreement calls it
// with a lock held.
func (c *Coordinator) onDocument(d *ring.Document) {
	self := c.store.NodeID()
	c.members.mu.Lock()
	if c.members.closed {
		c.members.mu.Unlock()
		return
	}
	var gone []*peer
	for _, m := range d.Members {
		p := c.members.byID[m.ID]
		if p != nil && p.address() != m.Peer {
			p.setAddress(m.Peer)
		}
		if p == nil && m.ID != self && m.Peer != "" {
			c.members.byID[m.ID] = c.newPeer(m.ID, m.Peer)
		}
	}
	byID := make(map[ring.NodeID]*peer, len(d.Members))
	for id, p := range c.members.byID {
		if _, is := d.Member(id); is {
			byID[id] = p
		} else {
			gone = append(gone, p)
			delete(c.members.byID, id)
		}
	}
	c.members.mu.Unlock()
	v := newView(d.Ring(), self, byID)
	c.noLongerAlone(v)
	c.installing.Lock()
	c.view.Store(v)
	c.installing.Unlock()
	c.changed.Add(1)
	if v.left {
		c.log.Warn().Uint64("epoch", d.Epoch).Msg("this node is no member of the ring any more: it serves no keys, and can be stopped")
	}
	if r := c.repairing.Load(); r != nil {
		r.RingChanged()
	}
	for _, p := range gone {
		c.liveness.Forget(p.id)
		c.running.Go(p.link.Close)
	}
	c.log.Info().Uint64("epoch", d.Epoch).Int("members", len(d.Members)).Int("moving", len(d.Moves)).Msg("the ring")
}

// learn installs a ring document that a peer has sent.
//
// Where that fails, since the disk is full, it is not tried again for deafFor: until then this node is deaf.
func (c *Coordinator) learn(text []byte) (learnt bool) {
	if c.deaf() {
		return false
	}
	if _, err := c.agreement.Install(append([]byte(nil), text...)); err != nil {
		if errors.Is(err, member.ErrStorage) {
			c.deafUntil.Store(int64(c.uptime() + deafFor))
		}
		c.log.Warn().Err(err).Msg("a peer has sent a ring document that is refused")
		return false
	}
	c.deafUntil.Store(0)
	return true
}

// deafFor is how long nobody teaches a ring to a node that could not take it.
const deafFor = time.Second

func (c *Coordinator) deaf() bool { return int64(c.uptime()) < c.deafUntil.Load() }

// newPeer begins to connect to a node.
func (c *Coordinator) newPeer(id ring.NodeID, address string) *peer {
	p := &peer{c: c, id: id, life: c.liveness.Peer(id)}
	p.setAddress(address)
	p.link = wire.NewLink(wire.LinkOptions{
		Identity: c.identity(func(h *wire.Hello) error {
			if err := c.accept(h, p.address()); err != nil || ring.NodeID(h.Node) == id {
				return err
			}
			return fmt.Errorf("the node at %s is %s, not %s", p.address(), ring.NodeID(h.Node), id)
		}),
		Dial:    func(ctx context.Context, _ wire.Lane) (net.Conn, error) { return c.dial(ctx, p.address()) },
		Deliver: p.deliver,
		Up:      p.connected,
		Down:    p.disconnected,
		Failed:  p.unreachable,
		Poller:  c.poller,
	})
	return p
}

// identity is what this node says of itself in handshakes.
func (c *Coordinator) identity(accept func(*wire.Hello) error) wire.Identity {
	return wire.Identity{
		Secret: c.opts.Secret,
		Hello: func() wire.Hello {
			h := wire.Hello{Node: c.store.NodeID(), Run: c.run, Incarnation: uint64(c.store.Incarnation())}
			if d := c.agreement.Current(); d != nil {
				h.Cluster, h.Epoch = d.Cluster, d.Epoch
			}
			for db, mark := range c.store.FlushMarks() {
				h.Marks[db] = uint64(mark)
			}
			return h
		},
		Seen: func(incarnation uint64) uint64 {
			highest, _ := c.lives.of(version.Incarnation(incarnation))
			return uint64(highest)
		},
		Accept: accept,
	}
}

var (
	errForeign   = errors.New("it belongs to another cluster")
	errDuplicate = errors.New("another process has the same node id: was its data directory copied?")
)

// accept judges what a node says of itself, and takes what concerns this one.
func (c *Coordinator) accept(h *wire.Hello, address string) error {
	err := c.judge(h)
	if err != nil {
		c.log.Warn().Stringer("node", ring.NodeID(h.Node)).Str("addr", address).Err(err).Msg("a node is refused")
		return err
	}
	var marks [databases]version.HLC
	for db, mark := range h.Marks {
		marks[db] = version.HLC(mark)
	}
	if sabotage.On(sabotage.FlushMarkLate) {
		marks = [databases]version.HLC{}
	}
	if err := c.store.RaiseMarks(marks); err != nil {
		return err
	}
	c.lives.saw(version.Clock{{Incarnation: version.Incarnation(h.Incarnation), HLC: 0}})
	if err := c.store.SeenOfMe(version.HLC(h.SeenHLC)); err != nil {
		return err
	}
	c.heardFrom(ring.NodeID(h.Node))
	return nil
}

func (c *Coordinator) judge(h *wire.Hello) error {
	if ring.NodeID(h.Node) == c.store.NodeID() {
		if h.Run == c.run {
			return errors.New("it is this node itself")
		}
		return errDuplicate
	}
	d := c.agreement.Current()
	if d != nil && h.Cluster != d.Cluster && h.Cluster != (ring.ClusterID{}) {
		return errForeign
	}
	if p := c.peer(ring.NodeID(h.Node)); p != nil && p.up() {
		if run := p.run.Load(); run != nil && *run != h.Run && p.heardOfLate() {
			return errDuplicate
		}
	}
	return nil
}

// listen begins to serve other nodes.
func (c *Coordinator) listen() error {
	if c.opts.PeerListen == "" {
		return nil
	}
	l, err := c.listenPeers()
	if err != nil {
		return fmt.Errorf("listen for peers on %s: %w", c.opts.PeerListen, err)
	}
	c.listener = l
	if c.opts.Self.Peer == "" {
		c.opts.Self.Peer = l.Addr().String()
	}
	c.running.Go(func() {
		for {
			conn, err := l.Accept()
			if err != nil {
				if c.serving.Err() != nil || errors.Is(err, net.ErrClosed) {
					return
				}
				c.log.Error().Err(err).Msg("cannot accept a peer's connection")
				select {
				case <-c.stop:
					return
				case <-time.After(100 * time.Millisecond):
				}
				continue
			}
			c.running.Go(func() { c.servePeer(conn) })
		}
	})
	return nil
}

// listenPeers listens for the peer stream: where there is gossip, at the port that
// both share.
func (c *Coordinator) listenPeers() (net.Listener, error) {
	if !c.opts.Gossip {
		return c.opts.Network.Listen(c.opts.PeerListen)
	}
	port, err := member.ListenPort(c.opts.PeerListen, c.log)
	if err != nil {
		return nil, err
	}
	c.port = port
	return port.Peers(), nil
}

// dial connects to another node.
func (c *Coordinator) dial(ctx context.Context, address string) (net.Conn, error) {
	conn, err := c.opts.Network.Dial(ctx, address)
	if err != nil || c.opts.TLS == nil {
		return conn, err
	}
	secure := tls.Client(conn, c.opts.TLS)
	if err := secure.HandshakeContext(ctx); err != nil {
		_ = conn.Close()
		return nil, err
	}
	return secure, nil
}

// peerTLS makes both sides show certificates that descend from the roots.
func peerTLS(config *tls.Config) *tls.Config {
	if config == nil {
		return nil
	}
	config = config.Clone()
	config.ClientAuth = tls.RequireAnyClientCert
	config.InsecureSkipVerify = true // of the name; VerifyConnection does the rest
	config.VerifyConnection = func(state tls.ConnectionState) error {
		between := x509.NewCertPool()
		for _, cert := range state.PeerCertificates[1:] {
			between.AddCert(cert)
		}
		_, err := state.PeerCertificates[0].Verify(x509.VerifyOptions{
			Roots: config.RootCAs, Intermediates: between, KeyUsages: []x509.ExtKeyUsage{x509.ExtKeyUsageAny},
		})
		return err
	}
	return config
}

// servePeer serves a connection that another node has dialed.
func (c *Coordinator) servePeer(conn net.Conn) {
	if c.opts.TLS != nil {
		conn = tls.Server(conn, c.opts.TLS)
	}
	h := &handling{c: c}
	err := wire.Serve(c.serving, conn, wire.ServeOptions{
		Identity: c.identity(func(hello *wire.Hello) error {
			h.from = ring.NodeID(hello.Node)
			return c.accept(hello, conn.RemoteAddr().String())
		}),
		Handler: h,
		Poller:  c.poller,
	})
	if err == nil {
		return
	}
	event := c.log.Debug()
	if now := c.store.NowMS(); h.from == (ring.NodeID{}) && c.strangers.Swap(now/1000) != now/1000 {
		event = c.log.Warn() // one a second: anybody can connect
	}
	event.Err(err).Stringer("addr", conn.RemoteAddr()).Msg("a peer's connection ends")
}

type tcp struct{}

func (tcp) Listen(address string) (net.Listener, error) { return net.Listen("tcp", address) }

func (tcp) Dial(ctx context.Context, address string) (net.Conn, error) {
	var d net.Dialer
	return d.DialContext(ctx, "tcp", address)
}
