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

// What one owner has purged the others purge when they are compared: their sweepers may come by an hour later, and
// until then each exchange would find that their trees differ.
func TestOwnersThatPurgeAtDifferentMomentsDifferOnce(t *testing.T) {
	w := newWorld(t, 2, nil)
	w.adoptRing(w.document(1, 0, 1))
	keys := keysIn(3, 20)
	var dead []store.Key
	for i, key := range keys {
		w.nodes[0].set(key, "v")
		if i%2 == 0 {
			w.nodes[0].write(key, write{tombstone: true})
			dead = append(dead, store.NewKey(0, []byte(key)))
		}
	}
	for range 3 {
		if err := w.round(0, 1); err != nil {
			t.Fatal(err)
		}
	}
	w.sameEverywhere(0, 1)
	repaired := w.repaired()
	if err := w.nodes[0].store.Purge(dead); err != nil {
		t.Fatal(err)
	}
	if n := len(w.nodes[0].everything()); n != len(keys)-len(dead) || w.equalRoots(0, 1) {
		t.Fatalf("%d objects are left of %d, and the other has them too: %v", n, len(keys), w.equalRoots(0, 1))
	}
	if err := w.converge(0, 1); err != nil {
		t.Fatal(err)
	}
	w.sameEverywhere(0, 1)
	if n := w.repaired() - repaired; n > 0 {
		t.Errorf("%d were repaired", n)
	}
}

// levelsOfOwners returns the greatest purge and the least stable level of a partition.
func (w *world) levelsOfOwners(p ring.Partition, owners ...int) (purge, stable version.HLC) {
	stable = store.Everything
	for _, i := range owners {
		l := w.nodes[i].store.Levels(p)
		purge, stable = max(purge, l.Purge), min(stable, l.Stable)
	}
	return purge, stable
}

func (w *world) stabilise(i int) error {
	w.nodes[i].replan()
	_, err := w.nodes[i].stabilise(context.Background())
	return err
}

// A hint that reaches an owner after that was compared, and is gone when its holder
// answers the fence, is seen by no exchange before that answer.
func TestAHintReplayedWhileAMemberIsYetToBeFencedIsWaitedFor(t *testing.T) {
	w := newWorld(t, 4, nil)
	w.adoptRing(w.document(1, 0, 1, 2))
	key := keysIn(3, 1)[0]
	w.nodes[3].set("elsewhere", "v") // any object
	o := w.nodes[3].object("elsewhere")
	if err := w.nodes[3].store.DropPartition(ring.PartitionOf(ring.SlotOf([]byte("elsewhere")), testPartitions)); err != nil {
		t.Fatal(err)
	}
	w.nodes[3].hint(nodeID(1), key, o)
	replayed := false
	w.meddleWith(func(_ int, _, to *node, msg []byte) (before, after error) {
		if to != w.nodes[3] || msg[0] != askFence || replayed {
			return nil, nil
		}
		replayed = true
		for _, pair := range [][2]int{{0, 1}, {0, 2}, {1, 2}} {
			if err := w.converge(pair[0], pair[1]); err != nil {
				t.Error(err)
			}
		}
		if _, err := w.nodes[3].replay(context.Background(), nodeID(1)); err != nil {
			t.Error(err)
		}
		return nil, nil
	})
	for range 3 {
		if err := w.stabilise(0); err != nil {
			t.Fatal(err)
		}
	}
	if _, stable := w.levelsOfOwners(3, 0, 1, 2); !replayed || stable != 0 {
		t.Fatalf("stable at %v though no pair was compared since the fence", stable)
	}
	if err := w.converge(0, 1, 2); err != nil {
		t.Fatal(err)
	}
	if err := w.stabilise(0); err != nil {
		t.Fatal(err)
	}
	purge, stable := w.levelsOfOwners(3, 0, 1, 2)
	if stable == 0 || purge != stable {
		t.Errorf("stable %v, purge %v", stable, purge)
	}
	for i := range 3 {
		if !w.nodes[i].object(key).Equal(o) {
			t.Errorf("node %d lacks what is stable", i)
		}
	}
}

