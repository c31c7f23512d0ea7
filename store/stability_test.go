package store

import (
	"errors"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/cockroachdb/pebble/v2"
	"github.com/cockroachdb/pebble/v2/vfs"
	"github.com/cockroachdb/pebble/v2/vfs/errorfs"

	"cartwheel/cluster/ring"
	"cartwheel/store/version"
)

const everyPartition = ring.Partition(testPartitions)

// all returns a level for every partition.
func all(to version.HLC) map[ring.Partition]version.HLC {
	levels := map[ring.Partition]version.HLC{}
	for p := range everyPartition {
		levels[p] = to
	}
	return levels
}

func must(t testing.TB, err error) {
	t.Helper()
	if err != nil {
		t.Fatal(err)
	}
}

func TestLevelsSurviveACrashAndOnlyGrow(t *testing.T) {
	fs := vfs.NewCrashableMem()
	s := openStore(t, memOptions(fs))
	mustSet(t, s, 0, "k", "v")
	low, high := s.LastHLC(), s.LastHLC()+10
	must(t, s.RaiseStable(all(high)))
	must(t, s.RaisePurge(map[ring.Partition]version.HLC{2: high, 3: low}))
	must(t, s.Distrust(map[ring.Partition]version.HLC{3: high}))
	must(t, s.RaiseStable(all(low)))
	must(t, s.RaisePurge(all(1)))
	crashed := openStore(t, memOptions(fs.CrashClone(vfs.CrashCloneCfg{})))
	for _, s := range []*Store{s, crashed} {
		for p, want := range map[ring.Partition]Levels{1: {high, 1}, 2: {high, high}, 3: {high, high}} {
			if got := s.Levels(p); got != want {
				t.Errorf("partition %d: %+v, not %+v", p, got, want)
			}
			if s.Refilling(p) != (p == 3) {
				t.Errorf("partition %d is filled anew: %v", p, p != 3)
			}
		}
	}
	if read(crashed, 0, "k") != "v" {
		t.Error("what is stable is not on the disk")
	}
	_, err := crashed.Trust(map[ring.Partition]Filled{3: {Stable: high + 1}})
	must(t, err)
	if got := crashed.Levels(3); crashed.Refilling(3) || got.Stable != high+1 {
		t.Errorf("filled anew: %+v", got)
	}
}

func TestLevelsThatCannotBeReadAreThoseOfAnEmptyStore(t *testing.T) {
	fs := vfs.NewMem()
	s := openStore(t, memOptions(fs))
	must(t, s.RaiseStable(all(9)))
	must(t, s.WriteRecord(recordStability, []byte("short")))
	s = reopen(t, s)
	if got := s.Levels(1); got != (Levels{}) {
		t.Errorf("%+v", got)
	}
}

func TestLevelsFromTheFutureAreRefused(t *testing.T) {
	s := openStore(t, memOptions(vfs.NewMem()))
	future := version.MakeHLC(s.NowMS()+3_600_000, 0)
	for name, err := range map[string]error{
		"stable": s.RaiseStable(all(future)), "purge": s.RaisePurge(all(future)), "distrust": s.Distrust(all(future)),
		"fence": s.Fence(future, nil),
	} {
		if !errors.Is(err, ErrDrift) {
			t.Errorf("%s: %v", name, err)
		}
	}
	if got := s.Levels(1); got != (Levels{}) || s.Refilling(1) {
		t.Errorf("%+v", got)
	}
}

func TestNothingIsStableOfWhatIsDropped(t *testing.T) {
	s := openStore(t, memOptions(vfs.NewMem()))
	must(t, s.RaiseStable(all(9)))
	must(t, s.RaisePurge(all(9)))
	must(t, s.DropPartition(2))
	if got := s.Levels(2); got != (Levels{0, 9}) {
		t.Errorf("%+v", got)
	}
	if got := s.Levels(3); got != (Levels{9, 9}) {
		t.Errorf("another: %+v", got)
	}
}

