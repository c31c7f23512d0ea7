package faults

import (
	"bytes"
	"math/rand/v2"
	"testing"

	"cartwheel/bench/proc"
)

// TestNothingDeadReturns tells some stories of those that `go run ./bench faults
// --zombies` tells all of. Its seed is new each time.
func TestNothingDeadReturns(t *testing.T) {
	if testing.Short() {
		t.Skip("it takes half a minute")
	}
	t.Parallel()
	if _, err := proc.Binary(t.Context()); err != nil {
		t.Fatal(err)
	}
	var progress bytes.Buffer
	o := Options{Nodes: zombieNodes, Seed: rand.Uint64N(1 << 32), Short: true, Out: &progress}
	report, err := Zombies(t.Context(), o)
	tell(t, o.Seed, report, err, &progress)
	if report.Episodes < 3 {
		t.Errorf("seed %d: only %d stories", o.Seed, report.Episodes)
	}
}
