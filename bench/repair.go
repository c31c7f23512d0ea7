package main

import (
	"context"
	"errors"
	"fmt"
	"io"
	"os"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
	"time"

	"cartwheel/bench/machine"
)

// repairCommand is `bench repair`: what it costs that replicas converge. Each round has clusters of its own.
type repairCommand struct {
	commonFlags
	Only       []string      `default:"rate,exchange,hints,transfer,divergence" enum:"rate,exchange,hints,transfer,divergence" help:"What to measure: the rate of filling, the p99 of clients during one of three kinds of work, or an exchange's bytes and outcome."`
	Rounds     int           `default:"3" help:"How often."`
	Keys       int           `default:"1000000" help:"Keys of the nodes that a fourth one joins."`
	ValueBytes int           `default:"1024" help:"Length of each value, but those that clients wait for, which are the comparison's."`
	Calm       time.Duration `default:"5s" help:"How long clients are measured without background work."`
	Quiet      time.Duration `default:"5m" help:"How long nothing may be repaired after all owners are the same."`
	Strict     bool          `help:"Exit with status 1 when a figure is not what is wanted."`
}

// repairReport is what was found, by rounds.
type repairReport struct {
	Command        string        `json:"command"`
	Began          time.Time     `json:"began"`
	Machine        machine.Facts `json:"machine"`
	SubjectVersion string        `json:"subject_version"`
	Rates          []fillRate    `json:"rates,omitempty"`
	Tails          []repairTail  `json:"tails,omitempty"`
	Divergences    []divergence  `json:"divergences,omitempty"`
}

// Validate is called by kong.
func (c *repairCommand) Validate() error {
	if c.Keys < 1 || c.ValueBytes < 1 || c.Rounds < 1 || c.Subject != nameCartwheel {
		return errors.New("--keys, --value-bytes and --rounds are at least 1, and --subject is " + nameCartwheel)
	}
	if c.Calm < time.Second || c.Quiet < 0 {
		return errors.New("--calm is at least 1s, and --quiet not negative")
	}
	return nil
}

// Run measures, prints what it found and writes the report. That owners differ at the end is an error
// in any case.
func (c *repairCommand) Run(ctx context.Context) error {
	report := repairReport{Command: typedCommand(os.Args[1:]), Began: time.Now().UTC().Truncate(time.Second), Machine: machine.Read(ctx)}
	var err error
	if report.SubjectVersion, err = subjectVersion(ctx, c.Subject); err != nil {
		return err
	}
	dir, err := c.dataDir()
	if err != nil {
		return err
	}
	defer func() { _ = os.RemoveAll(dir) }()
	for n := range c.Rounds {
		if err = c.round(ctx, filepath.Join(dir, strconv.Itoa(n)), &report); err != nil {
			break
		}
	}
	report.print(os.Stdout)
	if err := errors.Join(err, writeJSON(c.Out, "repair.json", report)); err != nil {
		return err
	}
	if missed := report.missed(); c.Strict && len(missed) > 0 {
		return fmt.Errorf("%w: %s", errFloor, strings.Join(missed, "; "))
	}
	return nil
}

func (c *repairCommand) round(ctx context.Context, dir string, report *repairReport) error {
	clusterDir := func(name string) string { return dir + "-" + name }
	if slices.Contains(c.Only, "rate") {
		found := fillRate{Keys: c.Keys, ValueBytes: c.ValueBytes}
		if err := found.run(ctx, clusterDir("rate")); err != nil {
			return err
		}
		report.Rates = append(report.Rates, found)
		fmt.Fprintln(os.Stderr, found.line())
	}
	for _, work := range tailWorks {
		if !slices.Contains(c.Only, work) {
			continue
		}
		found := repairTail{Work: work}
		if err := found.run(ctx, clusterDir(work), c.Calm); err != nil {
			return fmt.Errorf("%s: %w", work, err)
		}
		report.Tails = append(report.Tails, found)
		fmt.Fprintln(os.Stderr, found.line())
	}
	if slices.Contains(c.Only, "divergence") {
		found := divergence{Keys: tailKeys, Changed: tailChanged, ValueBytes: c.ValueBytes, QuietS: c.Quiet.Seconds()}
		if err := found.run(ctx, clusterDir("divergence")); err != nil {
			return err
		}
		report.Divergences = append(report.Divergences, found)
		fmt.Fprintln(os.Stderr, found.line())
	}
	return nil
}

func (f fillRate) line() string {
	return fmt.Sprintf("a new node is filled at %.1f MB/s: %.0f MB in %.1f s, of %d keys of %d bytes (at least %.0f is wanted)",
		f.MBPerS, float64(f.Bytes)/1e6, f.Seconds, f.Keys, f.ValueBytes, fillRateMin)
}

func (r repairTail) line() string {
	return fmt.Sprintf("%-8s: p99 %.2f ms, %.2f times the %.2f without, at %.0f SETs a second (at most %.1f times); it took %.1f s, at %.1f MB/s at the least",
		r.Work, r.DuringMS, r.Ratio, r.CalmMS, r.Rate, tailRatioMax, r.WorkS, float64(r.RateBytes)/1e6)
}

func (d divergence) line() string {
	return fmt.Sprintf("%d of %d keys changed while a node was away: the same after %.1f s, %d repaired, %d bytes for %d (%.2f times, at most %.0f); %d repaired by %d exchanges in the %.0f s after that",
		d.Changed, d.Keys, d.ConvergedS, d.Repaired, d.Bytes, d.ChangedBytes, d.Ratio, divergeRatioMax, d.LaterRepairs, d.Exchanges, d.QuietS)
}

func (r *repairReport) print(w io.Writer) {
	for _, f := range r.Rates {
		fmt.Fprintln(w, f.line())
	}
	for _, t := range r.Tails {
		fmt.Fprintln(w, t.line())
	}
	for _, d := range r.Divergences {
		fmt.Fprintln(w, d.line())
	}
}

// missed says which medians are not what is wanted. Divergences are judged one by one.
func (r *repairReport) missed() (missed []string) {
	if rate := medianOf(r.Rates, func(f fillRate) (float64, bool) { return f.MBPerS, true }); len(r.Rates) > 0 && rate < fillRateMin {
		missed = append(missed, fmt.Sprintf("filling at %.1f MB/s", rate))
	}
	for _, work := range tailWorks {
		ratio := medianOf(r.Tails, func(t repairTail) (float64, bool) { return t.Ratio, t.Work == work })
		if ratio > tailRatioMax {
			missed = append(missed, fmt.Sprintf("p99 %.2f times as long during %s", ratio, work))
		}
	}
	return missed
}

// medianOf is the median of a figure of those that have it, 0 where none has.
func medianOf[T any](all []T, figure func(T) (float64, bool)) float64 {
	var found []float64
	for _, one := range all {
		if f, has := figure(one); has {
			found = append(found, f)
		}
	}
	if len(found) == 0 {
		return 0
	}
	slices.Sort(found)
	return found[len(found)/2]
}
