package main

import (
	"context"
	"errors"
	"fmt"
	"os"
	"path/filepath"

	"cartwheel/bench/preload"
	"cartwheel/bench/proc"
)

// pair is the two servers of a comparison, both with the same keys, on one file system. The one
// that is not measured is idle.
type pair struct {
	redis, subject *proc.Server
	subjectName    string
}

// startPair starts both under dir and fills them. The caller closes the pair.
func startPair(ctx context.Context, subjectName, sync, dir string) (_ *pair, err error) {
	p := &pair{subjectName: subjectName}
	defer func() {
		if err != nil {
			err = errors.Join(err, p.Close())
		}
	}()
	if p.redis, err = startFilled(ctx, nameRedis, sync, filepath.Join(dir, sync+"-redis")); err != nil {
		return nil, err
	}
	p.subject, err = startFilled(ctx, subjectName, sync, filepath.Join(dir, sync+"-subject"))
	return p, err
}

// startFilled starts one server that has all keys that the load asks for. Close leaves dir.
func startFilled(ctx context.Context, name, sync, dir string) (*proc.Server, error) {
	if err := os.Mkdir(dir, 0o700); err != nil {
		return nil, err
	}
	server, err := startServer(ctx, name, serverOptions{sync: sync, Options: proc.Options{Dir: dir}})
	if err != nil {
		return nil, err
	}
	if err := fill(ctx, server.Addr); err != nil {
		return nil, errors.Join(fmt.Errorf("filling %s: %w\n%s", name, err, server.Log()), server.Close())
	}
	return server, nil
}

// fill writes all keys that the load asks for, the hot one included, and sees that they are there.
func fill(ctx context.Context, addr string) error {
	keys := preload.Data{Keys: loadKeys, ValueBytes: loadValueBytes}
	if err := preload.Fill(ctx, addr, keys, nil); err != nil {
		return err
	}
	client := newClient(addr)
	defer client.Close()
	if err := preload.CheckSize(ctx, client, loadKeys); err != nil {
		return err
	}
	const sample, seed = 1000, 1
	if err := preload.CheckSample(ctx, client, keys, sample, seed); err != nil {
		return err
	}
	return client.Set(ctx, hotKey, preload.AppendValue(nil, 0, loadValueBytes), 0).Err()
}

// Close ends both servers.
func (p *pair) Close() error {
	var err error
	for _, server := range []*proc.Server{p.redis, p.subject} {
		if server != nil {
			err = errors.Join(err, server.Close())
		}
	}
	return err
}
