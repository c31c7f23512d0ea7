package cluster

import (
	"math/rand/v2"
	"slices"
	"testing"
	"time"
)

// TestForegroundTellsTheP99OfLate holds it against an exact one, to a bucket's width.
func TestForegroundTellsTheP99OfLate(t *testing.T) {
	seed := rand.Uint64()
	t.Logf("seed %d", seed)
	random := rand.New(rand.NewPCG(seed, 1))
	for _, perSlot := range []int{20, 300, 5000} {
		var f foreground
		var waits []time.Duration
		now := time.Duration(0)
		for range 3 * foregroundSlots {
			for range perSlot {
				f.waited(now, time.Hour) // long ago, as soon as time has come round
			}
			now += foregroundSlotTime
		}
		now += foregroundSlots * foregroundSlotTime
		if got := f.p99(now); got != 0 {
			t.Fatalf("%d a slot: %v after a time without clients", perSlot, got)
		}
		for range foregroundFresh {
			for range perSlot {
				d := time.Duration(random.ExpFloat64() * float64(time.Millisecond))
				f.waited(now, d)
				waits = append(waits, d)
			}
			now += foregroundSlotTime
		}
		slices.Sort(waits)
		exact := waits[len(waits)-1-len(waits)/100]
		if got := f.p99(now - 1); got < exact || got > exact+exact/4 {
			t.Errorf("%d a slot: %v, but the p99 is %v", perSlot, got, exact)
		}
	}
}

func TestForegroundSaysNothingOfAFewClients(t *testing.T) {
	var f foreground
	for range foregroundLeast - 1 {
		f.waited(time.Second, time.Minute)
	}
	if got := f.p99(time.Second); got != 0 {
		t.Errorf("a p99 of %v", got)
	}
	f.waited(time.Second, time.Minute)
	if got := f.p99(time.Second); got != foregroundEnd(foregroundBuckets-1) {
		t.Errorf("a p99 of %v", got)
	}
}

// TestClientsThatWaitForReplicasSteerBackgroundWork is the wiring: reads and writes
// of a ring of several nodes are counted, and repair is told of them.
func TestClientsThatWaitForReplicasSteerBackgroundWork(t *testing.T) {
	w := newWorld(t, 3, 3)
	w.healthy()
	c := w.node(0)
	if got := c.foregroundP99(); got != 0 {
		t.Fatalf("a p99 of %v before any client", got)
	}
	for range foregroundLeast {
		mustSet(t, c, 0, "k", "v")
	}
	counted := func() (n uint32) {
		for i := range c.foreground.slots {
			for b := range c.foreground.slots[i].counts {
				n += c.foreground.slots[i].counts[b].Load()
			}
		}
		return n
	}
	writes := counted()
	if writes < foregroundLeast {
		t.Errorf("%d of %d writes count", writes, foregroundLeast)
	}
	wantValue(t, c, 0, "k", "v")
	if counted() <= writes {
		t.Error("reads do not count")
	}
	if c.foregroundP99() == 0 {
		t.Error("there is no p99")
	}
	until(t, "INFO shows it", func() bool {
		mustSet(t, c, 0, "k", "v")
		return slices.ContainsFunc(c.Figures(), func(f [2]string) bool {
			return f[0] == "repair_foreground_p99_usec" && f[1] != "0"
		})
	})
}
