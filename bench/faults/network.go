package faults

import (
	"context"
	"errors"
	"fmt"
	"os"
	"os/exec"
	"strconv"
	"strings"
	"syscall"
)

// network is a network namespace a node, all on one bridge, where clients reach every node and any
// node can be kept from sending to any other.
//
// The nodes know each other's hardware addresses by permanent neighbour entries. A cut gives the sender a
// hardware address for the receiver that nobody has: its packets leave, and arrive nowhere. That is silent,
// as a cut is, takes effect within established connections, works in one direction, and needs neither
// iptables nor a kernel module. The clients' side, the bridge's own address, is never cut.
type network struct {
	number int // of the /24 in 198.18.0.0/15, which is set aside for such tests (RFC 2544)
	nodes  int
}

const (
	networkPrefix  = "cwf"
	networkNumbers = 250
	nowhere        = "02:cf:ff:ff:ff:ff"
)

// errNoNetwork: this machine does not let us make a network.
var errNoNetwork = errors.New("no network namespaces here")

// newNetwork makes the namespaces. It needs the rights of root. The caller closes the network.
func newNetwork(ctx context.Context, nodes int) (_ *network, err error) {
	if os.Geteuid() != 0 {
		return nil, fmt.Errorf("%w: it needs root", errNoNetwork)
	}
	if err := sweepNetworks(ctx); err != nil {
		return nil, err
	}
	n := &network{nodes: nodes}
	// Whoever can make the bridge has the number.
	for n.number = 1; ; n.number++ {
		if err = ip(ctx, "link", "add", n.bridge(), "type", "bridge"); err == nil {
			break
		}
		if n.number == networkNumbers || !strings.Contains(err.Error(), "File exists") {
			return nil, fmt.Errorf("%w: %w", errNoNetwork, err)
		}
	}
	if err := n.build(ctx); err != nil {
		return nil, errors.Join(err, n.Close())
	}
	return n, nil
}

func (n *network) build(ctx context.Context) error {
	if err := ipBatch(ctx, "",
		"addr add "+n.host(254)+"/24 dev "+n.bridge(),
		"link set "+n.bridge()+" up",
	); err != nil {
		return err
	}
	for i := range n.nodes {
		if err := ipBatch(ctx, "",
			"netns add "+n.name(i),
			"link add "+n.outer(i)+" type veth peer name eth0 address "+hardware(i)+" netns "+n.name(i),
			"link set "+n.outer(i)+" master "+n.bridge()+" up",
		); err != nil {
			return err
		}
		inside := []string{"link set lo up", "addr add " + n.Host(i) + "/24 dev eth0", "link set eth0 up"}
		for j := range n.nodes {
			if j != i {
				inside = append(inside, n.neighbour(j, hardware(j)))
			}
		}
		if err := ipBatch(ctx, n.name(i), inside...); err != nil {
			return err
		}
	}
	return nil
}

// Host is the address of a node.
func (n *network) Host(i int) string { return n.host(i + 1) }

func (n *network) host(last int) string { return fmt.Sprintf("198.18.%d.%d", n.number, last) }

// Wrap is the command that runs a node in its namespace.
func (n *network) Wrap(i int) []string { return []string{"ip", "netns", "exec", n.name(i)} }

// Cut keeps the packets of from from to. The other direction goes on.
func (n *network) Cut(ctx context.Context, from, to int) error {
	return ipBatch(ctx, n.name(from), n.neighbour(to, nowhere))
}

// Heal undoes all cuts.
func (n *network) Heal(ctx context.Context) error {
	for i := range n.nodes {
		var known []string
		for j := range n.nodes {
			if j != i {
				known = append(known, n.neighbour(j, hardware(j)))
			}
		}
		if err := ipBatch(ctx, n.name(i), known...); err != nil {
			return err
		}
	}
	return nil
}

// Close removes the namespaces. Processes in them keep theirs until they end.
func (n *network) Close() error {
	ctx := context.Background()
	var errs []error
	for i := range n.nodes {
		if _, err := os.Stat("/var/run/netns/" + n.name(i)); err == nil {
			// The kernel takes its time with what is in a namespace; the link is gone at once.
			errs = append(errs, ip(ctx, "link", "del", n.outer(i)), ip(ctx, "netns", "del", n.name(i)))
		}
	}
	return errors.Join(append(errs, ip(ctx, "link", "del", n.bridge()))...)
}

func (n *network) bridge() string { return networkPrefix + strconv.Itoa(n.number) }

// outer is a node's link on the bridge.
func (n *network) outer(i int) string { return fmt.Sprintf("%s%dv%d", networkPrefix, n.number, i) }

// name is that of a node's namespace: it says who made it, for sweepNetworks.
func (n *network) name(i int) string {
	return fmt.Sprintf("%s-%d-%d-%d", networkPrefix, os.Getpid(), n.number, i)
}

func (n *network) neighbour(j int, address string) string {
	return "neigh replace " + n.Host(j) + " lladdr " + address + " dev eth0 nud permanent"
}

func hardware(i int) string { return fmt.Sprintf("02:cf:00:00:00:%02x", i) }

// sweepNetworks removes what processes left behind that were killed.
func sweepNetworks(ctx context.Context) error {
	names, err := os.ReadDir("/var/run/netns")
	if errors.Is(err, os.ErrNotExist) {
		return nil
	}
	if err != nil {
		return err
	}
	for _, name := range names {
		var maker, number, node int
		if _, err := fmt.Sscanf(name.Name(), networkPrefix+"-%d-%d-%d", &maker, &number, &node); err != nil {
			continue
		}
		if err := syscall.Kill(maker, 0); !errors.Is(err, syscall.ESRCH) {
			continue
		}
		// Another sweep may be at it too. The kernel takes its time with what is in a namespace.
		_ = ip(ctx, "link", "del", fmt.Sprintf("%s%dv%d", networkPrefix, number, node))
		_ = ip(ctx, "netns", "del", name.Name())
		_ = ip(ctx, "link", "del", networkPrefix+strconv.Itoa(number))
	}
	return nil
}

func ip(ctx context.Context, args ...string) error { return runIP(ctx, "", args...) }

// ipBatch runs several commands of ip(8) in one process, in a namespace if one is named.
func ipBatch(ctx context.Context, namespace string, commands ...string) error {
	args := []string{"-batch", "-"}
	if namespace != "" {
		args = append([]string{"-n", namespace}, args...)
	}
	return runIP(ctx, strings.Join(commands, "\n")+"\n", args...)
}

func runIP(ctx context.Context, input string, args ...string) error {
	cmd := exec.CommandContext(ctx, "ip", args...)
	cmd.Stdin = strings.NewReader(input)
	if said, err := cmd.CombinedOutput(); err != nil {
		return fmt.Errorf("ip %s: %w: %s%s", strings.Join(args, " "), err, said, input)
	}
	return nil
}