func TestNobodyPurgesWhatIsNotStableAtAllWhateverIsLost(t *testing.T) {
	for _, lost := range []string{"request", "reply"} {
		for fail := 1; ; fail++ {
			w := newWorld(t, 3, nil)
			w.adoptRing(w.document(1, 0, 1, 2))
			w.share(20, 5)
			failed := false
			w.meddleWith(func(call int, _, _ *node, _ []byte) (before, after error) {
				if purge, stable := w.levelsOfOwners(3, 0, 1, 2); purge > stable {
					t.Errorf("a node purges up to %v, but only %v is stable at all", purge, stable)
				}
				if call != fail {
					return nil, nil
				}
				failed = true
				if lost == "request" {
					return errCut, nil
				}
				return nil, errCut
			})
			if err := w.round(0, 1, 2); failed != (err != nil) {
				t.Fatalf("call %d lost: %v, the round: %v", fail, failed, err)
			}
			purge, stable := w.levelsOfOwners(3, 0, 1, 2)
			if purge > stable || (!failed && purge == 0) {
				t.Errorf("call %d lost: purge %v, stable %v", fail, purge, stable)
			}
			w.meddleWith(nil)
			if err := w.round(0, 1, 2); err != nil { // the next begins anew
				t.Fatal(err)
			}
			if again, stable := w.levelsOfOwners(3, 0, 1, 2); again <= purge || again != stable {
				t.Errorf("the next round: purge %v, stable %v", again, stable)
			}
			w.stop()
			if !failed {
				break
			}
		}
	}
}

func TestWhatHoldsAPartitionBackIsNamed(t *testing.T) {
	for name, c := range map[string]struct {
		hinder func(w *world)
		fails  bool
		want   hold
	}{
		"a member is down": {func(w *world) { w.nodes[3].down.Store(true) }, false, hold{isUnreachable, nodeID(3)}},
		"a member cannot be asked": {func(w *world) {
			w.meddleWith(func(_ int, _, to *node, _ []byte) (before, after error) {
				if to == w.nodes[3] {
					return errCut, nil
				}
				return nil, nil
			})
		}, true, hold{isUnreachable, nodeID(3)}},
		"hints are held": {func(w *world) {
			w.nodes[0].set(keysIn(3, 1)[0], "v")
			w.nodes[3].hint(nodeID(1), keysIn(3, 1)[0], w.nodes[0].object(keysIn(3, 1)[0]))
		}, false, hold{holdsHints, nodeID(3)}},
		"a hint comes in behind the barrier": {func(w *world) {
			w.nodes[0].set(keysIn(3, 1)[0], "v")
			w.nodes[3].opts.Barrier = func() {
				w.nodes[3].hint(nodeID(1), keysIn(3, 1)[0], w.nodes[0].object(keysIn(3, 1)[0]))
			}
		}, false, hold{holdsHints, nodeID(3)}},
		"a repair is owed": {func(w *world) {
			if _, err := w.nodes[3].store.OweRepair(nodeID(2), 3); err != nil {
				w.t.Fatal(err)
			}
		}, false, hold{owesRepair, nodeID(2)}},
		"rows lie where they do not belong": {func(w *world) { w.nodes[3].set(keysIn(3, 1)[0], "v") }, false, hold{holdsForeign, nodeID(3)}},
		"an owner is filled anew": {func(w *world) {
			at, err := w.nodes[1].store.NextHLC(w.nodes[1].store.NowMS(), 0)
			if err == nil {
				err = w.nodes[1].store.Distrust(map[ring.Partition]version.HLC{3: at})
			}
			if err != nil {
				w.t.Fatal(err)
			}
		}, false, hold{isRefilling, nodeID(1)}},
		"it moves": {func(w *world) {
			d := w.document(2, 0, 1, 2)
			d.Moves = []ring.Move{{Partition: 3, From: nodeID(2), To: nodeID(3)}}
			w.adoptRing(d)
		}, false, hold{isMoving, nodeID(0)}},
		"a pair is not compared": {func(w *world) { w.nodes[2].engaged.begin(3, nodeID(9)); w.nodes[2].set(keysIn(3, 1)[0], "v") }, false, hold{isUnsettled, nodeID(0)}},
	} {
		w := newWorld(t, 4, nil)
		w.adoptRing(w.document(1, 0, 1, 2))
		c.hinder(w)
		if err := w.round(0, 1, 2); (err != nil) != c.fails {
			t.Errorf("%s: the round: %v", name, err)
		}
		if purge, stable := w.levelsOfOwners(3, 0, 1, 2); purge != 0 && name != "an owner is filled anew" || stable != 0 {
			t.Errorf("%s: purge %v, stable %v", name, purge, stable)
		}
		if purge, _ := w.levelsOfOwners(4, 0, 1, 2); (purge == 0) != (name == "a member is down" || c.fails) {
			t.Errorf("%s: another partition may be purged up to %v", name, purge)
		}
		w.nodes[0].mu.Lock()
		got := w.nodes[0].held[3]
		w.nodes[0].mu.Unlock()
		if got.why != c.want.why || (c.want.why != isUnsettled && got != c.want) {
			t.Errorf("%s: held by %v, not by %v", name, got, c.want)
		}
		if w.nodes[0].Figures().HeldBack == "" {
			t.Errorf("%s: INFO says nothing", name)
		}
		w.stop()
	}
}

