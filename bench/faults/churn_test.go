package faults

import (
	"bytes"
	"math/rand/v2"
	"slices"
	"testing"

	"cartwheel/bench/local"
	"cartwheel/bench/proc"
)

// TestARingChangesUnderLoadAndFaults is the short version of `go run ./bench faults --churn`: one node joins,
// one dies and is replaced, one leaves, and each time one is killed in the middle.
func TestARingChangesUnderLoadAndFaults(t *testing.T) {
	if testing.Short() {
		t.Skip("it takes half a minute")
	}
	t.Parallel()
	if _, err := proc.Binary(t.Context()); err != nil {
		t.Fatal(err)
	}
	var progress bytes.Buffer
	o := Options{Nodes: churnLeast, Seed: rand.Uint64N(1 << 32), Short: true, Out: &progress}
	report, err := Churn(t.Context(), o)
	tell(t, o.Seed, report, err, &progress)
}

// TestMarksAreFoundOnADisk: else nothing would ever be said to be left there.
func TestMarksAreFoundOnADisk(t *testing.T) {
	t.Parallel()
	cluster, err := local.Start(t.Context(), local.Options{Nodes: 1})
	if err != nil {
		t.Fatal(err)
	}
	defer cluster.Close()
	var m marks
	if err := m.write(t.Context(), cluster.Node(0).Addr, 7, marksKept); err != nil {
		t.Fatal(err)
	}
	if err := cluster.Node(0).Terminate(t.Context()); err != nil { // then all is in the tables
		t.Fatal(err)
	}
	found, err := m.on(cluster.Node(0).Dir)
	if err != nil || !slices.Equal(found, m.keys) || len(found) != marksKept {
		t.Errorf("%d marks of %d are found, %v", len(found), marksKept, err)
	}
}
