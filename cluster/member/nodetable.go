package member

import (
	"bytes"
	"fmt"
	"maps"
	"net/netip"
	"slices"
	"sync"
	"time"

	"github.com/hashicorp/memberlist"

	"cartwheel/cluster/ring"
)

// A nodeTable is what gossip knows of the other nodes, and who refuses strangers
// and doubles. memberlist calls its Notify methods with locks held: they wait for
// nothing.
type nodeTable struct {
	g    *Gossip
	wake chan struct{} // holds a token while there is something to tell

	mu      sync.Mutex // guards what follows
	nodes   map[ring.NodeID]*entry
	changed []ring.NodeID // to tell, oldest first, each once
	warned  map[string]time.Time
}

type entry struct {
	contact Contact
	address netip.AddrPort
	alive   bool
	queued  bool // is in changed
}

const (
	// nodesMax bounds the table: the members that a ring may have, and as many that
	// come and go.
	nodesMax = 2 * ring.MembersMax

	// warnEvery is how often one double is complained of, and warnedMax how many.
	warnEvery = 10 * time.Second
	warnedMax = 100
)

func (t *nodeTable) init(g *Gossip) {
	t.g, t.wake = g, make(chan struct{}, 1)
	t.nodes, t.warned = make(map[ring.NodeID]*entry), make(map[string]time.Time)
}

func (t *nodeTable) alive(id ring.NodeID) bool {
	t.mu.Lock()
	defer t.mu.Unlock()
	e := t.nodes[id]
	return e != nil && e.alive
}

func (t *nodeTable) all() []Node {
	t.mu.Lock()
	defer t.mu.Unlock()
	all := make([]Node, 0, len(t.nodes))
	for id, e := range t.nodes {
		all = append(all, Node{ID: id, Contact: e.contact, Alive: e.alive})
	}
	slices.SortFunc(all, func(a, b Node) int { return bytes.Compare(a.ID[:], b.ID[:]) })
	return all
}

// aliveAt returns the addresses of all that are alive.
func (t *nodeTable) aliveAt() map[netip.AddrPort]bool {
	t.mu.Lock()
	defer t.mu.Unlock()
	at := make(map[netip.AddrPort]bool, len(t.nodes))
	for e := range maps.Values(t.nodes) {
		if e.alive {
			at[e.address] = true
		}
	}
	return at
}

// next returns the node that waits longest to be told of.
func (t *nodeTable) next() (node Node, more bool) {
	t.mu.Lock()
	defer t.mu.Unlock()
	if len(t.changed) == 0 {
		return Node{}, false
	}
	id := t.changed[0]
	t.changed = slices.Delete(t.changed, 0, 1)
	e := t.nodes[id]
	e.queued = false
	return Node{ID: id, Contact: e.contact, Alive: e.alive}, true
}

// NotifyJoin implements memberlist.EventDelegate.
func (t *nodeTable) NotifyJoin(n *memberlist.Node) { t.note(n, true) }

// NotifyUpdate implements memberlist.EventDelegate.
func (t *nodeTable) NotifyUpdate(n *memberlist.Node) { t.note(n, true) }

// NotifyLeave implements memberlist.EventDelegate.
func (t *nodeTable) NotifyLeave(n *memberlist.Node) { t.note(n, false) }

func (t *nodeTable) note(n *memberlist.Node, alive bool) {
	id, _, contact, err := identify(n)
	if err != nil || id == t.g.opts.Self {
		return
	}
	t.mu.Lock()
	defer t.mu.Unlock()
	e := t.nodes[id]
	if e == nil {
		t.makeRoom()
		e = &entry{}
		t.nodes[id] = e
	}
	e.contact, e.address, e.alive = contact, addressOf(n), alive
	if !e.queued {
		e.queued = true
		t.changed = append(t.changed, id)
	}
	signal(t.wake)
}

