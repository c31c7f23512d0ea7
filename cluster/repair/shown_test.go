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
	purged := w.nodes[1].store.LastHLC() + version.MakeHLC(1, 0)
	levels := map[ring.Partition]version.HLC{p: purged}
	if err := w.nodes[1].store.RaiseStable(levels); err != nil {
		t.Fatal(err)
	}
	if err := w.nodes[1].store.RaisePurge(levels); err != nil {
		t.Fatal(err)
	}
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

// The one that is asked learns by the question.
func TestAnOwnerIsToldWhatTheOneThatAsksHasPurged(t *testing.T) {
	w := newWorld(t, 2, nil)
	w.adoptRing(w.document(1, 0, 1))
	const p = ring.Partition(3)
	levels := map[ring.Partition]version.HLC{p: w.nodes[0].store.LastHLC() + version.MakeHLC(1, 0)}
	if err := w.nodes[0].store.RaiseStable(levels); err != nil {
		t.Fatal(err)
	}
	if err := w.nodes[0].store.RaisePurge(levels); err != nil {
		t.Fatal(err)
	}
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
