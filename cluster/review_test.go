package cluster

import (
	"bytes"
	"errors"
	"fmt"
	"slices"
	"sync"
	"testing"
	"time"

	"cartwheel/cluster/quorum"
	"cartwheel/cluster/ring"
	"cartwheel/store"
	"cartwheel/store/version"
)

// What an independent review found.

// by returns the node of an id.
func (w *world) by(id [20]byte) *Coordinator {
	for _, c := range w.nodes {
		if c != nil && c.NodeID() == id {
			return c
		}
	}
	return nil
}

func quiet(_ int, o *Options) { o.Repair.ExchangeInterval = time.Hour }

func TestANonOwnerAsksLiveOwnersBeforeItCountsItself(t *testing.T) {
	w := newWorldOf(t, 5, 3, quiet)
	v := w.nodes[0].view.Load()
	preference := v.ring.Preference(v.partition([]byte("k")))
	a, b, fallback := w.by(preference[0]), w.by(preference[1]), w.by(preference[3])
	mustSet(t, a, 0, "k", "old")
	until(t, "all owners have it", func() bool {
		var o version.Object
		_, err := b.store.Get(0, []byte("k"), &o)
		return err == nil && o.Winner() != nil
	})
	w.net.setCut(a.opts.PeerListen, b.opts.PeerListen, true)
	new := overwrite{value: []byte("new"), plain: true}
	if err := update(a, 0, "k", quorum.Need{Strict: true}, new); err != nil { // b misses it
		t.Fatal(err)
	}
	for i, c := range w.nodes {
		if c == a {
			w.crash(i)
		}
	}
	w.net.heal()
	view := fallback.view.Load()
	until(t, "a is known to be down", func() bool { return !view.byID[preference[0]].up() && view.byID[preference[1]].up() })
	view.byID[preference[1]].usualNS[kindRead].Store(1) // b is the faster one
	view.byID[preference[2]].usualNS[kindRead].Store(int64(time.Second))
	wantValue(t, fallback, 0, "k", "new")
}

func TestAHintThatBeginsAnewHasAnIncarnationOfItsOwn(t *testing.T) {
	w := newWorldOf(t, 1, 1, quiet)
	c := w.nodes[0]
	mustSet(t, c, 0, "k", "so that it has a clock")
	c.fallback.mu.Lock()
	defer c.fallback.mu.Unlock()
	first := c.hintIncarnation(nil, 1)
	clock := version.Clock{{Incarnation: first, HLC: 1}}
	if again := c.hintIncarnation(clock, 2); again != first {
		t.Error("a hint that has all the writes of an incarnation does not go on with it")
	}
	// The one of HLC 2 has been replayed and removed; what comes back has not seen it.
	if other := c.hintIncarnation(clock, 3); other == first {
		t.Error("a hint that lacks a write goes on with its incarnation: its clock would claim to have seen it")
	}
	before := len(*c.lives.seen.Load())
	c.lives.saw(clock)
	if after := len(*c.lives.seen.Load()); after != before || !c.Knows(clock, c.NowMS()) {
		t.Error("an incarnation of a hint is kept in mind, or not known")
	}
}

// seen calls back when a write ends, before anyone is told.
type seen struct {
	w    *waiter
	look func()
}

func (s seen) Done(seq uint64, err error) {
	s.look()
	s.w.Done(seq, err)
}

func TestAWriteThatWasOverwrittenMeanwhileWinsAtAQuorumToo(t *testing.T) {
	w := newWorldOf(t, 3, 3, quiet)
	a, key := w.nodes[0], []byte("k")
	ahead := version.MakeHLC(a.NowMS()+300, 0)
	var fast, out version.Object
	fast.Put(nil, version.Sibling{Dot: version.Dot{Incarnation: 77, HLC: ahead}, Written: ahead, Payload: []byte("from a fast clock")})
	for _, c := range w.nodes[1:] {
		seq, _, err := c.store.Merge(0, key, c.NowMS(), &fast, &out, store.Levels{})
		if err == nil {
			err = c.store.Commit(seq)
		}
		if err != nil {
			t.Fatal(err)
		}
	}
	var mu sync.Mutex
	stale := 0
	look := func() {
		older := 0
		for _, c := range w.nodes {
			var o version.Object
			if _, err := c.store.Get(0, key, &o); err == nil && bytes.Equal(o.Winner().Payload, []byte("from a fast clock")) {
				older++
			}
		}
		mu.Lock()
		defer mu.Unlock()
		stale = max(stale, older)
	}
	var waiters []*waiter
	for _, value := range []string{"v1", "v2"} { // both are applied before anything is sent
		wait := newWaiter()
		var o version.Object
		_, pending, err := a.Update(0, key, quorum.Need{}, a.NowMS(), &o, overwrite{c: a, key: key, value: []byte(value), plain: true}, seen{wait, look})
		if err != nil || !pending {
			t.Fatal(pending, err)
		}
		waiters = append(waiters, wait)
	}
	a.Kick()
	for _, wait := range waiters {
		if <-wait.ended; wait.err != nil {
			t.Error(wait.err)
		}
	}
	if stale > 1 {
		t.Errorf("a write was acknowledged while an older value won at %d of 3 nodes", stale)
	}
}

