package repair

import (
	"context"
	"errors"
	"fmt"
	"math/rand/v2"
	"slices"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"pgregory.net/rapid"

	"cartwheel/cluster/ring"
	"cartwheel/store"
)

func TestJoinsOfAnEmptyClusterCommitInOneEpochEach(t *testing.T) {
	c := newCouncil(t, 3, func(_ int, o *Options) { o.FilledWait = time.Minute })
	c.begin(3, 0)
	c.w.start()
	for i := 1; i < 3; i++ {
		c.join(i)
		until(t, "the join is done", c.settled)
	}
	if len(c.commits) != 2 {
		t.Errorf("committed %v", c.commits)
	}
	if _, _, kinds := c.w.count(); kinds[askCompare] != 0 {
		t.Errorf("compared keys of nothing: %v", kinds)
	}
}

func TestSeveralJoinAtOnce(t *testing.T) {
	c := newCouncil(t, 5, nil)
	c.begin(3, 0)
	want := map[string]string{}
	for i := range 300 {
		want[keyOf(i)] = fmt.Sprint(i)
		c.w.nodes[0].set(keyOf(i), want[keyOf(i)])
	}
	c.w.start()
	for i := 1; i < 5; i++ {
		c.join(i)
	}
	until(t, "all have joined", c.settled)
	c.w.owned(c.document(), want)
}

func TestFillingUnderWritesLosesNothing(t *testing.T) {
	c := newCouncil(t, 4, nil)
	c.begin(2, 0, 1)
	c.w.meddleWith(func(int, *node, *node, []byte) (before, after error) {
		time.Sleep(200 * time.Microsecond) // as long as a network takes
		return nil, nil
	})
	c.w.start()
	want := map[string]string{}
	var mu sync.Mutex // a write and a change of the ring are not under way together
	put := func(i int) {
		mu.Lock()
		defer mu.Unlock()
		key, value := keyOf(i%500), strings.Repeat("v", i%700)+fmt.Sprint(i)
		if err := c.w.put(c.document(), key, value); err != nil {
			t.Error(err)
		}
		want[key] = value
	}
	for i := range 1000 {
		put(i)
	}
	var stop atomic.Bool
	var writer sync.WaitGroup
	writer.Go(func() {
		for i := 1000; !stop.Load(); i++ {
			put(i)
		}
	})
	filled := c.filled
	for _, n := range c.w.nodes {
		n.opts.Filled = func(ctx context.Context, epoch uint64, done []ring.Move) error {
			mu.Lock()
			defer mu.Unlock()
			return filled(ctx, epoch, done)
		}
	}
	for _, i := range []int{2, 3} {
		mu.Lock()
		c.join(i)
		mu.Unlock()
		until(t, "the join is done", c.settled)
	}
	mu.Lock()
	c.change(func(d *ring.Document) (*ring.Document, error) { return d.WithoutMember(nodeID(0)) })
	mu.Unlock()
	until(t, "the first has left", c.settled)
	stop.Store(true)
	writer.Wait()
	c.w.owned(c.document(), want)
}

func TestAMoveWaitsForItsSource(t *testing.T) {
	c := newCouncil(t, 3, nil)
	c.begin(2, 0, 1)
	want := map[string]string{}
	for i := range 200 {
		want[keyOf(i)] = "v"
		if err := c.w.put(c.document(), keyOf(i), "v"); err != nil {
			t.Fatal(err)
		}
	}
	c.w.nodes[0].down.Store(true)
	c.w.start()
	c.join(2)
	until(t, "what comes from the one that is up is filled", func() bool {
		for _, m := range c.document().Moves {
			if m.From == nodeID(1) {
				return false
			}
		}
		return true
	})
	for _, m := range c.document().Moves {
		if m.From != nodeID(0) {
			t.Errorf("left is %+v", m)
		}
	}
	if c.settled() {
		t.Error("all is filled, though a source was down all the time")
	}
	c.w.nodes[0].down.Store(false)
	c.w.nodes[2].PeerUp(nodeID(0))
	until(t, "all is filled", c.settled)
	c.w.owned(c.document(), want)
}

