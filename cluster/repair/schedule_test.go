package repair

import (
	"strings"
	"testing"
	"time"

	"cartwheel/cluster/ring"
	"cartwheel/store/version"
)

// A node was away, its hints and all that did not become hints reach it without
// anyone reading, as soon as it is up.
func TestANodeThatComesBackIsBroughtUpToDateAtOnce(t *testing.T) {
	w := newWorld(t, 4, func(_ int, o *Options) { o.ExchangeInterval = time.Hour })
	w.adoptRing(w.document(1, 0, 1, 2))
	w.start()
	until(t, "the first exchanges end", func() bool {
		return w.nodes[0].Figures().Exchanges >= 2 && w.nodes[1].Figures().Exchanges >= 1
	})
	w.nodes[2].down.Store(true)
	for i := range 200 {
		key := keyOf(i)
		w.nodes[i%2].set(key, "v")
		w.nodes[1-i%2].merge(key, w.nodes[i%2].object(key))
		if i%4 != 0 {
			w.nodes[3].hint(nodeID(2), key, w.nodes[0].object(key))
		}
	}
	w.nodes[2].down.Store(false)
	for _, n := range w.nodes {
		n.PeerUp(nodeID(2))
	}
	until(t, "it has all", func() bool { return w.equalRoots(0, 1, 2) })
	w.sameEverywhere(0, 1, 2)
	until(t, "its hints are gone", func() bool { return w.nodes[3].hintCount(nodeID(2)) == 0 })
}

func TestAPeerThatComesUpIsComparedWithAtOnce(t *testing.T) {
	w := newWorld(t, 2, func(_ int, o *Options) { o.ExchangeInterval = time.Hour })
	w.adoptRing(w.document(1, 0, 1))
	w.start()
	exchanges := func(n uint64) func() bool {
		return func() bool { return w.nodes[0].Figures().Exchanges >= n }
	}
	until(t, "the first exchange", exchanges(1))
	w.nodes[0].PeerUp(nodeID(1))
	until(t, "one as it comes up", exchanges(2))
	w.nodes[0].ExchangeNow()
	until(t, "one as it is asked for", exchanges(3))
}

func (w *world) equalRoots(nodes ...int) bool {
	for p := range ring.Partition(testPartitions) {
		for _, i := range nodes[1:] {
			if w.nodes[i].store.Root(p) != w.nodes[nodes[0]].store.Root(p) {
				return false
			}
		}
	}
	return true
}

func TestAnIdleClusterExchangesRootsAndRepairsNothing(t *testing.T) {
	w := newWorld(t, 3, func(_ int, o *Options) { o.ExchangeInterval = 2 * time.Millisecond })
	w.adoptRing(w.document(1, 0, 1, 2))
	w.share(200, 30)
	w.meddleWith(nil)
	w.start()
	until(t, "many exchanges", func() bool {
		return w.nodes[0].Figures().Exchanges > 50 && w.nodes[1].Figures().Exchanges > 20
	})
	calls, _, kinds := w.count()
	if kinds[askRoots] != calls {
		t.Errorf("sent %v", kinds)
	}
	if n := w.repaired(); n != 0 {
		t.Errorf("repaired %d", n)
	}
}

func TestConvergenceUnderLossesAndWrites(t *testing.T) {
	w := newWorld(t, 3, func(_ int, o *Options) { o.ExchangeInterval = 5 * time.Millisecond })
	w.adoptRing(w.document(1, 0, 1, 2))
	w.meddleWith(func(call int, _, _ *node, _ []byte) (before, after error) {
		switch call % 7 {
		case 2:
			return errCut, nil
		case 5:
			return nil, errCut
		}
		return nil, nil
	})
	w.start()
	for i := range 1500 {
		w.nodes[i%3].write(keyOf(i%400), write{value: strings.Repeat("v", i%300), blind: i%5 == 0, tombstone: i%11 == 0})
	}
	w.meddleWith(nil)
	until(t, "all hold the same", func() bool { return w.equalRoots(0, 1, 2) })
	w.sameEverywhere(0, 1, 2)
}

