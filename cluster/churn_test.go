package cluster

import (
	"errors"
	"fmt"
	"math/rand/v2"
	"strconv"
	"sync"
	"testing"
	"time"

	"github.com/cockroachdb/pebble/v2/vfs"

	"cartwheel/cluster/quorum"
	"cartwheel/cluster/ring"
	"cartwheel/store"
	"cartwheel/store/version"
)

// newChurn is a world whose ring is about to change.
func newChurn(t *testing.T, n, replicas int) *world {
	t.Helper()
	return newWorldOf(t, n, replicas, func(_ int, o *Options) { o.Repair.DropGrace = 50 * time.Millisecond })
}

// add starts one node more.
func (w *world) add(opts func(*Options)) (i int) {
	w.t.Helper()
	w.mu.Lock()
	i = len(w.nodes)
	w.disks = append(w.disks, vfs.NewCrashableMem())
	w.logs = append(w.logs, &lockedBuffer{})
	w.nodes = append(w.nodes, nil)
	w.mu.Unlock()
	before := w.opts
	w.opts = func(at int, o *Options) {
		before(at, o)
		if at == i {
			opts(o)
		}
	}
	w.start(i)
	return i
}

// apply has a node make a change.
func (w *world) apply(at int, force bool, words ...string) *ring.Plan {
	w.t.Helper()
	change, err := ring.ParseChange(words)
	if err != nil {
		w.t.Fatal(err)
	}
	plan, err := w.node(at).ApplyRing(change, 0, force)
	if err != nil {
		w.t.Fatalf("%v: %v", words, err)
	}
	return plan
}

func (w *world) id(i int) string { return w.node(i).NodeID().String() }

// settled waits until the ring has these nodes as its members, nothing moves and
// they all know it.
func (w *world) settled(members ...int) {
	w.t.Helper()
	until(w.t, fmt.Sprintf("nodes %v are the members, and nothing moves", members), func() bool {
		for _, i := range members {
			top := w.node(i).Topology()
			if len(top.Nodes) != len(members) || top.Moving > 0 {
				return false
			}
			for _, n := range top.Nodes {
				if !n.Up || n.State != ring.Active {
					return false
				}
			}
			for _, j := range members {
				if _, is := w.node(i).view.Load().ring.Member(w.node(j).NodeID()); !is {
					return false
				}
			}
		}
		return true
	})
}

// exact waits until each member has exactly what it owns, and checks that the
// shares are even.
func (w *world) exact(members ...int) {
	w.t.Helper()
	w.same(members...)
	d := w.node(members[0]).view.Load().ring.Document()
	least, most := d.Partitions*d.Replicas, 0
	for _, s := range d.Shares() {
		least, most = min(least, s.Total), max(most, s.Total)
	}
	if most-least > 1 {
		w.t.Errorf("the shares are between %d and %d", least, most)
	}
}

// same waits until each member has exactly what it owns, the same as the other
// owners.
func (w *world) same(members ...int) {
	w.t.Helper()
	until(w.t, "what has moved away is dropped, and all owners have the same", func() bool {
		roots := map[ring.Partition]uint64{}
		for _, i := range members {
			c := w.node(i)
			left, err := c.repairing.Load().Remains()
			if err != nil || !left.None() {
				return false
			}
			v := c.view.Load()
			for p := range v.places {
				if !v.places[p].holds() {
					continue
				}
				root := c.store.Root(ring.Partition(p))
				if first, seen := roots[ring.Partition(p)]; seen && first != root {
					return false
				}
				roots[ring.Partition(p)] = root
			}
		}
		return true
	})
}

// A load writes rising numbers to keys, each by one writer, at whichever node
// their owners are, and notes what was acknowledged.
type load struct {
	w       *world
	mu      sync.Mutex
	from    []int          // guarded by mu: the nodes that clients are connected to
	acked   map[string]int // guarded by mu
	unknown map[string]int // guarded by mu: written without an answer
	errs    []error        // guarded by mu: that clients have got
	total   int            // guarded by mu
	stop    chan struct{}
	writers sync.WaitGroup
}

