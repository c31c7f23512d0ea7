package local

import (
	"context"
	"errors"
	"fmt"
	"strconv"
	"strings"
	"time"

	"github.com/redis/go-redis/v9"
)

const (
	readyTimeout = 60 * time.Second // for a context without a deadline
	askTimeout   = 2 * time.Second  // one attempt
	askEvery     = 20 * time.Millisecond
)

// View is the cluster as one node sees it, as its INFO says.
type View struct {
	ClusterID string
	Epoch     uint64
	Replicas  int // N
	Moves     int // partitions on their way
	Members   []Member
}

// Member is a line of INFO's section Members.
type Member struct {
	ID, Peer, Client, Cluster, Zone, State string
	Weight                                 int
	Up, Self                               bool
	Owned, Primary                         int // partitions, and those of them that it owns first
	Hints, HintBytes                       int64
	HintsFor                               int64 // that the node whose view it is holds for it
}

// View asks the node how it sees the cluster.
func (n *Node) View(ctx context.Context) (*View, error) {
	ctx, cancel := context.WithTimeout(ctx, askTimeout)
	defer cancel()
	client := redis.NewClient(&redis.Options{Addr: n.Addr, MaxRetries: -1, ContextTimeoutEnabled: true, DisableIdentity: true})
	defer client.Close()
	text, err := client.Info(ctx, "ring", "members").Result()
	if err != nil {
		return nil, fmt.Errorf("asking node %d for its view: %w", n.Index, err)
	}
	return parseView(text)
}

func parseView(text string) (*View, error) {
	v := &View{}
	var errs []error
	for line := range strings.Lines(text) {
		name, value, _ := strings.Cut(strings.TrimSpace(line), ":")
		switch {
		case name == "ring_cluster_id":
			v.ClusterID = value
		case name == "ring_epoch":
			errs = append(errs, number(value, &v.Epoch))
		case name == "ring_replicas":
			errs = append(errs, number(value, &v.Replicas))
		case name == "ring_moves":
			errs = append(errs, number(value, &v.Moves))
		case strings.HasPrefix(name, "member"):
			m, err := parseMember(value)
			v.Members, errs = append(v.Members, m), append(errs, err)
		}
	}
	if len(v.Members) == 0 {
		errs = append(errs, errors.New("no members"))
	}
	if err := errors.Join(errs...); err != nil {
		return nil, fmt.Errorf("reading a view: %w in %q", err, text)
	}
	return v, nil
}

func parseMember(value string) (m Member, _ error) {
	var errs []error
	for field := range strings.SplitSeq(value, ",") {
		name, value, _ := strings.Cut(field, "=")
		switch name {
		case "id":
			m.ID = value
		case "peer":
			m.Peer = value
		case "client":
			m.Client = value
		case "cluster":
			m.Cluster = value
		case "zone":
			m.Zone = value
		case "state":
			m.State = value
		case "weight":
			errs = append(errs, number(value, &m.Weight))
		case "up":
			m.Up = value == "1"
		case "self":
			m.Self = value == "1"
		case "owned":
			errs = append(errs, number(value, &m.Owned))
		case "primary":
			errs = append(errs, number(value, &m.Primary))
		case "hints":
			errs = append(errs, number(value, &m.Hints))
		case "hints_for":
			errs = append(errs, number(value, &m.HintsFor))
		case "hint_bytes":
			errs = append(errs, number(value, &m.HintBytes))
		}
	}
	return m, errors.Join(errs...)
}

func number[T int | int64 | uint64](text string, into *T) error {
	n, err := strconv.ParseInt(text, 10, 64)
	*into = T(n)
	return err
}

// WaitReady returns when all nodes that run see the same ring and nothing moves in it: every node
// is an active member, and up exactly if it runs. It waits a minute if ctx has no deadline.
func (c *Cluster) WaitReady(ctx context.Context) error {
	if _, has := ctx.Deadline(); !has {
		bounded, cancel := context.WithTimeout(ctx, readyTimeout)
		defer cancel()
		ctx = bounded
	}
	again := time.NewTicker(askEvery)
	defer again.Stop()
	for {
		last := c.ready(ctx)
		if last == nil {
			return nil
		}
		select {
		case <-ctx.Done():
			return fmt.Errorf("the cluster is not ready: %w (%w)", last, context.Cause(ctx))
		case <-again.C:
		}
	}
}

// ready says what is not as it should be.
func (c *Cluster) ready(ctx context.Context) error {
	first := (*View)(nil)
	for _, n := range c.nodes {
		if !n.Running() || n.isRetired() {
			continue
		}
		v, err := n.View(ctx)
		if err != nil {
			return err
		}
		if first == nil {
			first = v
		}
		if v.ClusterID != first.ClusterID || v.Epoch != first.Epoch {
			return fmt.Errorf("node %d sees epoch %d of %s, another %d of %s", n.Index, v.Epoch, v.ClusterID, first.Epoch, first.ClusterID)
		}
		if err := c.whole(v); err != nil {
			return fmt.Errorf("node %d: %w", n.Index, err)
		}
	}
	return nil
}

// whole says how a view differs from that of a cluster at rest.
func (c *Cluster) whole(v *View) error {
	members := 0
	for _, n := range c.nodes {
		if !n.isRetired() {
			members++
		}
	}
	if len(v.Members) != members {
		return fmt.Errorf("it sees %d members of %d", len(v.Members), members)
	}
	if v.Moves > 0 {
		return fmt.Errorf("%d partitions are moving", v.Moves)
	}
	for _, m := range v.Members {
		n := c.ByPeer(m.Peer)
		if n == nil || n.isRetired() {
			return fmt.Errorf("it sees a member at %s, where no node is any more", m.Peer)
		}
		if running := n.Running(); m.State != "active" || m.Up != running {
			return fmt.Errorf("it sees node %d %s and up=%t, but running is %t", n.Index, m.State, m.Up, running)
		}
	}
	return nil
}

// ByPeer returns the node at a peer address, or nil.
func (c *Cluster) ByPeer(addr string) *Node {
	for _, n := range c.nodes {
		if n.PeerAddr == addr {
			return n
		}
	}
	return nil
}
