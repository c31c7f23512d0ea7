package repair

import (
	"context"
	"errors"
	"testing"
	"time"

	"cartwheel/cluster/ring"
)

// dropWorld: node 2 has some keys, of which nodes 0 and 1 are the owners now.
func dropWorld(t *testing.T, keys int) *world {
	t.Helper()
	w := newWorld(t, 3, func(_ int, o *Options) { o.DropGrace = time.Nanosecond })
	w.adoptRing(w.document(1, 0, 1))
	for i := range keys {
		w.nodes[2].set(keyOf(i), "v")
	}
	w.nodes[2].replan()
	return w
}

func (w *world) drop(i int) (left bool, err error) {
	return w.nodes[i].drop(context.Background())
}

func TestWhatIsDroppedIsAtAllOwnersBefore(t *testing.T) {
	w := dropWorld(t, 100)
	for i := range 100 {
		switch i % 4 {
		case 0:
			w.nodes[0].merge(keyOf(i), w.nodes[2].object(keyOf(i)))
		case 1:
			w.nodes[1].merge(keyOf(i), w.nodes[2].object(keyOf(i)))
			w.nodes[1].set(keyOf(i), "newer") // which who drops need not have
		}
	}
	before := w.nodes[2].everything()
	if left, err := w.drop(2); left || err != nil {
		t.Fatalf("left %v, %v", left, err)
	}
	if all := w.nodes[2].everything(); len(all) != 0 {
		t.Errorf("still there: %v", all)
	}
	if err := w.converge(0, 1); err != nil {
		t.Fatal(err)
	}
	w.sameEverywhere(0, 1)
	if all := w.nodes[0].everything(); len(all) != len(before) {
		t.Errorf("%d of %d objects are left", len(all), len(before))
	}
	if f := w.nodes[2].Figures(); f.Dropped != testPartitions {
		t.Errorf("%d partitions dropped", f.Dropped)
	}
}

func TestNothingIsDroppedWhileAnOwnerLacksIt(t *testing.T) {
	for name, hinder := range map[string]func(w *world){
		"an owner is down": func(w *world) { w.nodes[1].down.Store(true) },
		"an owner does not answer": func(w *world) {
			w.meddleWith(func(_ int, _, to *node, _ []byte) (before, after error) {
				if to.id == nodeID(1) {
					return errCut, nil
				}
				return nil, nil
			})
		},
		"an owner refuses an object": func(w *world) {
			refusing := newDriftStore(w.nodes[1].store)
			refusing.refuse = keyOf(3)
			w.nodes[1].opts.Store = refusing
		},
		"it is written meanwhile": func(w *world) {
			w.meddleWith(func(_ int, _, to *node, _ []byte) (before, after error) {
				if to.id == nodeID(1) {
					w.nodes[2].set(keyOf(3), "late")
				}
				return nil, nil
			})
		},
		"the ring changes meanwhile": func(w *world) {
			w.meddleWith(func(_ int, _, to *node, _ []byte) (before, after error) {
				if to.id == nodeID(1) {
					for _, n := range w.nodes {
						n.ring.Store(w.document(1, 0, 1, 2).Ring())
					}
				}
				return nil, nil
			})
		},
		"it has become this node's again": func(w *world) {
			for _, n := range w.nodes {
				n.ring.Store(w.document(2, 2).Ring())
			}
		},
	} {
		t.Run(name, func(t *testing.T) {
			w := dropWorld(t, 0)
			for _, key := range keysIn(ring.PartitionOf(ring.SlotOf([]byte(keyOf(3))), testPartitions), 10) {
				w.nodes[2].set(key, "v")
			}
			w.nodes[2].set(keyOf(3), "v")
			hinder(w)
			_, err := w.drop(2)
			if err != nil && !errors.Is(err, errCut) && name != "an owner refuses an object" {
				t.Fatal(err)
			}
			if o := w.nodes[2].object(keyOf(3)); len(o.Siblings) != 1 {
				t.Fatal("dropped")
			}
			if n := w.nodes[2].Figures().Dropped; n != 0 {
				t.Errorf("%d partitions dropped", n)
			}
		})
	}
}

func TestNothingIsDroppedWithinTheGrace(t *testing.T) {
	w := dropWorld(t, 20)
	w.nodes[2].opts.DropGrace = time.Hour
	if left, err := w.drop(2); !left || err != nil {
		t.Errorf("left %v, %v", left, err)
	}
	if n := w.nodes[2].Figures().Dropped; n != 0 {
		t.Errorf("%d partitions dropped", n)
	}
}

func TestADropDoesNotTrustTrees(t *testing.T) {
	w := dropWorld(t, 50)
	for _, n := range w.nodes {
		n.opts.Store = forgetful{n.store}
	}
	if left, err := w.drop(2); left || err != nil {
		t.Fatalf("left %v, %v", left, err)
	}
	w.sameEverywhere(0, 1)
	if all := w.nodes[0].everything(); len(all) != 50 {
		t.Errorf("%d of 50 objects are left", len(all))
	}
}

func TestADropInterruptedAtEveryCallLosesNothing(t *testing.T) {
	for fail := 1; ; fail++ {
		w := dropWorld(t, 30)
		failed := false
		w.meddleWith(func(call int, _, _ *node, _ []byte) (before, after error) {
			if failed = failed || call == fail; call != fail {
				return nil, nil
			}
			if fail%2 == 0 {
				return errCut, nil
			}
			return nil, errCut
		})
		_, err := w.drop(2)
		if failed && !errors.Is(err, errCut) {
			t.Fatalf("call %d failed, the drop returned %v", fail, err)
		}
		until(t, "all is dropped", func() bool {
			left, err := w.drop(2)
			return !left && err == nil
		})
		w.sameEverywhere(0, 1)
		if all := w.nodes[0].everything(); len(all) != 30 {
			t.Fatalf("call %d failed: %d of 30 objects are left", fail, len(all))
		}
		w.stop()
		if !failed {
			return
		}
	}
}

// A ring of many partitions changes, and half of what a node had is to go.
func TestDropsGoOnWhileThereIsMoreToDrop(t *testing.T) {
	for _, c := range []struct {
		left    bool
		dropped uint64
		want    time.Duration
	}{
		{true, dropsBatch, departPause},
		{true, dropsBatch - 1, dropPause}, // an owner is down
		{true, 0, dropPause},
		{false, dropsBatch, time.Minute},
	} {
		if got := dropAgain(c.left, c.dropped, time.Minute); got != c.want {
			t.Errorf("left %v after %d were dropped: again in %v", c.left, c.dropped, got)
		}
	}
}
