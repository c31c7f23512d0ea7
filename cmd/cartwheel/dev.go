package main

import (
	"context"
	"errors"
	"fmt"
	"io"
	"net"
	"os"
	"os/signal"
	"path/filepath"
	"strconv"
	"strings"
	"syscall"
)

type devCommand struct {
	Nodes    int      `help:"How many nodes. Default ${default}." default:"3" placeholder:"N" env:"-"`
	BasePort int      `help:"Port of the first node's clients; its port for cluster clients is 100 above, that for peers 200 above. Default ${default}." default:"7001" placeholder:"PORT" env:"-"`
	Zones    int      `help:"Spread the nodes over so many zones." placeholder:"N" env:"-"`
	Data     string   `help:"Directory of the nodes' data and logs, to go on with the next time. Default: a new one that is removed at the end." placeholder:"DIR" type:"path" env:"-"`
	Restart  bool     `help:"Start a node that has died again after 5 s." env:"-"`
	Sync     string   `help:"When a write is acknowledged: always, everysec, no or one, as serve explains. Default ${default}." enum:"always,everysec,no,one" default:"everysec" placeholder:"MODE" env:"-"`
	Memory   byteSize `help:"Memory of each node. Default ${default}." default:"64MB" placeholder:"SIZE" env:"-"`
	LogLevel string   `help:"Least level of what the nodes log: debug, info, warn or error. Default ${default}." enum:"debug,info,warn,error" default:"warn" placeholder:"LEVEL" env:"-"`
}

// The ports of node i are i above these, counted from BasePort.
const (
	devClusterPorts = 100
	devPeerPorts    = 200
	devNodesMax     = devClusterPorts
)

// Run runs the nodes as child processes until Ctrl-C.
func (d *devCommand) Run() (err error) {
	if err := d.check(); err != nil {
		return err
	}
	ctx, stop := signal.NotifyContext(context.Background(), os.Interrupt, syscall.SIGTERM)
	defer stop()
	context.AfterFunc(ctx, stop) // a second signal ends this process at once, and so its children
	dir := d.Data
	if dir == "" {
		if dir, err = os.MkdirTemp("", "cartwheel-dev-"); err != nil {
			return err
		}
		defer func() { err = errors.Join(err, os.RemoveAll(dir)) }()
	}
	executable, err := os.Executable()
	if err != nil {
		return err
	}
	nodes, err := d.layout(dir)
	if err != nil {
		return err
	}
	return (&devCluster{nodes: nodes, executable: executable, restart: d.Restart, out: os.Stdout}).run(ctx)
}

func (d *devCommand) check() error {
	if d.Nodes < 1 || d.Nodes > devNodesMax {
		return fmt.Errorf("--nodes: must be from 1 to %d, but is %d", devNodesMax, d.Nodes)
	}
	if last := d.BasePort + devPeerPorts + d.Nodes - 1; d.BasePort < 1 || last > 65535 {
		return fmt.Errorf("--base-port: ports from %d to %d are needed, which are not all there", d.BasePort, last)
	}
	if d.Zones < 0 || d.Zones > d.Nodes {
		return fmt.Errorf("--zones: must be from 0 to %d, as there are %d nodes, but is %d", d.Nodes, d.Nodes, d.Zones)
	}
	var taken []string
	for _, offset := range []int{0, devClusterPorts, devPeerPorts} {
		for i := range d.Nodes {
			if addr := d.addr(offset, i); !isFree(addr) {
				taken = append(taken, strconv.Itoa(d.BasePort+offset+i))
			}
		}
	}
	if len(taken) > 0 {
		return fmt.Errorf("--base-port: other processes listen on 127.0.0.1, on %s: give another base port, or stop them",
			strings.Join(taken, ", "))
	}
	return nil
}

func isFree(addr string) bool {
	listener, err := net.Listen("tcp", addr)
	return err == nil && listener.Close() == nil
}

func (d *devCommand) addr(offset, i int) string {
	return net.JoinHostPort("127.0.0.1", strconv.Itoa(d.BasePort+offset+i))
}

// layout makes the nodes' directories and says how each is started. Only the
// first node of a new cluster joins no other: it creates the cluster.
func (d *devCommand) layout(dir string) (nodes []*devNode, err error) {
	fresh := true
	for i := range d.Nodes {
		n := &devNode{
			name:   "node " + strconv.Itoa(i+1),
			client: d.addr(0, i), cluster: d.addr(devClusterPorts, i), peer: d.addr(devPeerPorts, i),
			dir: filepath.Join(dir, "node"+strconv.Itoa(i+1)),
			log: filepath.Join(dir, "node"+strconv.Itoa(i+1)+".log"),
		}
		if err := os.MkdirAll(n.dir, 0o700); err != nil {
			return nil, fmt.Errorf("--data: %w", err)
		}
		left, err := os.ReadDir(n.dir)
		if err != nil {
			return nil, fmt.Errorf("--data: %w", err)
		}
		fresh = fresh && len(left) == 0
		nodes = append(nodes, n)
	}
	for i, n := range nodes {
		var others []string
		for _, other := range nodes {
			if other != n {
				others = append(others, other.peer)
			}
		}
		// Once there is a cluster, a node that is started again joins it.
		n.args, n.argsAgain = d.args(n, i, others), d.args(n, i, others)
		if i == 0 && fresh {
			n.args = d.args(n, i, nil)
		}
	}
	return nodes, nil
}

func (d *devCommand) args(n *devNode, i int, join []string) []string {
	args := []string{
		"serve", "--listen", n.client, "--cluster-listen", n.cluster, "--peer-listen", n.peer, "--data", n.dir,
		"--sync", d.Sync, "--memory", strconv.FormatInt(int64(d.Memory), 10), "--log-level", d.LogLevel,
	}
	if d.Zones > 0 {
		args = append(args, "--zone", "zone"+strconv.Itoa(i%d.Zones+1))
	}
	if len(join) > 0 {
		args = append(args, "--join", strings.Join(join, ","))
	}
	return args
}

// devEnvironment is ours without the settings of nodes: they have flags.
func devEnvironment(environ []string) (kept []string) {
	for _, entry := range environ {
		if !strings.HasPrefix(entry, "CARTWHEEL_") {
			kept = append(kept, entry)
		}
	}
	return kept
}

// lastLines is the end of a node's log.
func lastLines(file string, count int) string {
	const tailBytes = 16 << 10
	f, err := os.Open(file)
	if err != nil {
		return err.Error()
	}
	defer f.Close()
	if size, err := f.Seek(0, io.SeekEnd); err == nil {
		_, _ = f.Seek(max(0, size-tailBytes), io.SeekStart)
	}
	text, err := io.ReadAll(f)
	if err != nil {
		return err.Error()
	}
	lines := strings.Split(strings.TrimSpace(string(text)), "\n")
	return strings.Join(lines[max(0, len(lines)-count):], "\n")
}
