package member

import (
	"context"
	"crypto/hkdf"
	"crypto/sha256"
	"errors"
	"fmt"
	"log"
	"net"
	"net/netip"
	"sync"
	"sync/atomic"
	"time"

	"github.com/hashicorp/memberlist"
	"github.com/rs/zerolog"

	"cartwheel/cluster/ring"
)

// GossipOptions of a Gossip. Self, Cluster, Port, Contact, Document and Install are
// required.
type GossipOptions struct {
	Self ring.NodeID
	// Cluster keeps clusters apart: who bears another's id is not heard. A node that
	// is to join one learns its id first, by the handshake of the peer stream.
	Cluster ring.ClusterID
	// Secret encrypts all gossip, where there is one.
	Secret []byte
	Port   *Port
	// Contact is what this node says of itself. Its Peer address is resolved once,
	// and must be one that others can reach.
	Contact Contact

	// Seeds are peer addresses to join besides those known.
	Seeds []string
	// Known keeps the addresses of peers over restarts. It may be nil.
	Known KnownStorage

	// Document returns the committed ring document or nil, and Install takes the
	// form of one that a peer has sent: an Agreement's Current and Install. Install
	// may block.
	Document func() *ring.Document
	Install  func(form []byte) (installed bool, err error)

	// OnChange is told of a node that came, went or changed what it says of itself,
	// as it is at that moment, from one goroutine. Nothing waits for it.
	OnChange func(Node)

	Log zerolog.Logger

	// Pace is the interval between two probes; all other intervals are multiples
	// of it. Default: 1 s.
	Pace time.Duration
}

// A Node is another node as gossip knows it.
type Node struct {
	ID      ring.NodeID
	Contact Contact
	Alive   bool
}

// A Gossip spreads who is there, at which addresses, and the committed ring
// document, by memberlist (SWIM with Lifeguard). It forgets no peer while that is
// a member, and joins for ever those that it does not see alive: memberlist alone
// does not heal a partition.
type Gossip struct {
	opts      GossipOptions
	advertise netip.AddrPort
	list      *memberlist.Memberlist
	transport *transport
	nodes     nodeTable
	known     known
	log       *gossipLog

	contact atomic.Pointer[[]byte] // the form of what this node says of itself
	updated chan struct{}          // holds a token after contact has changed
	arrived chan []byte            // forms of documents

	ctx     context.Context
	cancel  context.CancelFunc
	workers sync.WaitGroup
}

// documentsQueued bounds the documents that wait to be installed. What finds no
// room comes again with the next exchange.
const documentsQueued = 16

// StartGossip returns a Gossip at work, which joins others in the background. Stop
// it, before its Port is closed.
func StartGossip(opts GossipOptions) (*Gossip, error) {
	if opts.Pace == 0 {
		opts.Pace = time.Second
	}
	if opts.OnChange == nil {
		opts.OnChange = func(Node) {}
	}
	ctx, cancel := context.WithCancel(context.Background())
	g := &Gossip{
		opts:    opts,
		updated: make(chan struct{}, 1),
		arrived: make(chan []byte, documentsQueued),
		log:     &gossipLog{out: opts.Log, bucket: bucketMax},
		ctx:     ctx,
		cancel:  cancel,
	}
	if err := g.start(); err != nil {
		cancel()
		return nil, fmt.Errorf("starting gossip: %w", err)
	}
	g.workers.Go(g.tellChanges)
	g.workers.Go(g.installDocuments)
	g.workers.Go(g.sayUpdates)
	g.workers.Go(g.rejoin)
	return g, nil
}

func (g *Gossip) start() error {
	form, err := g.opts.Contact.form(g.opts.Cluster)
	if err != nil {
		return err
	}
	g.contact.Store(&form)
	addresses, err := resolve(g.ctx, g.opts.Contact.Peer)
	if err != nil {
		return fmt.Errorf("this node's address for peers: %w", err)
	}
	g.advertise = addresses[0]
	if g.advertise.Addr().IsUnspecified() || g.advertise.Port() == 0 {
		return fmt.Errorf("%s is not an address that peers can reach", g.advertise)
	}
	if err := g.known.load(g.opts.Known); err != nil {
		return err
	}
	g.nodes.init(g)
	config, err := g.config()
	if err != nil {
		return err
	}
	g.transport = newTransport(g.opts.Port, g.advertise)
	config.Transport = g.transport
	if g.list, err = memberlist.Create(config); err != nil {
		g.transport.Shutdown()
		return err
	}
	return nil
}

func (g *Gossip) config() (*memberlist.Config, error) {
	pace := g.opts.Pace
	c := memberlist.DefaultLANConfig()
	c.Name = g.opts.Self.String()
	c.Label = g.opts.Cluster.String()
	c.AdvertiseAddr, c.AdvertisePort = g.advertise.Addr().String(), int(g.advertise.Port())
	c.BindAddr, c.BindPort = c.AdvertiseAddr, c.AdvertisePort
	c.ProbeInterval, c.ProbeTimeout = pace, pace/2
	c.GossipInterval = pace / 5
	c.PushPullInterval = 10 * pace
	c.GossipToTheDeadTime = 30 * pace
	c.TCPTimeout = max(5*pace, time.Second)
	c.SuspicionMaxTimeoutMult = 3
	c.DeadNodeReclaimTime = pace
	c.EnableCompression = false
	c.Logger = log.New(g.log, "", 0)
	c.Delegate = delegate{g}
	c.Events = &g.nodes
	c.Alive = &g.nodes
	c.Merge = &g.nodes
	if len(g.opts.Secret) > 0 {
		key, err := hkdf.Key(sha256.New, g.opts.Secret, g.opts.Cluster[:], "cartwheel gossip", 32)
		if err != nil {
			return nil, err
		}
		c.SecretKey = key
	}
	return c, nil
}

