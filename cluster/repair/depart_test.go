package repair

import (
	"testing"
	"time"

	"cartwheel/cluster/ring"
	"cartwheel/store/version"
)

// What a leaver has is at the others before nothing remains of it.
func TestNothingRemainsOfALeaverOnlyWhenTheOthersHaveAll(t *testing.T) {
	c := newCouncil(t, 4, func(_ int, o *Options) { o.DropGrace = time.Hour })
	c.begin(3, 0, 1, 2, 3)
	c.w.start()
	want := map[string]string{}
	for i := range 100 {
		want[keyOf(i)] = "v"
		if err := c.w.put(c.document(), keyOf(i), "v"); err != nil {
			t.Fatal(err)
		}
	}
	leaver, other := c.w.nodes[3], c.w.nodes[0]
	other.down.Store(true)
	c.change(func(d *ring.Document) (*ring.Document, error) { return d.WithoutMember(leaver.id) })
	until(t, "what does not wait for the one that is down has moved", func() bool {
		for _, m := range c.document().Moves {
			if m.To != other.id {
				return false
			}
		}
		return true
	})
	if left, err := leaver.Remains(); err != nil || left.None() {
		t.Errorf("an owner is down, and of the leaver remains %+v, %v", left, err)
	}
	const key = "hinted"
	var o version.Object
	dot := version.Dot{Incarnation: 5, HLC: version.MakeHLC(leaver.store.NowMS(), 0)}
	o.Put(nil, version.Sibling{Dot: dot, Written: dot.HLC, Payload: []byte("v")})
	leaver.hint(other.id, key, &o)
	if left, err := leaver.Remains(); err != nil || left.Hints != 1 {
		t.Errorf("of the leaver remains %+v, %v", left, err)
	}
	other.down.Store(false)
	for _, n := range c.w.nodes {
		n.PeerUp(other.id)
	}
	until(t, "nothing remains of the leaver", func() bool {
		left, err := leaver.Remains()
		if err != nil {
			t.Fatal(err)
		}
		return c.settled() && left.None()
	})
	if all := leaver.everything(); len(all) != 0 {
		t.Errorf("the leaver has %v", all)
	}
	c.w.owned(c.document(), want)
	p := ring.PartitionOf(ring.SlotOf([]byte(key)), testPartitions)
	some := false
	for _, owner := range c.document().Owners[p] {
		some = some || len(c.w.node(owner).object(key).Siblings) == 1
	}
	if !some {
		t.Error("no owner has what the leaver held for one of them")
	}
}

// Of a partition's three owners two are given up: neither is waited for.
func TestOwnersThatWereGivenUpAreNotWaitedFor(t *testing.T) {
	c := newCouncil(t, 4, nil)
	c.begin(3, 0, 1, 2, 3)
	want := map[string]string{}
	for i := range 100 {
		want[keyOf(i)] = "v"
		if err := c.w.put(c.document(), keyOf(i), "v"); err != nil {
			t.Fatal(err)
		}
	}
	c.w.start()
	for _, i := range []int{1, 2} {
		c.w.nodes[i].down.Store(true)
		c.change(func(d *ring.Document) (*ring.Document, error) { return d.WithRemoved(nodeID(i)) })
	}
	until(t, "all that they had is with the others", c.settled)
	if n := len(c.document().Members); n != 2 {
		t.Errorf("%d members", n)
	}
	c.w.owned(c.document(), want)
}

// One that leaves and is down may have what no other has.
func TestALeaverThatIsDownIsWaitedFor(t *testing.T) {
	c := newCouncil(t, 4, nil)
	c.begin(1, 0, 1, 2, 3)
	want := map[string]string{}
	for i := range 100 {
		want[keyOf(i)] = "v"
		if err := c.w.put(c.document(), keyOf(i), "v"); err != nil {
			t.Fatal(err)
		}
	}
	leaver := c.w.nodes[1]
	leaver.down.Store(true)
	c.w.start()
	c.change(func(d *ring.Document) (*ring.Document, error) { return d.WithoutMember(leaver.id) })
	for _, n := range c.w.nodes {
		n.mu.Lock()
		table := n.Ring()
		for m, f := range n.fills {
			if n.isFilled(table, f) {
				t.Errorf("%+v counts as filled", m)
			}
		}
		n.mu.Unlock()
	}
	leaver.down.Store(false)
	for _, n := range c.w.nodes {
		n.PeerUp(leaver.id)
	}
	until(t, "all that it had is with the others", c.settled)
	c.w.owned(c.document(), want)
}

func TestAFillingIsShown(t *testing.T) {
	c := newCouncil(t, 2, nil)
	c.begin(1, 0)
	for i := range 50 {
		c.w.nodes[0].set(keyOf(i), "v")
	}
	c.w.start()
	c.join(1)
	until(t, "the join is done", c.settled)
	until(t, "the filling is over", func() bool { return c.w.nodes[1].Figures().Filling == 0 })
	f := c.w.nodes[1].Figures()
	if f.FillDone != testPartitions/2 || f.FillMoved == 0 || f.FillTook <= 0 {
		t.Errorf("%+v", f)
	}
	if again := c.w.nodes[1].Figures(); again.FillTook != f.FillTook {
		t.Errorf("it took %v, and then %v", f.FillTook, again.FillTook)
	}
}

func TestWhoIsNoMemberAnyMoreHasNothingToDo(t *testing.T) {
	w := newWorld(t, 3, func(_ int, o *Options) { o.DropGrace = time.Nanosecond })
	d := w.document(1, 0, 1)
	w.adoptRing(d)
	n := w.nodes[2]
	n.set(keyOf(1), "v")
	n.replan()
	wanted := func() (count int) {
		n.mu.Lock()
		defer n.mu.Unlock()
		for _, e := range n.schedule.entries {
			if e.wanted {
				count++
			}
		}
		return count
	}
	if wanted() == 0 {
		t.Error("a member with what is not its own has nothing to do")
	}
	gone := *d
	gone.Epoch, gone.Members = 2, d.Members[:2]
	w.adoptRing(&gone)
	n.replan()
	if count := wanted(); count != 0 {
		t.Errorf("it has %d tasks", count)
	}
}
