package member

import (
	"bytes"
	"context"
	"fmt"
	"net"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/rs/zerolog"

	"cartwheel/cluster/ring"
)

const (
	testPace = 50 * time.Millisecond
	patience = 15 * time.Second
)

// eventually waits for a condition that must come true.
func eventually(t *testing.T, what string, holds func() bool) {
	t.Helper()
	for deadline := time.Now().Add(patience); !holds(); time.Sleep(5 * time.Millisecond) {
		if time.Now().After(deadline) {
			t.Fatalf("not within %v: %s", patience, what)
		}
	}
}

// logBuffer is a log that a test can read while it is written.
type logBuffer struct {
	mu   sync.Mutex
	text bytes.Buffer
}

func (b *logBuffer) Write(line []byte) (int, error) {
	b.mu.Lock()
	defer b.mu.Unlock()
	return b.text.Write(line)
}

func (b *logBuffer) has(text string) bool {
	b.mu.Lock()
	defer b.mu.Unlock()
	return strings.Contains(b.text.String(), text)
}

func (b *logBuffer) String() string {
	b.mu.Lock()
	defer b.mu.Unlock()
	return b.text.String()
}

// wires are the network of one test: loopback, of which some ways can be cut.
type wires struct {
	mu   sync.Mutex
	side map[string]int // of an address; a message between two sides is lost
}

func (w *wires) divide(side int, nodes ...*gossiper) {
	w.mu.Lock()
	defer w.mu.Unlock()
	for _, n := range nodes {
		w.side[n.address] = side
	}
}

func (w *wires) cut(from, to string) bool {
	w.mu.Lock()
	defer w.mu.Unlock()
	return w.side[from] != w.side[to]
}

// cutPackets loses packets to another side.
type cutPackets struct {
	net.PacketConn
	wires *wires
	from  string
}

func (p *cutPackets) WriteTo(b []byte, to net.Addr) (int, error) {
	if p.wires.cut(p.from, to.String()) {
		return len(b), nil
	}
	return p.PacketConn.WriteTo(b, to)
}

// knownFile is a KnownStorage in memory.
type knownFile struct {
	mu   sync.Mutex
	form []byte
}

func (f *knownFile) LoadKnown() ([]byte, error) {
	f.mu.Lock()
	defer f.mu.Unlock()
	return f.form, nil
}

func (f *knownFile) SaveKnown(form []byte) error {
	f.mu.Lock()
	defer f.mu.Unlock()
	f.form = form
	return nil
}

// A gossiper is one node of a test.
type gossiper struct {
	*Gossip
	port    *Port
	address string
	log     *logBuffer
	known   *knownFile

	mu      sync.Mutex
	current *ring.Document // installed last
}

func (n *gossiper) installed() *ring.Document {
	n.mu.Lock()
	defer n.mu.Unlock()
	return n.current
}

func (n *gossiper) install(form []byte) (bool, error) {
	d, err := ring.Decode(form)
	if err != nil {
		return false, err
	}
	n.mu.Lock()
	defer n.mu.Unlock()
	if n.current != nil && n.current.Epoch >= d.Epoch {
		return false, nil
	}
	n.current = d
	return true, nil
}

var runs uint64

// startGossiper boots node id on a free loopback port.
func startGossiper(t *testing.T, w *wires, id int, change func(*GossipOptions)) *gossiper {
	t.Helper()
	listener, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	address := listener.Addr().String()
	packets, err := net.ListenPacket("udp", address)
	if err != nil {
		t.Fatal(err)
	}
	n := &gossiper{address: address, log: &logBuffer{}, known: &knownFile{}}
	log := zerolog.New(n.log).Level(zerolog.DebugLevel)
	n.port = NewPort(PortOptions{
		Listener: listener,
		Packets:  &cutPackets{packets, w, address},
		Dial: func(ctx context.Context, to string) (net.Conn, error) {
			if w.cut(address, to) {
				return nil, fmt.Errorf("%s is cut off", to)
			}
			return new(net.Dialer).DialContext(ctx, "tcp", to)
		},
		Log: log,
	})
	runs++
	opts := GossipOptions{
		Self: nodeID(id), Cluster: ring.ClusterID{7}, Port: n.port,
		Contact: Contact{Peer: address, Client: fmt.Sprintf("client%d:1", id), Run: runs},
		Known:   n.known, Document: n.installed, Install: n.install, Log: log, Pace: testPace,
	}
	if change != nil {
		change(&opts)
	}
	if n.Gossip, err = StartGossip(opts); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(n.stop)
	return n
}

func (n *gossiper) stop() {
	n.Stop()
	n.port.Close()
}

func newWires() *wires { return &wires{side: make(map[string]int)} }