// executing runs forwarded commands as SETs, at once.
type executing struct{ c *Coordinator }

func (x executing) Ended() bool { return false }

func (x executing) Settle() {}

func (x executing) Execute(f *quorum.Forwarded, respond func([]byte, error)) {
	key := f.Args[1]
	var o version.Object
	done := responding{respond}
	_, pending, err := x.c.Update(0, key, f.Need, x.c.NowMS(), &o, overwrite{c: x.c, key: key, value: f.Args[2], within: f.Need.Span}, done)
	if !pending {
		done.Done(0, err)
	}
}

type responding struct{ respond func([]byte, error) }

func (r responding) Done(_ uint64, err error) { r.respond([]byte("+OK\r\n"), err) }

type forwardEnded chan error

func (e forwardEnded) ForwardDone(_ []byte, err error) { e <- err }

func TestTheRingChangesWhileCommandsAreForwarded(t *testing.T) {
	w := newWorldOf(t, 2, 2, quiet)
	to := w.nodes[1]
	to.Serve(executing{to})
	stop := make(chan struct{})
	var installing sync.WaitGroup
	installing.Go(func() {
		for {
			select {
			case <-stop:
				return
			default:
				to.onDocument(to.agreement.Current())
			}
		}
	})
	defer installing.Wait()
	defer close(stop)
	for n := range 2000 {
		ended := make(forwardEnded, 1)
		f := &quorum.Forwarded{Args: [][]byte{[]byte("set"), fmt.Append(nil, "k", n), []byte("v")}}
		if err := w.nodes[0].Forward(to.NodeID(), f, ended); err != nil {
			t.Fatal(err)
		}
		w.nodes[0].Kick()
		if err := <-ended; err != nil {
			t.Fatalf("after %d commands: %v", n, err)
		}
	}
}

// A node that starts is a peer before it has a server: what it is sent meanwhile is run then.
func TestACommandForwardedToANodeThatStartsWaitsForItsServer(t *testing.T) {
	w := newWorldOf(t, 2, 2, quiet)
	to := w.nodes[1]
	ended := make(forwardEnded, 1)
	f := &quorum.Forwarded{Args: [][]byte{[]byte("set"), []byte("k"), []byte("v")}}
	if err := w.nodes[0].Forward(to.NodeID(), f, ended); err != nil {
		t.Fatal(err)
	}
	w.nodes[0].Kick()
	select {
	case err := <-ended:
		t.Fatalf("it is answered before there is anybody to run it: %v", err)
	case <-time.After(50 * time.Millisecond): // nothing can be waited for: it must not be answered
	}
	to.Serve(executing{to})
	if err := <-ended; err != nil {
		t.Fatal(err)
	}
	wantValue(t, w.nodes[0], 0, "k", "v")
}

// Who is behind is sent the ring, and then the command again: that must not overtake it.
func TestACommandIsForwardedToANodeThatIsBehind(t *testing.T) {
	w := newWorldOf(t, 2, 2, quiet)
	from, to := w.nodes[0], w.nodes[1]
	to.Serve(executing{to})
	for n := range 50 {
		next := *from.agreement.Current()
		next.Epoch++
		if _, err := from.agreement.Install(next.Append(nil)); err != nil {
			t.Fatal(err)
		}
		ended := make(forwardEnded, 1)
		f := &quorum.Forwarded{Args: [][]byte{[]byte("set"), fmt.Append(nil, "k", n), []byte("v"), []byte("ex"), []byte("60")}}
		if err := from.Forward(to.NodeID(), f, ended); err != nil {
			t.Fatal(err)
		}
		from.Kick()
		if err := <-ended; err != nil {
			t.Fatalf("at epoch %d: %v (%v)", next.Epoch, err, errors.Unwrap(err))
		}
	}
}

