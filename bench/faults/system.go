package faults

import (
	"context"
	"fmt"
	"time"

	"cartwheel/bench/local"
)

// system is the nodes under test.
type system interface {
	// Addrs are those of the ordinary ports, by node.
	Addrs() []string
	Node(i int) node
	// Settled tells why the nodes are not at rest, or nil: all see each other up, and none holds a hint for
	// another. Lost ones count for nothing.
	Settled(ctx context.Context) error
}

// node is one of them, as bench/local has it.
type node interface {
	Kill9() error
	Stop() error
	Cont() error
	Terminate(ctx context.Context) error
	Restart(ctx context.Context) error
	// Lose ends it for good, and removes its data.
	Lose() error
	Lost() bool
	// Running tells whether there is a process and it is not stopped.
	Running() bool
	// Log is the newest of what its newest process wrote.
	Log() string
}

// lostOf is how many nodes are lost.
func lostOf(s system) (lost int) {
	for i := range s.Addrs() {
		if s.Node(i).Lost() {
			lost++
		}
	}
	return lost
}

// processes is a system of real ones.
type processes struct{ *local.Cluster }

func (p processes) Node(i int) node { return p.Cluster.Node(i) }

// askTimeout bounds one look at whether the nodes are at rest.
const askTimeout = 2 * time.Second

func (p processes) Settled(ctx context.Context) error {
	ctx, cancel := context.WithTimeout(ctx, askTimeout)
	defer cancel()
	if err := p.WaitReady(ctx); err != nil {
		return err
	}
	for i, n := range p.Nodes() {
		if n.Lost() {
			continue
		}
		view, err := n.View(ctx)
		if err != nil {
			return err
		}
		for _, m := range view.Members {
			if m.HintsFor > 0 && !p.ByPeer(m.Peer).Lost() {
				return fmt.Errorf("node %d holds %d hints for %s", i, m.HintsFor, m.Peer)
			}
		}
	}
	return nil
}

// waitSettled blocks until the nodes are at rest.
func waitSettled(ctx context.Context, s system, within time.Duration) error {
	ctx, cancel := context.WithTimeout(ctx, within)
	defer cancel()
	again := time.NewTicker(settledEvery)
	defer again.Stop()
	var last error
	for {
		if err := s.Settled(ctx); err == nil {
			return nil
		} else if ctx.Err() == nil || last == nil {
			last = err
		}
		select {
		case <-ctx.Done():
			return fmt.Errorf("the nodes do not come to rest: %w (%w)", last, context.Cause(ctx))
		case <-again.C:
		}
	}
}

const settledEvery = 50 * time.Millisecond