func seeds(of ...*gossiper) func(*GossipOptions) {
	return func(o *GossipOptions) {
		for _, n := range of {
			o.Seeds = append(o.Seeds, n.address)
		}
	}
}

// sees says whether the first takes all others, of the given ids, to be alive.
func sees(n *gossiper, ids ...int) bool {
	for _, id := range ids {
		if !n.Alive(nodeID(id)) {
			return false
		}
	}
	return true
}

func (n *gossiper) contactOf(id int) Contact {
	for _, m := range n.Members() {
		if m.ID == nodeID(id) {
			return m.Contact
		}
	}
	return Contact{}
}

func TestNodesFindEachOtherAndTheDocument(t *testing.T) {
	w := newWires()
	secret := func(o *GossipOptions) { o.Secret = []byte("between us") }
	one := startGossiper(t, w, 1, secret)
	two := startGossiper(t, w, 2, func(o *GossipOptions) { secret(o); seeds(one)(o) })
	three := startGossiper(t, w, 3, func(o *GossipOptions) { secret(o); seeds(two)(o) })
	eventually(t, "all see all", func() bool { return sees(one, 2, 3) && sees(two, 1, 3) && sees(three, 1, 2) })
	if got := one.contactOf(3); got.Client != "client3:1" || got.Peer != three.address {
		t.Errorf("node 3 says %+v", got)
	}
	if err := two.UpdateMeta(Contact{Client: "elsewhere:9", Epoch: 5}); err != nil {
		t.Fatal(err)
	}
	eventually(t, "the others hear what node 2 says now", func() bool {
		want := Contact{Peer: two.address, Client: "elsewhere:9", Epoch: 5, Run: two.opts.Contact.Run}
		return one.contactOf(2) == want && three.contactOf(2) == want
	})
	d := documentOf(4, "by gossip", memberOf(nodeID(1)))
	if _, err := one.install(d.Append(nil)); err != nil {
		t.Fatal(err)
	}
	eventually(t, "all have the document", func() bool { return two.installed() != nil && three.installed() != nil })
	if err := one.UpdateMeta(Contact{Client: strings.Repeat("x", 255), Cluster: strings.Repeat("y", 255)}); err == nil {
		t.Error("metadata that memberlist would panic over is taken")
	}
	three.Leave()
	eventually(t, "who has said goodbye is gone", func() bool { return !sees(one, 3) && !sees(two, 3) })
}

func TestStrangersAreRefusedWithAClearLineOnBothSides(t *testing.T) {
	for _, c := range []struct {
		name       string
		one, two   func(*GossipOptions)
		says, hear string
	}{
		{
			"another secret",
			func(o *GossipOptions) { o.Secret = []byte("ours") },
			func(o *GossipOptions) { o.Secret = []byte("theirs") },
			"another cluster secret", "another cluster secret",
		},
		{
			"no secret",
			func(o *GossipOptions) { o.Secret = []byte("ours") },
			func(*GossipOptions) {},
			"another cluster secret", "another cluster secret",
		},
		{
			"another cluster",
			func(*GossipOptions) {},
			func(o *GossipOptions) { o.Cluster = ring.ClusterID{8} },
			"it hung up: it belongs to another cluster", "it comes from another cluster",
		},
	} {
		t.Run(c.name, func(t *testing.T) {
			w := newWires()
			one := startGossiper(t, w, 1, c.one)
			two := startGossiper(t, w, 2, func(o *GossipOptions) { c.two(o); seeds(one)(o) })
			eventually(t, "the newcomer says why", func() bool { return two.log.has(c.says) })
			eventually(t, "the one that refuses says why", func() bool { return one.log.has(c.hear) })
			if sees(one, 2) || sees(two, 1) || len(one.Members())+len(two.Members()) > 0 {
				t.Errorf("they know each other: %v %v", one.Members(), two.Members())
			}
		})
	}
}

func TestASecondNodeOfOneIDIsRefused(t *testing.T) {
	w := newWires()
	one := startGossiper(t, w, 1, nil)
	two := startGossiper(t, w, 2, seeds(one))
	eventually(t, "they see each other", func() bool { return sees(one, 2) && sees(two, 1) })
	double := startGossiper(t, w, 2, seeds(one))
	eventually(t, "the double says why", func() bool { return double.log.has("a node with the same id runs there") })
	eventually(t, "the others say why", func() bool { return one.log.has("with the same id is refused") })
	if got := one.contactOf(2).Run; got != two.opts.Contact.Run {
		t.Errorf("node 2 is now run %d", got)
	}
	if sees(double, 1) {
		t.Error("the double takes part")
	}
}