func TestWhatADeadNodeHadIsFilledFromAllOthers(t *testing.T) {
	c := newCouncil(t, 4, nil)
	c.begin(3, 0, 1, 2)
	want := map[string]string{}
	for i := range 200 { // each write missed one owner, never the same
		key := keyOf(i)
		want[key] = "v"
		writer := c.w.nodes[i%3]
		writer.set(key, "v")
		c.w.nodes[(i+1)%3].merge(key, writer.object(key))
	}
	c.w.nodes[2].down.Store(true)
	c.w.nodes[1].down.Store(true)
	c.w.nodes[3].Start()
	c.change(func(d *ring.Document) (*ring.Document, error) {
		return d.WithReplaced(nodeID(2), ring.Member{ID: nodeID(3), Peer: "p"})
	})
	until(t, "the one owner that is up was asked", func() bool {
		c.w.nodes[3].mu.Lock()
		defer c.w.nodes[3].mu.Unlock()
		for _, f := range c.w.nodes[3].fills {
			if !f.done[nodeID(0)] {
				return false
			}
		}
		return len(c.w.nodes[3].fills) > 0
	})
	c.w.nodes[3].replan()
	if ready := c.w.nodes[3].Figures().FillReady; ready != 0 || len(c.commits) != 0 {
		t.Errorf("%d filled from less than a majority", ready)
	}
	c.w.nodes[1].down.Store(false)
	c.w.nodes[3].PeerUp(nodeID(1))
	until(t, "it is replaced", c.settled)
	for key := range want {
		if o := c.w.nodes[3].object(key); len(o.Siblings) != 1 {
			t.Fatalf("the heir lacks %s", key)
		}
	}
}

func TestWhoGoesWithoutHeirBringsTheOthersWhatItHas(t *testing.T) {
	for _, dead := range []bool{false, true} {
		c := newCouncil(t, 3, nil)
		c.begin(3, 0, 1, 2)
		c.w.start()
		key := keyOf(7)
		c.w.nodes[2].set(key, "only here")
		c.w.nodes[2].down.Store(dead)
		c.change(func(d *ring.Document) (*ring.Document, error) {
			if dead {
				return d.WithRemoved(nodeID(2))
			}
			return d.WithoutMember(nodeID(2))
		})
		until(t, "all of its is elsewhere", c.settled)
		if _, still := c.document().Member(nodeID(2)); still == dead {
			t.Errorf("dead: %t, still a member: %t", dead, still)
		}
		if !dead {
			c.w.owned(c.document(), map[string]string{key: "only here"})
		}
	}
}

func TestAFillInterruptedAtEveryCallIsResumed(t *testing.T) {
	for fail := 1; ; fail++ {
		c := newCouncil(t, 2, nil)
		c.begin(1, 0)
		want := map[string]string{}
		for i := range 40 {
			want[keyOf(i)] = fmt.Sprint(i)
			c.w.nodes[0].set(keyOf(i), want[keyOf(i)])
		}
		var failed atomic.Bool
		c.w.meddleWith(func(call int, _, _ *node, _ []byte) (before, after error) {
			if call != fail {
				return nil, nil
			}
			failed.Store(true)
			if fail%2 == 0 {
				return errCut, nil
			}
			return nil, errCut
		})
		c.w.nodes[1].Start()
		c.join(1)
		until(t, "the join is done", c.settled)
		c.w.owned(c.document(), want)
		c.w.stop()
		if !failed.Load() {
			return
		}
	}
}

func TestAnyHistoryOfTheRingWithLossesKeepsEverything(t *testing.T) {
	rapid.Check(t, func(rt *rapid.T) {
		c := newCouncil(t, 5, nil)
		defer c.w.stop()
		c.begin(rapid.IntRange(1, 3).Draw(rt, "replicas"), 0, 1)
		random := rand.New(rand.NewPCG(rapid.Uint64().Draw(rt, "seed"), 0))
		var mu sync.Mutex
		loss := rapid.IntRange(15, 60).Draw(rt, "loses a request, and a reply, in so many")
		c.w.meddleWith(func(int, *node, *node, []byte) (before, after error) {
			mu.Lock()
			defer mu.Unlock()
			switch random.IntN(loss) {
			case 0:
				return errCut, nil
			case 1:
				return nil, errCut
			}
			return nil, nil
		})
		want := map[string]string{}
		for i := range rapid.IntRange(1, 60).Draw(rt, "keys") {
			want[keyOf(i)] = fmt.Sprint(i)
			if err := c.w.put(c.document(), keyOf(i), want[keyOf(i)]); err != nil {
				rt.Fatal(err)
			}
		}
		c.w.start()
		members := 2
		for range rapid.IntRange(1, 5).Draw(rt, "changes") {
			switch change := rapid.IntRange(0, 3).Draw(rt, "change"); {
			case change < 2 && members < 5:
				c.join(members)
				members++
			case change >= 2:
				c.change(func(d *ring.Document) (*ring.Document, error) {
					next, err := d.WithoutMember(nodeID(rapid.IntRange(0, members-1).Draw(rt, "who leaves")))
					if err != nil {
						return d, nil
					}
					return next, nil
				})
			}
			if rapid.Bool().Draw(rt, "wait") {
				until(rt, "the ring settles", c.settled)
			}
		}
		c.w.meddleWith(nil)
		until(rt, "the ring settles", c.settled)
		c.w.owned(c.document(), want)
	})
}

