package faults

import (
	"bytes"
	"math/rand/v2"
	"os"
	"path/filepath"
	"testing"
	"time"

	"cartwheel/bench/proc"
)

// TestPromisesHoldUnderFaults is the short version of `go run ./bench faults`, on real processes. Its
// seed is new each time, and printed; the history of a failure stays in the temporary directory.
func TestPromisesHoldUnderFaults(t *testing.T) {
	if testing.Short() {
		t.Skip("it takes half a minute")
	}
	if _, err := proc.Binary(t.Context()); err != nil {
		t.Fatal(err)
	}
	var progress bytes.Buffer
	o := Options{Nodes: 5, Seed: rand.Uint64N(1 << 32), Duration: 10 * time.Second, Short: true, Out: &progress}
	t.Logf("seed %d", o.Seed)
	report, err := Run(t.Context(), o)
	if err != nil {
		t.Fatalf("%v\n%s", err, &progress)
	}
	t.Logf("\n%s\n%s", &progress, printed(t, report))
	if report.Broken() == 0 {
		return
	}
	path := filepath.Join(os.TempDir(), "cartwheel-faults-failed.json")
	if err := report.Save(path); err != nil {
		t.Error(err)
	}
	t.Errorf("seed %d broke a promise; judge it again with: go run ./bench faults --replay %s", o.Seed, path)
}
