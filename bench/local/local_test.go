package local

import (
	"context"
	"errors"
	"fmt"
	"os"
	"slices"
	"strings"
	"testing"
	"time"

	"cartwheel/bench/proc"
)

func TestMain(m *testing.M) {
	code := m.Run()
	if err := proc.RemoveBinary(); err != nil {
		fmt.Fprintln(os.Stderr, err)
	}
	os.Exit(code)
}

const view = "# Ring\r\nring_cluster_id:c0ffee\r\nring_epoch:7\r\nring_replicas:3\r\nring_moves:12\r\n\r\n# Members\r\n" +
	"member0:id=a0,peer=127.0.0.1:1,client=127.0.0.1:2,cluster=127.0.0.1:3,zone=z,weight=2,state=active,up=1,self=1,owned=8,primary=4,hints=3,hint_bytes=40\r\n" +
	"member1:id=b0,peer=127.0.0.1:4,client=,cluster=,zone=,weight=1,state=joining,up=0,self=0,owned=0,primary=0,hints=0,hint_bytes=0\r\n"

func TestViewIsWhatInfoSays(t *testing.T) {
	v, err := parseView(view)
	if err != nil {
		t.Fatal(err)
	}
	want := []Member{
		{ID: "a0", Peer: "127.0.0.1:1", Client: "127.0.0.1:2", Cluster: "127.0.0.1:3", Zone: "z", State: "active", Weight: 2, Up: true, Self: true, Owned: 8, Primary: 4, Hints: 3, HintBytes: 40},
		{ID: "b0", Peer: "127.0.0.1:4", State: "joining", Weight: 1},
	}
	if v.ClusterID != "c0ffee" || v.Epoch != 7 || v.Replicas != 3 || v.Moves != 12 || !slices.Equal(v.Members, want) {
		t.Errorf("%+v", v)
	}
	for _, text := range []string{"", "ring_epoch:1\r\n", strings.Replace(view, "epoch:7", "epoch:x", 1), strings.Replace(view, "owned=8", "owned=", 1)} {
		if v, err := parseView(text); err == nil {
			t.Errorf("%q is read as %+v", text, v)
		}
	}
}

// laidOut is a cluster whose nodes do not run.
func laidOut(t *testing.T, o Options) *Cluster {
	t.Helper()
	c := &Cluster{options: o, dir: t.TempDir()}
	for i := range o.Nodes {
		n, err := c.newNode(i)
		if err != nil {
			t.Fatal(err)
		}
		c.nodes = append(c.nodes, n)
	}
	return c
}

func TestOnlyTheFirstNodeOfANewClusterJoinsNobody(t *testing.T) {
	c := laidOut(t, Options{Nodes: 3})
	if got := c.Node(0).join(); got != nil {
		t.Errorf("the first node joins %q", got)
	}
	if got := c.Node(1).join(); !slices.Equal(got, []string{c.Node(0).PeerAddr, c.Node(2).PeerAddr}) {
		t.Errorf("the second node joins %q", got)
	}
	if err := os.WriteFile(c.Node(0).Dir+"/data", nil, 0o600); err != nil {
		t.Fatal(err)
	}
	again, err := c.newNode(0)
	if err != nil {
		t.Fatal(err)
	}
	if got := again.join(); len(got) == 0 {
		t.Error("a first node with data creates a second cluster")
	}
}

func TestArgumentsOfANode(t *testing.T) {
	c := laidOut(t, Options{Nodes: 2, Zones: 2, Args: []string{"--sync", "always"}, ArgsOf: func(i int) []string { return []string{"--weight", fmt.Sprint(i + 1)} }})
	want := []string{
		"--cluster-listen", c.Node(1).ClusterAddr, "--peer-listen", c.Node(1).PeerAddr, "--join", c.Node(0).PeerAddr,
		"--zone", "zone1", "--sync", "always", "--weight", "2",
	}
	if got := c.Node(1).args(); !slices.Equal(got, want) {
		t.Errorf(" got: %q\nwant: %q", got, want)
	}
}

// TestARingIsWholeOnlyIf names what keeps WaitReady waiting.
func TestARingIsWholeOnlyIf(t *testing.T) {
	c := laidOut(t, Options{Nodes: 2})
	whole := func() *View {
		v := &View{Epoch: 3}
		for _, n := range c.Nodes() {
			v.Members = append(v.Members, Member{Peer: n.PeerAddr, State: "active"}) // down, as they are
		}
		return v
	}
	if err := c.whole(whole()); err != nil {
		t.Error(err)
	}
	for what, breaks := range map[string]func(v *View){
		"a member is missing":      func(v *View) { v.Members = v.Members[:1] },
		"a partition moves":        func(v *View) { v.Moves = 1 },
		"a member joins":           func(v *View) { v.Members[1].State = "joining" },
		"a dead one is thought up": func(v *View) { v.Members[1].Up = true },
		"a member is a stranger":   func(v *View) { v.Members[1].Peer = "127.0.0.1:1" },
	} {
		v := whole()
		breaks(v)
		if c.whole(v) == nil {
			t.Errorf("a ring is whole although %s", what)
		}
	}
}

// TestNodesDieStopAndComeBack is the whole of it with real processes.
func TestNodesDieStopAndComeBack(t *testing.T) {
	ctx, cancel := context.WithTimeout(t.Context(), 2*time.Minute)
	defer cancel()
	c, err := Start(ctx, Options{})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		if t.Failed() {
			t.Log(c.Log())
		}
		if err := c.Close(); err != nil {
			t.Error(err)
		}
	})
	ready := func(what string, did error) {
		t.Helper()
		if err := errors.Join(did, c.WaitReady(ctx)); err != nil {
			t.Fatalf("%s: %v", what, err)
		}
	}
	ready("killed", c.Node(1).Kill9())
	if c.Node(1).Running() {
		t.Error("a killed node runs")
	}
	ready("restarted", c.Node(1).Restart(ctx))
	ready("stopped", c.Node(2).Stop())
	ready("let run on", c.Node(2).Cont())
	ready("terminated", c.Node(0).Terminate(ctx))
	ready("restarted", c.Node(0).Restart(ctx))
	v, err := c.Node(0).View(ctx)
	if err != nil || len(v.Members) != 3 || v.Replicas != 3 {
		t.Errorf("%+v, %v", v, err)
	}
}
