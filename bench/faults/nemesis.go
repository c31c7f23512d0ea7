package faults

import (
	"context"
	"errors"
	"fmt"
	"io"
	"math/rand/v2"
	"slices"
	"strings"
	"sync"
	"sync/atomic"
	"time"

	"cartwheel/bench/check"
)

// Kinds of fault. A cut needs a network, skew a flag of the node.
const (
	kill         = "kill"          // one node, -9
	killTwo      = "kill-two"      // two nodes, -9, a second apart
	killAll      = "kill-all"      // all nodes at once, -9
	stop         = "stop"          // one node, SIGSTOP
	restart      = "restart"       // one node, SIGTERM
	cutOne       = "cut-one"       // one node from all others
	cutHalves    = "cut-halves"    // the cluster into two
	cutDirection = "cut-direction" // one node cannot send to some others, but hears them
	cutKill      = "cut-kill"      // one node cannot send, and is killed with -9 before it has found that out
	skew         = "skew"          // one node comes back with its clock put wrong
	lose         = "lose"          // one node for good, with its disk, while another is down: the last fault of a run
)

// Kinds are the names of all faults.
func Kinds() []string {
	return []string{kill, killTwo, killAll, stop, restart, cutOne, cutHalves, cutDirection, cutKill, skew, lose}
}

// skewMax bounds how wrong a clock is put: two nodes then differ by less than max-clock-drift.
const skewMax = 200 * time.Millisecond

// nemesis does faults to a system, one after the other.
type nemesis struct {
	system  system
	network *network // nil: no cuts
	offsets []atomic.Int64
	kinds   []string
	random  *rand.Rand
	pace    pace
	began   time.Time // of the history
	out     io.Writer

	left *[]string // of the kinds, before the next turn
	done []check.Fault
	// trouble is with nodes that died by themselves, or would not start.
	trouble []string
}

// pace is how long faults, and the times between them, last.
type pace struct{ faultMin, faultMax, calmMin, calmMax time.Duration }

// run does faults until ctx ends, and heals the last. An error means that the nodes could not be had
// back, so that nothing after it can be judged.
func (n *nemesis) run(ctx context.Context) error {
	for {
		if !sleep(ctx, n.between(n.pace.calmMin, n.pace.calmMax)) {
			return nil
		}
		if err := n.revive(context.WithoutCancel(ctx)); err != nil {
			return err
		}
		f := check.Fault{Kind: n.next(), Begin: time.Since(n.began)}
		f.Nodes = n.victims(f.Kind)
		fmt.Fprintf(n.out, "%6.1fs %s of nodes %v\n", f.Begin.Seconds(), f.Kind, f.Nodes)
		if err := n.begin(ctx, f); err != nil {
			return fmt.Errorf("%s of nodes %v: %w", f.Kind, f.Nodes, err)
		}
		sleep(ctx, n.between(n.pace.faultMin, n.pace.faultMax))
		// What was begun is healed, even if the time is over.
		if err := n.heal(context.WithoutCancel(ctx), f); err != nil {
			return fmt.Errorf("healing %s of nodes %v: %w", f.Kind, f.Nodes, err)
		}
		f.End = time.Since(n.began)
		n.done = append(n.done, f)
	}
}

// next is the kind of the next fault: all have their turn, in a random order, before one comes again.
func (n *nemesis) next() string {
	left := *n.left
	if len(left) == 0 {
		left = slices.Clone(n.kinds)
		n.random.Shuffle(len(left), func(i, j int) { left[i], left[j] = left[j], left[i] })
	}
	*n.left = left[1:]
	return left[0]
}

// victims are the nodes of a fault; of cuts those on the one side.
func (n *nemesis) victims(kind string) []int {
	nodes := n.random.Perm(len(n.system.Addrs()))
	switch kind {
	case killAll:
	case killTwo:
		nodes = nodes[:min(2, len(nodes))]
	case cutHalves:
		nodes = nodes[:len(nodes)/2]
	default:
		nodes = nodes[:1]
	}
	slices.Sort(nodes)
	return nodes
}

func (n *nemesis) begin(ctx context.Context, f check.Fault) error {
	first := n.system.Node(f.Nodes[0])
	switch f.Kind {
	case kill, killAll, killTwo:
		for i, node := range f.Nodes {
			if i > 0 && f.Kind == killTwo {
				sleep(ctx, time.Second)
			}
			if err := n.system.Node(node).Kill9(); err != nil {
				return err
			}
		}
		return nil
	case stop:
		return first.Stop()
	case cutKill:
		return n.cutAndKill(context.WithoutCancel(ctx), f)
	case restart, skew:
		ctx, cancel := context.WithTimeout(context.WithoutCancel(ctx), restartTimeout)
		defer cancel()
		if err := first.Terminate(ctx); err != nil {
			return err
		}
		if f.Kind == skew {
			n.offsets[f.Nodes[0]].Store(int64(n.between(0, 2*skewMax) - skewMax))
			return n.start(ctx, f.Nodes)
		}
		return nil
	}
	return n.cut(context.WithoutCancel(ctx), f)
}