// A key that one node has lost comes back from who has everything, and one that was
// deleted and forgotten does not from who may not.
func TestWhatIsVouchedForMendsAndTheRestDoesNot(t *testing.T) {
	for name, c := range map[string]struct {
		from  func(purge version.HLC) Levels
		mends bool
	}{
		"all that was purged here": {func(purge version.HLC) Levels { return Levels{Stable: purge} }, true},
		"less":                     {func(purge version.HLC) Levels { return Levels{Stable: purge - 1} }, false},
		"nothing":                  {func(version.HLC) Levels { return Levels{} }, false},
	} {
		s := openStore(t, memOptions(vfs.NewMem()))
		mustSet(t, s, 0, "k", "v")
		var o version.Object
		_, err := s.Get(0, []byte("k"), &o)
		must(t, err)
		must(t, s.RaiseStable(all(s.LastHLC())))
		must(t, s.RaisePurge(all(s.LastHLC())))
		purge := s.LastHLC()
		retire(t, s)
		must(t, s.db.Delete(NewKey(0, []byte("k")).appendObject(nil), pebble.NoSync))
		forget(t, s)
		s.trees.reset(0, s.partitionOf(NewKey(0, []byte("k"))))

		newer := o
		newer.Clock, newer.Siblings = o.Clock, append([]version.Sibling(nil), o.Siblings...)
		dot := version.Dot{Incarnation: 7, HLC: purge + 1}
		newer.Put(nil, version.Sibling{Dot: dot, Written: dot.HLC, Payload: []byte("new")})
		var merged version.Object
		_, _, err = s.Merge(0, []byte("k"), s.NowMS(), &newer, &merged, c.from(purge))
		must(t, err)
		if has := len(merged.Siblings) == 2; has != c.mends {
			t.Errorf("vouched for up to %s: %+v", name, merged)
		}
		if merged.Siblings[0].Dot != dot {
			t.Errorf("vouched for up to %s: what is new is not taken: %+v", name, merged)
		}
		if len(newer.Siblings) != 2 {
			t.Errorf("the object that came was changed: %+v", newer)
		}
	}
}

// meanwhile does something while a record is written.
type meanwhile struct {
	record string
	do     func()
}

func (m *meanwhile) MaybeError(op errorfs.Op) error {
	if do := m.do; op.Kind == errorfs.OpCreate && strings.Contains(op.Path, m.record) && do != nil {
		m.do = nil
		do()
	}
	return nil
}

func (m *meanwhile) String() string { return "while " + m.record + " is written" }

// Nothing that may be dead gets into a partition between the last look at what came and the
// level that vouches for all that is there.
func TestWhatIsDoubtfulDoesNotComeBetween(t *testing.T) {
	elsewhere := openStore(t, memOptions(vfs.NewMem()))
	mustSet(t, elsewhere, 0, "k", "dead")
	var dead version.Object
	_, err := elsewhere.Get(0, []byte("k"), &dead)
	must(t, err)
	purge := elsewhere.LastHLC()
	p := elsewhere.partitionOf(NewKey(0, []byte("k")))

	during := &meanwhile{record: recordStability}
	s := openStore(t, memOptions(faulty(vfs.NewMem(), during)))
	comes := func() {
		_, _, err := s.Merge(0, []byte("k"), s.NowMS(), &dead, new(version.Object), Levels{})
		must(t, err)
	}
	trust := func(doubts uint64) bool {
		trusted, err := s.Trust(map[ring.Partition]Filled{p: {purge, doubts}})
		must(t, err)
		return len(trusted) > 0
	}
	must(t, s.Distrust(map[ring.Partition]version.HLC{p: purge}))
	comes()
	if trust(s.Doubts(p)-1) || !s.Refilling(p) || read(s, 0, "k") != "dead" {
		t.Error("it is trusted, though something doubtful has come")
	}
	// A pass with an owner that has everything.
	_, _, err = s.Merge(0, []byte("k"), s.NowMS(), &version.Object{}, new(version.Object), Levels{purge, purge})
	must(t, err)
	during.do = comes
	if !trust(s.Doubts(p)) || s.Refilling(p) || s.Levels(p).Stable != purge || during.do != nil {
		t.Errorf("it is not trusted: %+v", s.Levels(p))
	}
	if got := read(s, 0, "k"); got == "dead" {
		t.Errorf("%q came while it was noted that everything was there", got)
	}
}

// What other owners have purged since is another reason to be filled anew.
func TestWhatIsFilledToLessThanIsPurgedIsNotTrusted(t *testing.T) {
	s := openStore(t, memOptions(vfs.NewMem()))
	mustSet(t, s, 0, "k", "v")
	at := s.LastHLC()
	must(t, s.Distrust(all(at)))
	trusted, err := s.Trust(map[ring.Partition]Filled{3: {Stable: at - 1}, 4: {Stable: at}})
	must(t, err)
	if !slices.Equal(trusted, []ring.Partition{4}) || !s.Refilling(3) || s.Refilling(4) {
		t.Errorf("%v is trusted", trusted)
	}
}

