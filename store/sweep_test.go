package store

import (
	"fmt"
	"testing"
	"time"

	"github.com/cockroachdb/pebble/v2/vfs"
	"pgregory.net/rapid"

	"cartwheel/cluster/ring"
	"cartwheel/store/version"
)

const noon = int64(1_700_000_000_000)

// openSweeping opens a store whose clock and watermark stand where they are put.
func openSweeping(t *testing.T) (s *Store, clock *fakeClock, watermark *version.HLC) {
	t.Helper()
	clock, watermark = newFakeClock(noon), new(version.HLC)
	*watermark = ^version.HLC(0)
	opts := memOptions(vfs.NewMem())
	opts.Now = clock.now
	opts.Watermark = func(ring.Partition) version.HLC { return *watermark }
	return openStore(t, opts), clock, watermark
}

func sweep(t *testing.T, s *Store) int {
	t.Helper()
	n, err := s.Sweep()
	if err != nil {
		t.Fatal(err)
	}
	return n
}

func setUntil(t *testing.T, s *Store, key string, expireAtMS int64) {
	t.Helper()
	if err := commit(s, 0, key, write{value: "v", expireAtMS: expireAtMS}); err != nil {
		t.Fatal(err)
	}
}

// wantNothing checks that no trace of an object is left.
func wantNothing(t *testing.T, s *Store) {
	t.Helper()
	if n := rows(t, s, prefixObject); n != 0 {
		t.Errorf("%d object rows are left", n)
	}
	if n := rows(t, s, prefixExpiry); n != 0 {
		t.Errorf("%d expiry rows are left", n)
	}
	if n := s.Counts(0); n != (Counts{}) {
		t.Errorf("counted are %+v", n)
	}
}

func TestExpiredObjectsAreSweptAndOthersAreNot(t *testing.T) {
	s, clock, _ := openSweeping(t)
	for i := range 3 * sweepRows { // more than one commit of the sweeper
		setUntil(t, s, fmt.Sprint("key", i), noon+1000+int64(i%7))
	}
	setUntil(t, s, "later", noon+500_000)
	setUntil(t, s, "never", 0)
	clock.ms.Store(noon + 999)
	if n := sweep(t, s); n != 0 {
		t.Fatalf("%d were swept before their time", n)
	}
	clock.ms.Store(noon + 1006)
	if n := sweep(t, s); n != 3*sweepRows {
		t.Fatalf("%d were swept, want %d", n, 3*sweepRows)
	}
	wantRead(t, s, 0, "key5", "(absent)")
	forget(t, s)
	wantRead(t, s, 0, "key5", "(absent)")
	wantRead(t, s, 0, "later", "v")
	wantRead(t, s, 0, "never", "v")
	if n := s.Counts(0); n.Keys != 2 || n.Expires != 1 || n.ExpireAtMSSum != noon+500_000 {
		t.Errorf("counted are %+v", n)
	}
	if n := rows(t, s, prefixExpiry); n != 1 {
		t.Errorf("%d expiry rows are left, want 1", n)
	}
	if got := s.Stats().Swept; got != 3*sweepRows {
		t.Errorf("Swept is %d", got)
	}
}

func TestNothingIsSweptAboveTheWatermark(t *testing.T) {
	s, clock, watermark := openSweeping(t)
	*watermark = version.MakeHLC(noon-1, 0)
	const keys = sweepRows + 1
	for i := range keys {
		setUntil(t, s, fmt.Sprint("k", i), noon+10)
	}
	clock.ms.Store(noon + 10)
	if n := sweep(t, s); n != 0 { // and it comes to an end
		t.Fatalf("%d were swept above the watermark", n)
	}
	wantRead(t, s, 0, "k1", "v") // expired, and there for the owners that lack it
	*watermark = version.MakeHLC(noon+1, 0)
	clock.ms.Add(sweepRetryMS)
	if n := sweep(t, s); n != keys {
		t.Fatalf("%d were swept at the watermark, want %d", n, keys)
	}
	wantNothing(t, s)
}

