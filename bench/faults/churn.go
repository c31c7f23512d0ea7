package faults

import (
	"context"
	"errors"
	"fmt"
	"math/rand/v2"
	"os"
	"slices"
	"sync/atomic"
	"time"

	"cartwheel/bench/check"
	"cartwheel/bench/local"
	"cartwheel/bench/proc"
)

const (
	churnLeast   = 3 // nodes at the beginning and at the end
	churnMost    = 6
	churnQ       = 256 // partitions
	churnWithin  = 90 * time.Second
	churnDownMax = time.Second
)

// Churn adds nodes one by one, replaces one that has died, and lets nodes leave until there are as many as
// before, each time with a node killed in the middle, while workers and steady clients go on. What it claims
// beside what all workloads do:
//
//  1. no client of another node gets an error, or loses its connection
//  2. after each move the shares are even, and all partitions owned N times
//  3. in the end nothing is left on a node's disk of what has moved away
func Churn(ctx context.Context, o Options) (_ *Report, err error) {
	dir, err := os.MkdirTemp(o.Dir, "cartwheel-churn-")
	if err != nil {
		return nil, err
	}
	defer func() { err = errors.Join(err, os.RemoveAll(dir)) }()
	c := &churn{Options: o, random: rand.New(rand.NewPCG(o.Seed, 0xc0a)), began: time.Now()}
	args := []string{"--partitions", fmt.Sprint(churnQ), "--memory", "64MB", "--debug-haste", time.Second.String()}
	c.cluster, err = local.Start(ctx, local.Options{
		Nodes: churnLeast, Dir: dir, Args: append(args, o.nodeArgs()...),
		ArgsOf: func(int) []string { return c.joins },
	})
	if err != nil {
		return nil, err
	}
	defer func() { err = errors.Join(err, c.cluster.Close()) }()
	c.steady = newCrews(o.Seed)
	defer c.steady.stopAll()
	left := []string{}
	r := &runner{
		Options: o, system: processes{c.cluster}, offsets: make([]atomic.Int64, churnLeast),
		timing: o.timing(), left: &left, began: c.began, instead: c.run,
	}
	r.Nodes = churnLeast
	if len(r.Workloads) == 0 {
		r.Workloads = []string{"set-add", "siblings", "register", "sessions", "counters", "locks"}
	}
	if err := c.marks.write(ctx, c.cluster.Node(0).Addr, o.Seed, c.size()); err != nil {
		return nil, err
	}
	report, err := r.run(ctx)
	if err != nil {
		fmt.Fprintln(o.Out, c.cluster.Log())
		return nil, err
	}
	report.Episodes, report.Faults = 1, append(report.Faults, c.done...)
	report.Trouble = append(append(report.Trouble, c.steady.errors()...), c.troubles...)
	if err := c.leftOnDisk(ctx); err != nil {
		report.Trouble = append(report.Trouble, err.Error())
	}
	if report.Broken() > 0 {
		fmt.Fprintln(o.Out, c.cluster.Log())
	}
	return report, nil
}

// churn is the changes of the ring.
type churn struct {
	Options
	cluster  *local.Cluster
	random   *rand.Rand
	began    time.Time
	joins    []string // flags of the node that is about to join
	steady   *crews
	marks    marks
	done     []check.Fault
	troubles []string
	missed   int // moves that were over before anybody was killed
}

// size is how many keys there are to be moved, so that moves take their time.
func (c *churn) size() int {
	if c.Short {
		return 4000
	}
	return 40000
}

// run changes the ring up and down.
func (c *churn) run(ctx context.Context) error {
	for _, i := range c.members() {
		c.steady.start(i, c.cluster.Node(i).Addr)
	}
	most := churnMost
	if c.Short {
		most = churnLeast + 1
	}
	for n := churnLeast; n < most; n++ {
		if err := c.move(ctx, "a node joins", -1, c.join); err != nil {
			return err
		}
	}
	dead := c.any(-1)
	if err := c.move(ctx, "a dead node is replaced", dead, func(ctx context.Context) error { return c.replace(ctx, dead) }); err != nil {
		return err
	}
	if err := c.foreignOnDisk(ctx); err != nil {
		return err
	}
	for len(c.members()) > churnLeast {
		leaver := c.any(-1)
		err := c.move(ctx, fmt.Sprintf("node %d leaves", leaver), leaver, func(ctx context.Context) error { return c.leave(ctx, leaver) })
		if err != nil {
			return err
		}
	}
	return nil
}

// members are the nodes of the ring.
func (c *churn) members() (nodes []int) {
	for i, n := range c.cluster.Nodes() {
		if !n.Lost() {
			nodes = append(nodes, i)
		}
	}
	return nodes
}

// any is one of the members, but for one.
func (c *churn) any(but int) int {
	nodes := slices.DeleteFunc(c.members(), func(i int) bool { return i == but })
	return nodes[c.random.IntN(len(nodes))]
}

