package cluster

import (
	"context"
	"crypto/rand"
	"encoding/json"
	"errors"
	"fmt"
	"net"
	"time"

	"cartwheel/cluster/ring"
	"cartwheel/cluster/wire"
)

// enter makes the node a member of its ring.
func (c *Coordinator) enter(ctx context.Context) error {
	d := c.agreement.Current()
	self := c.opts.Self
	self.ID, self.State = c.store.NodeID(), ring.Joining
	switch {
	case d == nil && len(c.opts.Join) == 0:
		var id ring.ClusterID
		_, _ = rand.Read(id[:])
		first, err := ring.NewDocument(id, self, c.store.Partitions(), c.opts.Replicas)
		if err != nil {
			return err
		}
		return c.agreement.Create(first)
	case d == nil:
		return c.join(ctx, self)
	}
	if len(c.opts.Join) > 0 && len(d.Members) == 1 {
		c.log.Warn().Msg("this node has a cluster of its own already, and does not join another: it needs an empty data directory for that")
	}
	m, is := d.Member(self.ID)
	if !is {
		return fmt.Errorf("%w at epoch %d of cluster %s or before: to join again, start it with an empty data directory", errLeft, d.Epoch, d.Cluster)
	}
	if d.Partitions != c.store.Partitions() {
		return fmt.Errorf("the ring has %d partitions, the data directory %d", d.Partitions, c.store.Partitions())
	}
	if c.opts.PeerListen == "" {
		return nil
	}
	if m.Zone != self.Zone || m.Weight != max(self.Weight, 1) {
		c.log.Info().Str("zone", m.Zone).Int("weight", m.Weight).
			Msg("the ring has another zone or weight for this node than it was started with, and keeps it: change it by `cartwheel cluster apply`")
	}
	if m.Peer != self.Peer || m.Client != self.Client || m.Cluster != self.Cluster {
		c.running.Go(func() { c.announce(self) })
	}
	return nil
}

// announce has the others agree on this node's addresses.
func (c *Coordinator) announce(self ring.Member) {
	for c.serving.Err() == nil {
		_, err := c.agreement.Propose(c.serving, func(d *ring.Document) (*ring.Document, error) {
			m, is := d.Member(self.ID)
			if !is {
				return nil, nil
			}
			m.Peer, m.Client, m.Cluster = self.Peer, self.Client, self.Cluster
			return unlessUnchanged(d.WithChanged(m))
		})
		if err == nil {
			return
		}
		c.log.Warn().Err(err).Msg("the others do not know this node's address yet")
		c.pause(time.Second)
	}
}

// unlessUnchanged makes of a change that changes nothing none.
func unlessUnchanged(d *ring.Document, err error) (*ring.Document, error) {
	if errors.Is(err, ring.ErrUnchanged) {
		return nil, nil
	}
	return d, err
}

func (c *Coordinator) pause(d time.Duration) {
	select {
	case <-c.serving.Done():
	case <-time.After(d):
	}
}

// join asks nodes of the cluster, one after the other and for ever, to let this
// one in.
func (c *Coordinator) join(ctx context.Context, self ring.Member) error {
	if c.opts.PeerListen == "" {
		return errors.New("to join a cluster, a node needs an address for its peers")
	}
	ask, err := json.Marshal(joinRequest{Member: self, Partitions: c.store.Partitions(), Replace: c.opts.Replace})
	if err != nil {
		return err
	}
	said := make(map[string]string, len(c.opts.Join))
	for {
		for _, address := range c.opts.Join {
			err := c.joinAt(ctx, address, ask)
			if err == nil || ctx.Err() != nil {
				return ctx.Err()
			}
			if said[address] != err.Error() {
				said[address] = err.Error()
				c.log.Warn().Err(err).Str("addr", address).Msg("cannot join there yet, and goes on trying")
			}
		}
		select {
		case <-ctx.Done():
			return ctx.Err()
		case <-time.After(500 * time.Millisecond):
		}
	}
}

// A joinRequest is what a node that wants to join says, in JSON.
type joinRequest struct {
	Member     ring.Member
	Partitions int
	Replace    string // the dead member whose place it takes
}

const joinTimeout = 20 * time.Second

func (c *Coordinator) joinAt(ctx context.Context, address string, ask []byte) error {
	p := &peer{c: c, life: c.liveness.Peer(ring.NodeID{})}
	defer c.liveness.Forget(ring.NodeID{})
	up, failed := make(chan struct{}, 1), make(chan error, 8)
	p.link = wire.NewLink(wire.LinkOptions{
		Identity: c.identity(func(h *wire.Hello) error { return c.accept(h, address) }),
		Dial:     func(ctx context.Context, _ wire.Lane) (net.Conn, error) { return c.dial(ctx, address) },
		Deliver: func(replies []wire.Reply) {
			for i := range replies {
				replies[i].Token.(ender).end(&replies[i])
			}
		},
		Up: func(lane wire.Lane, _ *wire.Hello) {
			if lane == wire.Small {
				select {
				case up <- struct{}{}:
				default:
				}
			}
		},
		Failed: func(_ wire.Lane, err error) {
			select {
			case failed <- err:
			default:
			}
		},
	})
	defer p.link.Close()
	ctx, cancel := context.WithTimeout(ctx, joinTimeout)
	defer cancel()
	select {
	case <-up:
	case err := <-failed:
		return err
	case <-ctx.Done():
		return ctx.Err()
	}
	text, err := c.call(ctx, p, wire.Small, opJoin, 0, ask)
	if err != nil {
		return err
	}
	_, err = c.agreement.Install(text)
	return err
}

// admit lets a node in, and returns the ring that it is a member of.
func (c *Coordinator) admit(ctx context.Context, ask []byte) ([]byte, error) {
	var r joinRequest
	if err := json.Unmarshal(ask, &r); err != nil {
		return nil, fmt.Errorf("%w: %w", errMessage, err)
	}
	d := c.agreement.Current()
	switch {
	case d == nil:
		return nil, errors.New("this node is no member itself yet")
	case r.Partitions != d.Partitions:
		return nil, fmt.Errorf("the cluster has %d partitions, the node %d: start it with --partitions %d", d.Partitions, r.Partitions, d.Partitions)
	}
	d, err := c.agreement.Propose(ctx, func(d *ring.Document) (*ring.Document, error) {
		if m, is := d.Member(r.Member.ID); is {
			r.Member.Zone, r.Member.Weight = m.Zone, m.Weight
			return unlessUnchanged(d.WithChanged(r.Member))
		}
		if r.Replace != "" {
			return c.replaced(d, &r)
		}
		return d.WithMember(r.Member)
	})
	if err != nil {
		return nil, err
	}
	return d.Append(nil), nil
}

// filled commits moves whose partitions are filled. Where others come first, it is asked of each of their
// documents anew.
func (c *Coordinator) filled(ctx context.Context, epoch uint64, done []ring.Move) error {
	_, err := c.agreement.Propose(ctx, func(d *ring.Document) (*ring.Document, error) {
		return unlessUnchanged(d.WithFilled(epoch, done))
	})
	return err
}