func TestAFenceWaitsForWhoHasADotAndHasNotStoredIt(t *testing.T) {
	s := openStore(t, memOptions(vfs.NewMem()))
	fenced, at := make(chan error, 1), version.HLC(0)
	early := false
	c := changing(func(o *version.Object) bool {
		changed := write{s: s, value: "v"}.Apply(o)
		at = s.LastHLC() + 1
		go func() { fenced <- s.Fence(at, []ring.Partition{s.partitionOf(NewKey(0, []byte("k")))}) }()
		select {
		case err := <-fenced:
			early = true
			fenced <- err
		case <-time.After(50 * time.Millisecond): // only a broken fence is faster
		}
		return changed
	})
	var o version.Object
	_, err := s.Update(0, []byte("k"), s.NowMS(), &o, c)
	must(t, err)
	must(t, <-fenced)
	if early {
		t.Error("a fence does not wait for a dot below it")
	}
	if s.Committed() == 0 {
		t.Error("what it has waited for is not committed")
	}
	mustSet(t, s, 0, "k", "later")
	if _, err := s.Get(0, []byte("k"), &o); err != nil || o.Siblings[0].Dot.HLC <= at {
		t.Errorf("a dot after the fence is %v, the fence %v", o.Siblings[0].Dot, at)
	}
}

// changing is a change that a test makes up.
type changing func(o *version.Object) bool

func (c changing) Apply(o *version.Object) bool { return c(o) }
func (changing) Blind() bool                    { return true }

// An expired object is purged when no clock of the ring can find it alive.
func TestExpiredObjectsOfARingOfSeveralAreKeptForSlowClocks(t *testing.T) {
	for _, alone := range []bool{false, true} {
		clock := newFakeClock(noon)
		opts := memOptions(vfs.NewMem())
		opts.Now = clock.now
		if alone {
			opts.Watermark = everythingIsStable
		}
		s := openStore(t, opts)
		must(t, commit(s, 0, "k", write{value: "v", expireAtMS: noon + 1000}))
		must(t, s.RaiseStable(all(s.LastHLC())))
		must(t, s.RaisePurge(all(s.LastHLC())))
		margin := s.clockMarginMS()
		purged := func(atMS int64) bool {
			clock.ms.Store(atMS)
			n, err := s.Sweep()
			must(t, err)
			return n > 0
		}
		if at := noon + int64(1000) + margin - 1; purged(at) != alone {
			t.Errorf("alone %v: at %d", alone, at)
		}
		if !alone && !purged(noon+1000+2*margin+2) {
			t.Error("it is never purged")
		}
	}
}

func TestTheClockOfWhatIsWrittenOftenIsPruned(t *testing.T) {
	s := openStore(t, memOptions(vfs.NewMem()))
	var o version.Object
	for i := range 3 * wideClock {
		h, err := s.NextHLC(s.NowMS(), o.MaxHLC())
		must(t, err)
		o.Put(o.Clock, version.Sibling{Dot: version.Dot{Incarnation: version.Incarnation(i + 1), HLC: h}, Written: h})
		var merged version.Object
		_, _, err = s.Merge(0, []byte("k"), s.NowMS(), &o, &merged, Levels{Stable: s.LastHLC()})
		must(t, err)
	}
	mustSet(t, s, 0, "k", "v")
	_, err := s.Get(0, []byte("k"), &o)
	must(t, err)
	if len(o.Clock) != 3*wideClock+1 {
		t.Fatalf("before anything is stable the clock has %d entries", len(o.Clock))
	}
	must(t, s.RaiseStable(all(s.LastHLC())))
	must(t, s.RaisePurge(all(s.LastHLC())))
	mustSet(t, s, 0, "k", "v")
	_, err = s.Get(0, []byte("k"), &o)
	must(t, err)
	if len(o.Clock) != 1 {
		t.Errorf("the clock has %d entries: %v", len(o.Clock), o.Clock)
	}
}

func TestPartitionsOfHintsAreFoundWithoutReadingThemAll(t *testing.T) {
	s := openStore(t, memOptions(vfs.NewMem()))
	mustSet(t, s, 0, "k", "v")
	var o version.Object
	_, err := s.Get(0, []byte("k"), &o)
	must(t, err)
	want := map[ring.Partition]bool{}
	for i, key := range []string{"a", "b", "c", "d", "e", "f", "g"} {
		owner := ring.NodeID{byte(i%2 + 1)}
		_, err := s.AddHint(owner, 0, []byte(key), s.NowMS(), &o)
		must(t, err)
		want[s.partitionOf(NewKey(0, []byte(key)))] = true
	}
	must(t, s.CommitAll())
	got, err := s.HintPartitions()
	must(t, err)
	if len(got) != len(want) {
		t.Errorf("%v, not %v", got, want)
	}
	for p := range want {
		if _, found := got[p]; !found {
			t.Errorf("not partition %d", p)
		}
	}
}
