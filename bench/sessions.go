package main

import (
	"context"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"strconv"
	"strings"
	"time"

	"github.com/redis/go-redis/v9"
	"golang.org/x/sync/errgroup"

	"cartwheel/bench/local"
	"cartwheel/bench/preload"
)

// sessionsCommand is `bench sessions`: rounds of keys that live for a while and are never seen again. What
// three nodes keep of them must not grow from round to round.
type sessionsCommand struct {
	commonFlags
	Rounds int           `default:"10" help:"How many rounds."`
	Keys   int           `default:"1000000" help:"Keys of a round."`
	Life   time.Duration `default:"60s" help:"How long each key lives."`
	Value  int           `default:"100" help:"Length of each value."`
}

// sessionRound is what was left behind one round.
type sessionRound struct {
	DiskBytes int64   `json:"disk_bytes"` // of all files of all nodes
	SentBytes int64   `json:"sent_bytes"` // by exchanges and what belongs to them, in this round
	CPUS      float64 `json:"cpu_s"`      // of all nodes, in this round
	Seconds   float64 `json:"seconds"`    // from the first write until the last node has purged the last key
}

const (
	sessionsHaste  = 2 * time.Second
	sessionsWithin = 10 * time.Minute // behind the end of their lives
	sessionsEvery  = 500 * time.Millisecond
	sessionsGrowth = 1.5
)

// Validate is called by kong.
func (c *sessionsCommand) Validate() error {
	if c.Rounds < 2 || c.Keys < 1 || c.Value < 1 || c.Life < time.Second || c.Subject != nameCartwheel {
		return errors.New("--rounds is at least 2, --keys and --value 1, --life 1s, and --subject is " + nameCartwheel)
	}
	return nil
}

// Run prints each round, and holds the last one to the first.
func (c *sessionsCommand) Run(ctx context.Context) (err error) {
	dir, err := c.dataDir()
	if err != nil {
		return err
	}
	defer func() { err = errors.Join(err, os.RemoveAll(dir)) }()
	cluster, err := local.Start(ctx, local.Options{Dir: dir, Args: []string{"--debug-haste", sessionsHaste.String()}})
	if err != nil {
		return err
	}
	defer func() { err = errors.Join(err, cluster.Close()) }()
	var rounds []sessionRound
	for n := range c.Rounds {
		found, err := c.round(ctx, cluster, dir, n)
		if err != nil {
			return fmt.Errorf("round %d: %w\n%s", n, err, cluster.Log())
		}
		rounds = append(rounds, found)
		fmt.Printf("round %2d: %7.1f MB on the disks, %6.1f kB sent, %6.1f s of processor, %5.1f s\n",
			n, float64(found.DiskBytes)/1e6, float64(found.SentBytes)/1e3, found.CPUS, found.Seconds)
	}
	return errors.Join(writeJSON(c.Out, "sessions.json", rounds), judgeSessions(rounds))
}

// judgeSessions says whether what is kept, or what is done, has grown.
func judgeSessions(rounds []sessionRound) error {
	first, last := rounds[0], rounds[len(rounds)-1]
	if float64(last.DiskBytes) > sessionsGrowth*float64(first.DiskBytes) {
		return fmt.Errorf("%w: %d bytes on the disks after the first round, %d after the last", errPromise, first.DiskBytes, last.DiskBytes)
	}
	if float64(last.SentBytes) > 2*float64(first.SentBytes) {
		return fmt.Errorf("%w: %d bytes were sent in the first round, %d in the last", errPromise, first.SentBytes, last.SentBytes)
	}
	return nil
}

func (c *sessionsCommand) round(ctx context.Context, cluster *local.Cluster, dir string, n int) (found sessionRound, err error) {
	began := time.Now()
	before, err := sumRepair(ctx, cluster)
	if err != nil {
		return found, err
	}
	usedBefore, err := cpuOf(cluster)
	if err != nil {
		return found, err
	}
	writing, bounded := errgroup.WithContext(ctx)
	share := c.Keys / len(cluster.Addrs())
	for i, addr := range cluster.Addrs() {
		first, count := i*share, share
		if i == len(cluster.Addrs())-1 {
			count = c.Keys - first
		}
		writing.Go(func() error {
			return inPages(bounded, addr, first, count, func(p redis.Pipeliner, k int) {
				p.Set(bounded, fmt.Sprintf("session:%d:%d", n, k), preload.AppendValue(nil, k, c.Value), c.Life)
			}, nil)
		})
	}
	if err := writing.Wait(); err != nil {
		return found, err
	}
	if err := untilPurged(ctx, cluster, c.Life, int64(c.Keys)*int64(n+1)); err != nil {
		return found, err
	}
	after, err := sumRepair(ctx, cluster)
	if err != nil {
		return found, err
	}
	used, err := cpuOf(cluster)
	if err != nil {
		return found, err
	}
	found.SentBytes, found.CPUS, found.Seconds = after["bytes_sent"]-before["bytes_sent"], seconds(used-usedBefore), seconds(time.Since(began))
	found.DiskBytes, err = bytesUnder(dir)
	return found, err
}

// untilPurged blocks until each node has purged so many keys.
func untilPurged(ctx context.Context, cluster *local.Cluster, life time.Duration, keys int64) error {
	ctx, cancel := context.WithTimeout(ctx, life+sessionsWithin)
	defer cancel()
	for {
		least, err := leastPurged(ctx, cluster)
		if err == nil && least >= keys {
			return nil
		}
		select {
		case <-ctx.Done():
			return fmt.Errorf("a node has purged %d keys of %d: %w, %w", least, keys, err, context.Cause(ctx))
		case <-time.After(sessionsEvery):
		}
	}
}

func leastPurged(ctx context.Context, cluster *local.Cluster) (least int64, err error) {
	for i, addr := range cluster.Addrs() {
		client := newClient(addr)
		text, err := client.Info(ctx, "cartwheel").Result()
		_ = client.Close() // nothing is on the way
		if err != nil {
			return least, err
		}
		_, rest, _ := strings.Cut(text, "expired_keys_purged:")
		digits, _, _ := strings.Cut(rest, "\r\n")
		purged, err := strconv.ParseInt(digits, 10, 64)
		if err != nil {
			return least, fmt.Errorf("reading INFO: %w", err)
		}
		if i == 0 || purged < least {
			least = purged
		}
	}
	return least, nil
}

// cpuOf is the processor time that all nodes have used.
func cpuOf(cluster *local.Cluster) (used time.Duration, err error) {
	for _, n := range cluster.Nodes() {
		cpu, err := n.Process().CPU()
		if err != nil {
			return 0, err
		}
		used += cpu
	}
	return used, nil
}

// bytesUnder is the length of all files of a directory.
func bytesUnder(dir string) (bytes int64, err error) {
	err = filepath.WalkDir(dir, func(_ string, entry fs.DirEntry, err error) error {
		if errors.Is(err, os.ErrNotExist) {
			return nil // it has been removed meanwhile
		}
		if err != nil || entry.IsDir() {
			return err
		}
		if stat, err := entry.Info(); err == nil {
			bytes += stat.Size()
		}
		return nil
	})
	return bytes, err
}
