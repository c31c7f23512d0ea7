package main

import (
	"bytes"
	"errors"
	"os"
	"path/filepath"
	"testing"

	"github.com/google/go-cmp/cmp"
)

func TestClusterRowsHaveTheFloorsOfTheIssue(t *testing.T) {
	floors := map[string]float64{
		"SET W=2 P1": 0.9, "SET W=2 P16": 1.0, "SET W=2 p99.9": 1.0,
		"GET R=2 P1": 0.95, "GET R=2 P16": 3.5, "GET R=1 P1": 0.7, "GET R=1 P16": 0.9,
	}
	for _, r := range clusterRows {
		if r.floor != floors[r.name] {
			t.Errorf("%s: floor %v", r.name, r.floor)
		}
		delete(floors, r.name)
		if r.redis.command == "set" && !r.redis.wait || r.subject.wait {
			t.Errorf("%s: Redis's SETs wait for a replica, Cartwheel's of themselves: %v, %v", r.name, r.redis, r.subject)
		}
	}
	if len(floors) > 0 {
		t.Errorf("no rows for %v", floors)
	}
}

// clusterRound is a round at those rates and tails.
func clusterRound(redis, subject, redisTailMS, subjectTailMS float64, tail bool) round {
	one := roundOf(redis, subject)
	one.Redis.P999MS, one.Subject.P999MS = redisTailMS, subjectTailMS
	if tail {
		one.Ratio = redisTailMS / subjectTailMS
	}
	return one
}

func someClusterReport() *clusterReport {
	report := clusterReport{Entries: 3, compareReport: *someReport()}
	report.Cluster, report.Command, report.RedisBenchmark, report.Rows = true, "go run ./bench compare --cluster", "", nil
	for _, r := range clusterRows {
		rounds := []round{clusterRound(50_000, 48_000, 8, 4, r.tail), clusterRound(50_000, 50_000, 6, 6, r.tail)}
		report.Rows = append(report.Rows, findCluster(r, nameCartwheel, rounds))
	}
	return &report
}

func TestClusterReportKeepsItsForm(t *testing.T) {
	dir, report := filepath.Join(t.TempDir(), "made"), someClusterReport()
	if err := report.write(dir); err != nil {
		t.Fatal(err)
	}
	for _, name := range []string{"compare-cluster.json", "compare-cluster.svg"} {
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
	golden(t, "compare-cluster.txt", table.Bytes())
	if under := report.underFloor(); !cmp.Equal(under, []string{"GET R=2 P16", "SET W=2 P16"}) {
		t.Errorf("under their floors: %v", under)
	}
}

// TestClusterComparisonRuns has a second Redis primary in Cartwheel's place: the measurement itself is
// tested, and needs no cluster that works.
func TestClusterComparisonRuns(t *testing.T) {
	need(t, "redis-server")
	c := compareCommand{
		commonFlags: commonFlags{Out: t.TempDir(), Dir: t.TempDir(), Subject: nameRedis},
		Rounds:      2, Seconds: 0.1, TailSeconds: 0.1, Cluster: true, Entries: 1, Only: "^SET W=2 (P1|p99.9)$",
	}
	if err := c.Validate(); err != nil {
		t.Fatal(err)
	}
	if err := c.Run(t.Context()); err != nil {
		t.Fatal(err)
	}
	var report clusterReport
	readJSON(t, c.Out, "compare-cluster.json", &report)
	if len(report.Rows) != 2 {
		t.Fatalf("%+v", report.Rows)
	}
	for _, row := range report.Rows {
		if len(row.Rounds) != 2 || row.Rounds[0].First != nameRedis || row.Rounds[1].First != "subject" || row.Ratio.Median <= 0 {
			t.Errorf("%s: %+v", row.Name, row.Rounds)
		}
	}
	empty(t, c.Dir)

	defer func(before []clusterRow) { clusterRows = before }(clusterRows)
	clusterRows = []clusterRow{{name: "GET", redis: clusterLoad{command: "get", pipeline: 1}, floor: 1e6}}
	c.Only, c.Rounds, c.Strict = "", 1, true
	if err := c.Run(t.Context()); !errors.Is(err, errFloor) {
		t.Error(err)
	}
}

func TestClusterComparisonRefusesFlagsThatMeasureNothing(t *testing.T) {
	for name, c := range map[string]compareCommand{
		"requests": {Cluster: true, Rounds: 1, Requests: 100, TailSeconds: 1, Entries: 1},
		"entries":  {Cluster: true, Rounds: 1, Seconds: 1, TailSeconds: 1},
		"too many": {Cluster: true, Rounds: 1, Seconds: 1, TailSeconds: 1, Entries: 4},
		"no tail":  {Cluster: true, Rounds: 1, Seconds: 1, Entries: 1},
		"only":     {Cluster: true, Rounds: 1, Seconds: 1, TailSeconds: 1, Entries: 1, Only: "SET everysec"},
		"both":     {Cluster: true, Repair: true, Rounds: 1, Seconds: 1, TailSeconds: 1, Entries: 1},
		"a row":    {Repair: true, Rounds: 1, Seconds: 1, Only: "GET"},
	} {
		if c.Validate() == nil {
			t.Error(name)
		}
	}
}
