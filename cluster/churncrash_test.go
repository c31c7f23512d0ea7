package cluster

import (
	"context"
	"fmt"
	"slices"
	"testing"
	"time"

	"cartwheel/cluster/quorum"
	"cartwheel/cluster/ring"
	"cartwheel/store/version"
)

// known waits until these nodes know that another is up, or down.
func (w *world) known(id ring.NodeID, up bool, by ...int) {
	w.t.Helper()
	until(w.t, "all know who is up", func() bool {
		for _, i := range by {
			if w.node(i).isUp(id) != up {
				return false
			}
		}
		return true
	})
}

// moving waits until at most so many moves are left.
func (w *world) moving(at, most int) {
	w.t.Helper()
	until(w.t, "some of the moves are done", func() bool { return w.node(at).Topology().Moving <= most })
}

func TestALeaveGoesOnAfterTheLeaverWasKilled(t *testing.T) {
	t.Parallel()
	for _, left := range []int{1000, 6, 0} { // moves, when it is killed
		w := newChurn(t, 4, 3)
		w.net.setDelay(time.Millisecond)
		id := w.node(3).NodeID()
		l := w.load(0, 1, 2)
		w.apply(0, false, "leave", w.id(3))
		w.moving(0, left)
		w.crash(3)
		w.known(id, false, 0, 1, 2)
		if _, is := w.node(0).view.Load().ring.Member(id); !is {
			t.Error("it has left without having said that it may")
		}
		w.start(3)
		w.settled(0, 1, 2)
		until(t, "it knows that it has left", func() bool { return w.node(3).view.Load().left })
		l.end()
		l.unharmed()
		w.exact(0, 1, 2)
		l.kept(0, 1, 2)
	}
}

func TestAJoinGoesOnAfterAnyNodeWasKilled(t *testing.T) {
	t.Parallel()
	for name, victim := range map[string]int{"the joiner": 4, "a source": 2, "who let it in": 0} {
		t.Run(name, func(t *testing.T) {
			w := newChurn(t, 4, 3)
			w.net.setDelay(time.Millisecond)
			clients := []int{}
			for i := range 4 {
				if i != victim {
					clients = append(clients, i)
				}
			}
			l := w.load(clients...)
			w.add(func(*Options) {})
			w.moving(1, w.node(1).Topology().Moving/2)
			w.crash(victim)
			w.start(victim)
			w.settled(0, 1, 2, 3, 4)
			l.end()
			l.unharmed()
			w.exact(0, 1, 2, 3, 4)
			l.kept(0, 1, 2, 3, 4)
		})
	}
}

func TestALeaveIsProposedAgainAfterItsProposerWasKilled(t *testing.T) {
	t.Parallel()
	w := newChurn(t, 4, 3)
	w.net.setDelay(3 * time.Millisecond)
	l := w.load(1, 2)
	ctx, cancel := context.WithCancel(t.Context())
	applied := make(chan struct{})
	proposer := w.node(0)
	leaver := w.id(3)
	go func() {
		defer close(applied)
		<-ctx.Done()
		// Whatever comes of it: its process is dying.
		_, _ = proposer.ApplyRing(ring.Change{Verb: ring.Leave, Node: leaver}, 0, false)
	}()
	cancel()
	time.Sleep(time.Duration(w.rand.Int64N(int64(20 * time.Millisecond)))) // any moment will do
	w.vanish(0)
	<-applied
	w.bury(0, proposer)
	w.apply(1, false, "leave", leaver)
	w.start(0)
	w.settled(0, 1, 2)
	l.end()
	l.unharmed()
	w.exact(0, 1, 2)
	l.kept(0, 1, 2)
}

// preferred returns the first fallback.
func preferred(v *view, pl *place) (id ring.NodeID) {
	for _, m := range v.ring.Members() {
		if v.byID[m.ID] == pl.fallbacks()[0] {
			return m.ID
		}
	}
	return id
}

