package repair

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"testing"
	"time"

	"cartwheel/cluster/ring"
	"cartwheel/store"
	"cartwheel/store/version"
)

// hintedWorld: nodes 0 and 1 own everything, node 2 holds hints for node 1.
func hintedWorld(t *testing.T, hints int) *world {
	t.Helper()
	w := newWorld(t, 3, nil)
	w.adoptRing(w.document(1, 0, 1))
	for i := range hints {
		w.nodes[0].set(keyOf(i), fmt.Sprint("value", i))
		w.nodes[2].hint(nodeID(1), keyOf(i), w.nodes[0].object(keyOf(i)))
	}
	return w
}

func (w *world) replay(t *testing.T, holder, owner int) (stay bool) {
	t.Helper()
	stay, err := w.nodes[holder].replay(context.Background(), nodeID(owner))
	if err != nil {
		t.Fatal(err)
	}
	return stay
}

func TestHintsGoToTheirOwnerAndAreThenForgotten(t *testing.T) {
	w := hintedWorld(t, 3*hintsPage/2)
	if w.replay(t, 2, 1) {
		t.Error("some stay")
	}
	w.sameEverywhere(0, 1)
	if n := w.nodes[2].hintCount(nodeID(1)); n != 0 {
		t.Errorf("%d hints are left", n)
	}
	if f := w.nodes[2].Figures(); f.HintsReplayed != 3*hintsPage/2 {
		t.Errorf("%d replayed", f.HintsReplayed)
	}
}

func TestAHintStaysUntilItsOwnerHasIt(t *testing.T) {
	for _, lost := range []string{"request", "reply"} {
		w := hintedWorld(t, 10)
		w.meddleWith(func(int, *node, *node, []byte) (before, after error) {
			if lost == "request" {
				return errCut, nil
			}
			return nil, errCut
		})
		if _, err := w.nodes[2].replay(context.Background(), nodeID(1)); !errors.Is(err, errCut) {
			t.Fatalf("lost %s: %v", lost, err)
		}
		if n := w.nodes[2].hintCount(nodeID(1)); n != 10 {
			t.Errorf("lost %s: %d hints are left of 10", lost, n)
		}
		w.meddleWith(nil)
		w.replay(t, 2, 1)
		w.sameEverywhere(0, 1)
		if n := w.nodes[2].hintCount(nodeID(1)); n != 0 {
			t.Errorf("lost %s: %d hints are left", lost, n)
		}
	}
}

func TestAHintThatChangedWhileItWasSentStays(t *testing.T) {
	w := hintedWorld(t, 5)
	w.meddleWith(func(call int, _, _ *node, _ []byte) (before, after error) {
		if call == 1 {
			w.nodes[0].set(keyOf(3), "newer")
			w.nodes[2].hint(nodeID(1), keyOf(3), w.nodes[0].object(keyOf(3)))
		}
		return nil, nil
	})
	w.replay(t, 2, 1)
	if n := w.nodes[2].hintCount(nodeID(1)); n != 1 {
		t.Errorf("%d hints are left of the one that changed", n)
	}
	w.replay(t, 2, 1)
	w.sameEverywhere(0, 1)
}

func TestHintsOfWhoOwnsNoMoreGoToAllPresentOwners(t *testing.T) {
	w := hintedWorld(t, 0)
	keys := keysIn(5, 20)
	for _, key := range keys {
		w.nodes[0].set(key, "v")
		w.nodes[2].hint(nodeID(1), key, w.nodes[0].object(key))
	}
	w.nodes[1].down.Store(true)
	w.adoptRing(w.document(2, 0, 2)) // node 2, the holder, has taken its place
	w.replay(t, 2, 1)
	w.sameEverywhere(0, 2)
	if n := w.nodes[2].hintCount(nodeID(1)); n != 0 {
		t.Errorf("%d hints are left", n)
	}
	if all := w.nodes[1].everything(); len(all) != 0 {
		t.Errorf("who owns no more got %v", all)
	}
}

func TestHintsOfWhoOwnsNoMoreWaitForAllPresentOwners(t *testing.T) {
	w := hintedWorld(t, 10)
	w.nodes[0].down.Store(true)
	w.adoptRing(w.document(2, 0, 2))
	if !w.replay(t, 2, 1) {
		t.Error("none stay, though an owner is down")
	}
	if n := w.nodes[2].hintCount(nodeID(1)); n != 10 {
		t.Errorf("%d hints are left of 10", n)
	}
	// It must be tried again, though node 1 stays down.
	w.nodes[1].down.Store(true)
	w.nodes[2].replan()
	if e := w.nodes[2].schedule.entries[task{hintsTask, nodeID(1)}]; e == nil || !e.wanted {
		t.Error("no replay is planned")
	}
	w.nodes[0].down.Store(false)
	w.replay(t, 2, 1)
	w.sameEverywhere(0, 2)
}

