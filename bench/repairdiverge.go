package main

import (
	"context"
	"errors"
	"fmt"
	"time"

	"github.com/redis/go-redis/v9"

	"cartwheel/bench/local"
	"cartwheel/bench/preload"
)

// A divergence is: keys loaded into three nodes, one of them killed while some are changed, the hints
// for it thrown away. When it is back, the exchanges alone must make all owners the same.
type divergence struct {
	Keys       int     `json:"keys"`
	Changed    int     `json:"changed"`
	ValueBytes int     `json:"value_bytes"`
	QuietS     float64 `json:"quiet_s"`

	ConvergedS   float64 `json:"converged_s"` // from its answer to PING on
	Repaired     int64   `json:"repaired"`    // objects
	Bytes        int64   `json:"bytes"`       // in the messages of all exchanges and in the replies
	ChangedBytes int64   `json:"changed_bytes"`
	Ratio        float64 `json:"ratio"`
	LaterRepairs int64   `json:"later_repairs"` // while it was quiet
	Exchanges    int64   `json:"exchanges"`     // in that time
}

const (
	divergeRatioMax = 3.0
	divergePage     = 512              // commands of one pipeline
	divergeWithin   = 2 * time.Minute  // to be the same again
	divergeBatch    = 10 * time.Second // one pipeline
)

// hintless has every hint overflow, so that a repair is owed in its place.
var hintless = []string{"--debug-hint-bytes", "1"}

// run blocks for the quiet time and about as long as it takes to load the keys. What it finds to be
// wrong is an error that wraps errPromise.
func (d *divergence) run(ctx context.Context, dir string) (err error) {
	cluster, err := local.Start(ctx, local.Options{Dir: dir, Args: hintless})
	if err != nil {
		return err
	}
	defer func() {
		if err != nil {
			err = fmt.Errorf("%w\n%s", err, cluster.Log())
		}
		err = errors.Join(err, cluster.Close())
	}()
	if err := preload.Fill(ctx, cluster.Node(0).Addr, preload.Data{Keys: d.Keys, ValueBytes: d.ValueBytes}, nil); err != nil {
		return err
	}
	if err := untilSame(ctx, cluster.Addrs(), d.Keys); err != nil {
		return err
	}
	away := cluster.Node(2)
	if err := away.Kill9(); err != nil {
		return err
	}
	if err := changeKeys(ctx, cluster.Node(1).Addr, 0, d.Changed, d.ValueBytes); err != nil {
		return err
	}
	before, err := sumRepair(ctx, cluster)
	if err != nil {
		return err
	}
	if before["partitions_owed"] == 0 {
		return errors.New("no repair is owed: the hints were kept")
	}
	if err := away.Restart(ctx); err != nil {
		return err
	}
	return d.watch(ctx, cluster, before)
}

// watch waits until the nodes say that they are the same, and holds them to it.
func (d *divergence) watch(ctx context.Context, cluster *local.Cluster, before repairFigures) error {
	began := time.Now()
	within, cancel := context.WithTimeout(ctx, divergeWithin)
	defer cancel()
	after, err := untilRepair(within, cluster, "no repair is owed", func(sum repairFigures) bool {
		return sum["partitions_owed"] == 0 && sum["partitions_differing"] == 0 && sum["objects"] > before["objects"]
	})
	if err != nil {
		return err
	}
	d.ConvergedS = seconds(time.Since(began))
	moved := func(f repairFigures) int64 { return f["bytes_sent"] + f["bytes_received"] }
	d.Repaired = after["objects"] - before["objects"]
	d.Bytes = moved(after) - moved(before)
	d.ChangedBytes = int64(d.Changed) * int64(d.ValueBytes+len(preload.Key(0)))
	d.Ratio = float64(d.Bytes) / float64(d.ChangedBytes)
	if err := sameEverywhere(ctx, cluster.Addrs(), d.Keys); err != nil {
		return err
	}
	select {
	case <-time.After(time.Duration(d.QuietS * float64(time.Second))):
	case <-ctx.Done():
		return context.Cause(ctx)
	}
	last, err := sumRepair(ctx, cluster)
	if err != nil {
		return err
	}
	d.LaterRepairs, d.Exchanges = last["objects"]-after["objects"], last["exchanges"]-after["exchanges"]
	return d.judge()
}