func TestRetriesGrowApartAndStartOverWithProgress(t *testing.T) {
	s := newSchedule()
	job := task{kind: fillTask}
	now := time.UnixMilli(0)
	fail := func(again time.Duration) time.Duration {
		e := s.want(job, now)
		e.running = true
		s.running[fillTask]++
		s.ended(job, now, errCut, again)
		return e.due.Sub(now)
	}
	for n := range 20 {
		most := min(retryFirst<<min(n, 10), retryMax)
		if d := fail(0); d < most/2 || d > most {
			t.Errorf("retry %d after %v", n, d)
		}
	}
	if d := fail(retryFirst); d > retryFirst {
		t.Errorf("after progress: %v", d)
	}
	if d := fail(0); d > 2*retryFirst {
		t.Errorf("and then: %v", d)
	}
}

// A node whose disk has failed may refuse all for days.
func TestWhatComesNoFurtherIsTriedLessAndLess(t *testing.T) {
	w := newWorld(t, 2, nil)
	w.adoptRing(w.document(1, 0, 1))
	n := w.nodes[0]
	r := w.started(0, time.Now)
	r.shown.over.Store(true)
	const p = ring.Partition(3)
	n.set(keysIn(p, 1)[0], "v")
	if err := n.store.Distrust(map[ring.Partition]version.HLC{p: n.store.LastHLC()}); err != nil {
		t.Fatal(err)
	}
	n.hint(nodeID(1), keysIn(p, 1)[0], n.object(keysIn(p, 1)[0]))
	w.meddle = func(int, *node, *node, []byte) (before, after error) { return errCut, nil }
	for _, kind := range []taskKind{hintsTask, exchangeTask, refillTask, shownTask} {
		n.replan()
		if again, err := r.work(t.Context(), task{kind, nodeID(1)}); err == nil || again != 0 {
			t.Errorf("%v: %v, again in %v, and not by how often it has failed", kind, err, again)
		}
	}
}

func TestNoMoreTasksOfAKindRunThanMay(t *testing.T) {
	s := newSchedule()
	now := time.UnixMilli(0)
	for i := range 10 {
		s.want(task{exchangeTask, nodeID(i)}, now)
		s.want(task{hintsTask, nodeID(i)}, now)
	}
	total := 0
	for range 10 {
		start, _ := s.due(now, time.Second)
		total += len(start)
		if s.running[exchangeTask] > runningMax[exchangeTask] || s.running[hintsTask] > runningMax[hintsTask] {
			t.Fatalf("running %v", s.running)
		}
		for _, job := range start {
			s.ended(job, now, nil, time.Hour)
		}
	}
	if total != 20 {
		t.Errorf("%d of 20 ran", total)
	}
}

// With NoExchanges nothing is compared, whoever comes up, and hints go on.
func TestWithoutExchangesHintsGoOn(t *testing.T) {
	for _, without := range []bool{false, true} {
		w := newWorld(t, 2, func(_ int, o *Options) { o.NoExchanges = without })
		w.adoptRing(w.document(1, 0, 1))
		n := w.nodes[0]
		n.set("key", "value")
		n.hint(nodeID(1), "key", n.object("key"))
		n.PeerUp(nodeID(1))
		n.replan()
		n.mu.Lock()
		hints, exchange := n.schedule.entries[task{hintsTask, nodeID(1)}], n.schedule.entries[task{exchangeTask, nodeID(1)}]
		n.mu.Unlock()
		if hints == nil || (exchange == nil) != without {
			t.Errorf("without %t: hints %+v, exchange %+v", without, hints, exchange)
		}
		w.stop()
	}
}

// Somebody waits for an exchange that is owed, and it comes at once; but not again and again with a peer that refuses it.
func TestAnOwedExchangeThatFailsIsTriedLessAndLess(t *testing.T) {
	w := newWorld(t, 3, nil)
	w.adoptRing(w.document(1, 0, 1))
	n, job, now := w.nodes[0], task{exchangeTask, nodeID(1)}, time.Now()
	n.askedToRepair(nodeID(2), []ring.Partition{3}, n.Ring())
	n.mu.Lock()
	defer n.mu.Unlock()
	n.plan(n.Ring(), now)
	e := n.schedule.entries[job]
	if e == nil {
		t.Fatal("there is no exchange")
	}
	e.due = now.Add(time.Hour)
	if n.plan(n.Ring(), now); e.due.After(now) {
		t.Error("what is owed waits for the usual time")
	}
	for range 10 {
		e.running = true
		n.schedule.running[exchangeTask]++
		n.schedule.ended(job, now, errCut, 0)
	}
	if n.plan(n.Ring(), now); e.due.Before(now.Add(retryMax / 2)) {
		t.Errorf("it is tried again after %v", e.due.Sub(now))
	}
}
