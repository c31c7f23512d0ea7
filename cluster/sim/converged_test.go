package sim

import (
	"fmt"
	"slices"
	"time"

	"cartwheel/cluster"
	"cartwheel/cluster/ring"
)

// convergeWithin is how long all may take to come to hold the same. Clocks that were far
// ahead are waited for.
const convergeWithin = 10 * time.Minute

// converge waits until all nodes are members of one ring, and all owners hold the same.
func (w *world) converge(when string) bool {
	began := w.since()
	why, last := "", ""
	for w.since()-began < convergeWithin {
		w.pause(250 * time.Millisecond)
		if w.broken() {
			return false
		}
		if why, last = w.unsettled(), why; why != last {
			w.note("not yet: %s", why)
		}
		if why == "" {
			w.note("converged %s, within %v", when, w.since()-began)
			w.trace.note("converged")
			return true
		}
	}
	w.violate("%s the nodes do not converge: %s", when, why)
	return false
}

// unsettled says what still differs, "" if nothing does.
func (w *world) unsettled() string {
	d := w.document()
	if d == nil {
		return "there is no ring"
	}
	members := map[ring.NodeID]bool{}
	for _, m := range w.machines {
		switch {
		case m.retired:
			continue
		case m.removing:
			w.removeAnyway(m, d)
			return m.name + " is to be removed"
		case !m.up():
			w.joinAnyway(m, d)
			return m.name + " is not up"
		}
		m.id = m.p.c.NodeID()
		if _, is := d.Member(m.id); !is {
			w.note("%s is no member any more", m.name)
			m.stop()
			m.retired = true
			return m.name + " was no member any more"
		}
		m.replaces = ""
		members[m.id] = true
	}
	for _, m := range d.Members {
		if !members[m.ID] {
			return fmt.Sprintf("nobody is member %v", m.ID)
		}
		if m.State != ring.Active {
			return fmt.Sprintf("member %v is %v", m.ID, m.State)
		}
	}
	if len(d.Moves) > 0 {
		return fmt.Sprintf("%d moves are under way", len(d.Moves))
	}
	for _, m := range w.machines {
		if m.retired {
			continue
		}
		if why := unsettledNode(m.p.c, d); why != "" {
			return m.name + " " + why
		}
	}
	return w.differing(d)
}

// removeAnyway has the operator try again to remove a node, until it is no member any more.
func (w *world) removeAnyway(m *machine, d *ring.Document) {
	switch member, is := d.Member(m.id); {
	case !is:
		m.removing, m.retired = false, true
	case member.State != ring.Removed:
		w.operate("RING", "APPLY", "REMOVE", m.id.String())
	}
}

// joinAnyway starts a node anew, which was to take the place of one that has left since.
func (w *world) joinAnyway(m *machine, d *ring.Document) {
	for _, member := range d.Members {
		if member.ID.String() == m.replaces {
			return
		}
	}
	if m.replaces == "" || m.p == nil {
		return
	}
	w.note("%s joins, without replacing anybody", m.name)
	m.stop()
	m.replaces = ""
	m.start()
}

func unsettledNode(c *cluster.Coordinator, d *ring.Document) string {
	if c.Document().Epoch != d.Epoch {
		return "goes by an older ring"
	}
	for _, n := range c.Topology().Nodes {
		if !n.Up {
			return fmt.Sprintf("takes %v for down", n.ID)
		}
	}
	if err := c.Store().Failure(); err != nil {
		return "does not write: " + err.Error()
	}
	select {
	case <-c.Store().TreesReady():
	default:
		return "has not rebuilt its trees"
	}
	if left, err := c.Remains(); err != nil || !left.None() {
		return fmt.Sprintf("holds what is for others: %+v, %v", left, err)
	}
	for p := range ring.Partition(d.Partitions) {
		if c.Store().Refilling(p) && slices.Contains(d.Owners[p], c.NodeID()) {
			return fmt.Sprintf("is filling partition %d anew", p)
		}
	}
	return ""
}

// owners are the nodes that own a partition.
func (w *world) owners(d *ring.Document, p ring.Partition) (all []*machine) {
	for _, id := range d.Owners[p] {
		for _, m := range w.machines {
			if m.up() && !m.retired && m.p.c.NodeID() == id {
				all = append(all, m)
			}
		}
	}
	return all
}

// differing names a partition whose owners differ, by their trees.
func (w *world) differing(d *ring.Document) string {
	for p := range ring.Partition(d.Partitions) {
		owners := w.owners(d, p)
		if want := min(d.Replicas, len(d.Members)); len(owners) != want {
			return fmt.Sprintf("partition %d has %d owners", p, len(owners))
		}
		for _, m := range owners[1:] {
			if m.p.c.Store().Root(p) != owners[0].p.c.Store().Root(p) {
				return fmt.Sprintf("%s and %s differ in partition %d%s", owners[0].name, m.name, p, difference(owners[0], m, p))
			}
		}
	}
	return ""
}

// quiet is how long nothing may be repaired once all is the same. forgetting is how long
// it may take until all owners have forgotten what is dead: until then one may get from
// another what it was about to forget.
const (
	quiet      = 15 * time.Second
	forgetting = 70 * time.Second
)

// silent holds that a healthy cluster that nobody writes to repairs nothing.
func (w *world) silent() {
	busy := w.repairs()
	for range 2 {
		if busy == "" {
			break
		}
		w.note("repaired while nothing happens: %s", busy)
		w.pause(forgetting)
		busy = w.repairs()
	}
	if busy != "" {
		w.violate("objects are repaired while nothing happens: %s", busy)
	}
	w.converge("once more") // owners forget what is dead at different moments
	w.net.setCalm(false)
}

// repairs says who repairs anything while all is quiet.
func (w *world) repairs() (who string) {
	before := map[string]uint64{}
	for _, m := range w.machines {
		if m.up() {
			before[m.name] = m.p.c.Repaired()
		}
	}
	w.pause(max(quiet, 3*w.plan.exchange))
	for _, m := range w.machines {
		if !m.up() {
			continue
		}
		if n := m.p.c.Repaired() - before[m.name]; n > 0 {
			who += fmt.Sprintf(" %d at %s", n, m.name)
		}
	}
	return who
}
