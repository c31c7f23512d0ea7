package repair

import (
	"context"
	"errors"
	"fmt"
	"strings"
	"testing"

	"pgregory.net/rapid"

	"cartwheel/cluster/ring"
	"cartwheel/store/version"
)

// mergedOf is what all nodes should hold under a key once they have met.
func mergedOf(nodes []*node, key string) version.Object {
	var all version.Object
	for _, n := range nodes {
		all = version.Merge(&all, n.object(key))
	}
	return all
}

func TestReplicasConvergeAndAreThenSilent(t *testing.T) {
	rapid.Check(t, func(rt *rapid.T) {
		nodes := rapid.IntRange(2, 4).Draw(rt, "nodes")
		w := newWorld(t, nodes, nil)
		defer w.stop()
		all := make([]int, nodes)
		for i := range all {
			all[i] = i
		}
		w.adoptRing(w.document(1, all...))
		keys := rapid.IntRange(1, 40).Draw(rt, "keys")
		for range rapid.IntRange(0, 120).Draw(rt, "writes") {
			key := keyOf(rapid.IntRange(0, keys).Draw(rt, "key"))
			n := w.nodes[rapid.IntRange(0, nodes-1).Draw(rt, "node")]
			n.write(key, write{
				value:     strings.Repeat("v", rapid.IntRange(0, 50).Draw(rt, "size")),
				tombstone: rapid.IntRange(0, 3).Draw(rt, "delete") == 0,
				blind:     rapid.Bool().Draw(rt, "blind"),
			})
			if rapid.IntRange(0, 2).Draw(rt, "also elsewhere") == 0 {
				w.nodes[rapid.IntRange(0, nodes-1).Draw(rt, "where")].merge(key, n.object(key))
			}
		}
		expected := map[string]version.Object{}
		for i := range keys + 1 {
			expected[keyOf(i)] = mergedOf(w.nodes, keyOf(i))
		}
		for range 2 { // the first pair learns from the last only the second time
			if err := w.converge(all...); err != nil {
				rt.Fatal(err)
			}
		}
		w.sameEverywhere(all...)
		for key, o := range expected {
			if got := w.nodes[0].object(key); !got.Equal(&o) {
				rt.Fatalf("%s is %+v, the merge of all is %+v", key, got, o)
			}
		}
		w.meddleWith(nil)
		before := w.repaired()
		if err := w.converge(all...); err != nil {
			rt.Fatal(err)
		}
		pairs := nodes * (nodes - 1) / 2
		if calls, _, kinds := w.count(); calls != pairs || kinds[askRoots] != pairs || w.repaired() != before {
			rt.Fatalf("in silence %d pairs sent %v, and repaired %d", pairs, kinds, w.repaired()-before)
		}
	})
}

func (w *world) repaired() (n uint64) {
	for _, n0 := range w.nodes {
		n += n0.Figures().Repaired
	}
	return n
}

// stop closes the stores of a world that is one of many of a test.
func (w *world) stop() {
	for _, n := range w.nodes {
		n.Stop()
		if err := n.store.Close(); err != nil {
			w.t.Errorf("close: %v", err)
		}
	}
	w.nodes = nil
}

// share gives all nodes the same objects.
func (w *world) share(keys, size int) {
	for i := range keys {
		w.nodes[0].set(keyOf(i), strings.Repeat("x", size))
		for _, n := range w.nodes[1:] {
			n.merge(keyOf(i), w.nodes[0].object(keyOf(i)))
		}
	}
}

func TestBytesSentAreWithinThreeTimesWhatDiffers(t *testing.T) {
	const keys, changed, size = 4000, 200, 300
	w := newWorld(t, 2, nil)
	w.adoptRing(w.document(1, 0, 1))
	w.share(keys, size)
	weight := 0
	for i := range changed {
		key := keyOf(i * (keys / changed))
		w.nodes[0].set(key, strings.Repeat("y", size))
		weight += len(key) + len(version.AppendObject(nil, w.nodes[0].object(key)))
	}
	w.meddleWith(nil)
	if err := w.converge(0, 1); err != nil {
		t.Fatal(err)
	}
	w.sameEverywhere(0, 1)
	_, sent, kinds := w.count()
	t.Logf("%d objects of %d bytes: %d bytes in %v messages", changed, weight, sent, kinds)
	if sent > 3*weight {
		t.Errorf("%d bytes were sent to repair %d", sent, weight)
	}
	if n := w.repaired(); n != changed {
		t.Errorf("%d objects were repaired of %d", n, changed)
	}
}

