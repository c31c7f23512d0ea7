package cluster

import (
	"strconv"
	"sync/atomic"
	"testing"
	"time"

	"github.com/cockroachdb/pebble/v2/vfs"

	"cartwheel/cluster/quorum"
	"cartwheel/cluster/ring"
	"cartwheel/store"
	"cartwheel/store/version"
)

// steady has neither exchanges nor rounds happen by themselves.
func steady(_ int, o *Options) {
	o.Repair.ExchangeInterval, o.Repair.StabilityInterval = time.Hour, time.Hour
}

// zombie gives one node a value that the others have deleted and forgotten.
func (w *world) zombie(at int, key string) {
	w.t.Helper()
	written, err := w.nodes[at].store.NextHLC(w.nodes[at].NowMS(), 0)
	if err != nil {
		w.t.Fatal(err)
	}
	var o, out version.Object
	o.Put(nil, version.Sibling{Dot: version.Dot{Incarnation: 77, HLC: written}, Written: written, Payload: []byte("zombie")})
	c := w.nodes[at]
	seq, _, err := c.store.Merge(0, []byte(key), c.NowMS(), &o, &out, store.Levels{Stable: store.Everything})
	if err == nil {
		err = c.store.Commit(seq)
	}
	if err != nil {
		w.t.Fatal(err)
	}
	for i, other := range w.nodes {
		if i == at {
			continue
		}
		levels := map[ring.Partition]version.HLC{}
		for p := range ring.Partition(other.store.Partitions()) {
			levels[p] = written
		}
		if err := other.store.RaiseStable(levels); err != nil {
			w.t.Fatal(err)
		}
		if err := other.store.RaisePurge(levels); err != nil {
			w.t.Fatal(err)
		}
	}
}

// holdsZombie says whether it is still in a node's store.
func (w *world) holdsZombie(at int, key string) bool {
	var o version.Object
	if _, err := w.nodes[at].store.Get(0, []byte(key), &o); err != nil {
		w.t.Fatal(err)
	}
	return len(o.Siblings) > 0
}

func TestAReadDoesNotShowWhatOthersHaveDeletedAndForgotten(t *testing.T) {
	for reader := range 3 {
		w := newWorldOf(t, 3, 3, steady)
		w.zombie(2, "k")
		c := w.nodes[reader]
		var o version.Object
		if _, _, err := c.Read(0, []byte("k"), quorum.Need{R: 3}, &o, nil); err != nil {
			t.Fatal(err)
		}
		if len(o.Siblings) > 0 {
			t.Errorf("read at node %d: %+v", reader, o)
		}
		for i := range 2 {
			if w.holdsZombie(i, "k") {
				t.Errorf("a read at node %d has brought it back to node %d", reader, i)
			}
		}
		if reader == 2 { // which learns of it by the read
			until(t, "it is filled anew", func() bool { return !w.holdsZombie(2, "k") && !c.store.Refilling(c.view.Load().partition([]byte("k"))) })
		}
	}
}

// What a read brings a node that lacks it, and is being filled, is vouched for by those who have
// everything, whoever else has answered.
func TestAReadRepairsANodeThatIsBeingFilledWithoutADoubt(t *testing.T) {
	for reader := range 3 {
		w := newWorldOf(t, 3, 3, steady)
		mustSet(t, w.nodes[0], 0, "k", "v")
		until(t, "all have it", func() bool { return w.holdsZombie(0, "k") && w.holdsZombie(1, "k") && w.holdsZombie(2, "k") })
		at := w.nodes[0].store.LastHLC()
		c := w.nodes[2]
		p := c.view.Load().partition([]byte("k"))
		levels := map[ring.Partition]version.HLC{p: at}
		if err := c.store.DropPartition(p); err != nil { // its Stable is 0 from then on
			t.Fatal(err)
		}
		for i, other := range w.nodes {
			if i != 2 {
				if err := other.store.RaiseStable(levels); err != nil {
					t.Fatal(err)
				}
			}
			if err := other.store.RaisePurge(levels); err != nil {
				t.Fatal(err)
			}
		}
		var o version.Object
		if _, _, err := w.nodes[reader].Read(0, []byte("k"), quorum.Need{R: 3}, &o, nil); err != nil {
			t.Fatal(err)
		}
		if !w.holdsZombie(2, "k") || len(o.Siblings) != 1 {
			t.Errorf("a read at node %d shows %+v and repairs nothing", reader, o)
		}
		if doubts := c.store.Doubts(p); doubts != 0 {
			t.Errorf("a read at node %d leaves %d doubts", reader, doubts)
		}
	}
}

func TestAWriteOfANodeThatHasForgottenBringsNothingBack(t *testing.T) {
	w := newWorldOf(t, 3, 3, steady)
	w.zombie(2, "k")
	blind := addSibling{c: w.nodes[2], value: "new"}
	var o version.Object
	if _, _, err := w.nodes[2].Update(0, []byte("k"), quorum.Need{W: 3}, w.nodes[2].NowMS(), &o, blind, nil); err != nil {
		t.Fatal(err)
	}
	if len(o.Siblings) != 2 {
		t.Fatalf("it has not sent the zombie: %+v", o)
	}
	for i := range 2 {
		if _, err := w.nodes[i].store.Get(0, []byte("k"), &o); err != nil {
			t.Fatal(err)
		}
		if len(o.Siblings) != 1 || string(o.Siblings[0].Payload) != "new" {
			t.Errorf("node %d has %+v", i, o)
		}
	}
}

// addSibling is a blind VSET.
type addSibling struct {
	c     *Coordinator
	value string
}

func (addSibling) Blind() bool { return true }

