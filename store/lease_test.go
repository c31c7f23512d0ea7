package store

import (
	"sync/atomic"
	"testing"
	"time"

	"github.com/cockroachdb/pebble/v2/vfs"

	"cartwheel/store/version"
)

// A countingLease knows how often it persisted.
type countingLease struct {
	*lease
	persisted atomic.Int64
}

func newCountingLease(drift time.Duration) *countingLease {
	c := &countingLease{}
	c.lease = newLease(0, drift, func(version.HLC) error {
		c.persisted.Add(1)
		return nil
	}, nil)
	return c
}

// crossed says whether next had to move the bound itself.
func (c *countingLease) crossed(t *testing.T, wallMS int64) bool {
	t.Helper()
	c.wait()
	before := c.persisted.Load()
	bound := version.HLC(c.bound.Load())
	h, err := c.next(wallMS, 0)
	if err != nil {
		t.Fatal(err)
	}
	c.wait()
	return h > bound && c.persisted.Load() > before
}

func TestAfterACrashPeersTakeWhatIsIssued(t *testing.T) {
	for _, drift := range []time.Duration{10 * time.Millisecond, 100 * time.Millisecond, 500 * time.Millisecond, time.Hour} {
		clock := newFakeClock(noon)
		fs := vfs.NewCrashableMem()
		opts := memOptions(fs)
		opts.Now, opts.MaxClockDrift = clock.now, drift
		s := openStore(t, opts)
		for range 20 {
			clock.ms.Add(3)
			mustSet(t, s, 0, "k", "v")
		}
		s.lease.wait()
		peer := version.NewGenerator(0, drift)
		opts.FS = fs.CrashClone(vfs.CrashCloneCfg{})
		after := openStore(t, opts)
		h, err := after.NextHLC(after.NowMS(), 0)
		if err != nil {
			t.Fatal(err)
		}
		if err := peer.Observe(h, clock.ms.Load()); err != nil {
			t.Errorf("drift %v: %v", drift, err)
		}
		if ahead := h.Milliseconds() - clock.ms.Load(); ahead > leaseSpanMax.Milliseconds()+1 {
			t.Errorf("drift %v: %d ms are skipped", drift, ahead)
		}
	}
}

func TestNoWriteWaitsForTheLeaseWhileWritesAreCommon(t *testing.T) {
	l := newCountingLease(500 * time.Millisecond)
	if !l.crossed(t, noon) {
		t.Fatal("the first did not move the bound")
	}
	for ms := int64(0); ms < 10_000; ms += 50 {
		if l.crossed(t, noon+ms) {
			t.Fatalf("a write waited after %d ms", ms)
		}
	}
	if n := l.persisted.Load(); n > 10_000/200+2 {
		t.Errorf("it was persisted %d times in 10 s", n)
	}
}

func TestNoWriteWaitsForTheLeaseWhileWritesAreRare(t *testing.T) {
	l := newCountingLease(500 * time.Millisecond)
	l.crossed(t, noon)
	now := noon
	for range 10 {
		for range 30 { // 3 s in between
			now += 100
			l.keepAhead(now)
		}
		if l.crossed(t, now) {
			t.Fatalf("a write waited after %d ms", now-noon)
		}
	}
}

func TestAnIdleNodeLeavesItsLeaseAlone(t *testing.T) {
	l := newCountingLease(500 * time.Millisecond)
	l.keepAhead(noon)
	if n := l.persisted.Load(); n != 0 {
		t.Fatalf("before the first write it was persisted %d times", n)
	}
	l.crossed(t, noon)
	for ms := int64(0); ms < 3_600_000; ms += 100 {
		l.keepAhead(noon + ms)
	}
	if n := l.persisted.Load(); n > 60 {
		t.Errorf("it was persisted %d times in an idle hour", n)
	}
	for ms := int64(3_600_000); ms < 7_200_000; ms += 100 { // rounds of what is stable go on
		if ms%10_000 == 0 {
			if _, err := l.issue(noon+ms, 0); err != nil {
				t.Fatal(err)
			}
		}
		l.keepAhead(noon + ms)
	}
	if n := l.persisted.Load(); n > 60+360 {
		t.Errorf("it was persisted %d times in two idle hours, with 360 rounds", n)
	}
}

// A peer whose clock is ahead draws this node's after it.
func TestNoWriteWaitsForTheLeaseBehindAPeerThatIsAhead(t *testing.T) {
	l := newCountingLease(500 * time.Millisecond)
	l.crossed(t, noon)
	waits := 0
	for ms := int64(0); ms < 10_000; ms += 20 {
		if err := l.gen.Observe(at(noon+ms+450), noon+ms); err != nil {
			t.Fatal(err)
		}
		if l.crossed(t, noon+ms) {
			waits++
		}
	}
	if waits > 1 { // the first shows how far ahead it is
		t.Errorf("%d writes waited", waits)
	}
}
