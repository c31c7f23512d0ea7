package main

import (
	"context"
	"fmt"
	"strconv"
	"strings"
	"time"

	"cartwheel/bench/local"
)

// repairFigures are what INFO says of a node's work in the background, by name and without "repair_".
type repairFigures map[string]int64

const (
	askRepairEvery = 50 * time.Millisecond
	askRepairMax   = 2 * time.Second // one attempt
)

func readRepair(ctx context.Context, addr string) (repairFigures, error) {
	ctx, cancel := context.WithTimeout(ctx, askRepairMax)
	defer cancel()
	client := newClient(addr)
	defer client.Close()
	text, err := client.Info(ctx, "cartwheel").Result()
	if err != nil {
		return nil, fmt.Errorf("asking %s for its repairs: %w", addr, err)
	}
	return parseRepair(text)
}

func parseRepair(text string) (repairFigures, error) {
	found := repairFigures{}
	for line := range strings.Lines(text) {
		name, value, _ := strings.Cut(strings.TrimSpace(line), ":")
		name, is := strings.CutPrefix(name, "repair_")
		if !is {
			continue
		}
		n, err := strconv.ParseInt(value, 10, 64)
		if err != nil {
			return nil, fmt.Errorf("reading INFO: %w", err)
		}
		found[name] = n
	}
	if len(found) == 0 {
		return nil, fmt.Errorf("INFO says nothing of repairs: %q", text)
	}
	return found, nil
}

// sumRepair adds up the figures of all nodes that run.
func sumRepair(ctx context.Context, c *local.Cluster) (repairFigures, error) {
	sum := repairFigures{}
	for _, n := range c.Nodes() {
		if !n.Running() {
			continue
		}
		one, err := readRepair(ctx, n.Addr)
		if err != nil {
			return nil, err
		}
		for name, value := range one {
			sum[name] += value
		}
	}
	return sum, nil
}

// untilRepair blocks until the sums of all nodes' figures are as wanted, and returns them.
func untilRepair(ctx context.Context, c *local.Cluster, what string, wanted func(sum repairFigures) bool) (repairFigures, error) {
	again := time.NewTicker(askRepairEvery)
	defer again.Stop()
	for {
		sum, err := sumRepair(ctx, c)
		if err == nil && wanted(sum) {
			return sum, nil
		}
		select {
		case <-ctx.Done():
			return nil, fmt.Errorf("waiting until %s: %w; last: %v, %v", what, context.Cause(ctx), sum, err)
		case <-again.C:
		}
	}
}
