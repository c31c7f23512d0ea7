package faults

import (
	"bytes"
	"context"
	"fmt"
	"io"
	"math/rand/v2"
	"os/exec"
	"slices"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"cartwheel/bench/check"
)

// recorded is a system that writes down what is done to it.
type recorded struct {
	nodes int
	dead  bool       // until they are started
	mu    sync.Mutex // guards said
	said  []string
}

type recordedNode struct {
	*recorded
	index int
}

func (r *recorded) Addrs() []string               { return make([]string, r.nodes) }
func (r *recorded) Node(i int) node               { return recordedNode{r, i} }
func (r *recorded) Settled(context.Context) error { return nil }

func (n recordedNode) say(what string) error {
	n.mu.Lock()
	defer n.mu.Unlock()
	n.said = append(n.said, fmt.Sprint(what, n.index))
	return nil
}

func (n recordedNode) Kill9() error                    { return n.say("kill") }
func (n recordedNode) Stop() error                     { return n.say("stop") }
func (n recordedNode) Cont() error                     { return n.say("cont") }
func (n recordedNode) Terminate(context.Context) error { return n.say("term") }
func (n recordedNode) Restart(context.Context) error   { return n.say("start") }
func (n recordedNode) Lose() error                     { return n.say("lose") }
func (n recordedNode) Lost() bool                      { return n.has("lose") }
func (n recordedNode) Running() bool                   { return !n.dead || n.has("start") }
func (n recordedNode) Log() string                     { return "before panic: for no reason" }

func (n recordedNode) has(what string) bool {
	n.mu.Lock()
	defer n.mu.Unlock()
	return slices.Contains(n.said, fmt.Sprint(what, n.index))
}

func someNemesis(s system, seed uint64, kinds ...string) *nemesis {
	ms := time.Millisecond
	return &nemesis{
		system: s, offsets: make([]atomic.Int64, len(s.Addrs())), kinds: kinds, left: new([]string), random: rand.New(rand.NewPCG(seed, 0)),
		pace: pace{ms, 2 * ms, ms, 2 * ms}, began: time.Now(), out: io.Discard,
	}
}

func TestFaultsAreDoneToTheirVictimsAndHealed(t *testing.T) {
	for kind, want := range map[string][]string{
		kill:    {"kill%d", "start%d"},
		killTwo: {"kill%d", "kill%d", "start%d", "start%d"},
		killAll: {"kill%d", "kill%d", "kill%d", "start%d", "start%d", "start%d"},
		stop:    {"stop%d", "cont%d"},
		restart: {"term%d", "start%d"},
		skew:    {"term%d", "start%d", "start%d"},
	} {
		s := &recorded{nodes: 3}
		n := someNemesis(s, 1, kind)
		f := check.Fault{Kind: kind, Nodes: n.victims(kind)}
		if err := n.begin(t.Context(), f); err != nil {
			t.Fatal(err)
		}
		if skewed := n.offsets[f.Nodes[0]].Load(); (skewed != 0) != (kind == skew) || time.Duration(skewed).Abs() > skewMax {
			t.Errorf("%s: the clock is put wrong by %v", kind, time.Duration(skewed))
		}
		begun := len(s.said)
		if err := n.heal(t.Context(), f); err != nil {
			t.Fatal(err)
		}
		slices.Sort(s.said[begun:]) // they start at the same time
		for i, said := range s.said {
			if want := fmt.Sprintf(want[i], f.Nodes[i%len(f.Nodes)]); said != want {
				t.Errorf("%s of %v: %v, not %s at %d", kind, f.Nodes, s.said, want, i)
			}
		}
		if len(s.said) != len(want) || n.offsets[f.Nodes[0]].Load() != 0 {
			t.Errorf("%s: %v", kind, s.said)
		}
	}
}

// TestALostNodeStaysLost: another is down meanwhile, and comes back.
func TestALostNodeStaysLost(t *testing.T) {
	s := &recorded{nodes: 3}
	n := someNemesis(s, 1, stop)
	if err := n.lose(t.Context()); err != nil {
		t.Fatal(err)
	}
	if len(s.said) != 3 || len(n.done) != 1 || lostOf(s) != 1 {
		t.Fatalf("%v, %v", s.said, n.done)
	}
	lost, away := s.said[1], s.said[0][len("kill"):]
	if lost != fmt.Sprint("lose", n.done[0].Nodes[0]) || s.said[0] == "kill"+lost[len("lose"):] || s.said[2] != "start"+away {
		t.Errorf("%v", s.said)
	}
	s.dead = true
	if err := n.revive(t.Context()); err != nil || slices.Contains(s.said, "start"+lost[len("lose"):]) {
		t.Errorf("%v, %v", s.said, err)
	}
}