func TestOnlyTheObjectsThatOneSideLacksAreSent(t *testing.T) {
	w := newWorld(t, 2, nil)
	w.adoptRing(w.document(1, 0, 1))
	keys := keysIn(3, 5)
	const size = 100_000
	for _, key := range keys {
		w.nodes[0].set(key, strings.Repeat("x", size))
		w.nodes[1].merge(key, w.nodes[0].object(key))
	}
	w.nodes[0].set(keys[1], "newer here")
	w.nodes[1].set(keys[2], "newer there")
	w.meddleWith(nil)
	if err := w.converge(0, 1); err != nil {
		t.Fatal(err)
	}
	w.sameEverywhere(0, 1)
	if _, sent, _ := w.count(); sent > size/10 {
		t.Errorf("%d bytes were sent for two small objects", sent)
	}
}

func TestALargeObjectGoesAlone(t *testing.T) {
	w := newWorld(t, 2, nil)
	w.adoptRing(w.document(1, 0, 1))
	keys := keysIn(2, 6)
	for i, key := range keys {
		w.nodes[i%2].set(key, strings.Repeat("x", 100))
	}
	w.nodes[0].set(keys[2], strings.Repeat("L", 3<<20))
	w.nodes[1].set(keys[3], strings.Repeat("L", 3<<20))
	largest := 0
	w.meddleWith(func(_ int, _, _ *node, msg []byte) (before, after error) {
		largest = max(largest, len(msg))
		return nil, nil
	})
	if err := w.converge(0, 1); err != nil {
		t.Fatal(err)
	}
	w.sameEverywhere(0, 1)
	if largest > 3<<20+pageBytesMax {
		t.Errorf("a message of %d bytes", largest)
	}
}

func TestManyPagesOfOneLeafAreCompared(t *testing.T) {
	w := newWorld(t, 2, nil)
	w.adoptRing(w.document(1, 0, 1))
	// All keys of one hash tag, on both sides, and each side lacks some.
	for i := range 3 * entriesMax / 2 {
		key := fmt.Sprintf("{tag}%d", i)
		if i%3 != 0 {
			w.nodes[0].tag(key)
		}
		if i%3 != 1 {
			w.nodes[1].tag(key)
		}
	}
	for _, n := range w.nodes {
		if err := n.store.Sync(); err != nil {
			t.Fatal(err)
		}
	}
	if err := w.converge(0, 1); err != nil {
		t.Fatal(err)
	}
	w.sameEverywhere(0, 1)
}

// tag writes without a commit.
func (n *node) tag(key string) {
	var o version.Object
	if _, err := n.store.Update(0, []byte(key), n.store.NowMS(), &o, write{s: n.store, value: strings.Repeat("t", 900)}); err != nil {
		n.w.t.Fatal(err)
	}
}

func TestWhatDiffersOnceIsLeftAlone(t *testing.T) {
	w := newWorld(t, 2, nil)
	w.adoptRing(w.document(1, 0, 1))
	w.nodes[0].set("k", "v") // a write in flight
	seen := 0
	w.meddleWith(func(_ int, _, to *node, msg []byte) (before, after error) {
		if msg[0] == askLeaves {
			if seen++; seen == 3 { // which arrives between the comparisons of leaves; that of sums came first
				to.merge("k", w.nodes[0].object("k"))
			}
		}
		return nil, nil
	})
	if err := w.converge(0, 1); err != nil {
		t.Fatal(err)
	}
	if _, _, kinds := w.count(); kinds[askLeaves] != 3 || kinds[askCompare] != 0 {
		t.Errorf("sent %v", kinds)
	}
}

