// Package local starts clusters of cartwheel processes on this machine for black-box tests and
// benchmarks, kills, stops and restarts their nodes, and waits until they agree on their ring. It
// does not look at keys, and it cuts no networks: Options say where the nodes run.
package local

import (
	"context"
	"errors"
	"fmt"
	"net"
	"os"
	"path/filepath"
	"strconv"

	"golang.org/x/sync/errgroup"

	"cartwheel/bench/proc"
)

// Options says what a cluster is made of. The zero value is three nodes on 127.0.0.1.
type Options struct {
	Nodes  int                  // 3 if 0
	Zones  int                  // how many zones the nodes are spread over; none if 0
	Args   []string             // added to every node's command line
	ArgsOf func(i int) []string // added to that of node i; may be nil
	Tag    string               // of the nodes' build, as proc.Options has it
	Env    []string             // added to every node's environment
	Dir    string               // where the nodes' directories are, kept by Close; made if empty
	Host   func(i int) string   // the address that node i listens at; 127.0.0.1 if nil
	Wrap   func(i int) []string // runs node i by exec in another place, as `ip netns exec NAME` does; may be nil
}

// Cluster is a number of nodes, counted from 0. Whoever starts one calls Close.
type Cluster struct {
	options Options
	dir     string
	ownsDir bool
	nodes   []*Node
}

// Start starts the nodes, the first of which creates the cluster that the others join, and returns
// when they all have a part of the ring and know it. The context bounds that, not the nodes' lives.
// A failure carries their logs.
func Start(ctx context.Context, o Options) (_ *Cluster, err error) {
	if o.Nodes == 0 {
		o.Nodes = 3
	}
	c := &Cluster{options: o, dir: o.Dir}
	if c.dir == "" {
		if c.dir, err = os.MkdirTemp("", "cartwheel-local-"); err != nil {
			return nil, err
		}
		c.ownsDir = true
	}
	if err := c.start(ctx); err != nil {
		return nil, errors.Join(fmt.Errorf("starting a local cluster of %d: %w\n%s", o.Nodes, err, c.Log()), c.Close())
	}
	return c, nil
}

func (c *Cluster) start(ctx context.Context) error {
	for i := range c.options.Nodes {
		node, err := c.newNode(i)
		if err != nil {
			return err
		}
		c.nodes = append(c.nodes, node)
	}
	ctx, cancel := context.WithCancelCause(ctx)
	defer cancel(nil)
	starting, bounded := errgroup.WithContext(ctx)
	for _, node := range c.nodes {
		starting.Go(func() error {
			if err := node.start(bounded); err != nil {
				return err
			}
			go node.watch(ctx, cancel)
			return nil
		})
	}
	if err := starting.Wait(); err != nil {
		return err
	}
	return c.WaitReady(ctx)
}

// Add starts one more node, which joins the others, and returns when it answers PING: its part of
// the ring may be on its way still, which WaitReady waits for. No other method may be called meanwhile.
func (c *Cluster) Add(ctx context.Context) (*Node, error) {
	node, err := c.newNode(len(c.nodes))
	if err != nil {
		return nil, err
	}
	c.nodes = append(c.nodes, node)
	return node, node.start(ctx)
}

func (c *Cluster) newNode(i int) (*Node, error) {
	host := "127.0.0.1"
	if c.options.Host != nil {
		host = c.options.Host(i)
	}
	n := &Node{Index: i, Dir: filepath.Join(c.dir, "node"+strconv.Itoa(i)), cluster: c, host: host}
	if err := os.MkdirAll(n.Dir, 0o700); err != nil {
		return nil, err
	}
	left, err := os.ReadDir(n.Dir)
	if err != nil {
		return nil, err
	}
	n.served = len(left) > 0
	for _, addr := range []*string{&n.Addr, &n.ClusterAddr, &n.PeerAddr} {
		port, err := proc.FreePort()
		if err != nil {
			return nil, err
		}
		*addr = net.JoinHostPort(host, strconv.Itoa(port))
	}
	return n, nil
}

// Node returns node i.
func (c *Cluster) Node(i int) *Node { return c.nodes[i] }

// Nodes returns all nodes. The slice is not to be changed.
func (c *Cluster) Nodes() []*Node { return c.nodes }

// Addrs returns the addresses of the ordinary ports, by node.
func (c *Cluster) Addrs() (addrs []string) {
	for _, n := range c.nodes {
		addrs = append(addrs, n.Addr)
	}
	return addrs
}

// ClusterAddrs returns the addresses of the cluster ports, by node.
func (c *Cluster) ClusterAddrs() (addrs []string) {
	for _, n := range c.nodes {
		addrs = append(addrs, n.ClusterAddr)
	}
	return addrs
}

// Log is the newest of what each node wrote, one after the other.
func (c *Cluster) Log() (text string) {
	for _, n := range c.nodes {
		text += fmt.Sprintf("--- node %d on %s ---\n%s\n", n.Index, n.Addr, n.Log())
	}
	return text
}

// Close kills the nodes and removes their directories, unless those were given.
func (c *Cluster) Close() (err error) {
	for _, n := range c.nodes {
		err = errors.Join(err, n.Kill9())
	}
	if c.ownsDir {
		err = errors.Join(err, os.RemoveAll(c.dir))
	}
	return err
}
