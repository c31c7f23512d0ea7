package main

import (
	"strings"
	"testing"

	"cartwheel/cluster/ring"
)

func nodeOf(first byte) (id ring.NodeID) {
	id[0] = first
	return id
}

func planOfLeave() *ring.Plan {
	return &ring.Plan{
		Change: []string{"leave", nodeOf(0xa0).String()}, Epoch: 17,
		Transfers: []ring.PlannedMove{
			{From: nodeOf(0xa0), To: nodeOf(0xb0), Partitions: 3, Size: ring.Size{Keys: 20, Bytes: 3 << 20}},
			{From: nodeOf(0xa0), Partitions: 2},
			{To: nodeOf(0xb0), Partitions: 1, UnderWay: 1, Size: ring.Size{Keys: 1, Bytes: 100}},
		},
		Shares: []ring.PlannedPart{
			{Node: nodeOf(0xa0), State: ring.Leaving, Zone: "rack 1", Weight: 2, Before: 5},
			{Node: nodeOf(0xb0), State: ring.Active, Weight: 1, Up: true, Before: 3, After: 7},
		},
		Warnings: []string{"something to know"}, Obstacles: []string{"something in the way"},
	}
}

func TestAPlanIsShown(t *testing.T) {
	var out strings.Builder
	if err := printPlan(&out, planOfLeave()); err != nil {
		t.Fatal(err)
	}
	const want = `leave a000000000000000000000000000000000000000, at epoch 17

FROM            TO        PARTITIONS            KEYS  SIZE
a0000000        b0000000  3                     20    3.0 MB
a0000000        (nobody)  2                     0     0 B
(other owners)  b0000000  1 (1 moving already)  1     100 B
                          6                     21    3.0 MB

NODE      UP    STATE    ZONE    WEIGHT  SHARE  THEN
a0000000  down  leaving  rack 1  2       62.5%  0.0%
b0000000  up    active   -       1       37.5%  100.0%

warning: something to know

only with --force: something in the way
`
	if out.String() != want {
		t.Errorf(" got:\n%s\nwant:\n%s", out.String(), want)
	}
	out.Reset()
	if err := printPlan(&out, &ring.Plan{Change: []string{"zone", "n", "z"}, Epoch: 3, Unchanged: true}); err != nil || out.String() != "zone n z, at epoch 3\nThe ring is so already.\n" {
		t.Errorf("%q, %v", out.String(), err)
	}
}

// What is pasted does what was planned, and not another thing.
func TestAPlanSaysHowItIsApplied(t *testing.T) {
	flags := clusterFlags{Addr: "h:1", PasswordFile: "/a file", tlsFlags: tlsFlags{TLS: true}}
	moving := planOfLeave()
	atRest := planOfLeave()
	atRest.Transfers, atRest.Obstacles = atRest.Transfers[:2], nil
	node := nodeOf(0xa0).String()
	for want, p := range map[string]*ring.Plan{
		"  cartwheel cluster apply leave " + node + " --force --addr h:1 --password-file \"/a file\" --tls":    moving,
		"  cartwheel cluster apply leave " + node + " --epoch 17 --addr h:1 --password-file \"/a file\" --tls": atRest,
		"  cartwheel cluster apply zone n 'it'\\''s here' --epoch 4 --addr h:1":                                {Change: []string{"zone", "n", "it's here"}, Epoch: 4},
		"  cartwheel cluster apply zone n '' --epoch 4 --addr h:1":                                             {Change: []string{"zone", "n", ""}, Epoch: 4},
		"  cartwheel serve --join HOST:PORT --replace n --data DIR":                                            {Change: []string{"replace", "n"}, Epoch: 4},
	} {
		_, command, _ := strings.Cut(flags.howToApply(p), "\n")
		if !strings.HasPrefix(command, want) {
			t.Errorf(" got: %q\nwant: %q", command, want)
		}
	}
}

func TestProgressIsShown(t *testing.T) {
	progress := &ring.Progress{
		Left: 12, Done: 5, LeftSize: ring.Size{Bytes: 64 << 20}, Bytes: 3 << 20, Rate: 1 << 20, LeftMS: 64_400,
		Transfers: []ring.Transferring{
			{From: nodeOf(1), To: nodeOf(2), Partitions: 10, Size: ring.Size{Keys: 1000, Bytes: 64 << 20}},
			{From: nodeOf(3), To: nodeOf(2), Partitions: 2, Waits: nodeOf(3)},
		},
		Leaving: []ring.Departing{{Node: nodeOf(1), Owned: 10, Partitions: 4, Hints: 7}},
		Silent:  []ring.NodeID{nodeOf(3)},
	}
	var out strings.Builder
	if err := printProgress(&out, progress); err != nil {
		t.Fatal(err)
	}
	const want = `
moving: 12 partitions left, 5 done; 64.0 MB left, 3.0 MB moved at 1.0 MB/s, about 1m4s to go
FROM      TO        PARTITIONS  KEYS  SIZE     WAITS FOR
01000000  02000000  10          1000  64.0 MB  -
03000000  02000000  2           0     0 B      03000000
01000000 is leaving: it owns 10 partitions, keeps 4 that the others must have first, and holds 7 hints
03000000 does not answer: what it would say is missing here
`
	if out.String() != want {
		t.Errorf(" got:\n%s\nwant:\n%s", out.String(), want)
	}
	out.Reset()
	if err := printProgress(&out, &ring.Progress{Silent: []ring.NodeID{nodeOf(3)}}); err != nil || out.Len() > 0 {
		t.Errorf("where nothing moves: %q, %v", out.String(), err)
	}
}