func TestTheSeedRepeatsTheFaults(t *testing.T) {
	run := func(seed uint64) string {
		n := someNemesis(&recorded{nodes: 5}, seed, kill, stop, restart)
		var said bytes.Buffer
		n.out = &said
		ctx, cancel := context.WithTimeout(t.Context(), 300*time.Millisecond)
		defer cancel()
		if err := n.run(ctx); err != nil {
			t.Fatal(err)
		}
		if len(n.done) < 10 {
			t.Fatalf("only %d faults", len(n.done))
		}
		var done []string
		turn := map[string]bool{}
		for _, f := range n.done[:3] {
			turn[f.Kind] = true
		}
		if len(turn) != 3 {
			t.Errorf("not all kinds had their turn: %v", n.done[:3])
		}
		for _, f := range n.done[:10] {
			if f.End <= f.Begin {
				t.Errorf("%+v", f)
			}
			done = append(done, fmt.Sprint(f.Kind, f.Nodes))
		}
		return strings.Join(done, " ")
	}
	if a, b := run(3), run(3); a != b {
		t.Errorf("one seed, but\n%s\n%s", a, b)
	}
	if run(3) == run(4) {
		t.Error("two seeds do the same")
	}
}

// TestTheLastFaultIsHealed: the time of a run may end within a fault.
func TestTheLastFaultIsHealed(t *testing.T) {
	s := &recorded{nodes: 2}
	n := someNemesis(s, 1, stop)
	n.pace.faultMin, n.pace.faultMax = time.Hour, 2*time.Hour
	ctx, cancel := context.WithTimeout(t.Context(), 50*time.Millisecond)
	defer cancel()
	if err := n.run(ctx); err != nil || len(n.done) != 1 || len(s.said) != 2 || !strings.HasPrefix(s.said[1], "cont") {
		t.Errorf("%v, %v, %v", n.done, s.said, err)
	}
}

// TestCutsAreBetweenTheRightNodes looks at who cannot send to whom.
func TestCutsAreBetweenTheRightNodes(t *testing.T) {
	const nodes = 4
	n := needNetwork(t, nodes)
	cut := func() (pairs [][2]int) {
		for i := range nodes {
			said, err := exec.Command("ip", "-n", n.name(i), "neigh", "show", "dev", "eth0").Output()
			if err != nil {
				t.Fatal(err)
			}
			for j := range nodes {
				if strings.Contains(string(said), n.Host(j)+" lladdr "+nowhere) {
					pairs = append(pairs, [2]int{i, j})
				}
			}
		}
		return pairs
	}
	for _, kind := range []string{cutOne, cutHalves, cutDirection, cutKill} {
		for seed := range uint64(5) {
			nemesis := someNemesis(&recorded{nodes: nodes}, seed, kind)
			nemesis.network = n
			if kind == cutKill && seed > 0 {
				continue // it takes its time
			}
			f := check.Fault{Kind: kind, Nodes: nemesis.victims(kind)}
			if err := nemesis.begin(t.Context(), f); err != nil {
				t.Fatal(err)
			}
			pairs := cut()
			for _, p := range pairs {
				from, to := slices.Contains(f.Nodes, p[0]), slices.Contains(f.Nodes, p[1])
				if from == to || (kind == cutDirection || kind == cutKill) && !from {
					t.Errorf("%s of %v: %d cannot send to %d", kind, f.Nodes, p[0], p[1])
				}
			}
			outside := nodes - len(f.Nodes)
			least, most := 2*len(f.Nodes)*outside, 2*len(f.Nodes)*outside
			switch kind {
			case cutDirection:
				least, most = 1, outside
			case cutKill:
				least, most = outside, outside
			}
			if len(pairs) < least || len(pairs) > most {
				t.Errorf("%s of %v cuts %v", kind, f.Nodes, pairs)
			}
			if err := nemesis.heal(t.Context(), f); err != nil {
				t.Fatal(err)
			}
			if left := cut(); left != nil {
				t.Errorf("%s of %v is not healed: %v", kind, f.Nodes, left)
			}
		}
	}
}

// TestANodeThatDiesByItselfIsTrouble: it is started again, and told.
func TestANodeThatDiesByItselfIsTrouble(t *testing.T) {
	s := &recorded{nodes: 2, dead: true}
	n := someNemesis(s, 1, stop)
	if err := n.revive(t.Context()); err != nil {
		t.Fatal(err)
	}
	if len(n.trouble) != 2 || n.trouble[0] != "node 0 died by itself: panic: for no reason" || len(s.said) != 2 {
		t.Errorf("%q, %q", n.trouble, s.said)
	}
	if err := n.revive(t.Context()); err != nil || len(n.trouble) != 2 {
		t.Errorf("%q, %v", n.trouble, err)
	}
}