// ownFirst writes a key at a node and checks that an owner to be, which also stands in
// for an owner, is sent it as its own before.
func ownFirst(t *testing.T, c *Coordinator, key []byte, toBe *peer) {
	t.Helper()
	var o version.Object
	done := newWaiter()
	op := c.newOperation(kindWrite, 0, key, quorum.Need{}, done)
	op.mu.Lock()
	notify, err := op.apply(c.store.NowMS(), &o, overwrite{c: c, key: key, value: []byte("first"), plain: true})
	var hints []bool // of what the owner to be is sent
	for _, r := range op.requests {
		if r.peer == toBe {
			hints = append(hints, r.hint)
		}
	}
	op.started(notify)
	if err != nil {
		t.Fatal(err)
	}
	if !slices.Equal(hints, []bool{false, true}) {
		t.Errorf("whether what an owner to be is sent is for another: %v", hints)
	}
	if _, err := done.wait(c); err != nil {
		t.Error(err)
	}
}

// keyIn returns a key of a partition.
func keyIn(v *view, p ring.Partition) []byte {
	for i := 0; ; i++ {
		if key := fmt.Append(nil, "in", i); v.partition(key) == p {
			return key
		}
	}
}

// inStore returns how many siblings of a key a node has, as an owner.
func inStore(t *testing.T, c *Coordinator, key string) int {
	t.Helper()
	var o version.Object
	if _, err := c.store.Get(0, []byte(key), &o); err != nil {
		t.Fatal(err)
	}
	return len(o.Siblings)
}

// A leaver holds hints for one that is down: they are the only copies that it may
// have, so it stays until they are delivered.
func TestALeaverStaysWhileItHoldsHints(t *testing.T) {
	t.Parallel()
	w := newChurn(t, 5, 3)
	w.apply(0, false, "weight", w.id(4), "1000") // owns all: nothing moves to it
	w.settled(0, 1, 2, 3, 4)
	l := w.load(0, 1, 2)
	id, leaver := w.node(4).NodeID(), w.node(3)
	w.crash(4)
	w.known(id, false, 0, 1, 2, 3)
	until(t, "it holds hints", func() bool { return len(leaver.store.HintOwners()) > 0 })
	w.apply(1, false, "leave", w.id(3))
	until(t, "it owns nothing any more", func() bool {
		top := leaver.Topology()
		return top.Moving == 0 && top.Nodes[top.Self].Owned == 0 && top.Nodes[top.Self].State == ring.Leaving
	})
	plan, err := w.node(1).PlanRing(ring.Change{Verb: ring.Leave, Node: w.id(0)})
	if err != nil || len(plan.Warnings) == 0 {
		t.Errorf("a plan while one leaves and one is down: %+v, %v", plan, err)
	}
	progress, err := w.node(2).RingProgress()
	if err != nil || len(progress.Leaving) != 1 || progress.Leaving[0].Hints == 0 || len(progress.Silent) != 1 {
		t.Errorf("%+v, %v", progress, err)
	}
	if leaver.mayDepart() {
		t.Error("it may leave with its hints")
	}
	w.start(4)
	w.settled(0, 1, 2, 4)
	l.end()
	l.unharmed()
	w.same(0, 1, 2, 4)
	l.kept(0, 1, 2, 4)
}

// Two of three owners die for good.
func TestTwoDeadNodesAreRemoved(t *testing.T) {
	t.Parallel()
	w := newChurn(t, 5, 3)
	l := w.load(0, 1, 2)
	ids := []string{w.id(3), w.id(4)}
	for i, id := range ids {
		w.crash(3 + i)
		w.known(mustID(t, id), false, 0, 1, 2)
	}
	for _, id := range ids {
		w.apply(0, false, "remove", id)
	}
	w.settled(0, 1, 2)
	l.end()
	l.unharmed()
	w.exact(0, 1, 2)
	l.kept(0, 1, 2)
}

// Owners are dead while their partitions are about to move to all that live: those
// stand in for them, too.
func TestWritesGoOnWhereOnlyOwnersToBeAreUp(t *testing.T) {
	t.Parallel()
	for range 3 { // on a slow machine all may have moved before the last owner is dead
		if onlyOwnersToBe(t) {
			return
		}
	}
	t.Error("the test shows nothing")
}