// load begins to write, and returns when there is something to move.
func (w *world) load(from ...int) *load {
	w.t.Helper()
	l := &load{w: w, from: from, acked: map[string]int{}, unknown: map[string]int{}, stop: make(chan struct{})}
	for writer := range 4 {
		r := rand.New(rand.NewPCG(w.rand.Uint64(), uint64(writer)))
		l.writers.Go(func() {
			for n := 1; ; n++ {
				select {
				case <-l.stop:
					return
				case <-time.After(time.Duration(r.Int64N(int64(time.Millisecond)))):
				}
				l.write(r, fmt.Sprintf("writer%d.key%d", writer, r.IntN(60)), n)
			}
		})
	}
	l.more(200)
	return l
}

// more waits until so many more have been written.
func (l *load) more(writes int) {
	l.w.t.Helper()
	written := func() int {
		l.mu.Lock()
		defer l.mu.Unlock()
		return l.total
	}
	before := written()
	until(l.w.t, "clients write", func() bool { return written() >= before+writes })
}

// connect has clients be connected to these nodes only.
func (l *load) connect(nodes ...int) {
	l.mu.Lock()
	defer l.mu.Unlock()
	l.from = nodes
}

func (l *load) write(r *rand.Rand, key string, n int) {
	l.mu.Lock()
	from := l.from[r.IntN(len(l.from))]
	l.mu.Unlock()
	err := l.w.set(from, key, strconv.Itoa(n))
	l.mu.Lock()
	defer l.mu.Unlock()
	l.total++
	switch code(err) {
	case "(<nil>)":
		l.acked[key] = n
		delete(l.unknown, key)
	case "TIMEOUT":
		l.unknown[key] = n
		fallthrough
	default:
		l.errs = append(l.errs, fmt.Errorf("%s at node %d: %w (%v)", key, from, err, errors.Unwrap(err)))
	}
}

// set writes as a server does for a client of a node: where the node is no owner, at
// the one that it would forward to.
// Where the two go by different rings, a forwarded command would wait until they
// do not.
func (w *world) set(from int, key, value string) error {
	const refusalsMax = 5 // as the server has it
	refusals := 0
	for end := time.Now().Add(patience); time.Now().Before(end); time.Sleep(time.Millisecond) {
		c := w.node(from)
		if c == nil {
			return errors.New("the client's own node is dead")
		}
		to, place := c.Route([]byte(key), true)
		if place == quorum.Away {
			if c.view.Load().left {
				return wireError(errLeft)
			}
			if c = w.at(to); c == nil {
				continue // its connection breaks, and another is asked
			}
		}
		err := update(c, 0, key, quorum.Need{}, overwrite{value: []byte(value), plain: true})
		// What another node refuses is routed again after a pause, as forward.end and the server do.
		if place == quorum.Away && refusals < refusalsMax && code(err) == "NOREPLICAS" {
			refusals++
			time.Sleep(movedPause)
			continue
		}
		if err == nil || !errors.Is(err, quorum.ErrMoved) && (place != quorum.Away || w.at(to) == c) {
			return err
		}
	}
	return errors.New("the nodes never agree on where it is")
}

func (w *world) at(id ring.NodeID) *Coordinator {
	w.mu.Lock()
	defer w.mu.Unlock()
	for _, c := range w.nodes {
		if c != nil && c.NodeID() == id {
			return c
		}
	}
	return nil
}

// end stops the writers, after some more have been written.
func (l *load) end() {
	l.w.t.Helper()
	l.more(50)
	close(l.stop)
	l.writers.Wait()
}