func TestHintsOfWhoIsDownAreLookedThroughOnceAnEpoch(t *testing.T) {
	w := hintedWorld(t, 10)
	w.nodes[1].down.Store(true)
	planned := func() bool {
		w.nodes[2].replan()
		e := w.nodes[2].schedule.entries[task{hintsTask, nodeID(1)}]
		return e != nil && e.wanted
	}
	if !planned() {
		t.Fatal("not looked through at all")
	}
	w.replay(t, 2, 1)
	if planned() {
		t.Error("looked through again in the same epoch")
	}
	w.adoptRing(w.document(2, 0, 1))
	if !planned() {
		t.Error("not looked through in the next epoch")
	}
}

func TestAHintFromTheFutureStaysAndHoldsUpNoOther(t *testing.T) {
	w := hintedWorld(t, 10)
	ahead := newDriftStore(w.nodes[1].store)
	w.nodes[1].opts.Store = ahead
	ahead.refuse = keyOf(4)
	if !w.replay(t, 2, 1) {
		t.Error("none stay")
	}
	if n := w.nodes[2].hintCount(nodeID(1)); n != 1 {
		t.Errorf("%d hints are left of the one that is refused", n)
	}
	ahead.refuse = ""
	w.replay(t, 2, 1)
	w.sameEverywhere(0, 1)
}

func TestNothingIsAcknowledgedThatIsNotCommitted(t *testing.T) {
	w := hintedWorld(t, 10)
	w.nodes[1].opts.Store = uncommitting{w.nodes[1].store}
	if _, err := w.nodes[2].replay(context.Background(), nodeID(1)); !errors.Is(err, store.ErrCommit) {
		t.Errorf("the replay: %v", err)
	}
	if n := w.nodes[2].hintCount(nodeID(1)); n != 10 {
		t.Errorf("%d hints are left of 10", n)
	}
	// What comes here from a peer is not settled either.
	w.nodes[0].set(keysIn(2, 20)[19], "v")
	x := w.nodes[1].newExchange(nodeID(0), w.nodes[1].Ring(), modeExact)
	if err := x.pass(context.Background(), &extent{partition: 2, mask: allLeaves}); !errors.Is(err, store.ErrCommit) {
		t.Errorf("the pass: %v", err)
	}
}

// uncommitting is a store whose commits fail.
type uncommitting struct{ *store.Store }

func (uncommitting) Commit(uint64) error { return store.ErrCommit }

// A driftStore finds one key's objects to be from the future.
type driftStore struct {
	Store
	refuse string
}

func newDriftStore(s Store) *driftStore { return &driftStore{Store: s} }

func (s *driftStore) MergeFormed(db uint8, user []byte, nowMS int64, remote *version.Object, form []byte, o *version.Object, from store.Levels) (uint64, bool, error) {
	if string(user) == s.refuse {
		return 0, false, store.ErrDrift
	}
	return s.Store.MergeFormed(db, user, nowMS, remote, form, o, from)
}

func TestWhatIsOwedIsRepairedByTheOwnerItself(t *testing.T) {
	w := newWorld(t, 4, func(_ int, o *Options) { o.ExchangeInterval = time.Hour })
	w.adoptRing(w.document(1, 0, 1, 3)) // node 2 owns nothing, but holds the note
	for _, n := range w.nodes {
		n.Start()
	}
	idle := func() bool {
		for _, i := range []int{0, 1} {
			if w.nodes[i].Figures().Exchanges < uint64(2-i) {
				return false
			}
		}
		return true
	}
	until(t, "the first exchanges end", idle)
	keys := keysIn(6, 10)
	for _, key := range keys {
		w.nodes[0].set(key, "v")
		w.nodes[3].merge(key, w.nodes[0].object(key))
	}
	seq, err := w.nodes[2].store.OweRepair(nodeID(1), 6)
	if err == nil {
		err = w.nodes[2].store.Commit(seq)
	}
	if err != nil {
		t.Fatal(err)
	}
	w.nodes[2].PeerUp(nodeID(1))
	until(t, "the note is forgotten", func() bool { return len(w.nodes[2].store.RepairOwed(nodeID(1))) == 0 })
	w.sameEverywhere(0, 1, 3)
}

