package faults

import (
	"bytes"
	"errors"
	"fmt"
	"math/rand/v2"
	"os"
	"os/exec"
	"slices"
	"strings"
	"testing"
	"time"

	"cartwheel/bench/proc"
	"cartwheel/cluster/sabotage"
)

// found says what finds a flaw of real nodes in a short run: the workload, some words of the checker's, and
// the faults that make it show. ARCHITECTURE.md has the same as a table. The other flaws need more than a
// short run has: cluster/sim finds them.
type found struct {
	by     string
	saying string
	kinds  []string
}

var flaws = map[sabotage.Flaw]found{
	sabotage.AckWithoutApply:     {"copies", "acknowledged by 3 replicas, and is on 2", []string{restart}},
	sabotage.HintNotStored:       {"copies", "replicas, and is on", []string{kill, stop}},
	sabotage.HintsDropped:        {"copies", "replicas, and is on", []string{kill, stop}},
	sabotage.MergeDropsSibling:   {"copies", "neither holds it nor has seen what covers it", []string{restart}},
	sabotage.StaleWrittenBack:    {"copies", "replicas, and is on", []string{restart}},
	sabotage.ReadRepairOff:       {"copies", "the nodes show 2 different sets", []string{cutKill}},
	sabotage.WriteCountedTwice:   {"copies", "replicas, and is on", []string{cutKill}},
	sabotage.ReadsFromOneReplica: {"register", "does not show", []string{cutOne}},
}

// sabotageAttempts is how often a flaw is looked for. A run ends at the first violation, and the first may be of
// another kind.
const sabotageAttempts = 3

// TestTheCheckersFindEachFlaw breaks real nodes in one way at a time. A run goes on, from one episode to the next,
// until something is found.
func TestTheCheckersFindEachFlaw(t *testing.T) {
	if testing.Short() {
		t.Skip("it takes a minute")
	}
	t.Parallel()
	if _, err := proc.Tagged(t.Context(), "sabotage"); err != nil {
		t.Fatal(err)
	}
	for flaw, want := range flaws {
		t.Run(string(flaw), func(t *testing.T) {
			t.Parallel()
			if slices.ContainsFunc(want.kinds, cuts) {
				needNamespaces(t)
			}
			for range sabotageAttempts {
				var progress bytes.Buffer
				report, err := Run(t.Context(), Options{
					Nodes: 4, Seed: rand.Uint64N(1 << 32), Duration: 20 * time.Second, Episode: 2500 * time.Millisecond, Short: true,
					Workloads: []string{want.by}, Kinds: want.kinds, Sabotage: string(flaw), Alone: true, Out: &progress,
				})
				if err != nil {
					t.Fatalf("%v\n%s", err, &progress)
				}
				t.Logf("\n%s\n%s", &progress, printed(t, report))
				if strings.Contains(violations(report, want.by), want.saying) {
					return
				}
			}
			t.Errorf("nothing of %s says %q", want.by, want.saying)
		})
	}
}

// TestTheCheckersFindNothingInSoundNodes is the same without a flaw: what finds the flaws must find nothing here.
func TestTheCheckersFindNothingInSoundNodes(t *testing.T) {
	if testing.Short() {
		t.Skip("it takes a quarter of a minute")
	}
	t.Parallel()
	needNamespaces(t)
	var progress bytes.Buffer
	o := Options{
		Nodes: 4, Seed: rand.Uint64N(1 << 32), Duration: 6 * time.Second, Episode: 3 * time.Second, Short: true,
		Workloads: []string{"copies", "register"}, Kinds: []string{kill, stop, restart, cutKill}, Alone: true, Out: &progress,
	}
	report, err := Run(t.Context(), o)
	tell(t, o.Seed, report, err, &progress)
}

// TestOnlySabotagedNodesHaveFlaws: what is shipped has none of it, and says so to whoever asks for it.
func TestOnlySabotagedNodesHaveFlaws(t *testing.T) {
	t.Parallel()
	has := func(path string, err error) bool {
		t.Helper()
		if err != nil {
			t.Fatal(err)
		}
		text, err := os.ReadFile(path)
		if err != nil {
			t.Fatal(err)
		}
		return bytes.Contains(text, []byte(sabotage.AckWithoutApply))
	}
	sound, err := proc.Binary(t.Context())
	if has(sound, err) {
		t.Error("a binary without the tag knows of flaws")
	}
	if !has(proc.Tagged(t.Context(), "sabotage")) {
		t.Error("a binary with the tag has no flaws")
	}
	node := exec.CommandContext(t.Context(), sound, "serve", "--listen", "127.0.0.1:0", "--data", t.TempDir())
	node.Env = append(os.Environ(), sabotage.Variable+"="+string(sabotage.AckWithoutApply))
	if said, err := node.CombinedOutput(); err == nil || !strings.Contains(string(said), sabotage.Variable) {
		t.Errorf("it starts: %v\n%s", err, said)
	}
}

// TestTheTableOfFlawsIsTrue: ARCHITECTURE.md says what finds each flaw.
func TestTheTableOfFlawsIsTrue(t *testing.T) {
	text, err := os.ReadFile("../../ARCHITECTURE.md")
	if err != nil {
		t.Fatal(err)
	}
	for flaw, by := range flaws {
		row := fmt.Sprintf("| `%s` | `%s`: %s | %s |", flaw, by.by, by.saying, strings.Join(by.kinds, ", "))
		if !strings.Contains(string(text), row) {
			t.Errorf("ARCHITECTURE.md has no row\n%s", row)
		}
	}
}

func violations(r *Report, workload string) (said string) {
	for _, v := range r.Verdicts {
		if v.Workload == workload {
			for _, violation := range v.Violations {
				said += violation.What + "\n"
			}
		}
	}
	return said
}

// needNamespaces skips the test where no network can be made; CI_FORBID_SKIP=1 forbids that.
func needNamespaces(t *testing.T) {
	t.Helper()
	n, err := newNetwork(t.Context(), 1)
	if errors.Is(err, errNoNetwork) {
		skip(t, err)
	}
	if err != nil {
		t.Fatal(err)
	}
	if err := n.Close(); err != nil {
		t.Fatal(err)
	}
}
