package main

import (
	"context"
	"errors"
	"fmt"
	"os"
	"regexp"
	"strings"
	"time"

	"cartwheel/bench/machine"
)

// compareCommand is `bench compare`: the table of rows, measured.
type compareCommand struct {
	commonFlags
	Rounds   int     `default:"5" help:"Pairs of runs in each row; the ratio is the median of theirs."`
	Seconds  float64 `default:"2.5" help:"About how long each run lasts."`
	Requests int     `help:"Requests in each run, in place of --seconds."`
	Only     string  `help:"Only the rows whose name matches, such as '^GET P1$'." placeholder:"REGEXP"`
	Strict   bool    `help:"Exit with status 1 when a row is under its floor."`
	Cluster  bool    `help:"Three nodes against a Redis primary with two replicas, instead of one against one."`
	Repair   bool    `help:"Three nodes while they repair and fill others, against themselves at rest: what clients wait at half load. It is bench repair of these."`
	Entries  int     `default:"3" help:"With --cluster: how many of the three nodes the load goes to."`
	// TailSeconds is longer than what either side does now and then takes to come by: Redis writes its log anew, and we give
	// Pebble ours, about each ten seconds at this load. In a run that is shorter, the p99.9 is that of whom it hits.
	TailSeconds float64 `default:"20" help:"With --cluster: --seconds of the row that compares p99.9."`
}

// Validate is called by kong.
func (c *compareCommand) Validate() error {
	if _, err := regexp.Compile(c.Only); err != nil {
		return fmt.Errorf("--only: %w", err)
	}
	switch {
	case c.Repair && (c.Cluster || c.Requests > 0 || c.Only != ""):
		return errors.New("--repair goes without --cluster, --requests and --only")
	case c.Repair:
		return c.repair().Validate()
	case c.Rounds < 1:
		return errors.New("--rounds is at least 1")
	case c.Requests < 0 || c.Requests > requestsMax:
		return fmt.Errorf("--requests is at most %d", requestsMax)
	case c.Requests == 0 && !(c.Seconds > 0 && c.Seconds <= 3600):
		return errors.New("--seconds is above 0 and at most 3600")
	case c.Cluster && (c.Requests > 0 || c.Entries < 1 || c.Entries > clusterNodes):
		return fmt.Errorf("--cluster goes without --requests, and --entries is 1 to %d", clusterNodes)
	case c.Cluster && !(c.TailSeconds > 0 && c.TailSeconds <= 3600):
		return errors.New("--tail-seconds is above 0 and at most 3600")
	case c.Cluster && len(c.chosenCluster()) == 0 || !c.Cluster && len(c.chosen()) == 0:
		return fmt.Errorf("--only %s matches no row", c.Only)
	}
	return nil
}

// Run measures, prints the table and writes the reports. It blocks for about
// rows x rounds x 2 x (seconds + 1). A row under its floor is an error only with --strict.
func (c *compareCommand) Run(ctx context.Context) error {
	if c.Repair {
		return c.repair().Run(ctx)
	}
	if c.Cluster {
		return c.runCluster(ctx)
	}
	facts := machine.Read(ctx) // before the cores are given up
	cores, err := machine.UseCores(coresShared)
	if err != nil {
		return err
	}
	report := compareReport{
		Command: typedCommand(os.Args[1:]), Began: time.Now().UTC().Truncate(time.Second),
		Machine: facts, CoresShared: cores, Subject: c.Subject, RoundCount: c.Rounds,
	}
	if report.SubjectVersion, err = subjectVersion(ctx, c.Subject); err != nil {
		return err
	}
	if report.RedisBenchmark, err = redisBenchmarkVersion(ctx); err != nil {
		return err
	}
	if err := c.measure(ctx, &report); err != nil {
		return err
	}
	if err := report.table(os.Stdout); err != nil {
		return err
	}
	if err := report.write(c.Out); err != nil {
		return err
	}
	if under := report.underFloor(); c.Strict && len(under) > 0 {
		return fmt.Errorf("%w: %s", errFloor, strings.Join(under, ", "))
	}
	return nil
}

// repair is what measures clients beside background work.
func (c *compareCommand) repair() *repairCommand {
	calm := time.Duration(c.Seconds * float64(time.Second))
	return &repairCommand{commonFlags: c.commonFlags, Only: tailWorks, Rounds: c.Rounds, Keys: 1, ValueBytes: 1, Calm: calm, Strict: c.Strict}
}

// measure adds the rows to the report, those of one --sync on one pair of servers.
func (c *compareCommand) measure(ctx context.Context, report *compareReport) (err error) {
	dir, err := c.dataDir()
	if err != nil {
		return err
	}
	defer func() { err = errors.Join(err, os.RemoveAll(dir)) }()
	if report.FileSystem, err = machine.FileSystem(dir); err != nil {
		return err
	}
	var servers *pair
	closeServers := func() error {
		if servers == nil {
			return nil
		}
		return servers.Close()
	}
	defer func() { err = errors.Join(err, closeServers()) }()
	var sync string
	for n, r := range c.chosen() {
		if sync != r.sync {
			if err := closeServers(); err != nil {
				return err
			}
			sync = r.sync
			if servers, err = startPair(ctx, c.Subject, sync, dir); err != nil {
				return err
			}
		}
		fmt.Fprintf(os.Stderr, "measuring %s (%d of %d)\n", r.name(), n+1, len(c.chosen()))
		rounds, err := servers.measure(ctx, r, c.Rounds, c.amount())
		if err != nil {
			return err
		}
		report.Rows = append(report.Rows, find(r, c.load(r), rounds))
	}
	return nil
}

// chosen are the rows to measure.
func (c *compareCommand) chosen() []row {
	only := regexp.MustCompile(c.Only) // Validate has compiled it
	var chosen []row
	for _, r := range rows {
		if only.MatchString(r.name()) {
			chosen = append(chosen, r)
		}
	}
	return chosen
}

func (c *compareCommand) amount() amount {
	return amount{duration: time.Duration(c.Seconds * float64(time.Second)), requests: c.Requests}
}

// load is a row's load in words of the shell, for the report.
func (c *compareCommand) load(r row) string {
	requests := fmt.Sprintf("(about %g s)", c.Seconds)
	if c.Requests > 0 {
		requests = fmt.Sprint(c.Requests)
	}
	return loadProgram + " " + strings.Join(r.load(), " ") + " -n " + requests
}
