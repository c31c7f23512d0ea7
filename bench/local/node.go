package local

import (
	"context"
	"errors"
	"fmt"
	"net"
	"os"
	"strconv"
	"strings"
	"sync"

	"cartwheel/bench/proc"
)

// Node is one place in a cluster: addresses and a directory, and mostly a process that serves
// there. Its methods are safe for concurrent use.
type Node struct {
	Index       int
	Addr        string // host:port of the ordinary port
	ClusterAddr string // host:port of the cluster port
	PeerAddr    string // host:port where peers connect
	Dir         string // its data directory

	cluster *Cluster
	host    string

	mu      sync.Mutex   // guards what follows; not held while a process starts or ends
	process *proc.Server // the newest; nil before the first
	stopped bool         // by Stop
	lost    bool         // by Lose, or Retire
	retired bool         // by Retire
	served  bool         // it has data of its own, and so a ring to come back to
}

// start runs a process, which must not run yet, and waits for its answer to PING.
func (n *Node) start(ctx context.Context) error {
	_, text, err := net.SplitHostPort(n.Addr)
	if err != nil {
		return err
	}
	port, err := strconv.Atoi(text)
	if err != nil {
		return err
	}
	o := proc.Options{
		Args: n.args(), Dir: n.Dir, Port: port, Host: n.host,
		Tag: n.cluster.options.Tag, Env: n.cluster.options.Env,
	}
	if n.cluster.options.Wrap != nil {
		o.Wrap = n.cluster.options.Wrap(n.Index)
	}
	process, err := proc.StartCartwheel(ctx, o)
	if err != nil {
		return fmt.Errorf("node %d: %w", n.Index, err)
	}
	n.mu.Lock()
	defer n.mu.Unlock()
	n.process, n.stopped, n.served = process, false, true
	return nil
}

// watch calls cancel with what there is to say of a process that ends before ctx does.
func (n *Node) watch(ctx context.Context, cancel context.CancelCauseFunc) {
	select {
	case <-n.current().Exited():
		cancel(fmt.Errorf("node %d ended after it had answered PING: %v", n.Index, n.current().State()))
	case <-ctx.Done():
	}
}

// args is the command line behind what proc puts there.
func (n *Node) args() []string {
	o := &n.cluster.options
	args := []string{
		"--cluster-listen", n.ClusterAddr, "--peer-listen", n.PeerAddr,
	}
	if join := n.join(); len(join) > 0 {
		args = append(args, "--join", strings.Join(join, ","))
	}
	if o.Zones > 0 {
		args = append(args, "--zone", "zone"+strconv.Itoa(n.Index%o.Zones))
	}
	args = append(args, o.Args...)
	if o.ArgsOf != nil {
		args = append(args, o.ArgsOf(n.Index)...)
	}
	return args
}

// join is where the node finds the others. The first of a new cluster has nothing to join.
func (n *Node) join() (peers []string) {
	n.mu.Lock()
	first := n.Index == 0 && !n.served
	n.mu.Unlock()
	for _, other := range n.cluster.nodes {
		if other != n && !first && !other.isRetired() {
			peers = append(peers, other.PeerAddr)
		}
	}
	return peers
}

// Restart starts the node again at its addresses and on its directory. A process that still runs
// there is killed before. It returns when the node answers PING.
func (n *Node) Restart(ctx context.Context) error {
	if err := n.Kill9(); err != nil {
		return err
	}
	return n.start(ctx)
}

// Kill9 kills the process as kill -9 does and returns when it is gone. Killing a dead one is no error.
func (n *Node) Kill9() error {
	process := n.current()
	if process == nil {
		return nil
	}
	return process.Kill()
}

// Lose kills the process and removes its data, as when its machine burns. It is not to be started again.
func (n *Node) Lose() error {
	if err := n.Kill9(); err != nil {
		return err
	}
	n.mu.Lock()
	defer n.mu.Unlock()
	n.lost = true
	return os.RemoveAll(n.Dir)
}

// Retire notes that the ring has the node as a member no more. What of it runs is not killed, and its data stays.
func (n *Node) Retire() {
	n.mu.Lock()
	defer n.mu.Unlock()
	n.lost, n.retired = true, true
}

func (n *Node) isRetired() bool {
	n.mu.Lock()
	defer n.mu.Unlock()
	return n.retired
}

// Lost tells whether it was lost, or is no member any more.
func (n *Node) Lost() bool {
	n.mu.Lock()
	defer n.mu.Unlock()
	return n.lost
}

// Terminate asks the process to end with SIGTERM and waits for it.
func (n *Node) Terminate(ctx context.Context) error {
	process := n.current()
	if process == nil {
		return nil
	}
	state, err := process.Terminate(ctx)
	if err == nil && !state.Success() {
		err = fmt.Errorf("node %d ended with %v\n%s", n.Index, state, process.Log())
	}
	return err
}

// Stop stops the process where it stands (SIGSTOP); its connections stay open and silent.
func (n *Node) Stop() error { return n.pause(true) }

// Cont lets a stopped process run on (SIGCONT).
func (n *Node) Cont() error { return n.pause(false) }

func (n *Node) pause(stop bool) error {
	n.mu.Lock()
	defer n.mu.Unlock()
	if n.process == nil {
		return errors.New("the node was never started")
	}
	n.stopped = stop
	if stop {
		return n.process.Pause()
	}
	return n.process.Resume()
}

// Running tells whether there is a process and it is not stopped.
func (n *Node) Running() bool {
	n.mu.Lock()
	defer n.mu.Unlock()
	if n.process == nil || n.stopped {
		return false
	}
	select {
	case <-n.process.Exited():
		return false
	default:
		return true
	}
}

// Process is the newest process of the node, for its figures, or nil.
func (n *Node) Process() *proc.Server { return n.current() }

// Log is the newest of what the newest process wrote.
func (n *Node) Log() string {
	process := n.current()
	if process == nil {
		return ""
	}
	return process.Log()
}

func (n *Node) current() *proc.Server {
	n.mu.Lock()
	defer n.mu.Unlock()
	return n.process
}
