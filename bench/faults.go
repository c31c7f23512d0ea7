package main

import (
	"context"
	"errors"
	"fmt"
	"math/rand/v2"
	"os"
	"path/filepath"
	"strings"
	"time"

	"cartwheel/bench/faults"
	"cartwheel/cluster/sabotage"
)

// faultsCommand is `bench faults`: what may happen to a cluster, done to it under load.
type faultsCommand struct {
	Minutes  float64  `default:"2" help:"How long faults are done; what comes before and after takes about a minute more."`
	Seed     uint64   `help:"Repeats the choices of a run. Default: a new one, which is printed."`
	Nodes    int      `default:"5" help:"How many nodes."`
	Workload []string `help:"Only these: ${workloads}." placeholder:"NAME"`
	Faults   []string `help:"Only these: ${kinds}." placeholder:"NAME"`
	Sabotage string   `help:"Break the nodes on purpose, to see it found; implies --alone: ${flaws}." placeholder:"NAME"`
	Alone    bool     `help:"Replicas do not compare what they have: only hints and reads bring them together."`
	Zombies  bool     `help:"Instead: have keys die while nodes are away, and look for any that come back."`
	Churn    bool     `help:"Instead: change the ring from 3 nodes to 6 and back, with a node killed in the middle of each change."`
	Replay   string   `help:"Judge a saved history again, and run nothing." placeholder:"FILE" type:"existingfile"`
	Out      string   `default:"bench-report" help:"Directory for the history of a run that broke a promise."`
	Dir      string   `help:"Where the nodes' data goes, in a new directory that is removed. Default: the system's temporary directory."`
}

// faultsVars are the names in the flags' help.
func faultsVars() map[string]string {
	var flaws []string
	for _, f := range sabotage.Flaws() {
		flaws = append(flaws, string(f))
	}
	return map[string]string{
		"flaws": strings.Join(flaws, ", "), "workloads": strings.Join(faults.Workloads(), ", "), "kinds": strings.Join(faults.Kinds(), ", "),
	}
}

// errPromise is wrapped by the error of a run in which a promise was broken.
var errPromise = errors.New("promise broken")

func (c *faultsCommand) options() faults.Options {
	return faults.Options{
		Nodes: c.Nodes, Seed: c.Seed, Duration: time.Duration(c.Minutes * float64(time.Minute)),
		Workloads: c.Workload, Kinds: c.Faults, Dir: c.Dir, Out: os.Stderr, Sabotage: c.Sabotage, Alone: c.Alone || c.Sabotage != "",
	}
}

// Validate is called by kong.
func (c *faultsCommand) Validate() error { return c.options().Validate() }

// Run does the faults and prints what was found. The history of a run that broke a promise is saved.
func (c *faultsCommand) Run(ctx context.Context) error {
	if c.Replay != "" {
		return c.replay()
	}
	if c.Seed == 0 {
		c.Seed = rand.Uint64N(1 << 32)
	}
	fmt.Fprintf(os.Stderr, "seed %d\n", c.Seed)
	run := faults.Run
	switch {
	case c.Zombies:
		run = faults.Zombies
	case c.Churn:
		run = faults.Churn
	}
	report, err := run(ctx, c.options())
	if err != nil {
		return err
	}
	if err := report.Print(os.Stdout); err != nil {
		return err
	}
	if report.Broken() == 0 {
		return nil
	}
	if err := os.MkdirAll(c.Out, 0o755); err != nil {
		return err
	}
	path := filepath.Join(c.Out, fmt.Sprintf("faults-%d.json", c.Seed))
	if err := report.Save(path); err != nil {
		return err
	}
	return fmt.Errorf("%w: seed %d, history in %s", errPromise, c.Seed, path)
}

func (c *faultsCommand) replay() error {
	report, err := faults.Load(c.Replay)
	if err != nil {
		return err
	}
	report.Judge()
	if err := report.Print(os.Stdout); err != nil {
		return err
	}
	if report.Broken() > 0 {
		return fmt.Errorf("%w: %s", errPromise, c.Replay)
	}
	return nil
}
