package faults

import (
	"bytes"
	"context"
	"errors"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"cartwheel/bench/proc"
)

// oneNode is a system of a single real process, without a ring to wait for.
type oneNode struct {
	addr string
	port int
	dir  string

	mu      sync.Mutex // guards process
	process *proc.Server
}

func (s *oneNode) Addrs() []string { return []string{s.addr} }
func (s *oneNode) Node(int) node   { return s }
func (s *oneNode) Log() string     { return s.running().Log() }
func (s *oneNode) Kill9() error    { return s.running().Kill() }
func (s *oneNode) Stop() error     { return s.running().Pause() }
func (s *oneNode) Lose() error     { return errors.New("it is the only one") }
func (s *oneNode) Lost() bool      { return false }
func (s *oneNode) Cont() error     { return s.running().Resume() }

func (s *oneNode) Running() bool { return s.Settled(context.Background()) == nil }

func (s *oneNode) running() *proc.Server {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.process
}

func (s *oneNode) Settled(context.Context) error {
	select {
	case <-s.running().Exited():
		return errors.New("the node is down")
	default:
		return nil
	}
}

func (s *oneNode) Terminate(ctx context.Context) error {
	_, err := s.running().Terminate(ctx)
	return err
}

func (s *oneNode) Restart(ctx context.Context) error {
	process, err := proc.StartCartwheel(ctx, proc.Options{Dir: s.dir, Port: s.port})
	if err != nil {
		return err
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	s.process = process
	return nil
}

// TestOneNodeKeepsWhatItAcknowledges kills, stops and restarts a single node under all workloads.
func TestOneNodeKeepsWhatItAcknowledges(t *testing.T) {
	t.Parallel()
	process, err := proc.StartCartwheel(t.Context(), proc.Options{Dir: t.TempDir()})
	if err != nil {
		t.Fatal(err)
	}
	s := &oneNode{addr: process.Addr, port: process.Port, dir: process.Dir, process: process}
	defer func() { _ = s.running().Close() }()
	ms := time.Millisecond
	var progress bytes.Buffer
	o := Options{Nodes: 1, Seed: 11, Duration: 4 * time.Second, Kinds: []string{kill, stop, restart}, Out: &progress}
	r := &runner{
		Options: o, system: s, offsets: make([]atomic.Int64, 1), kinds: o.Kinds,
		timing: timing{healthy: 700 * ms, finals: 5 * time.Second, pace: pace{100 * ms, 300 * ms, 200 * ms, 700 * ms}},
	}
	report, err := r.episodes(t.Context())
	progress.WriteString(s.Log())
	tell(t, o.Seed, report, err, &progress)
}
