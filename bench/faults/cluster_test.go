package faults

import (
	"bytes"
	"errors"
	"fmt"
	"math/rand/v2"
	"testing"
	"time"

	"cartwheel/bench/local"
	"cartwheel/bench/proc"
)

// TestPromisesHoldUnderFaults is the short version of `go run ./bench faults`, on real processes. Its
// seed is new each time, and printed; the history of a failure stays in the temporary directory.
func TestPromisesHoldUnderFaults(t *testing.T) {
	if testing.Short() {
		t.Skip("it takes half a minute")
	}
	t.Parallel()
	if _, err := proc.Binary(t.Context()); err != nil {
		t.Fatal(err)
	}
	var progress bytes.Buffer
	o := Options{Nodes: 5, Seed: rand.Uint64N(1 << 32), Duration: 10 * time.Second, Short: true, Out: &progress}
	o.Alone = o.Seed%2 == 0
	t.Logf("exchanges %t", !o.Alone)
	report, err := Run(t.Context(), o)
	tell(t, o.Seed, report, err, &progress)
}

// TestACutNodeAnswersNoStrictRead: it cannot know what the others acknowledge meanwhile. It must say so
// from the first moment, and when it has found out that it is alone.
func TestACutNodeAnswersNoStrictRead(t *testing.T) {
	t.Parallel()
	const nodes, keys, alone = 5, 20, 4
	n := needNetwork(t, nodes)
	cluster, err := local.Start(t.Context(), local.Options{Nodes: nodes, Host: n.Host, Wrap: n.Wrap, Args: []string{"--no-protected-mode"}})
	if err != nil {
		t.Fatal(err)
	}
	defer cluster.Close()
	others, cut := newClient(cluster.Node(0).Addr), newClient(cluster.Node(alone).Addr)
	defer others.Close()
	defer cut.Close()
	key := func(i int) string { return fmt.Sprintf("key%d", i) }
	for i := range keys {
		if err := others.Do(t.Context(), "VSET", key(i), "", "before", "STRICT").Err(); err != nil {
			t.Fatal(err)
		}
	}
	for i := range alone {
		if err := errors.Join(n.Cut(t.Context(), i, alone), n.Cut(t.Context(), alone, i)); err != nil {
			t.Fatal(err)
		}
	}
	refusals := 0
	for began := time.Now(); time.Since(began) < 3*time.Second; {
		for i := range keys {
			reply, err := cut.Do(t.Context(), "VGET", key(i), "STRICT").Result()
			if err == nil {
				t.Fatalf("%v after the cut, the node alone answers VGET %s STRICT: %v", time.Since(began), key(i), reply)
			}
			refusals++
		}
	}
	t.Logf("%d refusals", refusals)
}
