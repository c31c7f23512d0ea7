package faults

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"io"
	"os"
	"path/filepath"
	"reflect"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"cartwheel/bench/check"
	"cartwheel/bench/proc"

	"go.uber.org/goleak"
)

func TestMain(m *testing.M) {
	// The goroutine that starts processes lives as long as this one.
	goleak.VerifyTestMain(m, goleak.IgnoreTopFunction("cartwheel/bench/proc.init.func1.1"), goleak.Cleanup(func(status int) {
		if err := proc.RemoveBinary(); err != nil {
			fmt.Fprintln(os.Stderr, err)
		}
		os.Exit(status)
	}))
}

// fakeRun runs workloads on a fake, as Run does on processes.
func fakeRun(t *testing.T, flaw string, workloads ...string) *Report {
	t.Helper()
	report, err := runFake(startFake(t, 5, flaw), 2500*time.Millisecond, workloads)
	if err != nil {
		t.Fatal(err)
	}
	return report
}

func runFake(f *fake, lasting time.Duration, workloads []string) (*Report, error) {
	nodes := len(f.nodes)
	o := Options{
		Nodes: nodes, Seed: 7, Duration: lasting, Out: io.Discard,
		Workloads: workloads, Kinds: []string{kill, killTwo, killAll, stop, restart},
	}
	ms := time.Millisecond
	r := &runner{
		Options: o, system: f, offsets: make([]atomic.Int64, nodes), kinds: o.Kinds,
		timing: timing{before: 200 * ms, during: 300 * ms, healthy: 500 * ms, finals: 5 * time.Second, pace: pace{50 * ms, 200 * ms, 20 * ms, 100 * ms}},
	}
	return r.episodes(context.Background())
}

func printed(t *testing.T, r *Report) string {
	t.Helper()
	var text bytes.Buffer
	if err := r.Print(&text); err != nil {
		t.Fatal(err)
	}
	return text.String()
}

// tell fails a test of which a run was not to be had, or broke something, and says so in few words, after all
// else. What the nodes wrote meanwhile, and the history, are left in the temporary directory.
func tell(t *testing.T, seed uint64, report *Report, err error, progress *bytes.Buffer) {
	t.Helper()
	said := fmt.Sprintf("seed %d: %v", seed, err)
	if err == nil {
		said = printed(t, report)
	}
	if err == nil && report.Broken() == 0 {
		t.Logf("\n%s\n%s", progress, said)
		return
	}
	kept := filepath.Join(os.TempDir(), "cartwheel-failed-"+t.Name())
	said += "\nwhat the nodes wrote is in " + kept + ".log"
	failed := os.WriteFile(kept+".log", progress.Bytes(), 0o600)
	if err == nil {
		said += "\njudge it again with: go run ./bench faults --replay " + kept + ".json"
		failed = errors.Join(failed, report.Save(kept+".json"))
	}
	if failed != nil {
		t.Error(failed)
	}
	t.Fatalf("\n%s", said)
}

func TestARunOnAPerfectStoreFindsNothing(t *testing.T) {
	t.Parallel()
	report := fakeRun(t, "")
	if report.Broken() > 0 {
		t.Errorf("violations of a store that keeps its promises:\n%s", printed(t, report))
	}
	if len(report.Faults) < 5 || len(report.Available) != 2 {
		t.Errorf("%d faults, %d of availability", len(report.Faults), len(report.Available))
	}
	for _, v := range report.Verdicts {
		if v.Outcomes[check.Acknowledged] < 100 {
			t.Errorf("%s: only %d operations were acknowledged", v.Workload, v.Outcomes[check.Acknowledged])
		}
	}
	t.Log("\n" + printed(t, report))
}

// TestARunFindsEachFlaw breaks the store in one way at a time: the workloads that are there for it must notice.
func TestARunFindsEachFlaw(t *testing.T) {
	t.Parallel()
	flaws := map[string][]string{
		"acknowledgement": {"set-add", "siblings", "register"},
		"merge":           {"set-add", "siblings", "register"},
		"hint":            {"set-add", "siblings"},
		"covered kept":    {"siblings", "register"},
		"stale read":      {"register"},
		"older wins":      {"sessions"},
		"delete":          {"sessions"},
		"expiry":          {"sessions"},
		"increment":       {"counters"},
		"winner":          {"locks"},
	}
	// They mostly wait: all at once.
	var running sync.WaitGroup
	for flaw, workloads := range flaws {
		f := startFake(t, 5, flaw)
		running.Go(func() {
			report, err := runFake(f, flawLasting, workloads)
			if err != nil {
				t.Errorf("%s: %v", flaw, err)
				return
			}
			if len(report.Verdicts) != len(workloads) || report.Broken() == 0 {
				t.Errorf("%s: %d verdicts, %d broken", flaw, len(report.Verdicts), report.Broken())
			}
			for _, v := range report.Verdicts {
				if len(v.Violations) == 0 {
					t.Errorf("%s: %s did not notice:\n%s", flaw, v.Workload, printed(t, report))
				}
			}
		})
	}
	running.Wait()
}