func TestFillsOfAMissedEpochBeginAnew(t *testing.T) {
	w := newWorld(t, 2, nil)
	d := w.document(5, 0)
	d.Moves = []ring.Move{{Partition: 1, From: nodeID(0), To: nodeID(1)}}
	w.adoptRing(d)
	n := w.nodes[1]
	n.replan()
	if _, err := n.fillFrom(context.Background(), nodeID(0)); err != nil {
		t.Fatal(err)
	}
	n.replan()
	if f := n.Figures(); f.FillReady != 1 {
		t.Fatalf("%+v", f)
	}
	for _, step := range []struct {
		epoch uint64
		ready int
	}{{6, 1}, {8, 0}} {
		next := *d
		next.Epoch = step.epoch
		w.adoptRing(&next)
		n.replan()
		if f := n.Figures(); f.FillReady != step.ready {
			t.Errorf("epoch %d: %d moves filled, not %d", step.epoch, f.FillReady, step.ready)
		}
	}
}

func TestFilledMovesWaitForOthersButNotForLong(t *testing.T) {
	w := newWorld(t, 3, nil)
	d := w.document(1, 0)
	d.Owners[2] = ids(2)
	d.Moves = []ring.Move{
		{Partition: 1, From: nodeID(0), To: nodeID(1)},
		{Partition: 2, From: nodeID(2), To: nodeID(1)},
	}
	w.adoptRing(d)
	n := w.nodes[1]
	n.replan()
	if _, err := n.fillFrom(context.Background(), nodeID(0)); err != nil {
		t.Fatal(err)
	}
	filled := func(at time.Time) []ring.Move {
		n.mu.Lock()
		defer n.mu.Unlock()
		moves, _ := n.filledMoves(n.Ring(), at)
		return moves
	}
	now := time.Now()
	if moves := filled(now); len(moves) != 0 {
		t.Errorf("committed at once: %v", moves)
	}
	if moves := filled(now.Add(n.opts.FilledWait)); len(moves) != 1 {
		t.Errorf("committed after the wait: %v", moves)
	}
	if _, err := n.fillFrom(context.Background(), nodeID(2)); err != nil {
		t.Fatal(err)
	}
	if moves := filled(now); len(moves) != 2 {
		t.Errorf("committed when all are filled: %v", moves)
	}
}

func TestAllOwnersThatAreUpAreSourcesOfADeadOnesMove(t *testing.T) {
	w := newWorld(t, 6, nil)
	d := w.document(1, 0, 1, 2, 3, 4)
	d.Members[4].State = ring.Removed
	d.Moves = []ring.Move{{Partition: 1, From: nodeID(4), To: nodeID(5)}}
	w.nodes[4].down.Store(true)
	w.adoptRing(d)
	n := w.nodes[5]
	n.replan()
	f := n.fills[d.Moves[0]]
	for _, c := range []struct {
		done, down []int
		want       bool
	}{
		{nil, nil, false},
		{[]int{0, 1, 2}, nil, false}, // a majority, but node 3 is up
		{[]int{0, 1, 2}, []int{3}, true},
		{[]int{0, 1}, []int{2, 3}, false},
		{[]int{0, 1, 2, 3}, nil, true},
		{[]int{0, 1, 2, 3}, []int{0}, true},
	} {
		clear(f.done)
		for i := range 4 {
			w.nodes[i].down.Store(slices.Contains(c.down, i))
			f.done[nodeID(i)] = slices.Contains(c.done, i)
		}
		if got := n.isFilled(n.Ring(), f); got != c.want {
			t.Errorf("filled from %v while %v are down: %v", c.done, c.down, got)
		}
	}
}