func TestANodeComesBackAtAnotherAddress(t *testing.T) {
	w := newWires()
	one := startGossiper(t, w, 1, nil)
	three := startGossiper(t, w, 3, seeds(one))
	before := startGossiper(t, w, 2, seeds(one))
	eventually(t, "all see node 2", func() bool { return sees(one, 2, 3) && sees(three, 1, 2) })
	before.stop()
	after := startGossiper(t, w, 2, seeds(one))
	eventually(t, "all see it at its new address", func() bool {
		return sees(one, 2) && sees(three, 2) && one.contactOf(2).Peer == after.address &&
			three.contactOf(2).Peer == after.address && sees(after, 1, 3)
	})
	eventually(t, "the new address is kept", func() bool {
		form, _ := one.known.LoadKnown()
		return strings.Contains(string(form), nodeID(2).String()+" "+after.address)
	})
}

func TestMemberlistIsSetUpAsItMustBe(t *testing.T) {
	g := &Gossip{opts: GossipOptions{Self: nodeID(1), Cluster: ring.ClusterID{7}, Secret: []byte("ours"), Pace: time.Second}}
	c, err := g.config()
	if err != nil {
		t.Fatal(err)
	}
	if c.DeadNodeReclaimTime <= 0 || c.DeadNodeReclaimTime >= c.GossipToTheDeadTime {
		t.Errorf("a dead node's new address is taken after %v", c.DeadNodeReclaimTime)
	}
	if c.EnableCompression {
		t.Error("gossip is compressed")
	}
	if c.Label != g.opts.Cluster.String() || len(c.SecretKey) != 32 {
		t.Errorf("label %q, a key of %d bytes", c.Label, len(c.SecretKey))
	}
	g.opts.Cluster = ring.ClusterID{8}
	if other, err := g.config(); err != nil || bytes.Equal(c.SecretKey, other.SecretKey) {
		t.Errorf("two clusters of one secret share a key (%v)", err)
	}
}

func TestAPartitionHeals(t *testing.T) {
	w := newWires()
	var n []*gossiper
	for i := range 4 {
		n = append(n, startGossiper(t, w, i+1, seeds(n...)))
	}
	all := func() bool {
		return sees(n[0], 2, 3, 4) && sees(n[1], 1, 3, 4) && sees(n[2], 1, 2, 4) && sees(n[3], 1, 2, 3)
	}
	eventually(t, "all see all", all)
	for _, g := range n { // members stay known, whatever happens
		if _, err := g.install(documentOf(1, "all", memberOf(nodeID(1)), memberOf(nodeID(2)), memberOf(nodeID(3)), memberOf(nodeID(4))).Append(nil)); err != nil {
			t.Fatal(err)
		}
	}
	w.divide(1, n[2], n[3])
	eventually(t, "each half has given up the other", func() bool {
		return sees(n[0], 2) && sees(n[1], 1) && sees(n[2], 4) && sees(n[3], 3) &&
			!sees(n[0], 3) && !sees(n[0], 4) && !sees(n[1], 3) && !sees(n[1], 4) &&
			!sees(n[2], 1) && !sees(n[2], 2) && !sees(n[3], 1) && !sees(n[3], 2)
	})
	// Longer than memberlist itself goes on trying.
	time.Sleep(32 * testPace)
	w.divide(0, n[2], n[3])
	eventually(t, "all see all again", all)
}

func TestANodeFindsItsWayBackWithoutSeeds(t *testing.T) {
	w := newWires()
	one := startGossiper(t, w, 1, nil)
	two := startGossiper(t, w, 2, seeds(one))
	eventually(t, "they see each other", func() bool { return sees(one, 2) && sees(two, 1) })
	eventually(t, "the address is kept", func() bool {
		form, _ := two.known.LoadKnown()
		return strings.Contains(string(form), one.address)
	})
	two.stop()
	again := startGossiper(t, w, 2, func(o *GossipOptions) { o.Known = two.known })
	eventually(t, "it is back", func() bool { return sees(again, 1) })
}

func TestChangesAreToldWithoutHoldingGossipUp(t *testing.T) {
	w := newWires()
	gate, told := make(chan struct{}), make(chan Node, 100)
	one := startGossiper(t, w, 1, func(o *GossipOptions) { o.OnChange = func(n Node) { <-gate; told <- n } })
	defer func() {
		select {
		case <-gate:
		default:
			close(gate)
		}
	}()
	two := startGossiper(t, w, 2, seeds(one))
	three := startGossiper(t, w, 3, seeds(one))
	eventually(t, "gossip goes on", func() bool { return sees(one, 2, 3) && sees(two, 3) && sees(three, 2) })
	three.stop()
	eventually(t, "a death is seen", func() bool { return !sees(one, 3) })
	close(gate)
	last := make(map[ring.NodeID]bool)
	eventually(t, "what holds now is told", func() bool {
		for len(told) > 0 {
			n := <-told
			last[n.ID] = n.Alive
		}
		return last[nodeID(2)] && len(last) == 2 && !last[nodeID(3)]
	})
}
