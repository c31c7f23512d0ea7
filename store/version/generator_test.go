package version

import (
	"errors"
	"math"
	"slices"
	"sync"
	"testing"
	"time"

	"pgregory.net/rapid"
)

func TestGeneratorNeverRepeatsNorGoesBack(t *testing.T) {
	const leaseAhead = 3 << counterBits
	rapid.Check(t, func(t *rapid.T) {
		g := NewGenerator(0, 500*time.Millisecond)
		var highest, lease HLC
		wallMS := int64(1_000_000)
		t.Repeat(map[string]func(*rapid.T){
			"the wall clock is set": func(t *rapid.T) { wallMS += rapid.Int64Range(-2000, 2000).Draw(t, "by") },
			"next": func(t *rapid.T) {
				floor := HLC(0)
				if rapid.Bool().Draw(t, "floor") {
					floor = MakeHLC(wallMS+rapid.Int64Range(-500, 500).Draw(t, "ahead"), rapid.Uint16().Draw(t, "counter"))
				}
				for range rapid.IntRange(1, 3).Draw(t, "times") {
					h := g.Next(wallMS, floor)
					if h <= highest || h <= floor || h < MakeHLC(wallMS, 0) || g.Last() != h {
						t.Fatalf("%v after %v, floor %v, wall %d, last %v", h, highest, floor, wallMS, g.Last())
					}
					highest = h
					if h > lease {
						lease = h + leaseAhead
					}
				}
			},
			"observe": func(t *rapid.T) {
				h := MakeHLC(wallMS+rapid.Int64Range(-1000, 1000).Draw(t, "ahead"), rapid.Uint16().Draw(t, "counter"))
				before := g.Last()
				refuse := h > before && h.Milliseconds()-wallMS > 500
				err := g.Observe(h, wallMS)
				want := max(before, h)
				if refuse {
					want = before
				}
				if errors.Is(err, ErrDrift) != refuse || g.Last() != want {
					t.Fatalf("observing %v at %d: %v, last %v then %v", h, wallMS, err, before, g.Last())
				}
				highest = max(highest, g.Last())
				lease = max(lease, highest) // what was only observed needs no lease, but may have one
			},
			"restart": func(*rapid.T) { g = NewGenerator(lease, 500*time.Millisecond) },
		})
	})
}

func TestGeneratorCarriesAFullCounter(t *testing.T) {
	g := NewGenerator(MakeHLC(7, math.MaxUint16), time.Second)
	if h := g.Next(7, 0); h != MakeHLC(8, 0) {
		t.Errorf("after 7.65535 comes %v", h)
	}
	mustPanic(t, func() { g.Next(7, math.MaxUint64) })
}

func TestObserveTakesBackWhatTheGeneratorIssuedBeforeTheWallClockWasSetBack(t *testing.T) {
	g := NewGenerator(0, 500*time.Millisecond)
	issued := g.Next(1_000_000, 0)
	if err := g.Observe(issued, 0); err != nil {
		t.Error(err)
	}
	if err := g.Observe(issued+1, 0); !errors.Is(err, ErrDrift) {
		t.Errorf("a stranger's HLC a thousand seconds ahead: %v", err)
	}
}

func TestGeneratorIssuesEachHLCOnceToManyGoroutines(t *testing.T) {
	const goroutines, each = 4, 2000
	g := NewGenerator(0, time.Second)
	issued := make([][]HLC, goroutines)
	var all sync.WaitGroup
	for i := range issued {
		all.Go(func() {
			for n := range each {
				issued[i] = append(issued[i], g.Next(int64(n/100), 0))
				_ = g.Observe(HLC(n), int64(n))
			}
		})
	}
	all.Wait()
	for _, one := range issued {
		if !slices.IsSorted(one) {
			t.Error("a goroutine saw HLCs go back")
		}
	}
	union := slices.Concat(issued...)
	slices.Sort(union)
	if len(slices.Compact(union)) != goroutines*each {
		t.Error("an HLC was issued twice")
	}
}

func TestHLCClampsMillisecondsThatDoNotFit(t *testing.T) {
	for ms, want := range map[int64]int64{
		math.MinInt64: 0, -1: 0, 0: 0, 1: 1, millisecondsMax: millisecondsMax, millisecondsMax + 1: millisecondsMax, math.MaxInt64: millisecondsMax,
	} {
		if h := MakeHLC(ms, 9); h.Milliseconds() != want || h.Counter() != 9 {
			t.Errorf("MakeHLC(%d, 9) is %v", ms, h)
		}
	}
}
