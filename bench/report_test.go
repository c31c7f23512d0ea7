package main

import (
	"bytes"
	"encoding/xml"
	"errors"
	"flag"
	"io"
	"os"
	"path/filepath"
	"testing"
	"time"

	"cartwheel/bench/machine"

	"github.com/google/go-cmp/cmp"
)

var update = flag.Bool("update", false, "rewrite the golden files")

// golden compares got with a file under testdata/.
func golden(t *testing.T, name string, got []byte) {
	t.Helper()
	path := filepath.Join("testdata", name)
	if *update {
		if err := os.WriteFile(path, got, 0o644); err != nil {
			t.Fatal(err)
		}
	}
	want, err := os.ReadFile(path)
	if err != nil {
		t.Fatal(err)
	}
	if diff := cmp.Diff(string(want), string(got)); diff != "" {
		t.Errorf("%s (-want +got; rewrite it with -update):\n%s", name, diff)
	}
}

var someMachine = machine.Facts{
	Cores: 2, CPU: `"Fast" <CPU> & more`, MemoryMiB: 2048, System: "linux/amd64", Kernel: "6.1", Go: "go1.26", Redis: "7.2.4",
}

func someReport() *compareReport {
	return &compareReport{
		Command: "go run ./bench compare", Began: time.Date(2026, 11, 21, 12, 0, 0, 0, time.UTC), Machine: someMachine,
		CoresShared: 2, FileSystem: "ext4", Subject: nameCartwheel, SubjectVersion: "go1.26 CGO_ENABLED=0",
		RedisBenchmark: "7.2.4", RoundCount: 2,
		Rows: []finding{
			find(rows[0], "redis-benchmark -t get", []round{roundOf(100_000, 90_000), roundOf(100_000, 92_000)}),
			find(rows[1], "redis-benchmark -t get", []round{roundOf(1e6, 1e6), roundOf(1e6, 1.3e6)}),
			find(rows[2], "redis-benchmark -t get", []round{roundOf(100_000, 50_000), roundOf(100_000, 60_000)}),
			find(rows[4], "redis-benchmark -t set", []round{roundOf(100_000, 60_000), roundOf(100_000, 64_000)}),
		},
	}
}

func TestCompareReportKeepsItsForm(t *testing.T) {
	dir, report := filepath.Join(t.TempDir(), "made"), someReport()
	if err := report.write(dir); err != nil {
		t.Fatal(err)
	}
	for _, name := range []string{"compare.json", "compare.svg"} {
		got, err := os.ReadFile(filepath.Join(dir, name))
		if err != nil {
			t.Fatal(err)
		}
		golden(t, name, got)
	}
	var table bytes.Buffer
	if err := report.table(&table); err != nil {
		t.Fatal(err)
	}
	golden(t, "compare.txt", table.Bytes())
}

func TestUnderFloorNamesTheRows(t *testing.T) {
	if got := someReport().underFloor(); !cmp.Equal(got, []string{"SET everysec P1"}) {
		t.Error(got)
	}
}

func TestPlotIsWellFormedXML(t *testing.T) {
	for name, report := range map[string]*compareReport{"some rows": someReport(), "no rows": {}} {
		for decoder := xml.NewDecoder(bytes.NewReader(plot(report))); ; {
			if _, err := decoder.Token(); errors.Is(err, io.EOF) {
				break
			} else if err != nil {
				t.Fatalf("%s: %v", name, err)
			}
		}
	}
}

func TestMemoryReportKeepsItsForm(t *testing.T) {
	report := memoryReport{
		Command: "go run ./bench memory", Began: time.Date(2026, 11, 21, 12, 0, 0, 0, time.UTC), Machine: someMachine,
		FileSystem: "ext4", Subject: nameCartwheel, Keys: 10_000_000, ValueBytes: 100, MemoryMB: 256, Sample: 10_000, Seed: 7,
		LoadS: 61.5, Loaded: resident{PeakMB: 556, EndMB: 500}, ReadyS: 5, Restarted: resident{PeakMB: 300, EndMB: 290},
		RSSMaxMB: 556, ReadyMaxS: 5,
	}
	report.judge()
	if len(report.Broken) != 0 {
		t.Errorf("at its floors: %v", report.Broken)
	}
	report.Restarted.PeakMB, report.ReadyS = 556.5, 5.01
	report.judge()
	if len(report.Broken) != 2 {
		t.Errorf("beyond both floors: %v", report.Broken)
	}
	var text bytes.Buffer
	report.print(&text)
	golden(t, "memory.txt", text.Bytes())
	dir := t.TempDir()
	if err := writeJSON(dir, "memory.json", report); err != nil {
		t.Fatal(err)
	}
	got, err := os.ReadFile(filepath.Join(dir, "memory.json"))
	if err != nil {
		t.Fatal(err)
	}
	golden(t, "memory.json", got)
}
