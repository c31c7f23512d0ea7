package main

import (
	"errors"
	"path/filepath"
	"testing"

	"cartwheel/bench/check"
	"cartwheel/bench/faults"
)

func TestReplayJudgesASavedHistoryAgain(t *testing.T) {
	counted := check.Operation{Command: check.Incr, Key: "n", Values: []string{"1"}, Outcome: check.Acknowledged}
	final := check.Operation{Command: check.Get, Key: "n", Values: []string{"1"}, Outcome: check.Acknowledged}
	h := &check.History{Workload: "counters", Nodes: 1, Operations: []check.Operation{counted}, Finals: []check.Operation{final}}
	path := filepath.Join(t.TempDir(), "report.json")
	replay := func() error {
		if err := (&faults.Report{Histories: []*check.History{h}}).Save(path); err != nil {
			t.Fatal(err)
		}
		return (&faultsCommand{Replay: path}).Run(t.Context())
	}
	if err := replay(); err != nil {
		t.Error(err)
	}
	h.Finals[0].Values = []string{"2"}
	if err := replay(); !errors.Is(err, errPromise) {
		t.Error(err)
	}
}

func TestFaultsRefusesWhatItDoesNotKnow(t *testing.T) {
	if err := (&faultsCommand{Minutes: 1, Nodes: 5}).Validate(); err != nil {
		t.Error(err)
	}
	for _, c := range []faultsCommand{
		{Minutes: 0, Nodes: 5}, {Minutes: 1}, {Minutes: 1, Nodes: 5, Workload: []string{"x"}}, {Minutes: 1, Nodes: 5, Faults: []string{"x"}},
	} {
		if c.Validate() == nil {
			t.Errorf("%+v", c)
		}
	}
}
