package cluster

import (
	"slices"

	"cartwheel/cluster/ring"
	"cartwheel/store"
)

// seenTopology is a topology and what it was made from.
type seenTopology struct {
	v       *view
	changed uint64
	hints   []store.HintStat // that this node holds: no event tells of them
	made    *ring.Topology
}

// Topology returns how this node sees the cluster. It is the same until something
// in it changes.
func (c *Coordinator) Topology() *ring.Topology {
	v, changed, hints := c.view.Load(), c.changed.Load(), c.store.HintOwners()
	if seen := c.topology.Load(); seen != nil && seen.v == v && seen.changed == changed && slices.Equal(seen.hints, hints) {
		return seen.made
	}
	made := c.makeTopology(v, hints)
	c.topology.Store(&seenTopology{v, changed, hints, made})
	return made
}

// held is what this node holds for others.
func (c *Coordinator) held() (held status) {
	for _, h := range c.store.HintOwners() {
		held.hints += h.Count
		held.hintBytes += h.Bytes
	}
	return held
}

func (c *Coordinator) makeTopology(v *view, held []store.HintStat) *ring.Topology {
	hintsFor := make(map[ring.NodeID]int64, len(held))
	own := status{}
	for _, h := range held {
		hintsFor[h.Owner] = h.Count
		own.hints += h.Count
		own.hintBytes += h.Bytes
	}
	d := v.ring.Document()
	t := &ring.Topology{Self: -1, Cluster: d.Cluster.String(), Epoch: v.epoch, Replicas: d.Replicas, Moving: len(d.Moves)}
	index := make(map[ring.NodeID]int, len(d.Members))
	for i, m := range d.Members {
		index[m.ID] = i
		n := ring.NodeView{
			ID: m.ID, Peer: m.Peer, Client: m.Client, Cluster: m.Cluster,
			Zone: m.Zone, Weight: max(m.Weight, 1), State: m.State, HintsFor: hintsFor[m.ID],
		}
		if p := v.byID[m.ID]; p != nil {
			n.Up = p.up()
			if s := p.status.Load(); s != nil {
				n.Hints, n.HintBytes = s.hints, s.hintBytes
			}
		} else if m.ID == c.store.NodeID() {
			n.Up, t.Self = true, i
			n.Hints, n.HintBytes = own.hints, own.hintBytes
		}
		t.Nodes = append(t.Nodes, n)
	}
	slots := ring.Slots / len(v.places)
	for p := range v.places {
		var live, dead []int
		for _, id := range v.ring.Owners(ring.Partition(p)) {
			i := index[id]
			t.Nodes[i].Owned++
			if t.Nodes[i].Up {
				live = append(live, i)
			} else {
				dead = append(dead, i)
			}
		}
		// The first live one is the master: the others keep their order.
		owners := slices.Concat(live, dead)
		t.Nodes[owners[0]].Primary++
		last := len(t.Ranges) - 1
		end := ring.Slot((p+1)*slots - 1)
		if last >= 0 && slices.Equal(t.Ranges[last].Owners, owners) {
			t.Ranges[last].Last = end
			continue
		}
		t.Ranges = append(t.Ranges, ring.SlotRange{First: ring.Slot(p * slots), Last: end, Owners: owners})
	}
	return t
}
