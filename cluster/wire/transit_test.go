package wire

import (
	"testing"

	"pgregory.net/rapid"
)

// TestTransitKnowsHowLongABufferHeldWhatItRead lets clocks differ by anything
// and drift, and holds up some writes.
func TestTransitKnowsHowLongABufferHeldWhatItRead(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		ppm := rapid.Int64Range(-400, 400).Draw(t, "ppm")
		offsetMS := rapid.Int64Range(-1e12, 1e12).Draw(t, "offset")
		written := func(realMS int64) uint64 { return uint64(realMS + realMS*ppm/1e6 + offsetMS) }
		realMS := int64(0)
		tr := newTransit(realMS, written(realMS))
		for range rapid.IntRange(1, 50).Draw(t, "reads") {
			idleMS := rapid.OneOf(rapid.Int64Range(0, 100), rapid.Int64Range(0, 1e6)).Draw(t, "idle")
			heldMS := rapid.OneOf(rapid.Just(int64(0)), rapid.Int64Range(0, 60_000)).Draw(t, "held")
			wrote := realMS + idleMS
			realMS = wrote + heldMS
			tr.observe(realMS, written(wrote))
			age := tr.ageMS(realMS)
			if age > heldMS {
				t.Fatalf("%d ms under way are taken for %d", heldMS, age)
			}
			// The least may have grown by the drift allowed, and the clocks drift the
			// same way, since the last that was not held up.
			if least := heldMS - transitSlackMS - realMS*(driftPPM+400)/1e6 - 1; age < least {
				t.Fatalf("%d ms under way are taken for %d", heldMS, age)
			}
		}
	})
}

func TestTransitIsNotFooledByALongStop(t *testing.T) {
	tr := newTransit(0, 1000)
	for ms := int64(10); ms < 10_000; ms += 10 {
		tr.observe(ms, uint64(1000+ms))
	}
	tr.observe(3_600_000, 1000+10_000) // stopped for an hour with this in its buffer
	if age := tr.ageMS(3_600_000); age < 3_580_000 {
		t.Errorf("an hour is taken for %d ms", age)
	}
}