func TestARoundEndsWhereAnOwnerHasForgottenIt(t *testing.T) {
	w := newWorld(t, 3, nil)
	w.adoptRing(w.document(1, 0, 1, 2))
	if err := w.stabilise(0); err != nil {
		t.Fatal(err)
	}
	n := w.nodes[1]
	n.Stop()
	n.Repair = New(n.opts) // as a start anew does
	if err := w.converge(0, 1, 2); err != nil {
		t.Fatal(err)
	}
	if err := w.stabilise(0); !errors.Is(err, errNotReady) {
		t.Errorf("the round: %v", err)
	}
	if purge, stable := w.levelsOfOwners(3, 0, 1, 2); purge != 0 || stable != 0 {
		t.Errorf("purge %v, stable %v", purge, stable)
	}
}

func TestRoundsOfAnIdleClusterAreCheapAndRepairNothing(t *testing.T) {
	w := newWorld(t, 3, func(_ int, o *Options) {
		o.ExchangeInterval, o.StabilityInterval = 2*time.Millisecond, 2*time.Millisecond
	})
	w.adoptRing(w.document(1, 0, 1, 2))
	w.share(200, 30)
	w.meddleWith(nil)
	w.start()
	until(t, "some rounds", func() bool { return w.nodes[0].Figures().Stable > 10*testPartitions })
	_, _, kinds := w.count()
	if kinds[askFence] > 3*kinds[askPurge]+20 || kinds[askLeaves]+kinds[askCompare]+kinds[askObjects] > 0 {
		t.Errorf("sent %v", kinds)
	}
	if n := w.repaired(); n != 0 {
		t.Errorf("repaired %d", n)
	}
	if held := w.nodes[0].Figures().PurgedTo; held == 0 {
		t.Error("nothing may be purged")
	}
}

func TestANewOwnerTakesOverWhatIsStable(t *testing.T) {
	c := newCouncil(t, 4, nil)
	c.begin(3, 0, 1, 2)
	w := c.w
	w.share(100, 10)
	for i := range 3 { // each leads some
		if err := w.stabilise(i); err != nil {
			t.Fatal(err)
		}
		if err := w.converge(0, 1, 2); err != nil {
			t.Fatal(err)
		}
		if err := w.stabilise(i); err != nil {
			t.Fatal(err)
		}
	}
	w.start()
	c.join(3)
	until(t, "it has joined", c.settled)
	some := 0
	for p, owners := range c.document().Owners {
		if !slices.Contains(owners, nodeID(3)) {
			continue
		}
		some++
		p := ring.Partition(p)
		l := w.nodes[3].store.Levels(p)
		if l.Stable == 0 || l.Purge == 0 || w.nodes[3].store.Refilling(p) {
			t.Errorf("partition %d: %+v", p, l)
		}
	}
	if some == 0 {
		t.Error("it owns nothing")
	}
}