// judge says what of it broke a promise.
func (d *divergence) judge() (err error) {
	if d.Ratio > divergeRatioMax {
		err = errors.Join(err, fmt.Errorf("%w: %d bytes were sent for %d of changed objects, %.1f times", errPromise, d.Bytes, d.ChangedBytes, d.Ratio))
	}
	if d.Exchanges == 0 {
		err = errors.Join(err, fmt.Errorf("%w: no exchange has ended in the %.0f s after all were the same", errPromise, d.QuietS))
	}
	if d.LaterRepairs != 0 {
		err = errors.Join(err, fmt.Errorf("%w: %d objects were repaired after all were the same", errPromise, d.LaterRepairs))
	}
	if d.Repaired < int64(d.Changed) {
		err = errors.Join(err, fmt.Errorf("%w: %d objects were repaired, of %d that were changed", errPromise, d.Repaired, d.Changed))
	}
	return err
}

// changeKeys gives keys another value than preload's, by one connection.
func changeKeys(ctx context.Context, addr string, first, count, valueBytes int) error {
	return inPages(ctx, addr, first, count, func(p redis.Pipeliner, i int) {
		p.Set(ctx, preload.Key(i), preload.AppendValue(nil, -1-i, valueBytes), 0)
	}, nil)
}

// inPages sends a command for each key, and passes the replies on.
func inPages(ctx context.Context, addr string, first, count int, send func(p redis.Pipeliner, i int), took func(i int, reply redis.Cmder) error) error {
	client := redis.NewClient(&redis.Options{Addr: addr, Protocol: 2, DisableIdentity: true, MaxRetries: -1, ReadTimeout: divergeBatch})
	defer client.Close()
	for from := first; from < first+count; from += divergePage {
		to := min(from+divergePage, first+count)
		replies, err := client.Pipelined(ctx, func(p redis.Pipeliner) error {
			for i := from; i < to; i++ {
				send(p, i)
			}
			return nil
		})
		if err != nil {
			return fmt.Errorf("keys %d to %d at %s: %w", from, to-1, addr, err)
		}
		for n, reply := range replies {
			if took == nil {
				break
			}
			if err := took(from+n, reply); err != nil {
				return err
			}
		}
	}
	return nil
}

// untilSame waits for what owners that were not waited for have still to get.
func untilSame(ctx context.Context, addrs []string, keys int) error {
	ctx, cancel := context.WithTimeout(ctx, divergeWithin)
	defer cancel()
	for {
		err := sameEverywhere(ctx, addrs, keys)
		if !errors.Is(err, errPromise) {
			return err
		}
		select {
		case <-time.After(time.Second):
		case <-ctx.Done():
			return errors.Join(err, context.Cause(ctx))
		}
	}
}

// sameEverywhere compares what each node has of each key, values and vector clock. Three nodes own
// every key, and one that is asked with R=1 answers with what it has itself: that repairs nothing.
func sameEverywhere(ctx context.Context, addrs []string, keys int) error {
	var wanted []string
	for n, addr := range addrs {
		var found []string
		err := inPages(ctx, addr, 0, keys, func(p redis.Pipeliner, i int) {
			p.Do(ctx, "VGET", preload.Key(i), "R", "1")
		}, func(i int, reply redis.Cmder) error {
			text := fmt.Sprint(reply.(*redis.Cmd).Val())
			if n > 0 && text != wanted[i] {
				return fmt.Errorf("%w: %s is not the same on nodes 0 and %d: %.200s and %.200s", errPromise, preload.Key(i), n, wanted[i], text)
			}
			found = append(found, text)
			return nil
		})
		if err != nil {
			return err
		}
		if n == 0 {
			wanted = found
		}
	}
	return nil
}
