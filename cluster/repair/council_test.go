package repair

import (
	"context"
	"slices"
	"sync"
	"testing"
	"time"

	"cartwheel/cluster/ring"
)

// A council agrees on rings for a world: it is what Filled calls.
type council struct {
	w  *world
	mu sync.Mutex
	d  *ring.Document
	// commits are how many moves each epoch has committed.
	commits []int
}

// newCouncil makes a world whose nodes commit what they have filled. The first
// document is adopted by begin.
func newCouncil(t testing.TB, nodes int, tune func(i int, o *Options)) *council {
	c := &council{}
	c.w = newWorld(t, nodes, func(i int, o *Options) {
		o.Filled = c.filled
		o.FilledWait = 20 * time.Millisecond
		if tune != nil {
			tune(i, o)
		}
	})
	return c
}

func (c *council) filled(_ context.Context, epoch uint64, done []ring.Move) error {
	c.mu.Lock()
	defer c.mu.Unlock()
	next, err := c.d.WithFilled(epoch, done)
	if err != nil {
		return err
	}
	c.d = next
	c.commits = append(c.commits, len(done))
	c.w.adoptRing(next)
	return nil
}

func (c *council) change(change func(d *ring.Document) (*ring.Document, error)) {
	c.w.t.Helper()
	c.mu.Lock()
	defer c.mu.Unlock()
	next, err := change(c.d)
	if err != nil {
		c.w.t.Fatal(err)
	}
	c.d = next
	c.w.adoptRing(next)
}

// begin makes some nodes, all with weight 1, the members of a settled ring.
func (c *council) begin(replicas int, members ...int) {
	c.w.t.Helper()
	d, err := ring.NewDocument(ring.ClusterID{1}, ring.Member{ID: nodeID(members[0]), Peer: "p"}, testPartitions, replicas)
	for _, i := range members[1:] {
		if err == nil {
			d, err = d.WithMember(ring.Member{ID: nodeID(i), Peer: "p"})
		}
		if err == nil && len(d.Moves) > 0 {
			d, err = d.WithCommitted(slices.Clone(d.Moves))
		}
	}
	if err != nil {
		c.w.t.Fatal(err)
	}
	c.d = d
	c.w.adoptRing(d)
}

func (c *council) join(i int) {
	c.change(func(d *ring.Document) (*ring.Document, error) {
		return d.WithMember(ring.Member{ID: nodeID(i), Peer: "p"})
	})
}

func (c *council) settled() bool {
	c.mu.Lock()
	defer c.mu.Unlock()
	return len(c.d.Moves) == 0
}

func (c *council) document() *ring.Document {
	c.mu.Lock()
	defer c.mu.Unlock()
	return c.d
}

func (w *world) start() {
	for _, n := range w.nodes {
		n.Start()
	}
}

// put writes to all who own the key now or will, as a coordinator does.
func (w *world) put(d *ring.Document, key, value string) error {
	p := ring.PartitionOf(ring.SlotOf([]byte(key)), testPartitions)
	table := d.Ring()
	var first *node
	for _, id := range holders(table, p) {
		n := w.node(id)
		if n.down.Load() {
			continue
		}
		if first == nil {
			first = n
			if err := n.tryWrite(key, write{value: value}); err != nil {
				return err
			}
			continue
		}
		n.merge(key, first.object(key))
	}
	return nil
}

// owned fails unless each owner of the ring has all of these.
func (w *world) owned(d *ring.Document, want map[string]string) {
	w.t.Helper()
	for key, value := range want {
		p := ring.PartitionOf(ring.SlotOf([]byte(key)), testPartitions)
		for _, id := range d.Owners[p] {
			n := w.node(id)
			if n.down.Load() {
				continue
			}
			o := n.object(key)
			if len(o.Siblings) != 1 || string(o.Siblings[0].Payload) != value {
				w.t.Fatalf("%s at owner %s of partition %d: %+v, not %q", key, id, p, o, value)
			}
		}
	}
}