// makeRoom forgets a dead node where the table is full of them. mu is held.
func (t *nodeTable) makeRoom() {
	if len(t.nodes) < nodesMax {
		return
	}
	for id, e := range t.nodes {
		if !e.alive && !e.queued {
			delete(t.nodes, id)
			return
		}
	}
}

// identify reads the identity of a node that may be anybody.
func identify(n *memberlist.Node) (id ring.NodeID, cluster ring.ClusterID, contact Contact, err error) {
	if err = id.UnmarshalText([]byte(n.Name)); err != nil {
		return id, cluster, contact, err
	}
	cluster, contact, err = decodeContact(n.Meta)
	return id, cluster, contact, err
}

func addressOf(n *memberlist.Node) netip.AddrPort {
	ip, _ := netip.AddrFromSlice(n.Addr)
	return unmapped(netip.AddrPortFrom(ip, n.Port))
}

// NotifyAlive implements memberlist.AliveDelegate: its error keeps a node out.
func (t *nodeTable) NotifyAlive(n *memberlist.Node) error {
	id, cluster, contact, err := identify(n)
	switch {
	case err != nil:
		return err
	case cluster != t.g.opts.Cluster:
		return fmt.Errorf("it belongs to cluster %s", cluster)
	case id == t.g.opts.Self:
		return t.myself(contact, addressOf(n))
	}
	address := addressOf(n)
	t.mu.Lock()
	defer t.mu.Unlock()
	e := t.nodes[id]
	switch {
	case e == nil && len(t.nodes) >= nodesMax && !t.anyDead():
		return fmt.Errorf("%d nodes are known already", len(t.nodes))
	case e != nil && e.alive && e.address != address && e.contact.Run != contact.Run:
		t.warn(n.Name+address.String(), fmt.Sprintf("node %s is alive at %s: the node at %s with the same id is refused until that one is gone",
			n.Name, e.address, address))
		return fmt.Errorf("it is alive at %s", e.address)
	}
	return nil
}

// anyDead says that makeRoom would find some. mu is held.
func (t *nodeTable) anyDead() bool {
	for _, e := range t.nodes {
		if !e.alive && !e.queued {
			return true
		}
	}
	return false
}

// myself refuses a node of this node's id elsewhere. At the same address it is an
// earlier life of this one, which memberlist refutes.
func (t *nodeTable) myself(contact Contact, address netip.AddrPort) error {
	if contact.Run == t.g.opts.Contact.Run || address == t.g.advertise {
		return nil
	}
	t.mu.Lock()
	defer t.mu.Unlock()
	t.warn(address.String(), fmt.Sprintf("the others know this node's id %s at %s: a node with the same id runs there, or this one did before it moved; it is refused until that one is gone",
		t.g.opts.Self, address))
	return fmt.Errorf("this node's id is taken by %s", address)
}

// warn logs what it has not logged lately. mu is held.
func (t *nodeTable) warn(about, text string) {
	now := time.Now()
	if last, known := t.warned[about]; known && now.Sub(last) < warnEvery {
		return
	}
	if len(t.warned) >= warnedMax {
		clear(t.warned)
	}
	t.warned[about] = now
	t.g.opts.Log.Error().Msg(text)
}

// NotifyMerge implements memberlist.MergeDelegate: its error ends an exchange
// before anything is taken from it.
func (t *nodeTable) NotifyMerge(nodes []*memberlist.Node) error {
	for _, n := range nodes {
		if n.State != memberlist.StateAlive {
			continue
		}
		id, cluster, contact, err := identify(n)
		switch {
		case err != nil:
			return fmt.Errorf("node %.64q: %w", n.Name, err)
		case cluster != t.g.opts.Cluster:
			return fmt.Errorf("node %s belongs to cluster %s", id, cluster)
		case id == t.g.opts.Self:
			if err := t.myself(contact, addressOf(n)); err != nil {
				return err
			}
		}
	}
	return nil
}