func onlyOwnersToBe(t *testing.T) (shown bool) {
	w := newChurn(t, 5, 3)
	ids := []ring.NodeID{w.node(2).NodeID(), w.node(3).NodeID(), w.node(4).NodeID()}
	w.apply(0, false, "weight", w.id(2), "1000") // owns all, and stays
	w.settled(0, 1, 2, 3, 4)
	for i := 3; i < 5; i++ {
		w.crash(i)
	}
	for _, id := range ids[1:] {
		w.known(id, false, 0, 1, 2)
		w.apply(0, false, "leave", id.String()) // which waits, since they are down
	}
	w.crash(2)
	w.known(ids[0], false, 0, 1)
	first := false
	v, bare := w.node(0).view.Load(), map[ring.Partition]bool{} // those of which both that live are about to be owners
	for p := range v.places {
		pl := &v.places[p]
		if pl.holds() || pl.self < 0 || len(pl.fallbacks()) != 2 {
			continue
		}
		bare[ring.Partition(p)] = true
		again := w.node(0).newOperation(kindWrite, 0, []byte("k"), quorum.Need{}, nil)
		again.begin(v, ring.Partition(p))
		if w.node(0).NodeID() == preferred(v, pl) {
			err := again.canWrite()
			again.retally()
			if err != nil || !again.tally.Has(again.stands) {
				t.Errorf("what is kept for a dead owner does not count any more when the write begins again: %v", err)
			}
		}
		other := v.byID[w.node(1).NodeID()]
		if w.node(0).NodeID() == preferred(v, pl) {
			ownFirst(t, w.node(0), keyIn(v, ring.Partition(p)), other)
			first = true
		}
		op := w.node(0).newOperation(kindWrite, 0, []byte("k"), quorum.Need{}, nil)
		op.begin(v, ring.Partition(p))
		op.requests = append(op.requests, &request{op: op, peer: other, node: slices.Index(pl.nodes, other)})
		if op.nextFallback() != other {
			t.Error("what has been sent to an owner to be for itself keeps it from standing in for an owner")
		}
	}
	if len(bare) == 0 || !first {
		return false
	}
	for i := range 200 {
		key := fmt.Sprint("key", i)
		if err := w.set(i%2, key, "v"); err != nil {
			t.Errorf("%s: %v", key, err)
			continue
		}
		for _, c := range w.nodes[:2] {
			wantValue(t, c, 0, key, "v")
			if n := inStore(t, c, key); n != 1 && bare[v.partition([]byte(key))] {
				t.Errorf("%s: an owner to be has %d values of it", key, n)
			}
		}
	}
	for i := 2; i < 5; i++ {
		w.start(i)
	}
	w.settled(0, 1, 2)
	w.exact(0, 1, 2)
	for i := range 200 {
		for _, c := range w.nodes[:3] {
			wantValue(t, c, 0, fmt.Sprint("key", i), "v")
		}
	}
	return true
}

// A node dies with hints and is removed. When it is back, nobody takes them from it: it says so.
func TestANodeThatWasRemovedSaysThatItHoldsHints(t *testing.T) {
	t.Parallel()
	w := newChurn(t, 5, 3)
	absent := w.node(4).NodeID()
	w.crash(4)
	w.known(absent, false, 0, 1, 2, 3)
	l := w.load(0, 1, 2, 3)
	holder, rest := -1, []int{0, 1, 2, 3}
	until(t, "one of them holds hints", func() bool { // not all must: the ring says who
		holder = slices.IndexFunc(rest, func(i int) bool { return len(w.node(i).store.HintOwners()) > 0 })
		return holder >= 0
	})
	rest = slices.Delete(rest, holder, holder+1)
	dead := w.node(holder).NodeID()
	l.connect(rest...)
	w.crash(holder)
	l.end()
	w.known(dead, false, rest...)
	w.apply(rest[0], false, "remove", dead.String())
	w.start(4)
	w.settled(append(rest, 4)...)
	w.start(holder)
	until(t, "it says what it holds", func() bool {
		return w.node(holder).view.Load().left && w.logs[holder].contains("only in its data directory")
	})
	for _, f := range w.node(holder).Figures() {
		if f[0] == "hints_stranded" && f[1] == "0" {
			t.Error("INFO does not count them")
		}
	}
}
