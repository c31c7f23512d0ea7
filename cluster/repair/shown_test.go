package repair

import (
	"context"
	"testing"
	"time"

	"cartwheel/cluster/ring"
	"cartwheel/store/version"
)

// started is a node as it is when it starts: it knows its ring, and nobody has shown it anything.
func (w *world) started(i int, now func() time.Time) *Repair {
	n := w.nodes[i]
	opts := n.opts
	opts.Now = now
	n.Repair = New(opts)
	return n.Repair
}

func TestANodeThatStartsDoubtsUntilAnotherOwnerHasShownItsPurge(t *testing.T) {
	w := newWorld(t, 3, nil)
	w.adoptRing(w.document(1, 0, 1, 2))
	const p = ring.Partition(3)
	now := time.Now()
	r := w.started(0, func() time.Time { return now })
	if !r.Doubts(p) {
		t.Error("it trusts what it has before anybody was asked")
	}
	for i := 1; i < 3; i++ {
		w.nodes[i].down.Store(true)
	}
	if r.Doubts(p) {
		t.Error("alone, it does not serve")
	}
	w.nodes[1].down.Store(false)
	w.purges(1, p)
	if err := r.askShown(context.Background(), nodeID(1)); err != nil {
		t.Fatal(err)
	}
	if r.Doubts(p) || r.Doubts(p+1) {
		t.Error("it doubts what it was shown")
	}
	if !w.nodes[0].store.Refilling(p) || w.nodes[0].store.Refilling(p+1) {
		t.Error("it has not found out what it has forgotten")
	}
}

// Right after the start, a node that no connection has led to yet is no dead one.
func TestANodeThatStartsFindsOutFirstWhoIsUp(t *testing.T) {
	w := newWorld(t, 3, nil)
	w.adoptRing(w.document(1, 0, 1, 2))
	const p = ring.Partition(3)
	now := time.Now()
	r := w.started(0, func() time.Time { return now })
	if err := r.askShown(context.Background(), nodeID(1)); err != nil {
		t.Fatal(err)
	}
	w.nodes[2].down.Store(true)
	w.nodes[2].unknown.Store(true)
	if !r.Doubts(p) || r.allShown() {
		t.Error("it takes for dead who has not been tried")
	}
	now = now.Add(shownWithin)
	if r.Doubts(p) || !r.allShown() {
		t.Error("it waits for ever for who does not answer")
	}
	now = now.Add(-shownWithin)
	w.nodes[2].unknown.Store(false)
	if r.Doubts(p) || !r.allShown() {
		t.Error("it waits for who has refused")
	}
}

// The first that is asked may have been rolled back, too.
func TestANodeThatStartsDoubtsUntilAllOwnersThatAreUpHaveShown(t *testing.T) {
	w := newWorld(t, 3, nil)
	w.adoptRing(w.document(1, 0, 1, 2))
	const p = ring.Partition(3)
	w.purges(2, p)
	r := w.started(0, time.Now)
	if err := r.askShown(context.Background(), nodeID(1)); err != nil {
		t.Fatal(err)
	}
	if !r.Doubts(p) || r.allShown() {
		t.Error("it trusts what it has when one of two was asked")
	}
	if err := r.askShown(context.Background(), nodeID(2)); err != nil {
		t.Fatal(err)
	}
	if r.Doubts(p) || !r.allShown() || !w.nodes[0].store.Refilling(p) {
		t.Error("it has not found out what it has forgotten")
	}
}

// Who becomes an owner when all others have shown has been filled by them.
func TestANewOwnerHasNothingToShow(t *testing.T) {
	w := newWorld(t, 3, nil)
	w.adoptRing(w.document(1, 0, 1))
	const p = ring.Partition(3)
	r := w.started(0, time.Now)
	if err := r.askShown(context.Background(), nodeID(1)); err != nil {
		t.Fatal(err)
	}
	w.adoptRing(w.document(2, 0, 1, 2))
	if r.Doubts(p) {
		t.Error("what was not doubted is, since the ring has changed")
	}
}

// The one that is asked learns by the question.
func TestAnOwnerIsToldWhatTheOneThatAsksHasPurged(t *testing.T) {
	w := newWorld(t, 2, nil)
	w.adoptRing(w.document(1, 0, 1))
	const p = ring.Partition(3)
	w.purges(0, p)
	asked := w.started(1, time.Now)
	if err := w.started(0, time.Now).askShown(context.Background(), nodeID(1)); err != nil {
		t.Fatal(err)
	}
	if asked.Doubts(p) || !w.nodes[1].store.Refilling(p) {
		t.Error("it has learnt nothing")
	}
}

func TestDoubtsEnd(t *testing.T) {
	w := newWorld(t, 2, nil)
	w.adoptRing(w.document(1, 0, 1))
	now := time.Now()
	r := w.started(0, func() time.Time { return now })
	now = now.Add(doubtMax)
	if !r.Doubts(3) {
		t.Error("it doubts too little")
	}
	if now = now.Add(time.Millisecond); r.Doubts(3) {
		t.Error("it never serves what nobody shows")
	}
}

// purges has a node have purged, and so known to be stable, all up to now of a partition.
func (w *world) purges(i int, p ring.Partition) {
	w.t.Helper()
	levels := map[ring.Partition]version.HLC{p: w.nodes[i].store.LastHLC() + version.MakeHLC(1, 0)}
	if err := w.nodes[i].store.RaiseStable(levels); err != nil {
		w.t.Fatal(err)
	}
	if err := w.nodes[i].store.RaisePurge(levels); err != nil {
		w.t.Fatal(err)
	}
}

// Its peers, or the network, may come up long after it.
func TestWhatWasPurgedIsAskedForAfterDoubtsHaveEnded(t *testing.T) {
	w := newWorld(t, 2, nil)
	w.adoptRing(w.document(1, 0, 1))
	now := time.Now()
	r := w.started(0, func() time.Time { return now })
	w.purges(1, 3)
	if now = now.Add(doubtMax + time.Millisecond); r.Doubts(3) {
		t.Fatal("it doubts for ever")
	}
	r.mu.Lock()
	r.plan(r.opts.Peers.Ring(), now)
	wanted := r.schedule.entries[task{shownTask, nodeID(1)}]
	r.mu.Unlock()
	if wanted == nil || !wanted.wanted {
		t.Error("it does not want to know what its peer has purged")
	}
	if err := r.askShown(context.Background(), nodeID(1)); err != nil {
		t.Fatal(err)
	}
	if !w.nodes[0].store.Refilling(3) {
		t.Error("it has not found out what it has forgotten")
	}
}

// After an unclean stop, all is counted anew at the pace of admission: its debt may last
// longer than doubts do.
func TestWhatWasPurgedIsAskedForWhateverWorkThereIs(t *testing.T) {
	w := newWorld(t, 2, nil)
	w.adoptRing(w.document(1, 0, 1))
	now := time.Now()
	r := w.started(0, func() time.Time { return now })
	w.purges(1, 3)
	w.nodes[1].Repair.admission.spend(1 << 40)
	if r.Pace(1<<40, 0) < doubtMax {
		t.Fatal("there is no debt")
	}
	ctx, cancel := context.WithTimeout(context.Background(), 500*time.Millisecond)
	defer cancel()
	if err := r.askShown(ctx, nodeID(1)); err != nil {
		t.Fatal(err)
	}
	if !w.nodes[0].store.Refilling(3) {
		t.Error("it has not found out what it has forgotten")
	}
}
