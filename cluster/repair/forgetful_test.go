package repair

import (
	"context"
	"testing"

	"cartwheel/cluster/ring"
	"cartwheel/store/version"
)

func TestOneThatHasForgottenIsNotBelievedAboutWhatIsDeleted(t *testing.T) {
	w := newWorld(t, 3, nil)
	w.adoptRing(w.document(1, 0, 1, 2))
	const p = ring.Partition(3)
	k := keysIn(p, 1)[0]
	w.nodes[1].set(k, "v")
	w.nodes[0].merge(k, w.nodes[1].object(k))
	P := w.nodes[1].store.LastHLC()
	lv := map[ring.Partition]version.HLC{p: P}
	must := func(err error) {
		t.Helper()
		if err != nil {
			t.Fatal(err)
		}
	}
	refilled := func(_ bool, err error) error { return err }
	must(w.nodes[1].store.RaiseStable(lv))
	must(w.nodes[1].store.RaisePurge(lv))
	must(w.nodes[0].store.Distrust(lv))
	must(w.nodes[2].store.Distrust(lv))
	for _, n := range w.nodes {
		n.replan()
	}
	must(refilled(w.nodes[0].refillFrom(context.Background(), nodeID(1))))
	t.Logf("after the pass with 1: siblings %d refilling %v", len(w.nodes[0].object(k).Siblings), w.nodes[0].store.Refilling(p))
	must(refilled(w.nodes[0].refillFrom(context.Background(), nodeID(2))))
	t.Logf("after the pass with 2: siblings %d refilling %v levels %+v", len(w.nodes[0].object(k).Siblings), w.nodes[0].store.Refilling(p), w.nodes[0].store.Levels(p))
	if len(w.nodes[0].object(k).Siblings) == 0 {
		t.Error("a trusted owner has dropped what lives")
	}
}

func TestAFillFromOneThatHasForgottenIsNotTrusted(t *testing.T) {
	w := newWorld(t, 4, nil)
	const p = ring.Partition(3)
	d := w.document(1, 0, 1, 2)
	d.Moves = []ring.Move{{Partition: p, From: nodeID(0), To: nodeID(3)}}
	w.adoptRing(d)
	k := keysIn(p, 1)[0]
	for i := range 3 {
		if i == 0 {
			w.nodes[0].set(k, "v")
		} else {
			w.nodes[i].merge(k, w.nodes[0].object(k))
		}
	}
	P := w.nodes[0].store.LastHLC()
	lv := map[ring.Partition]version.HLC{p: P}
	for i := 1; i < 3; i++ {
		_ = w.nodes[i].store.RaiseStable(lv)
		_ = w.nodes[i].store.RaisePurge(lv)
	}
	_ = w.nodes[0].store.Distrust(lv)
	for _, n := range w.nodes {
		n.replan()
	}
	n := w.nodes[3]
	_, err := n.fillFrom(context.Background(), nodeID(0))
	n.replan()
	n.mu.Lock()
	filled := 0
	for _, f := range n.fills {
		if n.isFilled(n.Ring(), f) {
			filled++
		}
	}
	n.mu.Unlock()
	if err := n.commitFilled(context.Background()); err != nil {
		t.Fatal(err)
	}
	t.Logf("%v filled %d, siblings at the new owner %d, refilling %v, levels %+v", err, filled, len(n.object(k).Siblings), n.store.Refilling(p), n.store.Levels(p))
	if filled == 1 && len(n.object(k).Siblings) == 0 && !n.store.Refilling(p) {
		t.Error("filled, trusted to answer reads, and empty")
	}
}

func TestWhatIsOwedToWhoIsNoMemberHoldsNothingBack(t *testing.T) {
	w := newWorld(t, 3, nil)
	w.adoptRing(w.document(1, 0, 1, 2))
	gone := ring.NodeID{99}
	for p := range ring.Partition(testPartitions) {
		if _, err := w.nodes[2].store.OweRepair(gone, p); err != nil {
			t.Fatal(err)
		}
	}
	w.nodes[2].replan()
	w.nodes[2].mu.Lock()
	n := 0
	for tk := range w.nodes[2].schedule.entries {
		if tk.kind == owedTask {
			n++
		}
	}
	w.nodes[2].mu.Unlock()
	if _, err := w.nodes[2].collectOwed(context.Background(), gone); n != 1 || err != nil {
		t.Fatal(n, err)
	}
	t.Logf("owed tasks planned: %d; remaining: %d", n, len(w.nodes[2].store.RepairOwed(gone)))
	_ = w.round(0, 1, 2)
	t.Logf("stable at 0: %+v held %s", w.nodes[0].store.Levels(3), heldBack(w.nodes[0].held))
	if w.nodes[0].store.Levels(3).Stable == 0 {
		t.Error("what is owed to who is no member holds the watermark back for ever")
	}
}
