package main

import (
	"context"
	"errors"
	"fmt"
	"time"

	"cartwheel/bench/local"
	"cartwheel/bench/preload"
)

// A repairTail is how long clients wait, at half of the load that the cluster can take, while a kind of
// background work runs, and just before it.
type repairTail struct {
	Work      string  `json:"work"`
	Rate      float64 `json:"rate"` // SETs a second, open loop
	CalmMS    float64 `json:"calm_p99_ms"`
	DuringMS  float64 `json:"during_p99_ms"`
	Ratio     float64 `json:"ratio"`
	WorkS     float64 `json:"work_s"`     // how long the work took
	RateBytes int64   `json:"rate_bytes"` // the least that admission steered to, of all nodes
}

const (
	tailRatioMax = 1.5
	tailSlice    = 100 * time.Millisecond
	tailMax      = 40 * time.Second // for all of the work
	tailWarm     = 2 * time.Second
	tailTakenMS  = 50.0 // p99 of a load that is taken
	tailFewer    = 0.85 // the next rate that is tried
	tailKeys     = 200_000
	tailChanged  = 10_000
)

var tailWorks = []string{"exchange", "hints", "transfer"}

// run measures one kind of work on a cluster of its own.
func (r *repairTail) run(ctx context.Context, dir string, calm time.Duration) (err error) {
	o := local.Options{Dir: dir}
	if r.Work == "exchange" {
		o.Args = hintless
	}
	cluster, err := local.Start(ctx, o)
	if err != nil {
		return err
	}
	defer func() {
		if err != nil {
			err = fmt.Errorf("%w\n%s", err, cluster.Log())
		}
		err = errors.Join(err, cluster.Close())
	}()
	if err := preload.Fill(ctx, cluster.Node(0).Addr, preload.Data{Keys: tailKeys, ValueBytes: loadValueBytes}, nil); err != nil {
		return err
	}
	// Clients stay with two nodes, which do not go away.
	addrs := cluster.Addrs()[:2]
	load := clusterLoad{command: "set", pipeline: 1}
	full, err := mostLoad(ctx, addrs, load, calm)
	if err != nil {
		return err
	}
	load.rate = full / 2
	r.Rate = hundredths(load.rate)
	if err := clusterRests(ctx, cluster); err != nil {
		return err
	}
	_, took, err := runSlicedLoad(ctx, addrs, load, calm, tailSlice, nil)
	if err != nil {
		return err
	}
	r.CalmMS = p99MS(took, calm/4, calm) // warmed up
	before, err := sumRepair(ctx, cluster)
	if err != nil {
		return err
	}
	if r.Work != "transfer" {
		// Not killed: what a process that starts takes of the processors is no repair, and on one machine it would be the
		// clients' too.
		if err := errors.Join(cluster.Node(2).Stop(), cluster.WaitReady(ctx)); err != nil {
			return err
		}
		// Not the keys that the load writes: it would repair those itself.
		if err := changeKeys(ctx, addrs[0], loadKeys, tailChanged, loadValueBytes); err != nil {
			return err
		}
	}
	return r.measure(ctx, cluster, before, addrs, load)
}

// mostLoad returns the rate that a cluster can take, open loop: clients who wait for replies before they send more batch what they
// send when it is slow, and get more out of it than others could.
func mostLoad(ctx context.Context, addrs []string, load clusterLoad, d time.Duration) (rate float64, err error) {
	found, err := runClusterLoad(ctx, addrs, load, d)
	if err != nil {
		return 0, err
	}
	for load.rate = found.PerSecond; ; load.rate *= tailFewer {
		_, took, err := runSlicedLoad(ctx, addrs, load, d, tailSlice, nil)
		if err != nil {
			return 0, err
		}
		if p99MS(took, d/4, d) <= tailTakenMS {
			return load.rate, nil
		}
	}
}

// p99MS is of the pipelines that were due between two times of a run, to a slice.
func p99MS(took []*latencies, from, to time.Duration) float64 {
	sum := &latencies{}
	for n := int(from / tailSlice); n <= int(to/tailSlice) && n < len(took); n++ {
		sum.join(took[n])
	}
	return hundredths(float64(sum.quantile(0.99)) / float64(time.Millisecond))
}

// measure puts the load on until the work is done, and takes the latencies of the work's time.
func (r *repairTail) measure(ctx context.Context, cluster *local.Cluster, before repairFigures, addrs []string, load clusterLoad) error {
	type watched struct {
		from, to time.Time
		err      error
	}
	watching, stop := make(chan watched, 1), make(chan struct{})
	go func() {
		defer close(stop)
		var w watched
		w.from, w.to, w.err = r.watch(ctx, cluster, before)
		watching <- w
	}()
	began, took, err := runSlicedLoad(ctx, addrs, load, 2*tailMax, tailSlice, stop)
	w := <-watching
	if err := errors.Join(err, w.err); err != nil {
		return err
	}
	r.DuringMS = p99MS(took, w.from.Sub(began), w.to.Sub(began))
	r.WorkS = seconds(w.to.Sub(w.from))
	r.Ratio = hundredths(r.DuringMS / r.CalmMS)
	return nil
}

// watch begins the work, when clients have warmed up, and returns from when to when it was under way.
func (r *repairTail) watch(ctx context.Context, cluster *local.Cluster, before repairFigures) (from, to time.Time, err error) {
	ctx, cancel := context.WithTimeout(ctx, tailMax)
	defer cancel()
	select {
	case <-time.After(tailWarm):
	case <-ctx.Done():
		return from, to, context.Cause(ctx)
	}
	if r.Work == "transfer" {
		_, err = cluster.Add(ctx)
	} else {
		err = cluster.Node(2).Cont()
	}
	if err != nil {
		return from, to, err
	}
	least := func(sum repairFigures) {
		if rate := sum["rate_bytes"]; r.RateBytes == 0 || rate < r.RateBytes {
			r.RateBytes = rate
		}
	}
	var began, ended func(sum repairFigures) bool
	switch r.Work {
	case "exchange":
		began = func(sum repairFigures) bool { return sum["objects"] > before["objects"] }
		ended = func(sum repairFigures) bool {
			least(sum)
			return sum["objects"] >= before["objects"]+tailChanged
		}
	case "hints":
		began = func(sum repairFigures) bool { return sum["hints_replayed"] > before["hints_replayed"] }
		ended = func(sum repairFigures) bool {
			least(sum)
			return sum["hints_replayed"] >= before["hints_replayed"]+tailChanged
		}
	default:
		began = func(sum repairFigures) bool { return sum["moves_filling"] > 0 }
		ended = func(sum repairFigures) bool { least(sum); return sum["moves_filling"] == 0 }
	}
	if _, err := untilRepair(ctx, cluster, r.Work+" has begun", began); err != nil {
		return from, to, err
	}
	from = time.Now()
	_, err = untilRepair(ctx, cluster, r.Work+" has ended", ended)
	return from, time.Now(), err
}