func TestATouchedSessionCostsOneRowAndIsNotLost(t *testing.T) {
	s, clock, _ := openSweeping(t)
	for i := range int64(100) {
		clock.ms.Store(noon + 100*i)
		setUntil(t, s, "session", clock.ms.Load()+1000)
		sweep(t, s)
		wantRead(t, s, 0, "session", "v")
		if n := rows(t, s, prefixExpiry); n != 1 {
			t.Fatalf("%d expiry rows after %d touches, want 1", n, i+1)
		}
	}
	clock.ms.Add(999)
	sweep(t, s)
	wantRead(t, s, 0, "session", "v")
	clock.ms.Add(1)
	if n := sweep(t, s); n != 1 {
		t.Errorf("%d were swept at the last touch's expiry, want 1", n)
	}
	wantNothing(t, s)
}

func TestAKeyWhoseExpiryIsRemovedStays(t *testing.T) {
	s, clock, _ := openSweeping(t)
	setUntil(t, s, "k", noon+10)
	setUntil(t, s, "k", 0)
	clock.ms.Store(noon + 100_000)
	if n := sweep(t, s); n != 0 {
		t.Fatalf("%d were swept", n)
	}
	wantRead(t, s, 0, "k", "v")
	if n := rows(t, s, prefixExpiry); n != 0 {
		t.Errorf("%d expiry rows are left", n)
	}
	setUntil(t, s, "k", noon+100_010)
	clock.ms.Add(10)
	if n := sweep(t, s); n != 1 {
		t.Errorf("%d were swept after the expiry came back, want 1", n)
	}
	wantNothing(t, s)
}

func TestAnExpiryThatComesNearerIsMet(t *testing.T) {
	s, clock, _ := openSweeping(t)
	setUntil(t, s, "k", noon+1_000_000)
	setUntil(t, s, "k", noon+10)
	clock.ms.Store(noon + 10)
	if n := sweep(t, s); n != 1 {
		t.Fatalf("%d were swept, want 1", n)
	}
	clock.ms.Store(noon + 1_000_000)
	sweep(t, s)
	wantNothing(t, s)
}

// An object may come with an expiry that the sweeper has long passed: a hint or
// a repair brings it.
func TestAnObjectThatComesLongExpiredIsSwept(t *testing.T) {
	s, clock, watermark := openSweeping(t)
	clock.ms.Store(noon + 3_600_000)
	sweep(t, s)
	*watermark = 0
	setUntil(t, s, "k", noon)
	*watermark = ^version.HLC(0)
	if n := sweep(t, s); n != 1 {
		t.Errorf("%d were swept, want 1", n)
	}
	wantNothing(t, s)
}

func TestDeletedAtOrBelowTheWatermarkLeavesNothing(t *testing.T) {
	s, clock, _ := openSweeping(t)
	setUntil(t, s, "k", noon+10)
	if err := commit(s, 0, "k", write{tombstone: true}); err != nil {
		t.Fatal(err)
	}
	clock.ms.Store(noon + 10)
	sweep(t, s)
	wantNothing(t, s)
}

func TestTheSweeperFindsAfterARestartWhatExpiredMeanwhile(t *testing.T) {
	s, clock, _ := openSweeping(t)
	setUntil(t, s, "k", noon+10)
	sweep(t, s)
	clock.ms.Store(noon + 86_400_000)
	s = reopen(t, s)
	if n := sweep(t, s); n != 1 {
		t.Errorf("%d were swept, want 1", n)
	}
	wantNothing(t, s)
}

// A commit may take longer than the sweeper looks back.
func TestARowThatIsCommittedLateIsSwept(t *testing.T) {
	s, clock, _ := openSweeping(t)
	if _, err := do(s, 0, "k", write{value: "v", expireAtMS: noon + 10}); err != nil {
		t.Fatal(err)
	}
	clock.ms.Add(10 * sweepLag.Milliseconds())
	n := sweep(t, s)
	if err := s.Commit(s.openSeq()); err != nil {
		t.Fatal(err)
	}
	if n += sweep(t, s); n != 1 {
		t.Errorf("%d were swept, want 1", n)
	}
	wantNothing(t, s)
}