func TestANoteIsKeptUntilAllOwnersWereComparedWith(t *testing.T) {
	w := newWorld(t, 4, nil)
	w.adoptRing(w.document(1, 0, 1, 3))
	seq, err := w.nodes[2].store.OweRepair(nodeID(1), 6)
	if err == nil {
		err = w.nodes[2].store.Commit(seq)
	}
	if err != nil {
		t.Fatal(err)
	}
	ctx := context.Background()
	w.nodes[1].replan()
	w.nodes[0].set(keysIn(6, 1)[0], "v")
	for step, peer := range []int{-1, 0, 3} {
		if peer == 0 { // an exchange that has to leave the partition out does not count
			w.nodes[0].engaged.begin(6, nodeID(3))
			if again, err := w.nodes[1].exchangeAll(ctx, nodeID(0)); err != nil || again != busyPause {
				t.Fatalf("again in %v, %v", again, err)
			}
			if w.nodes[1].owed[owedKey{nodeID(2), 6}].with[nodeID(0)] {
				t.Error("it counts")
			}
			w.nodes[0].engaged.end(6, nodeID(3))
		}
		if peer >= 0 {
			if _, err := w.nodes[1].exchangeAll(ctx, nodeID(peer)); err != nil {
				t.Fatal(err)
			}
		}
		left, err := w.nodes[2].collectOwed(ctx, nodeID(1))
		if err != nil {
			t.Fatal(err)
		}
		if done := step == 2; left == done || (len(w.nodes[2].store.RepairOwed(nodeID(1))) == 0) != done {
			t.Errorf("after %d of 2 exchanges: left %v", step, left)
		}
	}
}

func TestANoteOfWhoOwnsNoMoreIsForgotten(t *testing.T) {
	w := hintedWorld(t, 0)
	if _, err := w.nodes[2].store.OweRepair(nodeID(1), 6); err != nil {
		t.Fatal(err)
	}
	w.adoptRing(w.document(2, 0, 2))
	if _, err := w.nodes[2].collectOwed(context.Background(), nodeID(1)); err != nil {
		t.Fatal(err)
	}
	if owed := w.nodes[2].store.RepairOwed(nodeID(1)); len(owed) != 0 {
		t.Errorf("still owed: %v", owed)
	}
}

// An exchange cannot do it: it would be due again as soon as it has ended.
func TestWhatIsOwedOfAPartitionThatHasMovedAwayAsksForNoExchange(t *testing.T) {
	w := newWorld(t, 4, nil)
	w.adoptRing(w.document(1, 0, 1, 3))
	asked := []ring.Partition{5, 6}
	w.nodes[1].askedToRepair(nodeID(2), asked, w.nodes[1].Ring())
	d := w.document(2, 0, 1, 3)
	d.Owners[6] = []ring.NodeID{nodeID(0), nodeID(2)}
	w.adoptRing(d)
	n := w.nodes[1]
	n.mu.Lock()
	defer n.mu.Unlock()
	if peers := n.owedPeers(n.Ring(), n.opts.Now()); len(peers) != 2 || len(n.owed) != 1 {
		t.Errorf("owed are %v, with %v: of partition 5 only, with both of its other owners", n.owed, peers)
	}
}

func TestReplayGoesToWhoIsBecomingOwner(t *testing.T) {
	w := newWorld(t, 3, nil)
	d := w.document(1, 0)
	for p := range ring.Partition(testPartitions) {
		d.Moves = append(d.Moves, ring.Move{Partition: p, From: nodeID(0), To: nodeID(1)})
	}
	w.adoptRing(d)
	w.nodes[0].set("k", "v")
	w.nodes[2].hint(nodeID(1), "k", w.nodes[0].object("k"))
	w.replay(t, 2, 1)
	if o := w.nodes[1].object("k"); len(o.Siblings) != 1 {
		t.Errorf("the new owner has %+v", o)
	}
}

// A write that was under way when the ring changed may leave a hint for who had left with that, after
// all such hints have been looked through.
func TestAHintThatComesLateForWhoHasLeftIsReplayed(t *testing.T) {
	w := newWorld(t, 3, nil)
	w.adoptRing(w.document(1, 0, 1, 2))
	n := w.nodes[2]
	w.nodes[0].set("k", "v")
	n.hint(nodeID(1), "k", w.nodes[0].object("k"))
	d := w.document(2, 0, 2)
	d.Members = slices.DeleteFunc(d.Members, func(m ring.Member) bool { return m.ID == nodeID(1) })
	w.adoptRing(d)
	w.nodes[1].down.Store(true)
	if w.replay(t, 2, 1) {
		t.Fatal("a hint stays that has nobody to wait for")
	}
	n.hint(nodeID(1), "k", w.nodes[0].object("k"))
	n.replan()
	n.mu.Lock()
	e := n.schedule.entries[task{hintsTask, nodeID(1)}]
	n.mu.Unlock()
	if e == nil || !e.wanted {
		t.Error("nobody looks at it")
	}
}