// move begins a change of the ring, kills a member as soon as something moves, starts it again, and holds the
// ring to what it should be when all is done. The one that goes is not killed here.
func (c *churn) move(ctx context.Context, what string, goes int, begin func(ctx context.Context) error) error {
	ctx, cancel := context.WithTimeout(ctx, churnWithin)
	defer cancel()
	f := check.Fault{Kind: what, Begin: time.Since(c.began)}
	fmt.Fprintf(c.Out, "%6.1fs %s\n", f.Begin.Seconds(), what)
	if goes >= 0 {
		c.steady.stop(goes)
	}
	if err := begin(ctx); err != nil {
		return fmt.Errorf("%s: %w", what, err)
	}
	victim := c.any(goes)
	watcher := c.any(victim)
	if err := c.untilMoving(ctx, watcher); err != nil {
		return err
	}
	fmt.Fprintf(c.Out, "%6.1fs   node %d is killed\n", time.Since(c.began).Seconds(), victim)
	c.steady.stop(victim)
	if err := c.cluster.Node(victim).Kill9(); err != nil {
		return err
	}
	sleep(ctx, time.Duration(c.random.Int64N(int64(churnDownMax))))
	if err := c.cluster.Node(victim).Restart(ctx); err != nil {
		return err
	}
	if goes >= 0 {
		if err := c.untilGone(ctx, watcher, goes); err != nil {
			return fmt.Errorf("%s: %w", what, err)
		}
		c.cluster.Node(goes).Retire()
	}
	if err := c.cluster.WaitReady(ctx); err != nil {
		return fmt.Errorf("%s: %w", what, err)
	}
	for _, i := range c.members() {
		c.steady.start(i, c.cluster.Node(i).Addr)
	}
	f.End, f.Nodes = time.Since(c.began), []int{victim}
	c.done = append(c.done, f)
	return c.even(ctx, what)
}

func (c *churn) join(ctx context.Context) error {
	_, err := c.cluster.Add(ctx)
	return err
}

// replace kills a node for good, and has a new one take its place.
func (c *churn) replace(ctx context.Context, dead int) error {
	node := c.cluster.Node(dead)
	view, err := node.View(ctx)
	if err != nil {
		return err
	}
	id := ""
	for _, m := range view.Members {
		if m.Self {
			id = m.ID
		}
	}
	if err := node.Lose(); err != nil {
		return err
	}
	if err := c.cluster.WaitReady(ctx); err != nil { // all know that it is down
		return err
	}
	c.joins = []string{"--replace", id}
	_, err = c.cluster.Add(ctx)
	c.joins = nil
	return err
}

func (c *churn) leave(ctx context.Context, leaver int) error {
	binary, err := proc.Binary(ctx)
	if err != nil {
		return err
	}
	_, err = proc.Run(ctx, binary, "cluster", "apply", "leave", c.cluster.Node(leaver).Addr, "--addr", c.cluster.Node(c.any(leaver)).Addr)
	return err
}

// untilMoving waits until a member sees that partitions move, or that they have moved already.
func (c *churn) untilMoving(ctx context.Context, watcher int) error {
	for sleep(ctx, time.Millisecond) {
		view, err := c.cluster.Node(watcher).View(ctx)
		switch {
		case err != nil:
			return err
		case view.Moves > 0:
			return nil
		case c.cluster.WaitReady(shortly(ctx)) == nil:
			c.missed++
			return nil
		}
	}
	return context.Cause(ctx)
}

func shortly(ctx context.Context) context.Context {
	ctx, cancel := context.WithTimeout(ctx, settledEvery)
	context.AfterFunc(ctx, cancel)
	return ctx
}

// untilGone waits until a member sees that another is none any more.
func (c *churn) untilGone(ctx context.Context, watcher, goes int) error {
	for sleep(ctx, settledEvery) {
		view, err := c.cluster.Node(watcher).View(ctx)
		if err == nil && !slices.ContainsFunc(view.Members, func(m local.Member) bool { return m.Peer == c.cluster.Node(goes).PeerAddr }) {
			return nil
		}
	}
	return fmt.Errorf("node %d is a member still: %w", goes, context.Cause(ctx))
}

// even notes where the shares are not even, or do not add up.
func (c *churn) even(ctx context.Context, after string) error {
	view, err := c.cluster.Node(c.any(-1)).View(ctx)
	if err != nil {
		return err
	}
	least, most, sum := churnQ*view.Replicas, 0, 0
	for _, m := range view.Members {
		least, most, sum = min(least, m.Owned), max(most, m.Owned), sum+m.Owned
	}
	if most-least > 1 || sum != churnQ*view.Replicas {
		c.troubles = append(c.troubles, fmt.Sprintf("%s: members own from %d to %d partitions, %d in all", after, least, most, sum))
	}
	return nil
}