// cut keeps the nodes of the fault and all others from each other, or only the fault's one node from
// sending to some others.
func (n *nemesis) cut(ctx context.Context, f check.Fault) error {
	var others []int
	for i := range n.system.Addrs() {
		if !slices.Contains(f.Nodes, i) {
			others = append(others, i)
		}
	}
	oneWay := f.Kind == cutDirection || f.Kind == cutKill
	if f.Kind == cutDirection {
		n.random.Shuffle(len(others), func(i, j int) { others[i], others[j] = others[j], others[i] })
		others = others[:1+n.random.IntN(len(others))]
	}
	for _, a := range f.Nodes {
		for _, b := range others {
			if err := n.network.Cut(ctx, a, b); err != nil {
				return err
			}
			if oneWay {
				continue
			}
			if err := n.network.Cut(ctx, b, a); err != nil {
				return err
			}
		}
	}
	return nil
}

// What a node sends waits in its kernel while it is cut off, also behind its death: frameDeadline later
// nobody takes it any more. It makes no hints of it before.
const (
	frameDeadline = 1200 * time.Millisecond
	cutKillMin    = 300 * time.Millisecond
	cutKillMax    = 800 * time.Millisecond
)

// cutAndKill leaves what the node of the fault acknowledges by itself alone (W 1) on its disk, and nowhere
// else: the others have not heard of it, and it has no hint for them.
func (n *nemesis) cutAndKill(ctx context.Context, f check.Fault) error {
	if err := n.cut(ctx, f); err != nil {
		return err
	}
	sleep(ctx, n.between(cutKillMin, cutKillMax))
	if err := n.system.Node(f.Nodes[0]).Kill9(); err != nil {
		return err
	}
	sleep(ctx, frameDeadline)
	return nil
}

// restartTimeout bounds the end of a node and its start.
const restartTimeout = 60 * time.Second

func (n *nemesis) heal(ctx context.Context, f check.Fault) error {
	ctx, cancel := context.WithTimeout(ctx, restartTimeout)
	defer cancel()
	switch f.Kind {
	case stop:
		return n.system.Node(f.Nodes[0]).Cont()
	case cutOne, cutHalves, cutDirection:
		return n.network.Heal(ctx)
	case cutKill:
		if err := n.network.Heal(ctx); err != nil {
			return err
		}
	}
	for _, i := range f.Nodes {
		n.offsets[i].Store(0)
	}
	return n.start(ctx, f.Nodes)
}

// revive starts again what has died by itself, which no node does.
func (n *nemesis) revive(ctx context.Context) error {
	ctx, cancel := context.WithTimeout(ctx, restartTimeout)
	defer cancel()
	var dead []int
	for i := range n.system.Addrs() {
		if node := n.system.Node(i); !node.Running() && !node.Lost() {
			n.trouble = append(n.trouble, fmt.Sprintf("node %d died by itself: %s", i, lastWords(node.Log())))
			dead = append(dead, i)
		}
	}
	return n.start(ctx, dead)
}

// startAttempts is how often a node that does not start is tried: the run goes on if it then does, and the
// trouble is told.
const startAttempts = 3

// lose ends one node for good and removes its data, while another is down. Of the owners of some keys one alone
// is then left that acknowledged the writes meanwhile, or none but fallbacks. The other comes back.
func (n *nemesis) lose(ctx context.Context) error {
	nodes := n.random.Perm(len(n.system.Addrs()))
	lost, away := nodes[0], nodes[1:2]
	f := check.Fault{Kind: lose, Nodes: []int{lost}, Begin: time.Since(n.began)}
	fmt.Fprintf(n.out, "%6.1fs %s of nodes %v, while %v is down\n", f.Begin.Seconds(), f.Kind, f.Nodes, away)
	if err := n.system.Node(away[0]).Kill9(); err != nil {
		return err
	}
	sleep(ctx, n.between(n.pace.faultMin, n.pace.faultMax))
	if err := n.system.Node(lost).Lose(); err != nil {
		return err
	}
	sleep(ctx, n.between(n.pace.faultMin, n.pace.faultMax))
	limited, cancel := context.WithTimeout(context.WithoutCancel(ctx), restartTimeout)
	defer cancel()
	err := n.start(limited, away)
	f.End = time.Since(n.began)
	n.done = append(n.done, f)
	return err
}

// start starts the nodes, all at the same time.
func (n *nemesis) start(ctx context.Context, nodes []int) error {
	for range startAttempts {
		failed := make([]error, len(nodes))
		var starting sync.WaitGroup
		for k, i := range nodes {
			starting.Go(func() { failed[k] = n.system.Node(i).Restart(ctx) })
		}
		starting.Wait()
		var again []int
		for k, i := range nodes {
			if failed[k] != nil {
				n.trouble = append(n.trouble, fmt.Sprintf("node %d does not start: %s", i, lastWords(failed[k].Error())))
				again = append(again, i)
			}
		}
		if nodes = again; len(nodes) == 0 {
			return nil
		}
	}
	return errors.New(n.trouble[len(n.trouble)-1])
}

// lastWords is where a log tells of a panic, or else its end.
func lastWords(log string) string {
	if at := strings.Index(log, "panic:"); at >= 0 {
		return log[at:min(len(log), at+lastWordsMax)]
	}
	return log[max(0, len(log)-lastWordsMax):]
}

const lastWordsMax = 2000

func (n *nemesis) between(least, most time.Duration) time.Duration {
	return least + time.Duration(n.random.Int64N(int64(most-least)+1))
}

// sleep tells whether the time passed before ctx ended.
func sleep(ctx context.Context, d time.Duration) bool {
	timer := time.NewTimer(d)
	defer timer.Stop()
	select {
	case <-ctx.Done():
		return false
	case <-timer.C:
		return true
	}
}

// cuts tells whether a kind of fault needs a network.
func cuts(kind string) bool { return strings.HasPrefix(kind, "cut-") }
