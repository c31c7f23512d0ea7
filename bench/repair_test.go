package main

import (
	"errors"
	"strings"
	"testing"
	"time"

	"cartwheel/bench/local"
)

// TestReplicasConvergeWithoutAReadAndRepairNoMore is `bench repair --only divergence`, short: real
// processes, 5% of the keys changed while a node is dead, its hints thrown away.
func TestReplicasConvergeWithoutAReadAndRepairNoMore(t *testing.T) {
	t.Parallel()
	d := divergence{Keys: 20_000, Changed: 1000, ValueBytes: 1024, QuietS: 11} // longer than the pause between exchanges
	if err := d.run(t.Context(), t.TempDir()); err != nil {
		t.Fatalf("%v\n%s", err, d.line())
	}
	t.Log(d.line())
}

// TestTheComparisonOfAllOwnersSeesADifference: else the test above could not fail. Two clusters that
// were written to alike have the same values, but not the same clocks.
func TestTheComparisonOfAllOwnersSeesADifference(t *testing.T) {
	t.Parallel()
	var addrs []string
	for range 2 {
		cluster, err := local.Start(t.Context(), local.Options{Nodes: 1})
		if err != nil {
			t.Fatal(err)
		}
		defer cluster.Close()
		addr := cluster.Node(0).Addr
		if err := changeKeys(t.Context(), addr, 0, 3, 10); err != nil {
			t.Fatal(err)
		}
		addrs = append(addrs, addr)
	}
	if err := sameEverywhere(t.Context(), []string{addrs[0], addrs[0]}, 3); err != nil {
		t.Errorf("with itself: %v", err)
	}
	if err := sameEverywhere(t.Context(), addrs, 3); !errors.Is(err, errPromise) {
		t.Errorf("with another: %v", err)
	}
}

func TestRepairIsJudgedByWhatTheIssueWants(t *testing.T) {
	good := divergence{Keys: 100, Changed: 10, Repaired: 10, Bytes: 299, ChangedBytes: 100, Ratio: 2.99, Exchanges: 1}
	if err := good.judge(); err != nil {
		t.Error(err)
	}
	for what, breaks := range map[string]func(d *divergence){
		"nobody has compared":     func(d *divergence) { d.Exchanges = 0 },
		"too much is sent":        func(d *divergence) { d.Ratio = 3.01 },
		"it goes on repairing":    func(d *divergence) { d.LaterRepairs = 1 },
		"it repairs less than is": func(d *divergence) { d.Repaired = 9 },
	} {
		d := good
		if breaks(&d); !errors.Is(d.judge(), errPromise) {
			t.Errorf("it is good although %s", what)
		}
	}
	r := repairReport{
		Rates: []fillRate{{MBPerS: 100}, {MBPerS: 39}, {MBPerS: 39.9}},
		Tails: []repairTail{{Work: "hints", Ratio: 1.5}, {Work: "transfer", Ratio: 1.51}, {Work: "hints", Ratio: 1}},
	}
	if missed := r.missed(); len(missed) != 2 || !strings.Contains(missed[0], "39.9") || !strings.Contains(missed[1], "transfer") {
		t.Errorf("missed: %q", missed)
	}
}

func TestRepairFiguresAreWhatInfoSays(t *testing.T) {
	f, err := parseRepair("# Cartwheel\r\nkeys_counted:1\r\nrepair_objects:12\r\nrepair_rate_bytes:34\r\n")
	if err != nil || len(f) != 2 || f["objects"] != 12 || f["rate_bytes"] != 34 {
		t.Errorf("%v, %v", f, err)
	}
	for _, text := range []string{"", "keys_counted:1\r\n", "repair_objects:x\r\n"} {
		if f, err := parseRepair(text); err == nil {
			t.Errorf("%q is read as %v", text, f)
		}
	}
}

func TestLatenciesOfSlicesJoin(t *testing.T) {
	var slow, fast latencies
	for n := range 100 {
		fast.add(time.Duration(n+1) * time.Millisecond / 100)
	}
	slow.add(time.Minute)
	fast.join(&slow)
	if fast.total != 101 || fast.quantile(1) != time.Minute || fast.quantile(0.99) != time.Millisecond {
		t.Errorf("%d, %v, %v", fast.total, fast.quantile(1), fast.quantile(0.99))
	}
	if p := p99MS([]*latencies{&slow, &fast, &slow}, tailSlice, tailSlice); p != 1 {
		t.Errorf("a slice's p99 is %v ms", p)
	}
}
