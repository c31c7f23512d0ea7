package faults

import (
	"encoding/json"
	"fmt"
	"io"
	"maps"
	"os"
	"slices"
	"strings"
	"text/tabwriter"

	"cartwheel/bench/check"
)

// Report is what a run found. Saved, it can be judged again.
type Report struct {
	Seed      uint64           `json:"seed"`
	Nodes     int              `json:"nodes"`
	Episodes  int              `json:"episodes"`
	Faults    []check.Fault    `json:"faults"`
	Missing   []string         `json:"missing,omitempty"` // kinds of fault that this machine cannot do, and why
	Available []Available      `json:"available,omitempty"`
	Trouble   []string         `json:"trouble,omitempty"` // with the nodes as a whole, and replies that should not be
	Verdicts  []Verdict        `json:"verdicts"`
	Histories []*check.History `json:"histories"` // of the last episode
}

// Verdict is a checker's on one history.
type Verdict struct {
	Workload   string                `json:"workload"`
	Operations int                   `json:"operations"`
	Outcomes   map[check.Outcome]int `json:"outcomes"`
	Errors     map[string]int        `json:"errors"` // by kind
	Violations []check.Violation     `json:"violations"`
}

// Judge runs the checkers on the histories.
func (r *Report) Judge() {
	r.Verdicts = nil
	for _, h := range r.Histories {
		v := Verdict{Workload: h.Workload, Operations: len(h.Operations), Outcomes: map[check.Outcome]int{}, Errors: map[string]int{}}
		for i := range h.Operations {
			o := &h.Operations[i]
			v.Outcomes[o.Outcome]++
			if o.Kind != "" {
				v.Errors[o.Kind]++
			}
		}
		judge, known := check.Workloads[h.Workload]
		if !known {
			judge = func(*check.History) []check.Violation {
				return []check.Violation{{What: "no checker for workload " + h.Workload}}
			}
		}
		v.Violations = append(judge(h), check.Copies(h)...)
		r.Verdicts = append(r.Verdicts, v)
	}
}

// add takes in what one more episode found.
func (r *Report) add(one *Report) {
	r.Episodes++
	r.Faults = append(r.Faults, one.Faults...)
	r.Available = append(r.Available, one.Available...)
	r.Trouble = append(r.Trouble, one.Trouble...)
	r.Histories = one.Histories
	for _, v := range one.Verdicts {
		n := slices.IndexFunc(r.Verdicts, func(sum Verdict) bool { return sum.Workload == v.Workload })
		if n < 0 {
			r.Verdicts = append(r.Verdicts, v)
			continue
		}
		sum := &r.Verdicts[n]
		sum.Operations += v.Operations
		sum.Violations = append(sum.Violations, v.Violations...)
		for outcome, count := range v.Outcomes {
			sum.Outcomes[outcome] += count
		}
		for kind, count := range v.Errors {
			sum.Errors[kind] += count
		}
	}
}

// Broken counts what is wrong.
func (r *Report) Broken() int {
	broken := len(r.Trouble)
	for _, v := range r.Verdicts {
		broken += len(v.Violations)
	}
	for _, a := range r.Available {
		broken += len(a.Errors) + a.Reconnects
	}
	return broken
}

// shownMax bounds how much of each kind of trouble is printed; the saved report has all.
const shownMax = 10

// Print tells what was done and found.
func (r *Report) Print(w io.Writer) error {
	fmt.Fprintf(w, "seed %d, %d nodes, %d episodes, %d faults: %s\n", r.Seed, r.Nodes, r.Episodes, len(r.Faults), r.faultCounts())
	for _, missing := range r.Missing {
		fmt.Fprintf(w, "not done: %s\n", missing)
	}
	for _, a := range r.Available {
		fmt.Fprintf(w, "availability, %s of nodes %v for %.1f s: %d errors, %d connections lost\n  before: %v\n  during: %v\n",
			a.Fault, a.Nodes, a.Lasted.Seconds(), len(a.Errors), a.Reconnects, a.Before, a.During)
		printSome(w, a.Errors)
	}
	t := tabwriter.NewWriter(w, 0, 0, 2, ' ', 0)
	fmt.Fprintln(t, "workload\toperations\tacknowledged\trefused\tunknown\terrors\tverdict")
	for _, v := range r.Verdicts {
		verdict := "ok"
		if n := len(v.Violations); n > 0 {
			verdict = fmt.Sprintf("%d VIOLATIONS", n)
		}
		fmt.Fprintf(t, "%s\t%d\t%d\t%d\t%d\t%s\t%s\n", v.Workload, v.Operations, v.Outcomes[check.Acknowledged],
			v.Outcomes[check.Refused], v.Outcomes[check.Unknown], counts(v.Errors), verdict)
	}
	if err := t.Flush(); err != nil {
		return err
	}
	for _, v := range r.Verdicts {
		printSome(w, firstOfKeys(v.Violations))
	}
	printSome(w, r.Trouble)
	return nil
}

// firstOfKeys tells the first violation of each key: the others mostly follow from it.
func firstOfKeys(violations []check.Violation) (lines []string) {
	of := map[string]int{}
	for _, v := range violations {
		of[v.Key]++
	}
	for _, v := range violations {
		if n := of[v.Key]; n > 0 {
			of[v.Key] = 0
			lines = append(lines, fmt.Sprintf("%s (%d in all): %s", v.Key, n, v.What))
		}
	}
	return lines
}

func printSome(w io.Writer, lines []string) {
	for n, line := range lines {
		if n == shownMax {
			fmt.Fprintf(w, "  ... and %d more\n", len(lines)-n)
			return
		}
		fmt.Fprintf(w, "  %s\n", line)
	}
}

func (r *Report) faultCounts() string {
	kinds := map[string]int{}
	for _, f := range r.Faults {
		kinds[f.Kind]++
	}
	return counts(kinds)
}

func counts(of map[string]int) string {
	var said []string
	for _, name := range slices.Sorted(maps.Keys(of)) {
		said = append(said, fmt.Sprintf("%s %d", name, of[name]))
	}
	if said == nil {
		return "none"
	}
	return strings.Join(said, ", ")
}

// Save writes the report, with all histories, into a file that Load reads.
func (r *Report) Save(path string) error {
	text, err := json.Marshal(r)
	if err != nil {
		return fmt.Errorf("writing %s: %w", path, err)
	}
	return os.WriteFile(path, append(text, '\n'), 0o644)
}

// Load reads a saved report.
func Load(path string) (*Report, error) {
	text, err := os.ReadFile(path)
	if err != nil {
		return nil, err
	}
	r := &Report{}
	if err := json.Unmarshal(text, r); err != nil {
		return nil, fmt.Errorf("reading %s: %w", path, err)
	}
	return r, nil
}