func TestANodeThatComesBackFromBehindIsFilledAnew(t *testing.T) {
	for _, first := range []string{"an exchange", "a late hint", "a late hint of what is alive", "a late hint between the passes"} {
		h, zombie := newHistoryless(t), keysIn(3, 1)[0]
		other := keysIn(3, 2)[1] // which node 2 never heard of
		alive := keysIn(3, 3)[2]
		h.everywhere(zombie, write{value: "v"})
		h.snapshot()
		h.everywhere(alive, write{value: "alive"})
		living := 1
		late := h.everywhere(other, write{value: "v"})
		h.everywhere(zombie, write{tombstone: true})
		h.everywhere(other, write{tombstone: true})
		h.settleAll()
		for i := range 2 {
			if o := h.nodes[i].object(zombie); len(o.Siblings) > 0 {
				t.Fatalf("node %d has not purged %v", i, o)
			}
		}
		h.rollBack()
		n := h.nodes[2]
		if len(n.object(zombie).Siblings) == 0 {
			t.Fatal("there is no zombie")
		}
		if first == "a late hint of what is alive" {
			purged := map[ring.Partition]version.HLC{3: h.nodes[0].store.Levels(3).Purge}
			if err := n.store.Distrust(purged); err != nil {
				t.Fatal(err)
			}
			h.nodes[1].write(alive, write{value: "beside", blind: true})
			n.merge(alive, h.nodes[1].object(alive)) // vouched for by nobody
			living++
		}
		h.nodes[0].replan()
		if _, err := h.nodes[0].exchangeAll(context.Background(), nodeID(2)); err != nil {
			t.Fatal(err)
		}
		if !n.store.Refilling(3) {
			t.Fatal("it trusts what it has")
		}
		if first == "a late hint" {
			n.merge(other, late)
		}
		n.write("while", write{value: "filled"})
		for range 2 {
			n.replan()
			for i := range 2 {
				if i == 1 && n.store.Refilling(3) && first == "a late hint between the passes" {
					n.merge(other, late)
					n.mu.Lock()
					if n.refillDone(3, nodeID(0)) {
						t.Error("a pass counts that began before something doubtful came")
					}
					n.mu.Unlock()
				}
				if _, err := n.refillFrom(context.Background(), nodeID(i)); err != nil {
					t.Fatal(err)
				}
			}
		}
		if err := h.converge(0, 1, 2); err != nil {
			t.Fatal(err)
		}
		h.sameEverywhere(0, 1, 2)
		for i := range 3 {
			if o := h.nodes[i].object(zombie); len(o.Siblings) > 0 {
				t.Errorf("%s: node %d shows it again: %v", first, i, o)
			}
			if o := h.nodes[i].object(other); len(o.Siblings) > 0 {
				t.Errorf("%s: node %d shows what was deleted: %v", first, i, o)
			}
			if o := h.nodes[i].object(alive); len(o.Siblings) != living {
				t.Errorf("%s: node %d has %v of what is alive", first, i, o)
			}
			if o := h.nodes[i].object("while"); len(o.Siblings) != 1 {
				t.Errorf("node %d lacks what was written meanwhile: %v", i, o)
			}
		}
		if l := n.store.Levels(3); n.store.Refilling(3) || l.Stable != h.nodes[0].store.Levels(3).Stable || l.Stable == 0 {
			t.Errorf("at the end: %+v, filled anew: %v", l, n.store.Refilling(3))
		}
		h.stop()
	}
}

// A historyless is a history whose steps the test takes by itself.
type historyless struct{ *history }

func newHistoryless(t *testing.T) *historyless {
	w := &world{t: t, kinds: map[byte]int{}}
	return &historyless{newHistory(t, w)}
}

func (h *historyless) everywhere(key string, w write) *version.Object {
	h.nodes[0].write(key, w)
	o := h.nodes[0].object(key)
	for _, i := range []int{1, 2} {
		h.nodes[i].merge(key, o)
	}
	return o
}

func (h *historyless) snapshot() {
	h.halt(2)
	h.old = clone(h.rt, h.disks[2])
	h.boot(2)
}

func (h *historyless) rollBack() {
	h.halt(2)
	h.disks[2] = h.old
	h.boot(2)
	if err := h.nodes[2].store.SeenOfMe(h.nodes[0].store.LastHLC()); err != nil {
		h.t.Fatal(err)
	}
}

// settleAll makes all be stable, and the sweepers purge.
func (h *historyless) settleAll() {
	if err := h.round(0, 1, 2); err != nil {
		h.t.Fatal(err)
	}
	h.nowMS.Add((2 * time.Hour).Milliseconds())
	for i := range 3 {
		if _, err := h.nodes[i].store.Sweep(); err != nil {
			h.t.Fatal(fmt.Errorf("sweep: %w", err))
		}
	}
}