// settling responds to nothing before it is told to settle, as the server's executor does.
type settling struct{ ended chan func() }

func (x settling) Execute(_ *quorum.Forwarded, respond func([]byte, error)) {
	x.ended <- func() { respond([]byte("+OK\r\n"), nil) }
}

func (x settling) Ended() bool { return len(x.ended) > 0 }

func (x settling) Settle() {
	for {
		select {
		case respond := <-x.ended:
			respond()
		default:
			return
		}
	}
}

// What has waited for a server is settled by whoever runs it: there may be no other
// traffic that does.
func TestACommandThatHasWaitedForItsServerIsSettled(t *testing.T) {
	c := newWorldOf(t, 1, 1, quiet).nodes[0] // without peers it has no traffic
	answered := make(chan error, 1)
	f := &quorum.Forwarded{Args: [][]byte{[]byte("set"), []byte("k"), []byte("v")}}
	c.executeLater(f, time.Minute, func() bool { return false }, func(_ []byte, err error) { answered <- err })
	c.Serve(settling{make(chan func(), 1)})
	select {
	case err := <-answered:
		if err != nil {
			t.Error(err)
		}
	case <-time.After(5 * time.Second):
		t.Error("it was run, and nobody settles it")
	}
}

// The topology is kept until something in it changes: its own hints come and go
// without anyone being told.
func TestTheTopologyShowsHowManyHintsThereAreNow(t *testing.T) {
	w := newWorldOf(t, 1, 1, quiet)
	c := w.nodes[0]
	own := func() int64 { top := c.Topology(); return top.Nodes[top.Self].Hints }
	if own() != 0 {
		t.Fatal("there are hints from the beginning")
	}
	var o version.Object
	dot := version.Dot{Incarnation: 77, HLC: version.MakeHLC(c.NowMS(), 0)}
	o.Put(nil, version.Sibling{Dot: dot, Written: dot.HLC, Payload: []byte("v")})
	absent := [20]byte{1}
	if _, err := c.store.AddHint(absent, 0, []byte("k"), c.NowMS(), &o); err != nil || own() != 1 {
		t.Errorf("with one: %d, %v", own(), err)
	}
	if _, err := c.store.RemoveHint(absent, store.NewKey(0, []byte("k")), &o); err != nil || own() != 0 {
		t.Errorf("without any more: %d, %v", own(), err)
	}
}

// It also tells for whom they are: two that come and go at once leave the sum as it was.
func TestTheTopologyShowsForWhomHintsAre(t *testing.T) {
	w := newWorldOf(t, 2, 2, quiet)
	c := w.nodes[0]
	counts := func() (held []int64) {
		top := c.Topology()
		for i := range top.Nodes {
			if i != top.Self {
				held = append(held, top.Nodes[i].HintsFor)
			}
		}
		return append(held, top.Nodes[top.Self].Hints)
	}
	var o version.Object
	dot := version.Dot{Incarnation: 77, HLC: version.MakeHLC(c.NowMS(), 0)}
	o.Put(nil, version.Sibling{Dot: dot, Written: dot.HLC, Payload: []byte("v")})
	absent, other := ring.NodeID{1}, w.nodes[1].NodeID()
	w.crash(1)
	until(t, "it is seen to be down", func() bool { return !up(c.view.Load().byID[other]) })
	if _, err := c.store.AddHint(absent, 0, []byte("k"), c.NowMS(), &o); err != nil || !slices.Equal(counts(), []int64{0, 1}) {
		t.Errorf("with one for nobody here: %v, %v", counts(), err)
	}
	_, added := c.store.AddHint(other, 0, []byte("k"), c.NowMS(), &o)
	_, removed := c.store.RemoveHint(absent, store.NewKey(0, []byte("k")), &o)
	if added != nil || removed != nil || !slices.Equal(counts(), []int64{1, 1}) {
		t.Errorf("with one for the other: %v, %v, %v", counts(), added, removed)
	}
}