// kept checks that every member shows, of each key, what was acknowledged last or
// was written since.
func (l *load) kept(members ...int) {
	l.w.t.Helper()
	for key, n := range l.acked {
		for _, i := range members {
			var o version.Object
			if _, _, err := l.w.node(i).Read(0, []byte(key), quorum.Need{}, &o, nil); err != nil {
				l.w.t.Errorf("%s at node %d: %v", key, i, err)
				continue
			}
			got := 0
			if win := o.Alive(l.w.node(i).NowMS()); win != nil {
				got, _ = strconv.Atoi(string(win.Payload))
			}
			if got != n && got != l.unknown[key] {
				l.w.t.Errorf("%s is %d at node %d, and %d was acknowledged last", key, got, i, n)
			}
		}
	}
	l.w.t.Logf("%d writes, %d keys, %d errors", l.total, len(l.acked), len(l.errs))
}

// unharmed checks that no client got an error.
func (l *load) unharmed() {
	l.w.t.Helper()
	for _, err := range l.errs[:min(len(l.errs), 5)] {
		l.w.t.Error(err)
	}
}

func TestALeavingNodeServesItsClientsUntilItHasHandedOverAll(t *testing.T) {
	t.Parallel()
	w := newChurn(t, 4, 3)
	l := w.load(0, 1, 2, 3)
	leaver := w.node(3)
	plan := w.apply(0, false, "leave", w.id(3))
	if len(plan.Transfers) == 0 || len(plan.Warnings) > 0 || len(plan.Obstacles) > 0 {
		t.Errorf("%+v", plan)
	}
	until(t, "it owns nothing any more", func() bool {
		m, is := leaver.view.Load().ring.Member(leaver.NodeID())
		return is && m.State == ring.Leaving && leaver.Topology().Moving == 0
	})
	l.connect(0, 1, 2)
	w.settled(0, 1, 2)
	until(t, "it knows that it has left", func() bool { return leaver.view.Load().left })
	l.end()
	l.unharmed()
	if all := count(t, leaver.store); all != 0 {
		t.Errorf("it has %d objects still", all)
	}
	if err := w.set(3, "k", "v"); code(err) != "NOREPLICAS" || !errors.Is(err, errLeft) {
		t.Errorf("a write at the node that has left: %v", err)
	}
	var o version.Object
	if _, _, err := leaver.Read(0, []byte("k"), quorum.Need{}, &o, nil); !errors.Is(err, errLeft) {
		t.Errorf("a read at the node that has left: %v", err)
	}
	if _, err := leaver.PlanRing(ring.Change{Verb: ring.Leave, Node: w.id(0)}); !errors.Is(err, errLeft) {
		t.Errorf("a plan by the node that has left: %v", err)
	}
	w.exact(0, 1, 2)
	l.kept(0, 1, 2)
	w.crash(3)
	if err := w.tryStart(3); !errors.Is(err, errLeft) {
		t.Errorf("it starts again: %v", err)
	}
}

// count counts what a store has.
func count(t *testing.T, s *store.Store) (n int) {
	t.Helper()
	if err := s.Sync(); err != nil {
		t.Fatal(err)
	}
	err := s.Scan(0, ^ring.Token(0), func(store.Key, *version.Object) bool {
		n++
		return true
	})
	if err != nil {
		t.Fatal(err)
	}
	return n
}

func TestJoinAndLeaveAtOnce(t *testing.T) {
	t.Parallel()
	w := newChurn(t, 4, 3)
	l := w.load(1, 2, 3)
	w.apply(1, false, "leave", w.id(0))
	w.add(func(*Options) {})
	w.settled(1, 2, 3, 4)
	l.end()
	l.unharmed()
	w.exact(1, 2, 3, 4)
	l.kept(1, 2, 3, 4)
}