func TestWhatWasAgreedToIsNotProposedAgainAndAgain(t *testing.T) {
	proposed := 0
	w := newWorld(t, 2, func(_ int, o *Options) {
		o.Filled = func(context.Context, uint64, []ring.Move) error { proposed++; return nil }
	})
	d := w.document(1, 0)
	d.Moves = []ring.Move{{Partition: 1, From: nodeID(0), To: nodeID(1)}}
	w.adoptRing(d)
	n := w.nodes[1]
	n.replan()
	if _, err := n.fillFrom(context.Background(), nodeID(0)); err != nil {
		t.Fatal(err)
	}
	now := time.Now()
	for range 5 { // the ring comes later
		n.mu.Lock()
		n.plan(n.Ring(), now)
		start, _ := n.schedule.due(now, time.Second)
		n.mu.Unlock()
		for _, job := range start {
			again, err := n.work(context.Background(), job)
			n.mu.Lock()
			n.schedule.ended(job, now, err, again)
			n.mu.Unlock()
		}
	}
	if proposed != 1 {
		t.Errorf("proposed %d times", proposed)
	}
}

func TestAFillDoesNotTrustTrees(t *testing.T) {
	w := newWorld(t, 2, nil)
	w.nodes[0].opts.Store = forgetful{w.nodes[0].store}
	w.nodes[1].opts.Store = forgetful{w.nodes[1].store}
	d := w.document(1, 0)
	for p := range ring.Partition(testPartitions) {
		d.Moves = append(d.Moves, ring.Move{Partition: p, From: nodeID(0), To: nodeID(1)})
	}
	w.adoptRing(d)
	for i := range 100 {
		w.nodes[0].set(keyOf(i), "v")
		if i%2 == 0 {
			w.nodes[1].merge(keyOf(i), w.nodes[0].object(keyOf(i)))
		}
	}
	w.nodes[1].replan()
	if _, err := w.nodes[1].fillFrom(context.Background(), nodeID(0)); err != nil {
		t.Fatal(err)
	}
	w.sameEverywhere(0, 1)
}

func TestWhatIsNotCommittedYetIsFilled(t *testing.T) {
	w := newWorld(t, 2, nil)
	d := w.document(1, 0)
	d.Moves = []ring.Move{{Partition: 3, From: nodeID(0), To: nodeID(1)}}
	w.adoptRing(d)
	n := w.nodes[1]
	n.replan()
	ctx := context.Background()
	for i, fill := range []func() error{
		func() error { _, err := n.fillFrom(ctx, nodeID(0)); return err }, // asks whether anything is there
		func() error { return n.fillOne(ctx, n.Ring(), n.fills[d.Moves[0]], nodeID(0)) },
	} {
		key := keysIn(3, 2)[i]
		w.nodes[0].tag(key)
		if err := fill(); err != nil {
			t.Fatal(err)
		}
		if o := n.object(key); len(o.Siblings) != 1 {
			t.Errorf("%s is not filled", key)
		}
	}
}

// forgetful is a store whose trees show nothing, as after a flush.
type forgetful struct{ *store.Store }

func (forgetful) Root(ring.Partition) uint64       { return 0 }
func (forgetful) Leaves(ring.Partition) [64]uint64 { return [64]uint64{} }

func TestAFailedCommitIsTriedAgain(t *testing.T) {
	refused := errors.New("another was agreed on")
	c := newCouncil(t, 2, nil)
	c.begin(1, 0)
	filled, tries := c.filled, 0
	c.w.nodes[1].opts.Filled = func(ctx context.Context, epoch uint64, done []ring.Move) error {
		if tries++; tries < 3 {
			return refused
		}
		return filled(ctx, epoch, done)
	}
	c.w.start()
	c.join(1)
	until(t, "the join is done", c.settled)
}

// A proposal may be decided on when the ring has changed again: it says for which ring it was made.
func TestWhatIsFilledIsCommittedForTheRingItWasFilledIn(t *testing.T) {
	var epochs []uint64
	w := newWorld(t, 2, func(_ int, o *Options) {
		o.Filled = func(_ context.Context, epoch uint64, _ []ring.Move) error {
			epochs = append(epochs, epoch)
			return ring.ErrMissedEpoch
		}
	})
	d := w.document(1, 0)
	d.Moves = []ring.Move{{Partition: 1, From: nodeID(0), To: nodeID(1)}}
	n := w.nodes[1]
	for d.Epoch = 1; d.Epoch < 4; d.Epoch += 2 {
		next := *d
		w.adoptRing(&next)
		n.replan()
		if _, err := n.fillFrom(context.Background(), nodeID(0)); err != nil {
			t.Fatal(err)
		}
		n.replan()
		if err := n.commitFilled(context.Background()); !errors.Is(err, ring.ErrMissedEpoch) {
			t.Errorf("a commit that was refused: %v", err)
		}
	}
	if !slices.Equal(epochs, []uint64{1, 3}) {
		t.Errorf("filled at epochs %d", epochs)
	}
}
