package main

import (
	"context"
	"errors"
	"fmt"
	"time"

	"cartwheel/bench/local"
	"cartwheel/bench/preload"
)

// A fillRate is how fast a new node gets its share of what three others hold, while no client does
// anything.
type fillRate struct {
	Keys       int     `json:"keys"`
	ValueBytes int     `json:"value_bytes"`
	Seconds    float64 `json:"seconds"` // from its answer to PING until nothing moves any more
	Bytes      int64   `json:"bytes"`   // that came to fill it
	MBPerS     float64 `json:"mb_per_s"`
}

const (
	fillRateMin = 40.0 // MB/s
	fillWithin  = 3 * time.Minute
)

// run fills three nodes and adds a fourth.
func (f *fillRate) run(ctx context.Context, dir string) (err error) {
	cluster, err := local.Start(ctx, local.Options{Dir: dir})
	if err != nil {
		return err
	}
	defer func() {
		if err != nil {
			err = fmt.Errorf("%w\n%s", err, cluster.Log())
		}
		err = errors.Join(err, cluster.Close())
	}()
	if err := preload.Fill(ctx, cluster.Node(0).Addr, preload.Data{Keys: f.Keys, ValueBytes: f.ValueBytes}, nil); err != nil {
		return err
	}
	if err := clusterRests(ctx, cluster); err != nil {
		return err
	}
	node, err := cluster.Add(ctx)
	if err != nil {
		return err
	}
	began := time.Now()
	within, cancel := context.WithTimeout(ctx, fillWithin)
	defer cancel()
	if err := cluster.WaitReady(within); err != nil {
		return err
	}
	took := time.Since(began)
	found, err := readRepair(ctx, node.Addr)
	if err != nil {
		return err
	}
	f.Seconds, f.Bytes = seconds(took), found["fill_bytes"]
	f.MBPerS = hundredths(float64(f.Bytes) / 1e6 / took.Seconds())
	return nil
}

// clusterRests blocks until the nodes use next to no processor time.
func clusterRests(ctx context.Context, c *local.Cluster) error {
	return restUntil(ctx, restAfterWrites, clusterRestCPUShare, func() (used time.Duration, _ error) {
		for _, n := range c.Nodes() {
			if !n.Running() {
				continue
			}
			cpu, err := n.Process().CPU()
			if err != nil {
				return 0, err
			}
			used += cpu
		}
		return used, nil
	})
}
