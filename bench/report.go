package main

import (
	"encoding/json"
	"fmt"
	"io"
	"os"
	"path/filepath"
	"text/tabwriter"
	"time"

	"cartwheel/bench/machine"
)

// coresShared is how many cores the server and its load have together.
const coresShared = 2

// compareReport is all that a comparison leaves behind, as compare.json has it.
type compareReport struct {
	Command        string        `json:"command"`
	Cluster        bool          `json:"cluster,omitempty"` // three nodes, against a Redis primary with two replicas
	Began          time.Time     `json:"began"`
	Machine        machine.Facts `json:"machine"`
	CoresShared    int           `json:"cores_shared"` // by the servers and the load together
	FileSystem     string        `json:"file_system"`
	Subject        string        `json:"subject"`
	SubjectVersion string        `json:"subject_version,omitempty"`
	RedisBenchmark string        `json:"redis_benchmark"`
	RoundCount     int           `json:"round_count"`
	Rows           []finding     `json:"rows"`
}

// underFloor are the names of the rows that are.
func (r *compareReport) underFloor() []string {
	var names []string
	for _, row := range r.Rows {
		if row.UnderFloor {
			names = append(names, row.Name)
		}
	}
	return names
}

// table prints the report for people. Rates are medians.
func (r *compareReport) table(w io.Writer) error {
	fmt.Fprintf(w, "%s\n%s; %d cores shared by server and load; data on %s\n",
		r.Command, r.Machine, r.CoresShared, r.FileSystem)
	fmt.Fprintf(w, "redis-benchmark %s, %d connections, %d-byte values, %d keys (hot: one key); medians of %d rounds\n",
		r.RedisBenchmark, loadConnections, loadValueBytes, loadKeys, r.RoundCount)
	if r.SubjectVersion != "" {
		fmt.Fprintf(w, "%s: %s\n", r.Subject, r.SubjectVersion)
	}
	fmt.Fprintln(w)
	t := tabwriter.NewWriter(w, 0, 0, 2, ' ', tabwriter.AlignRight)
	fmt.Fprintf(t, "row\tRedis/s\t%s/s\tratio\tmin\tmax\tfloor\tp99 ms\tRedis p99\t\t\n", r.Subject)
	for _, row := range r.Rows {
		fmt.Fprintf(t, "%s\t%.0f\t%.0f\t%.2f\t%.2f\t%.2f\t%s\t%.2f\t%.2f\t%s\t\n", row.Name,
			row.Redis.Median, row.Subject.Median, row.Ratio.Median, row.Ratio.Min, row.Ratio.Max,
			floorText(row), row.SubjectP99MS, row.RedisP99MS, verdict(row))
	}
	return t.Flush()
}

func floorText(row finding) string {
	if row.Floor == nil {
		return "-"
	}
	return fmt.Sprintf("%.2f", *row.Floor)
}

func verdict(row finding) string {
	switch {
	case row.UnderFloor:
		return "UNDER"
	case row.Floor != nil:
		return "ok"
	}
	return ""
}

// write leaves compare.json and compare.svg in dir, which it makes.
func (r *compareReport) write(dir string) error {
	if err := writeJSON(dir, "compare.json", r); err != nil {
		return err
	}
	return os.WriteFile(filepath.Join(dir, "compare.svg"), plot(r), 0o644)
}

// writeJSON writes what is found into a file of dir, which it makes.
func writeJSON(dir, name string, found any) error {
	if err := os.MkdirAll(dir, 0o755); err != nil {
		return err
	}
	text, err := json.MarshalIndent(found, "", "  ")
	if err != nil {
		return fmt.Errorf("writing %s: %w", name, err)
	}
	return os.WriteFile(filepath.Join(dir, name), append(text, '\n'), 0o644)
}
