package repair

import (
	"context"
	"testing"

	"cartwheel/cluster/ring"
)

type slowDrop struct {
	Store
	before func()
}

func (s *slowDrop) DropPartition(p ring.Partition) error {
	s.before()
	return s.Store.DropPartition(p)
}

func TestWhatIsBeingDroppedIsNotFilledMeanwhile(t *testing.T) {
	var sd *slowDrop
	w := newWorld(t, 4, func(i int, o *Options) {
		if i == 3 {
			sd = &slowDrop{Store: o.Store}
			o.Store = sd
		}
	})
	const p = ring.Partition(3)
	w.adoptRing(w.document(1, 0, 1, 2))
	k := keysIn(p, 1)[0]
	w.nodes[0].set(k, "v")
	for _, i := range []int{1, 2, 3} {
		w.nodes[i].merge(k, w.nodes[0].object(k))
	}
	for _, n := range w.nodes {
		n.replan()
	}
	x := w.nodes[3]
	filled := 0
	sd.before = func() { // between dropOne's last look and the drop itself, which syncs a record first
		d := w.document(2, 0, 1, 2)
		d.Moves = []ring.Move{{Partition: p, From: nodeID(0), To: nodeID(3)}}
		w.adoptRing(d)
		for _, n := range w.nodes {
			n.replan()
		}
		if _, err := x.fillFrom(context.Background(), nodeID(0)); err != nil {
			t.Fatal(err)
		}
	}
	dropped, err := x.dropOne(context.Background(), x.Ring(), p)
	x.mu.Lock()
	for _, f := range x.fills {
		if x.isFilled(x.Ring(), f) {
			filled++
		}
	}
	x.mu.Unlock()
	t.Logf("dropped %v %v; filled %d; siblings at the new owner: %d", dropped, err, filled, len(x.object(k).Siblings))
	if filled == 1 && len(x.object(k).Siblings) == 0 {
		t.Error("the move counts as filled, and nothing is here")
	}
}