func TestAnExchangeInterruptedAnywhereIsResumed(t *testing.T) {
	for _, lost := range []string{"request", "reply"} {
		for fail := 1; ; fail++ {
			w := newWorld(t, 2, nil)
			w.adoptRing(w.document(1, 0, 1))
			for i := range 60 {
				w.nodes[i%2].set(keyOf(i), strings.Repeat("x", 50))
				w.nodes[i%3%2].write(keyOf(i/2), write{value: "y", blind: true})
			}
			failed := false
			w.meddleWith(func(call int, _, _ *node, _ []byte) (before, after error) {
				if call != fail {
					return nil, nil
				}
				failed = true
				if lost == "request" {
					return errCut, nil
				}
				return nil, errCut
			})
			err := w.converge(0, 1)
			if failed && !errors.Is(err, errCut) {
				t.Fatalf("call %d failed, the exchange returned %v", fail, err)
			}
			w.meddleWith(nil)
			until(t, "the peer lets go of the partitions", func() bool {
				for p := range ring.Partition(testPartitions) {
					w.nodes[1].engaged.leave(p, nodeID(0)) // as time does
				}
				return w.converge(0, 1) == nil
			})
			w.sameEverywhere(0, 1)
			w.stop()
			if !failed {
				break
			}
		}
	}
}

func TestWhatWasFlushedOnOneSideDoesNotComeBackFromTheOther(t *testing.T) {
	for _, begins := range []int{0, 1} {
		w := newWorld(t, 2, nil)
		w.adoptRing(w.document(1, 0, 1))
		w.share(50, 10)
		mark, err := w.nodes[0].store.NextHLC(w.nodes[0].store.NowMS(), 0)
		if err != nil {
			t.Fatal(err)
		}
		if err := w.nodes[0].store.Flush([]uint8{0}, mark); err != nil {
			t.Fatal(err)
		}
		w.nodes[0].set("after", "v")
		n, peer := w.nodes[begins], nodeID(1-begins)
		n.replan()
		if _, err := n.exchangeAll(context.Background(), peer); err != nil {
			t.Fatal(err)
		}
		w.sameEverywhere(0, 1)
		if all := w.nodes[1].everything(); len(all) != 1 {
			t.Errorf("begun by %d: %v", begins, all)
		}
	}
}

func TestNothingIsComparedWhileTheTreesAreRebuilt(t *testing.T) {
	w := newWorld(t, 2, nil)
	w.adoptRing(w.document(1, 0, 1))
	w.nodes[0].set("k", "v")
	never := make(chan struct{})
	w.nodes[1].opts.Store = unready{w.nodes[1].store, never}
	if err := w.converge(0, 1); !errors.Is(err, errNotReady) {
		t.Errorf("the exchange with one that is not ready: %v", err)
	}
	w.nodes[0].opts.Store, w.nodes[1].opts.Store = unready{w.nodes[0].store, never}, w.nodes[1].store
	if err := w.converge(0, 1); !errors.Is(err, errNotReady) {
		t.Errorf("the exchange of one that is not ready: %v", err)
	}
}

// unready is a store whose trees are not.
type unready struct {
	Store
	ready chan struct{}
}

func (u unready) TreesReady() <-chan struct{} { return u.ready }

func TestAPartitionIsInOneExchangeAtATime(t *testing.T) {
	w := newWorld(t, 3, nil)
	w.adoptRing(w.document(1, 0, 1, 2))
	w.share(400, 200)
	weight := 0
	for i := range 100 { // node 2 was away
		w.nodes[0].set(keyOf(i), strings.Repeat("y", 200))
		w.nodes[1].merge(keyOf(i), w.nodes[0].object(keyOf(i)))
		weight += len(keyOf(i)) + len(version.AppendObject(nil, w.nodes[0].object(keyOf(i))))
	}
	w.meddleWith(nil)
	for _, n := range w.nodes {
		n.Start()
	}
	until(t, "the one that was away has all", func() bool {
		for p := range ring.Partition(testPartitions) {
			if w.nodes[2].store.Root(p) != w.nodes[0].store.Root(p) {
				return false
			}
		}
		return true
	})
	w.sameEverywhere(0, 1, 2)
	if _, sent, kinds := w.count(); sent > 3*weight {
		t.Errorf("%d bytes in %v for what differs by %d", sent, kinds, weight)
	}
}
