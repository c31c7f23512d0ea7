package main

import (
	"context"
	"errors"
	"fmt"
	"io"
	"os"
	"os/exec"
	"runtime"
	"strings"
	"sync"
	"syscall"
	"text/tabwriter"
	"time"
)

const (
	devReadyTimeout = 60 * time.Second       // until all nodes answer
	devReadyEvery   = 100 * time.Millisecond // between looks at that
	devPingEvery    = time.Second
	devRestartAfter = 5 * time.Second
	devStopTimeout  = 10 * time.Second // after which nodes are killed
)

// A devCluster runs nodes as child processes. Its run's goroutine is the only
// one that uses it; others send it events.
type devCluster struct {
	nodes      []*devNode
	executable string
	restart    bool
	out        io.Writer

	exited  chan devExit // has room for one of each node: it is started again only after that is read
	events  chan devEvent
	waiters sync.WaitGroup // for the processes' ends
	others  sync.WaitGroup // who ping, and wait to start nodes again
}

// A devNode is a node and its process.
type devNode struct {
	name                  string
	client, cluster, peer string // addresses
	dir, log              string
	args, argsAgain       []string // to start it the first time, and then

	process *exec.Cmd // nil: it does not run
	answers bool      // it has answered the last PING
}

// A devExit is the end of a node's process.
type devExit struct {
	node    *devNode
	process *exec.Cmd
}

// A devEvent is something else that has happened to a node.
type devEvent struct {
	node    *devNode
	due     bool // it is to be started again; else:
	answers bool // whether it answers PING, which has changed
}

// run starts the nodes, tells what happens to them, and stops them when ctx ends.
func (d *devCluster) run(ctx context.Context) (err error) {
	// The kernel kills a child when the thread that has started it ends.
	runtime.LockOSThread()
	defer runtime.UnlockOSThread()
	d.exited, d.events = make(chan devExit, len(d.nodes)), make(chan devEvent)
	stopCtx, stop := context.WithCancel(ctx)
	defer func() {
		stop()
		err = errors.Join(err, d.stop())
	}()
	for _, n := range d.nodes {
		if err := d.start(n); err != nil {
			return err
		}
	}
	if err := d.waitReady(ctx); err != nil || ctx.Err() != nil {
		return err
	}
	d.describe()
	for _, n := range d.nodes {
		n.answers = true
		d.others.Go(func() { d.watch(stopCtx, n) })
	}
	return d.supervise(stopCtx)
}

func (d *devCluster) start(n *devNode) error {
	log, err := os.OpenFile(n.log, os.O_CREATE|os.O_APPEND|os.O_WRONLY, 0o600)
	if err != nil {
		return fmt.Errorf("--data: %w", err)
	}
	defer log.Close() // the child has its own
	cmd := &exec.Cmd{
		Path: d.executable, Args: append([]string{"cartwheel"}, n.args...), Env: devEnvironment(os.Environ()),
		Stdout: log, Stderr: log, SysProcAttr: devChild(),
	}
	if err := cmd.Start(); err != nil {
		return fmt.Errorf("start %s: %w", n.name, err)
	}
	n.process, n.args = cmd, n.argsAgain
	d.waiters.Go(func() {
		_ = cmd.Wait() // how it has ended is in cmd.ProcessState
		d.exited <- devExit{n, cmd}
	})
	return nil
}

// waitReady returns when all nodes answer and have found each other, or with ctx.
func (d *devCluster) waitReady(ctx context.Context) error {
	deadline := time.After(devReadyTimeout)
	again := time.NewTicker(devReadyEvery)
	defer again.Stop()
	for {
		n, err := d.notReady()
		if err == nil {
			return nil
		}
		select {
		case <-ctx.Done():
			return nil
		case <-deadline:
			return fmt.Errorf("%s is not ready after %v: %w; the end of its log:\n%s", n.name, devReadyTimeout, err, lastLines(n.log, 10))
		case e := <-d.exited:
			e.node.process = nil
			return fmt.Errorf("%s has ended, %v; the end of its log:\n%s", e.node.name, e.process.ProcessState, lastLines(e.node.log, 10))
		case <-again.C:
		}
	}
}

// notReady names a node that cannot be used yet, and why.
func (d *devCluster) notReady() (*devNode, error) {
	for _, n := range d.nodes {
		if err := n.ready(len(d.nodes)); err != nil {
			return n, err
		}
	}
	return nil, nil
}

// ready says why the node does not serve yet as one of so many.
func (n *devNode) ready(nodes int) error {
	if err := n.ping(); err != nil {
		return err
	}
	text, err := (&asked{addr: n.client, timeout: devPingEvery}).ask("INFO", "ring", "members")
	if err != nil {
		return err
	}
	view, err := parseRingView(text)
	switch {
	case err != nil:
		return err
	case view.up() < nodes:
		return fmt.Errorf("it sees %d nodes of %d", view.up(), nodes)
	case view.Moves > 0:
		return fmt.Errorf("it sees %d partitions on their way", view.Moves)
	}
	return nil
}