func (a addSibling) Apply(o *version.Object) bool {
	dot, err := a.c.Dot([]byte("k"), o.Clock, a.c.NowMS(), o.MaxHLC())
	if err != nil {
		return false
	}
	o.Put(nil, version.Sibling{Dot: dot, Written: dot.HLC, Payload: []byte(a.value)})
	return true
}

func TestANodeThatIsFilledAnewDoesNotAnswerAsAnOwner(t *testing.T) {
	w := newWorldOf(t, 3, 3, steady)
	w.zombie(2, "k")
	c := w.nodes[2]
	p := c.view.Load().partition([]byte("k"))
	w.net.setCut(address(1), address(2), true) // it cannot be filled from a majority of the others
	w.net.setCut(address(2), address(1), true)
	until(t, "that is known", func() bool {
		one, two := w.nodes[1].NodeID(), c.NodeID()
		return !c.view.Load().byID[one].up() && !w.nodes[1].view.Load().byID[two].up()
	})
	if err := c.store.Distrust(map[ring.Partition]version.HLC{p: w.nodes[0].store.Levels(p).Purge}); err != nil {
		t.Fatal(err)
	}
	wantValue(t, w.nodes[0], 0, "k", "(absent)")
	var o version.Object
	if _, _, err := c.Read(0, []byte("k"), quorum.Need{R: 1}, &o, nil); err != nil || len(o.Siblings) > 0 {
		t.Errorf("read at it of one replica: %+v, %v", o, err)
	}
	if err := update(c, 0, "k", quorum.Need{W: 2}, overwrite{value: []byte("v"), plain: true}); err != nil {
		t.Errorf("a write there: %v", err)
	}
	wantValue(t, w.nodes[0], 0, "k", "v")
}

// A cluster that is left alone forgets what was deleted, and says how far it has come.
func TestWhatIsDeletedIsPurgedOnARingOfSeveral(t *testing.T) {
	var ahead atomic.Int64
	w := newWorldOf(t, 3, 3, func(_ int, o *Options) {
		o.Repair.ExchangeInterval = 20 * time.Millisecond
		o.Store.Now = func() time.Time { return time.Now().Add(time.Duration(ahead.Load())) }
	})
	for _, key := range []string{"k", "stays"} {
		if err := update(w.nodes[0], 0, key, quorum.Need{W: 3}, overwrite{value: []byte("v")}); err != nil {
			t.Fatal(err)
		}
	}
	if err := update(w.nodes[1], 0, "k", quorum.Need{W: 3}, overwrite{plain: true}); err != nil {
		t.Fatal(err)
	}
	deleted := w.nodes[1].store.LastHLC()
	p := w.nodes[0].view.Load().partition([]byte("k"))
	until(t, "every owner may purge it", func() bool {
		for _, c := range w.nodes {
			if c.store.Levels(p).Purge < deleted {
				return false
			}
		}
		return true
	})
	ahead.Store(int64(time.Hour))
	for i, c := range w.nodes {
		if n, err := c.store.Sweep(); err != nil || n != 1 {
			t.Errorf("node %d purged %d, %v", i, n, err)
		}
	}
	w.converged()
	for i := range w.nodes {
		if w.holdsZombie(i, "k") {
			t.Errorf("node %d has not forgotten it", i)
		}
		wantValue(t, w.nodes[i], 0, "stays", "v")
	}
	until(t, "the figures tell of it", func() bool {
		for _, f := range w.nodes[0].Figures() {
			if f[0] == "purge_age_seconds" {
				age, err := strconv.Atoi(f[1])
				return err == nil && age < 60
			}
		}
		return false
	})
}

// A node whose directory was put back serves nobody, not even reads of one replica, what others have deleted
// and forgotten.
func TestANodeThatWasRolledBackShowsNothingDeletedFromItsFirstAnswerOn(t *testing.T) {
	var ahead atomic.Int64
	w := newWorldOf(t, 3, 3, func(_ int, o *Options) {
		o.Repair.ExchangeInterval = 20 * time.Millisecond
		o.Store.Now = func() time.Time { return time.Now().Add(time.Duration(ahead.Load())) }
	})
	for _, key := range []string{"k", "stays"} {
		if err := update(w.nodes[0], 0, key, quorum.Need{W: 3}, overwrite{value: []byte("v")}); err != nil {
			t.Fatal(err)
		}
	}
	old := w.disks[2].CrashClone(vfs.CrashCloneCfg{UnsyncedDataPercent: 100, RNG: w.rand})
	if err := update(w.nodes[1], 0, "k", quorum.Need{W: 3}, overwrite{plain: true}); err != nil {
		t.Fatal(err)
	}
	deleted := w.nodes[1].store.LastHLC()
	p := w.nodes[0].view.Load().partition([]byte("k"))
	until(t, "every owner may purge it", func() bool {
		return w.nodes[0].store.Levels(p).Purge >= deleted && w.nodes[1].store.Levels(p).Purge >= deleted
	})
	ahead.Store(int64(time.Hour))
	for _, c := range w.nodes[:2] {
		if _, err := c.store.Sweep(); err != nil {
			t.Fatal(err)
		}
	}
	w.crash(2)
	w.disks[2] = old
	w.start(2)
	w.nodes[2].AwaitOwners(t.Context())
	for range 1000 {
		for key, want := range map[string]bool{"k": false, "stays": true} {
			var o version.Object
			if _, _, err := w.nodes[2].Read(0, []byte(key), quorum.Need{R: 1}, &o, nil); err != nil {
				t.Fatal(err)
			}
			if got := o.Alive(w.nodes[2].NowMS()) != nil; got != want {
				t.Fatalf("%s is there: %v", key, got)
			}
		}
	}
	if !w.holdsZombie(2, "k") {
		t.Log("it was filled anew before it was asked") // what was asked last
	}
}
