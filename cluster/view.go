package cluster

import (
	"slices"
	"sync"

	"cartwheel/cluster/quorum"
	"cartwheel/cluster/ring"
)

// A view is the ring with the peers looked up: what an operation needs to know of
// it. It is immutable; a new document makes a new one.
type view struct {
	ring   *ring.Ring
	text   []byte // the document, encoded
	epoch  uint64
	alone  bool // this node is the only member
	left   bool // it is a member no more
	places []place
	peers  []*peer // all but this node
	byID   map[ring.NodeID]*peer
}

// A place is who holds a partition. Its nodes are indexed as in quorum.Set.
type place struct {
	ids    []ring.NodeID
	nodes  []*peer // owners in the order of preference, then those to be that are not; nil is this node
	owners quorum.Set
	next   quorum.Set // owners once the moves under way are done
	self   int        // this node's index, -1 where it is not among nodes
	// fallbacks returns them in the order of preference, the owners to be last; nil is
	// this node. They are found when they are first needed: of most partitions never,
	// and on a large ring that is most of what a new one costs.
	fallbacks func() []*peer
}

// holds reports that this node owns the partition.
func (p *place) holds() bool { return p.self >= 0 && p.owners.Has(p.self) }

// moves reports that others than the owners are about to be.
func (p *place) moves() bool { return p.next != 0 && p.next != p.owners }

func newView(r *ring.Ring, self ring.NodeID, byID map[ring.NodeID]*peer) *view {
	v := &view{ring: r, epoch: r.Epoch(), byID: byID, text: r.Document().Append(nil)}
	members := r.Members()
	_, is := r.Member(self)
	v.alone, v.left = len(members) == 1 && is, !is
	for _, m := range members {
		if p := byID[m.ID]; p != nil {
			v.peers = append(v.peers, p)
		}
	}
	v.places = make([]place, r.Partitions())
	for i := range v.places {
		v.places[i] = v.place(ring.Partition(i), self)
	}
	return v
}

func (v *view) place(p ring.Partition, self ring.NodeID) place {
	pl := place{self: -1}
	ids := slices.Clone(v.ring.Owners(p))
	for i := range ids {
		pl.owners |= quorum.Of(i)
	}
	for _, id := range v.ring.Next(p) {
		i := slices.Index(ids, id)
		if i < 0 {
			i = len(ids)
			ids = append(ids, id)
		}
		pl.next |= quorum.Of(i)
	}
	pl.ids = ids
	for i, id := range ids {
		pl.nodes = append(pl.nodes, v.byID[id])
		if id == self {
			pl.self = i
		}
	}
	pl.fallbacks = sync.OnceValue(func() []*peer { return v.fallbacksOf(p, ids) })
	return pl
}

// fallbacksOf returns the fallbacks of a partition that those hold or are about to.
func (v *view) fallbacksOf(p ring.Partition, ids []ring.NodeID) (fallbacks []*peer) {
	for _, id := range v.ring.Preference(p) {
		if !slices.Contains(ids, id) {
			fallbacks = append(fallbacks, v.byID[id])
		}
	}
	// While all others are about to be owners, and most owners are dead, there is
	// nobody else to stand in for them.
	for _, id := range ids[len(v.ring.Owners(p)):] {
		fallbacks = append(fallbacks, v.byID[id])
	}
	return fallbacks
}

// partition returns where a key is.
func (v *view) partition(key []byte) ring.Partition {
	return v.ring.PartitionOf(ring.SlotOf(key))
}

// up reports that a node can be asked; nil is this one.
func up(p *peer) bool { return p == nil || p.up() }

// reachable reports that a node may answer, if maybe late.
func reachable(p *peer) bool { return up(p) || p.slow() }