// An object that cannot be read when its time comes may be readable later.
func TestAnObjectThatCannotBeReadIsSweptWhenItCan(t *testing.T) {
	s, clock, _ := openSweeping(t)
	setUntil(t, s, "bad", noon+10)
	damage(t, s, "bad")
	clock.ms.Store(noon + 10)
	if n := sweep(t, s); n != 0 {
		t.Fatalf("%d were swept, though nothing could be read", n)
	}
	wantRead(t, s, 0, "bad", "(corrupt)")
	damage(t, s, "bad") // the same bit again
	clock.ms.Add(sweepRetryMS)
	if n := sweep(t, s); n != 1 {
		t.Errorf("%d were swept, want 1", n)
	}
	wantNothing(t, s)
}

func TestWhatMayNotBePurgedYetIsBuriedAndCountedNoMore(t *testing.T) {
	s, clock, watermark := openSweeping(t)
	*watermark = 0
	setUntil(t, s, "k", noon+1000)
	clock.ms.Add(1100)
	if n := sweep(t, s); n != 0 {
		t.Fatalf("%d objects are purged above the watermark", n)
	}
	if n := s.Counts(0); n.Keys != 1 {
		t.Errorf("counted at once are %+v: another node's clock may be behind", n)
	}
	clock.ms.Add(2000)
	sweep(t, s)
	if n := s.Counts(0); n.Keys != 0 || n.Expires != 0 {
		t.Errorf("counted then are %+v", n)
	}
	var o version.Object
	if _, err := s.Get(0, []byte("k"), &o); err != nil || len(o.Siblings) != 1 || !o.Siblings[0].Tombstone || o.Siblings[0].Payload != nil {
		t.Errorf("left is %+v, %v", o, err)
	}
	*watermark = ^version.HLC(0)
	clock.ms.Add(2 * time.Hour.Milliseconds())
	sweep(t, s)
	wantNothing(t, s)
}

// What is due is found by the sweep that comes next, wherever its expiry row is by then: a sweep remembers until when there is
// nothing to be done.
func TestASweepMissesNothingThatIsDue(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		clock := newFakeClock(noon)
		opts := memOptions(vfs.NewMem())
		opts.Now, opts.Watermark = clock.now, everythingIsStable
		s, err := Open(opts)
		if err != nil {
			t.Fatal(err)
		}
		defer s.Close()
		due := map[string]int64{}
		t.Repeat(map[string]func(*rapid.T){
			"set": func(t *rapid.T) {
				key := rapid.StringMatching(`[a-h]`).Draw(t, "key")
				life := rapid.SampledFrom([]int64{1, 300, 5_000, 12_000, 90_000}).Draw(t, "life")
				due[key] = clock.ms.Load() + life
				if err := commit(s, 0, key, write{value: "v", expireAtMS: due[key]}); err != nil {
					t.Fatal(err)
				}
			},
			"checkpoint": func(t *rapid.T) {
				if err := s.checkpoint(); err != nil {
					t.Fatal(err)
				}
			},
			"wait": func(t *rapid.T) {
				clock.ms.Add(rapid.SampledFrom([]int64{1, 250, 4_000, 11_000, 70_000}).Draw(t, "wait"))
			},
			"back": func(t *rapid.T) { // the first sweep after that does not look for rows of then
				clock.ms.Add(-300_000)
				due["i"] = clock.ms.Load() + 1_000
				if err := commit(s, 0, "i", write{value: "v", expireAtMS: due["i"]}); err != nil {
					t.Fatal(err)
				}
				if err := s.checkpoint(); err != nil {
					t.Fatal(err)
				}
				if _, err := s.Sweep(); err != nil {
					t.Fatal(err)
				}
			},
			"sweep": func(t *rapid.T) {
				if _, err := s.Sweep(); err != nil {
					t.Fatal(err)
				}
				for key, at := range due {
					var o version.Object
					if _, err := s.Get(0, []byte(key), &o); err != nil {
						t.Fatal(err)
					}
					gone := len(o.Siblings) == 0
					if over := clock.ms.Load() - at; over > 2*s.clockMarginMS() && !gone {
						t.Fatalf("%q was due %d ms ago", key, over)
					} else if gone {
						delete(due, key)
					}
				}
			},
		})
	})
}
