package main

import (
	"context"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"strconv"
	"strings"
	"time"

	"cartwheel/bench/local"
	"cartwheel/bench/preload"
	"cartwheel/bench/proc"
)

// clusterNodes is how many processes each side has.
const clusterNodes = 3

// side is the servers of one side of the comparison, with all keys in them.
type side struct {
	addrs     []string // where the load goes
	processes []*proc.Server
	close     func() error
}

func (s *side) log() (text string) {
	for _, process := range s.processes {
		text += fmt.Sprintf("--- %s ---\n%s\n", process.Addr, process.Log())
	}
	return text
}

// startSide starts one side under dir. entries is how many of Cartwheel's nodes the load goes to.
func startSide(ctx context.Context, name, dir string, entries int) (_ *side, err error) {
	if err := os.Mkdir(dir, 0o700); err != nil {
		return nil, err
	}
	start := startPrimary
	if name != nameRedis {
		start = startNodes
	}
	s, err := start(ctx, dir)
	if err != nil {
		return nil, err
	}
	defer func() {
		if err != nil {
			err = errors.Join(fmt.Errorf("filling %s: %w\n%s", name, err, s.log()), s.close())
		}
	}()
	keys := preload.Data{Keys: loadKeys, ValueBytes: loadValueBytes}
	if err := preload.Fill(ctx, s.addrs[0], keys, nil); err != nil {
		return nil, err
	}
	for _, addr := range s.addrs {
		if err := holdsAll(ctx, addr, keys); err != nil {
			return nil, fmt.Errorf("%s: %w", addr, err)
		}
	}
	s.addrs = s.addrs[:min(entries, len(s.addrs))]
	return s, nil
}

func holdsAll(ctx context.Context, addr string, keys preload.Data) error {
	client := newClient(addr)
	defer client.Close()
	const sample, seed = 1000, 1
	return preload.CheckSample(ctx, client, keys, sample, seed)
}

// startNodes starts a Cartwheel of three nodes: N=3, and R=W=2, which is the default.
func startNodes(ctx context.Context, dir string) (*side, error) {
	cluster, err := local.Start(ctx, local.Options{Nodes: clusterNodes, Dir: dir, Args: []string{"--sync", "everysec"}})
	if err != nil {
		return nil, err
	}
	s := &side{addrs: cluster.Addrs(), close: cluster.Close}
	for _, node := range cluster.Nodes() {
		s.processes = append(s.processes, node.Process())
	}
	return s, nil
}

// startPrimary starts a Redis primary with two replicas, each with its append-only file.
func startPrimary(ctx context.Context, dir string) (_ *side, err error) {
	s := &side{}
	s.close = func() (err error) {
		for _, process := range s.processes {
			err = errors.Join(err, process.Close())
		}
		return err
	}
	defer func() {
		if err != nil {
			err = errors.Join(err, s.close())
		}
	}()
	for n := range clusterNodes {
		o := proc.Options{Dir: filepath.Join(dir, "redis"+strconv.Itoa(n)), Args: []string{
			"--appendonly", "yes", "--appendfsync", "everysec", "--repl-diskless-sync-delay", "0",
		}}
		if n > 0 {
			o.Args = append(o.Args, "--replicaof", "127.0.0.1 "+strconv.Itoa(s.processes[0].Port))
		}
		if err := os.Mkdir(o.Dir, 0o700); err != nil {
			return nil, err
		}
		process, err := proc.StartRedis(ctx, o)
		if err != nil {
			return nil, err
		}
		s.processes = append(s.processes, process)
	}
	s.addrs = []string{s.processes[0].Addr}
	return s, waitReplicas(ctx, s.addrs[0], clusterNodes-1)
}

// replicasWithin bounds the first synchronisation, of an empty primary.
const replicasWithin = 30 * time.Second

// waitReplicas returns when so many replicas follow the primary.
func waitReplicas(ctx context.Context, addr string, count int) error {
	ctx, cancel := context.WithTimeout(ctx, replicasWithin)
	defer cancel()
	client := newClient(addr)
	defer client.Close()
	for {
		info, err := client.Info(ctx, "replication").Result()
		if err != nil {
			return fmt.Errorf("asking for the replicas: %w", err)
		}
		if strings.Count(info, "state=online") == count {
			return nil
		}
		select {
		case <-ctx.Done():
			return fmt.Errorf("no %d replicas: %w\n%s", count, context.Cause(ctx), info)
		case <-time.After(20 * time.Millisecond):
		}
	}
}
