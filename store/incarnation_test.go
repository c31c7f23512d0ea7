package store

import (
	"math/rand/v2"
	"testing"

	"github.com/cockroachdb/pebble/v2/vfs"

	"cartwheel/store/version"
)

func TestHLCsNeverRepeatOverRestartsAndClockChanges(t *testing.T) {
	seed := rand.Uint64()
	t.Logf("seed %d", seed)
	r := rand.New(rand.NewPCG(seed, 0))
	clock := newFakeClock(1_700_000_000_000)
	opts := memOptions(vfs.NewCrashableMem())
	opts.Now, opts.Sync = clock.now, SyncAlways
	var last version.HLC
	s := openStore(t, opts)
	for range 60 {
		for range r.IntN(50) {
			clock.ms.Add(r.Int64N(500))
			h, err := s.NextHLC(s.NowMS(), 0)
			if err != nil {
				t.Fatal(err)
			}
			if h <= last {
				t.Fatalf("%v was issued after %v", h, last)
			}
			last = h
		}
		if r.IntN(2) == 0 {
			closeStore(t, s)
		} else {
			opts.FS = opts.FS.(*vfs.MemFS).CrashClone(vfs.CrashCloneCfg{})
		}
		clock.ms.Add(r.Int64N(100_000) - 50_000)
		s = openStore(t, opts)
	}
}

func TestAnHLCAboveTheLeaseWaitsForTheNextLease(t *testing.T) {
	clock := newFakeClock(1_700_000_000_000)
	fs := vfs.NewCrashableMem()
	opts := memOptions(fs)
	opts.Now = clock.now
	s := openStore(t, opts)
	floor := version.MakeHLC(clock.ms.Load()+3_600_000, 7) // an hour ahead
	h, err := s.NextHLC(s.NowMS(), floor)
	if err != nil || h <= floor {
		t.Fatalf("issued %v above %v: %v", h, floor, err)
	}
	opts.FS = fs.CrashClone(vfs.CrashCloneCfg{})
	after := openStore(t, opts)
	if next, err := after.NextHLC(after.NowMS(), 0); err != nil || next <= h {
		t.Errorf("%v was issued after a crash, %v before it: %v", next, h, err)
	}
}

func TestQuickRestartsDoNotPushTheClockAhead(t *testing.T) {
	clock := newFakeClock(1_700_000_000_000)
	opts := memOptions(vfs.NewMem())
	opts.Now = clock.now
	s := openStore(t, opts)
	var h version.HLC
	for range 20 {
		var err error
		if h, err = s.NextHLC(s.NowMS(), 0); err != nil {
			t.Fatal(err)
		}
		s = reopen(t, s)
	}
	if ahead := h.Milliseconds() - clock.ms.Load(); ahead != 0 {
		t.Errorf("after 20 clean restarts the clock is %d ms ahead", ahead)
	}
}

func TestAnIncarnationEndsWithACrash(t *testing.T) {
	for _, c := range []struct {
		name  string
		mode  SyncMode
		clean bool
		then  SyncMode // the mode of the next start makes no difference
		ends  bool
	}{
		{"clean, everysec", SyncEverysec, true, SyncEverysec, false},
		{"clean, no", SyncNo, true, SyncNo, false},
		{"clean, always", SyncAlways, true, SyncNo, false},
		{"crash, everysec", SyncEverysec, false, SyncEverysec, true},
		{"crash, no", SyncNo, false, SyncAlways, true},
		{"crash, always", SyncAlways, false, SyncEverysec, true},
	} {
		t.Run(c.name, func(t *testing.T) {
			fs := vfs.NewCrashableMem()
			opts := memOptions(fs)
			opts.Sync = c.mode
			s := openStore(t, opts)
			first := s.Incarnation()
			mustSet(t, s, 0, "k", "v")
			if c.clean {
				closeStore(t, s)
			}
			opts.FS, opts.Sync = fs.CrashClone(vfs.CrashCloneCfg{}), c.then
			after := openStore(t, opts)
			if ended := after.Incarnation() != first; ended != c.ends {
				t.Errorf("a new incarnation: %v, want %v", ended, c.ends)
			}
			if !after.HadIncarnation(first) || !after.HadIncarnation(after.Incarnation()) {
				t.Error("an incarnation of this directory is not known")
			}
			if after.HadIncarnation(first ^ after.Incarnation() ^ 1) {
				t.Error("an incarnation is known that never was")
			}
			if after.NodeID() != s.NodeID() {
				t.Error("the node's id changed")
			}
		})
	}
}

// A second crash must not bring the first incarnation back.
func TestEachLossyCrashEndsAnIncarnation(t *testing.T) {
	opts := memOptions(vfs.NewCrashableMem())
	seen := map[version.Incarnation]bool{}
	for range 4 {
		s := openStore(t, opts)
		if seen[s.Incarnation()] {
			t.Fatal("an incarnation came back")
		}
		seen[s.Incarnation()] = true
		for i := range seen {
			if !s.HadIncarnation(i) {
				t.Error("an incarnation was forgotten")
			}
		}
		mustSet(t, s, 0, "k", "v")
		opts.FS = opts.FS.(*vfs.MemFS).CrashClone(vfs.CrashCloneCfg{})
	}
}

// A node that crashes again and again without writing does not collect
// incarnations.
func TestACrashThatForgetsNothingKeepsTheIncarnation(t *testing.T) {
	fs := vfs.NewCrashableMem()
	s := openStore(t, memOptions(fs))
	mustSet(t, s, 0, "k", "v")
	closeStore(t, s)
	first := s.Incarnation()
	for range 3 {
		opts := memOptions(fs.CrashClone(vfs.CrashCloneCfg{}))
		fs = opts.FS.(*vfs.MemFS)
		if s = openStore(t, opts); s.Incarnation() != first {
			t.Fatal("a new incarnation, though nothing was written")
		}
	}
}

func TestAStoreThatGoesOnUnderAnIncarnationSaysSoAndCanTakeANewOne(t *testing.T) {
	fs := vfs.NewCrashableMem()
	opts := memOptions(fs)
	s := openStore(t, opts)
	if s.Continued() {
		t.Error("a new directory goes on under an incarnation")
	}
	mustSet(t, s, 0, "k", "v")
	first := s.Incarnation()
	s = reopen(t, s)
	if !s.Continued() || s.Incarnation() != first {
		t.Error("after a clean stop it does not go on")
	}
	if err := s.Renew(); err != nil {
		t.Fatal(err)
	}
	second := s.Incarnation()
	if second == first || !s.HadIncarnation(first) {
		t.Errorf("%v follows %v", second, first)
	}
	mustSet(t, s, 0, "k", "v2")
	opts.FS = fs.CrashClone(vfs.CrashCloneCfg{})
	after := openStore(t, opts)
	if after.Continued() || after.Incarnation() == second || !after.HadIncarnation(second) {
		t.Errorf("after a crash %v follows %v, and goes on: %v", after.Incarnation(), second, after.Continued())
	}
}
