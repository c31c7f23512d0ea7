package main

import (
	"context"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"regexp"
	"strings"
	"time"

	"cartwheel/bench/machine"
)

// runCluster is `bench compare --cluster`: three nodes against a Redis primary with two replicas. It blocks
// for about rows x rounds x 2 x (seconds + 1).
func (c *compareCommand) runCluster(ctx context.Context) error {
	facts := machine.Read(ctx) // before the cores are given up
	cores, err := machine.UseCores(coresShared)
	if err != nil {
		return err
	}
	report := clusterReport{Entries: c.Entries, compareReport: compareReport{
		Command: typedCommand(os.Args[1:]), Began: time.Now().UTC().Truncate(time.Second), Cluster: true,
		Machine: facts, CoresShared: cores, Subject: c.Subject, RoundCount: c.Rounds,
	}}
	if report.SubjectVersion, err = subjectVersion(ctx, c.Subject); err != nil {
		return err
	}
	if err := c.measureCluster(ctx, &report); err != nil {
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

// measureCluster adds the rows to the report, all on one pair of sides.
func (c *compareCommand) measureCluster(ctx context.Context, report *clusterReport) (err error) {
	dir, err := c.dataDir()
	if err != nil {
		return err
	}
	defer func() { err = errors.Join(err, os.RemoveAll(dir)) }()
	if report.FileSystem, err = machine.FileSystem(dir); err != nil {
		return err
	}
	var both sides
	if both.redis, err = startSide(ctx, nameRedis, filepath.Join(dir, "redis"), 1); err != nil {
		return err
	}
	defer func() { err = errors.Join(err, both.redis.close()) }()
	if both.subject, err = startSide(ctx, c.Subject, filepath.Join(dir, "subject"), c.Entries); err != nil {
		return err
	}
	defer func() { err = errors.Join(err, both.subject.close()) }()
	chosen := c.chosenCluster()
	for n, r := range chosen {
		fmt.Fprintf(os.Stderr, "measuring %s (%d of %d)\n", r.name, n+1, len(chosen))
		d := c.amount().duration
		if r.tail {
			d = time.Duration(c.TailSeconds * float64(time.Second))
		}
		rounds, err := both.measure(ctx, r, c.Subject, c.Rounds, d)
		if err != nil {
			return fmt.Errorf("%s: %w", r.name, err)
		}
		report.Rows = append(report.Rows, findCluster(r, c.Subject, rounds))
	}
	return nil
}

// chosenCluster are the rows to measure.
func (c *compareCommand) chosenCluster() []clusterRow {
	only := regexp.MustCompile(c.Only) // Validate has compiled it
	var chosen []clusterRow
	for _, r := range clusterRows {
		if only.MatchString(r.name) {
			chosen = append(chosen, r)
		}
	}
	return chosen
}