func (n *devNode) ping() error {
	return (&pingCommand{Addr: n.client, Timeout: devPingEvery}).Run()
}

// describe prints where the nodes are and what to do with them.
func (d *devCluster) describe() {
	w := tabwriter.NewWriter(d.out, 0, 0, 2, ' ', 0)
	fmt.Fprintln(w, "NODE\tPID\tCLIENTS\tCLUSTER CLIENTS\tPEERS\tLOG")
	for i, n := range d.nodes {
		fmt.Fprintf(w, "%d\t%d\t%s\t%s\t%s\t%s\n", i+1, n.process.Process.Pid, n.client, n.cluster, n.peer, n.log)
	}
	_ = w.Flush()
	first, last := d.nodes[0], d.nodes[len(d.nodes)-1]
	fmt.Fprintf(d.out, `
Any node takes any command. Try

  redis-cli -p %s set greeting hello
  redis-cli -p %s get greeting
  kill -9 %d
  redis-cli -p %s get greeting
  cartwheel cluster status --addr %s

Ctrl-C stops all nodes.

`, port(first.client), port(last.client), first.process.Process.Pid, port(last.client), last.client)
}

func port(addr string) string { return addr[strings.LastIndexByte(addr, ':')+1:] }

// watch pings a node until ctx ends and tells when its answer is another one.
func (d *devCluster) watch(ctx context.Context, n *devNode) {
	every := time.NewTicker(devPingEvery)
	defer every.Stop()
	for answers := true; ; {
		select {
		case <-ctx.Done():
			return
		case <-every.C:
		}
		now := n.ping() == nil
		if now == answers {
			continue
		}
		select {
		case d.events <- devEvent{node: n, answers: now}:
			answers = now
		case <-ctx.Done():
			return
		}
	}
}

// supervise tells what happens, until ctx ends or no node is left.
func (d *devCluster) supervise(ctx context.Context) error {
	for {
		select {
		case <-ctx.Done():
			return nil
		case e := <-d.exited:
			e.node.process, e.node.answers = nil, false
			d.say("%s, pid %d, is down: %v", e.node.name, e.process.Process.Pid, e.process.ProcessState)
			if d.restart {
				d.others.Go(func() { d.later(ctx, e.node) })
			}
		case e := <-d.events:
			if err := d.handle(e); err != nil {
				return err
			}
		}
		if d.running() == 0 && !d.restart {
			return errors.New("no node is left")
		}
	}
}

func (d *devCluster) handle(e devEvent) error {
	n := e.node
	switch {
	case e.due:
		if err := d.start(n); err != nil {
			return err
		}
		d.say("%s is started again, pid %d", n.name, n.process.Process.Pid)
	case e.answers != n.answers:
		n.answers = e.answers
		if n.answers {
			d.say("%s is up", n.name)
		} else if n.process != nil {
			d.say("%s, pid %d, does not answer", n.name, n.process.Process.Pid)
		}
	}
	return nil
}

// later has a node started again, unless ctx ends before.
func (d *devCluster) later(ctx context.Context, n *devNode) {
	select {
	case <-ctx.Done():
		return
	case <-time.After(devRestartAfter):
	}
	select {
	case d.events <- devEvent{node: n, due: true}:
	case <-ctx.Done():
	}
}

func (d *devCluster) running() (count int) {
	for _, n := range d.nodes {
		if n.process != nil {
			count++
		}
	}
	return count
}

func (d *devCluster) say(format string, args ...any) {
	fmt.Fprintf(d.out, time.Now().Format(time.TimeOnly)+"  "+format+"\n", args...)
}

// stop ends all processes, and waits for them and for the goroutines.
func (d *devCluster) stop() error {
	d.others.Wait()
	d.say("stopping %d nodes", d.running())
	d.signal(syscall.SIGTERM)
	d.signal(syscall.SIGCONT) // one that is stopped would not hear of it
	gone := make(chan struct{})
	go func() {
		d.waiters.Wait()
		close(gone)
	}()
	killed := false
	select {
	case <-gone:
	case <-time.After(devStopTimeout):
		killed = true
		d.signal(syscall.SIGKILL)
		<-gone
	}
	if killed {
		return fmt.Errorf("not all nodes had stopped after %v, and were killed", devStopTimeout)
	}
	return nil
}

func (d *devCluster) signal(sig os.Signal) {
	for _, n := range d.nodes {
		if n.process != nil {
			_ = n.process.Process.Signal(sig) // it may have ended
		}
	}
}
