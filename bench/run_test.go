package main

import (
	"encoding/json"
	"errors"
	"os"
	"path/filepath"
	"testing"
)

// readJSON reads a report that a command has left behind.
func readJSON(t *testing.T, dir, name string, into any) {
	t.Helper()
	text, err := os.ReadFile(filepath.Join(dir, name))
	if err != nil {
		t.Fatal(err)
	}
	if err := json.Unmarshal(text, into); err != nil {
		t.Fatal(err)
	}
}

// empty fails the test when a measurement has left its servers' data behind.
func empty(t *testing.T, dir string) {
	t.Helper()
	left, err := os.ReadDir(dir)
	if err != nil || len(left) > 0 {
		t.Errorf("left behind: %v, %v", left, err)
	}
}

func TestCompareRunsItsRowsInAlternatingPairs(t *testing.T) {
	need(t, "redis-server", loadProgram)
	c := compareCommand{
		commonFlags: commonFlags{Out: t.TempDir(), Dir: t.TempDir(), Subject: nameRedis},
		Rounds:      2, Requests: 1000, Only: "^(GET P1|SET always P16)$",
	}
	if err := c.Validate(); err != nil {
		t.Fatal(err)
	}
	if err := c.Run(t.Context()); err != nil {
		t.Fatal(err)
	}
	var report compareReport
	readJSON(t, c.Out, "compare.json", &report)
	if len(report.Rows) != 2 || report.Rows[0].Name != "GET P1" || report.Rows[1].Name != "SET always P16" {
		t.Fatalf("%+v", report.Rows)
	}
	for _, row := range report.Rows {
		if len(row.Rounds) != 2 || row.Rounds[0].First != nameRedis || row.Rounds[1].First != "subject" {
			t.Errorf("%s: %+v", row.Name, row.Rounds)
		}
	}
	empty(t, c.Dir)
}

func TestCompareFailsUnderAFloorOnlyWithStrict(t *testing.T) {
	need(t, "redis-server", loadProgram)
	defer func(before []row) { rows = before }(rows)
	rows = []row{{command: "get", sync: "everysec", pipeline: 1, floor: 1e6}}
	c := compareCommand{
		commonFlags: commonFlags{Out: t.TempDir(), Dir: t.TempDir(), Subject: nameRedis}, Rounds: 1, Requests: 100,
	}
	if err := c.Run(t.Context()); err != nil {
		t.Error(err)
	}
	c.Strict = true
	if err := c.Run(t.Context()); !errors.Is(err, errFloor) {
		t.Error(err)
	}
}

func TestCompareRefusesFlagsThatMeasureNothing(t *testing.T) {
	for name, c := range map[string]compareCommand{
		"rounds":   {Seconds: 1},
		"seconds":  {Rounds: 1},
		"requests": {Rounds: 1, Requests: -1, Seconds: 1},
		"only":     {Rounds: 1, Seconds: 1, Only: "no such row"},
		"pattern":  {Rounds: 1, Seconds: 1, Only: "("},
	} {
		if c.Validate() == nil {
			t.Error(name)
		}
	}
}

func TestMemoryLoadsKillsAndChecksAgain(t *testing.T) {
	need(t, "redis-server")
	c := memoryCommand{
		commonFlags: commonFlags{Out: t.TempDir(), Dir: t.TempDir(), Subject: nameRedis},
		Keys:        5000, ValueBytes: 100, MemoryMB: 256, Sample: 300,
	}
	if err := c.Run(t.Context()); err != nil {
		t.Fatal(err)
	}
	var report memoryReport
	readJSON(t, c.Out, "memory.json", &report)
	if report.Loaded.PeakMB < 1 || report.Restarted.EndMB < 1 || report.ReadyS <= 0 || len(report.Broken) != 0 {
		t.Errorf("%+v", report)
	}
	empty(t, c.Dir)
}

func TestMemoryFailsBeyondAFloor(t *testing.T) {
	need(t, "redis-server")
	c := memoryCommand{
		commonFlags: commonFlags{Out: t.TempDir(), Dir: t.TempDir(), Subject: nameRedis},
		Keys:        1000, ValueBytes: 100, MemoryMB: 1 - memoryOverMB, Sample: 1, // 1 MB in all
	}
	if err := c.Run(t.Context()); !errors.Is(err, errFloor) {
		t.Error(err)
	}
}