// flawLasting is long enough for a machine that is busy otherwise: some flaws show only where the right
// commands follow each other while nothing else is wrong.
const flawLasting = 7500 * time.Millisecond

// TestAvailabilityFindsAnError: with all nodes dead, those connected to the dead ones see errors.
func TestAvailabilityFindsAnError(t *testing.T) {
	f := startFake(t, 3, "")
	ms := time.Millisecond
	found, err := measureAvailable(t.Context(), f, killTwo, []int{2}, 100*ms, 100*ms, 1)
	if err != nil || len(found.Errors) > 0 || found.Reconnects != 0 || found.Before.Count == 0 || found.During.Count == 0 {
		t.Errorf("nodes that stay: %+v, %v", found, err)
	}
	// Somebody else kills a node that should stay.
	timer := time.AfterFunc(150*ms, func() { _ = f.Node(0).Kill9() })
	defer timer.Stop()
	found, err = measureAvailable(t.Context(), f, killTwo, []int{2}, 100*ms, 300*ms, 1)
	if err != nil || len(found.Errors) == 0 {
		t.Errorf("a node that was to stay died: %+v, %v", found, err)
	}
	report := Report{Available: []Available{*found}}
	if report.Broken() == 0 {
		t.Error("the report says that nothing is broken")
	}
}

func TestASavedReportIsJudgedAgain(t *testing.T) {
	t.Parallel()
	report := fakeRun(t, "merge", "siblings")
	path := filepath.Join(t.TempDir(), "report.json")
	if err := report.Save(path); err != nil {
		t.Fatal(err)
	}
	loaded, err := Load(path)
	if err != nil {
		t.Fatal(err)
	}
	before := report.Verdicts
	loaded.Judge()
	if !reflect.DeepEqual(loaded.Verdicts, before) {
		t.Errorf("%d violations became %d", len(before[0].Violations), len(loaded.Verdicts[0].Violations))
	}
	if err := os.WriteFile(path, []byte("{"), 0o600); err != nil {
		t.Fatal(err)
	}
	if _, err := Load(path); err == nil {
		t.Error("half a report is loaded")
	}
}

func TestOptionsAreRefused(t *testing.T) {
	fine := Options{Nodes: 5, Duration: time.Second}
	if err := fine.Validate(); err != nil {
		t.Error(err)
	}
	for _, o := range []Options{
		{Nodes: 0, Duration: time.Second},
		{Nodes: nodesMax + 1, Duration: time.Second},
		{Nodes: 3},
		{Nodes: 3, Duration: time.Second, Workloads: []string{"set-ad"}},
		{Nodes: 3, Duration: time.Second, Kinds: []string{"rain"}},
		{Nodes: 3, Duration: time.Second, Workloads: []string{availability}},
		{Nodes: 1, Duration: time.Second, Kinds: []string{cutHalves}},
	} {
		if o.Validate() == nil {
			t.Errorf("accepted: %+v", o)
		}
	}
}

func TestReportsOfEpisodesAddUp(t *testing.T) {
	one := func(workload string, violations ...check.Violation) *Report {
		return &Report{
			Faults: []check.Fault{{Kind: kill}},
			Verdicts: []Verdict{{
				Workload: workload, Operations: 3, Outcomes: map[check.Outcome]int{check.Unknown: 1},
				Errors: map[string]int{"dial": 1}, Violations: violations,
			}},
		}
	}
	total := &Report{}
	total.add(one("locks"))
	total.add(one("locks", check.Violation{Key: "k", What: "w"}))
	total.add(one("sessions"))
	want := []Verdict{
		{"locks", 6, map[check.Outcome]int{check.Unknown: 2}, map[string]int{"dial": 2}, []check.Violation{{Key: "k", What: "w"}}},
		{"sessions", 3, map[check.Outcome]int{check.Unknown: 1}, map[string]int{"dial": 1}, nil},
	}
	if !reflect.DeepEqual(total.Verdicts, want) || total.Episodes != 3 || len(total.Faults) != 3 || total.Broken() != 1 {
		t.Errorf("%+v", total)
	}
}

func TestEveryWorkloadHasAChecker(t *testing.T) {
	for _, w := range workloads(1, false) {
		if check.Workloads[w.name] == nil {
			t.Error(w.name)
		}
	}
	if len(workloads(1, false)) != len(check.Workloads) {
		t.Error("a checker without a workload")
	}
	report := Report{Histories: []*check.History{{Workload: "nobody's"}}}
	if report.Judge(); report.Broken() == 0 || !strings.Contains(printed(t, &report), "no checker") {
		t.Error("a history without a checker is well")
	}
}
