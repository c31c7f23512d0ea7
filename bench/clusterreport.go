package main

import (
	"fmt"
	"io"
	"os"
	"path/filepath"
	"text/tabwriter"
)

// clusterReport is what compare --cluster leaves behind, as compare-cluster.json has it.
type clusterReport struct {
	compareReport
	Entries int `json:"entries"` // of Cartwheel's nodes, to which the load goes
}

// findCluster sums up a row's rounds, of which there is at least one.
func findCluster(r clusterRow, subjectName string, rounds []round) finding {
	redis, subject := r.loads(subjectName)
	load := fmt.Sprintf("redis: %v; subject: %v", redis, subject)
	if r.tail {
		load += "; both at half of Redis's rate, open loop"
	}
	f := find(row{sync: "everysec", floor: r.floor}, load, rounds)
	f.Name = r.name
	return f
}

// table prints the report for people. Rates are medians.
func (r *clusterReport) table(w io.Writer) error {
	fmt.Fprintf(w, "%s\n%s; %d cores shared by all servers and the load; data on %s\n",
		r.Command, r.Machine, r.CoresShared, r.FileSystem)
	fmt.Fprintf(w, "%d nodes, N=3, R=W=2, everysec, the load on %d of them; a Redis primary with %d replicas, everysec, WAIT 1 behind each SET or pipeline of them\n",
		clusterNodes, r.Entries, clusterNodes-1)
	fmt.Fprintf(w, "%d connections, %d-byte values, %d keys; medians of %d rounds\n", loadConnections, loadValueBytes, loadKeys, r.RoundCount)
	if r.SubjectVersion != "" {
		fmt.Fprintf(w, "%s: %s\n", r.Subject, r.SubjectVersion)
	}
	fmt.Fprintln(w)
	t := tabwriter.NewWriter(w, 0, 0, 2, ' ', tabwriter.AlignRight)
	fmt.Fprintf(t, "row\tRedis/s\t%s/s\tratio\tmin\tmax\tfloor\tp99.9 ms\tRedis p99.9\t\t\n", r.Subject)
	for _, row := range r.Rows {
		fmt.Fprintf(t, "%s\t%.0f\t%.0f\t%.2f\t%.2f\t%.2f\t%s\t%.2f\t%.2f\t%s\t\n", row.Name,
			row.Redis.Median, row.Subject.Median, row.Ratio.Median, row.Ratio.Min, row.Ratio.Max,
			floorText(row), tailOf(row, false), tailOf(row, true), verdict(row))
	}
	return t.Flush()
}

// tailOf is the median of the rounds' p99.9, in milliseconds.
func tailOf(f finding, redis bool) float64 {
	var figures []float64
	for _, one := range f.Rounds {
		if redis {
			figures = append(figures, one.Redis.P999MS)
		} else {
			figures = append(figures, one.Subject.P999MS)
		}
	}
	return spreadOf(figures).Median
}

// write leaves compare-cluster.json and compare-cluster.svg in dir, which it makes.
func (r *clusterReport) write(dir string) error {
	if err := writeJSON(dir, "compare-cluster.json", r); err != nil {
		return err
	}
	return os.WriteFile(filepath.Join(dir, "compare-cluster.svg"), plot(&r.compareReport), 0o644)
}