// Stop ends gossip without a word: others find this node dead unless Leave was
// called. It waits for what it began.
func (g *Gossip) Stop() {
	g.cancel()
	g.transport.Shutdown()
	g.workers.Wait()
	if err := g.list.Shutdown(); err != nil {
		g.opts.Log.Warn().Err(err).Msg("stopping gossip")
	}
}

// Leave tells the others that this node is about to stop, so that they need not
// find out. Stop follows.
func (g *Gossip) Leave() {
	if err := g.list.Leave(g.opts.Pace); err != nil {
		g.opts.Log.Warn().Err(err).Msg("saying goodbye")
	}
}

// Alive says whether gossip believes a node to be alive.
func (g *Gossip) Alive(id ring.NodeID) bool { return g.nodes.alive(id) }

// Members returns the other nodes that gossip knows, dead ones included, by
// rising id.
func (g *Gossip) Members() []Node { return g.nodes.all() }

// UpdateMeta changes what this node says of itself. Its Peer address and Run stay.
func (g *Gossip) UpdateMeta(contact Contact) error {
	contact.Peer, contact.Run = g.opts.Contact.Peer, g.opts.Contact.Run
	form, err := contact.form(g.opts.Cluster)
	if err != nil {
		return fmt.Errorf("changing what gossip says of this node: %w", err)
	}
	g.contact.Store(&form)
	signal(g.updated)
	return nil
}

// signal puts a token into a channel of one, unless it holds one.
func signal(c chan<- struct{}) {
	select {
	case c <- struct{}{}:
	default:
	}
}

func (g *Gossip) sayUpdates() {
	for {
		select {
		case <-g.updated:
			if err := g.list.UpdateNode(g.opts.Pace / 2); err != nil {
				g.opts.Log.Debug().Err(err).Msg("what gossip says of this node has not gone out yet")
			}
		case <-g.ctx.Done():
			return
		}
	}
}

func (g *Gossip) tellChanges() {
	for {
		select {
		case <-g.nodes.wake:
			for node, more := g.nodes.next(); more; node, more = g.nodes.next() {
				g.opts.OnChange(node)
			}
			g.saveKnown()
		case <-g.ctx.Done():
			return
		}
	}
}

func (g *Gossip) saveKnown() {
	if err := g.known.save(g.opts.Known, g.nodes.all(), g.opts.Document()); err != nil {
		g.opts.Log.Error().Err(err).Msg("the addresses of peers are not saved")
	}
}

func (g *Gossip) installDocuments() {
	for {
		select {
		case form := <-g.arrived:
			if _, err := g.opts.Install(form); err != nil {
				g.opts.Log.Error().Err(err).Msg("a ring document that came by gossip")
			}
		case <-g.ctx.Done():
			return
		}
	}
}

// delegate is what memberlist asks for and brings with its exchanges.
type delegate struct{ g *Gossip }

func (d delegate) NodeMeta(int) []byte { return *d.g.contact.Load() }

func (d delegate) NotifyMsg([]byte) {}

func (d delegate) GetBroadcasts(int, int) [][]byte { return nil }

// exchangeVersion is the first byte of what LocalState returns; a document's form
// may follow.
const exchangeVersion = 1

func (d delegate) LocalState(bool) []byte {
	state := []byte{exchangeVersion}
	if document := d.g.opts.Document(); document != nil {
		state = document.Append(state)
	}
	return state
}

func (d delegate) MergeRemoteState(state []byte, _ bool) {
	if len(state) < 2 || state[0] != exchangeVersion {
		return
	}
	select {
	case d.g.arrived <- append([]byte(nil), state[1:]...):
	default:
	}
}

// resolve returns the addresses that host:port stands for.
func resolve(ctx context.Context, address string) ([]netip.AddrPort, error) {
	if literal, err := netip.ParseAddrPort(address); err == nil {
		return []netip.AddrPort{unmapped(literal)}, nil
	}
	host, port, err := net.SplitHostPort(address)
	if err != nil {
		return nil, err
	}
	number, err := net.LookupPort("tcp", port)
	if err != nil {
		return nil, err
	}
	ctx, cancel := context.WithTimeout(ctx, dialTimeoutMax)
	defer cancel()
	ips, err := net.DefaultResolver.LookupNetIP(ctx, "ip", host)
	if err != nil {
		return nil, err
	}
	if len(ips) == 0 {
		return nil, errors.New("no address for " + host)
	}
	addresses := make([]netip.AddrPort, len(ips))
	for i, ip := range ips {
		addresses[i] = unmapped(netip.AddrPortFrom(ip, uint16(number)))
	}
	return addresses, nil
}

func unmapped(a netip.AddrPort) netip.AddrPort { return netip.AddrPortFrom(a.Addr().Unmap(), a.Port()) }