func TestWeightsAndZonesMoveDataUnderLoad(t *testing.T) {
	t.Parallel()
	w := newChurn(t, 4, 2)
	l := w.load(0, 1, 2, 3)
	before := w.node(0).Topology()
	w.apply(1, false, "weight", w.id(0), "3")
	w.apply(2, false, "zone", address(1), "elsewhere")
	w.settled(0, 1, 2, 3)
	l.end()
	l.unharmed()
	l.kept(0, 1, 2, 3)
	for i, n := range w.node(3).Topology().Nodes {
		switch n.ID {
		case w.node(0).NodeID():
			if n.Weight != 3 || n.Owned <= before.Nodes[i].Owned {
				t.Errorf("the heavier node has weight %d and owns %d, before %d", n.Weight, n.Owned, before.Nodes[i].Owned)
			}
		case w.node(1).NodeID():
			if n.Zone != "elsewhere" || n.Owned != 16 {
				t.Errorf("the only node in its zone is in %q and owns %d of 16 partitions", n.Zone, n.Owned)
			}
		}
	}
}

func TestADeadNodeIsReplacedByANewOne(t *testing.T) {
	t.Parallel()
	w := newChurn(t, 4, 3)
	l := w.load(0, 1, 2)
	dead := w.id(3)
	owned := map[int]bool{}
	for p, owners := range w.node(0).view.Load().ring.Document().Owners {
		for _, id := range owners {
			if id.String() == dead {
				owned[p] = true
			}
		}
	}
	w.crash(3)
	until(t, "all know that it is dead", func() bool {
		for _, i := range []int{0, 1, 2} {
			if w.node(i).isUp(mustID(t, dead)) {
				return false
			}
		}
		return true
	})
	plan, err := w.node(1).PlanRing(ring.Change{Verb: ring.Replace, Node: dead[:12], Heir: ring.Member{ID: ring.NewNode}})
	if err != nil || len(plan.Obstacles) > 0 || len(plan.Transfers) != 1 || plan.Transfers[0].Partitions != len(owned) {
		t.Errorf("%+v, %v", plan, err)
	}
	i := w.add(func(o *Options) { o.Replace = dead[:12] })
	w.settled(0, 1, 2, i)
	l.end()
	l.unharmed()
	w.exact(0, 1, 2, i)
	l.kept(0, 1, 2, i)
	for p := range owned {
		if !w.node(i).view.Load().places[p].holds() {
			t.Errorf("the new node does not own partition %d, which the dead one did", p)
		}
	}
	// The dead one comes back.
	if err := w.tryStart(3); err != nil {
		t.Fatal(err)
	}
	until(t, "it knows that it was removed, and the others say so", func() bool {
		return w.node(3).view.Load().left && w.logs[3].contains("no member of the ring any more") &&
			(w.logs[0].contains("is back") || w.logs[1].contains("is back") || w.logs[2].contains("is back"))
	})
	if err := w.set(3, "k", "v"); !errors.Is(err, errLeft) {
		t.Errorf("a write at the node that was removed: %v", err)
	}
}

func mustID(t *testing.T, text string) (id ring.NodeID) {
	t.Helper()
	if err := id.UnmarshalText([]byte(text)); err != nil {
		t.Fatal(err)
	}
	return id
}

func TestANodeThatIsUpIsNeitherRemovedNorReplaced(t *testing.T) {
	t.Parallel()
	w := newChurn(t, 3, 3)
	change := ring.Change{Verb: ring.Remove, Node: w.id(2)}
	if _, err := w.node(0).ApplyRing(change, 0, false); err == nil {
		t.Error("it is removed")
	}
	log, err := w.stranger(vfs.NewMem(), func(o *Options) { o.Replace = w.id(2) })
	if err == nil || !log.contains("is up, and is not replaced") {
		t.Errorf("it is replaced: %v, %s", err, log.b.String())
	}
	epoch := w.node(0).view.Load().epoch
	if _, err := w.node(0).ApplyRing(change, epoch+1, true); err == nil {
		t.Error("a plan of another epoch is applied")
	}
	if plan, err := w.node(0).ApplyRing(change, epoch, true); err != nil || len(plan.Obstacles) != 1 {
		t.Errorf("it is not removed by force: %+v, %v", plan, err)
	}
	w.settled(0, 1)
	until(t, "it knows that it was removed", func() bool { return w.node(2).view.Load().left })
}
