package cluster

import (
	"context"
	"encoding/binary"
	"errors"
	"time"

	"cartwheel/cluster/member"
	"cartwheel/cluster/ring"
	"cartwheel/cluster/wire"
)

// pingInterval is how often two nodes tell each other how they are: in turn, or, where one of them does not, the other
// each time.
const pingInterval = time.Second

func (p *peer) connected(lane wire.Lane, h *wire.Hello) {
	run := h.Run
	p.run.Store(&run)
	p.incarnation.Store(h.Incarnation)
	if p.wired.Add(1) == int32(wire.LaneCount) {
		p.heardNS.Store(int64(p.c.uptime()))
		p.life.Linked(true)
		p.tried.Store(true) // now that it is up
	}
}

func (p *peer) disconnected(wire.Lane, error) {
	if p.wired.Add(-1) == int32(wire.LaneCount)-1 {
		p.life.Linked(false)
	}
}

// unreachable notes that an attempt to connect has failed, and logs what will not mend itself.
func (p *peer) unreachable(lane wire.Lane, err error) {
	p.tried.Store(true)
	var refused *wire.RefusedError
	if errors.As(err, &refused) && lane == wire.Small {
		p.c.log.Warn().Stringer("node", p.id).Str("addr", p.address()).Err(err).Msg("a node and this one do not get together")
	}
}

// count tells how requests to the peer have ended.
func (p *peer) count(replies []wire.Reply) {
	answered, timedOut, lost := 0, 0, 0
	for i := range replies {
		switch err := replies[i].Err; {
		case errors.Is(err, wire.ErrTimeout):
			timedOut++
		case errors.Is(err, wire.ErrLost):
			lost++
		default:
			answered++
		}
	}
	if answered > 0 {
		p.heardNS.Store(int64(p.c.uptime()))
		p.life.Answered(answered)
	}
	if timedOut > 0 {
		p.life.TimedOut(timedOut)
	}
	if lost > 0 {
		p.life.Lost(lost)
	}
}

// heardOfLate reports that the process known by the peer's id is there.
func (p *peer) heardOfLate() bool {
	return p.up() && time.Duration(int64(p.c.uptime())-p.heardNS.Load()) < 3*pingInterval
}

// startLiveness begins to judge who is up.
func (c *Coordinator) startLiveness() {
	c.liveness = member.NewLiveness(member.LivenessOptions{
		Self: c.store.NodeID(),
		OnChange: func(id ring.NodeID, up bool) {
			c.changed.Add(1)
			if !up {
				c.log.Warn().Stringer("node", id).Msg("a node is down")
				return
			}
			c.log.Info().Stringer("node", id).Msg("a node is up")
			if r := c.repairing.Load(); r != nil {
				r.PeerUp(id)
			}
		},
		Probe: func(id ring.NodeID) {
			if p := c.peer(id); p != nil {
				c.ping(p)
			}
		},
	})
}

// startGossip has memberlist find out, too, who is up, and of new addresses.
func (c *Coordinator) startGossip() error {
	if c.port == nil {
		return nil
	}
	d := c.agreement.Current()
	contact := member.Contact{
		Peer: c.opts.Self.Peer, Client: c.opts.Self.Client, Cluster: c.opts.Self.Cluster,
		Run: binary.BigEndian.Uint64(c.run[:]), Epoch: d.Epoch,
	}
	var err error
	c.gossip, err = member.StartGossip(member.GossipOptions{
		Self: c.store.NodeID(), Cluster: d.Cluster, Secret: c.opts.Secret, Port: c.port, Contact: contact,
		Seeds: c.opts.Join, Known: known{c}, Document: c.agreement.Current, Install: c.agreement.Install,
		OnChange: func(n member.Node) {
			p := c.peer(n.ID)
			if p == nil {
				return
			}
			if n.Contact.Peer != "" && n.Contact.Peer != p.address() {
				p.setAddress(n.Contact.Peer)
			}
			p.life.Gossiped(n.Alive)
		},
		Log: c.log,
	})
	return err
}

// runPings tells all peers, from time to time, how this node is, and saves what
// it has learnt.
func (c *Coordinator) runPings() {
	tick := time.NewTicker(pingInterval)
	defer tick.Stop()
	for n := 0; ; n++ {
		select {
		case <-c.stop:
			return
		case <-tick.C:
		}
		v := c.view.Load()
		for _, p := range v.peers {
			if !v.left && p.toBePinged() { // else there is nothing to tell them, nor to learn
				c.ping(p)
			}
		}
		// Nobody may wait for hints, for repairs and for writes that have failed; a
		// failure stops the writes by itself.
		_ = c.store.CommitAll()
		if n%10 == 0 {
			c.saveLives()
		}
	}
}

// toBePinged reports whether the peer is to be pinged now: unless in the interval before both have pinged the other.
func (p *peer) toBePinged() bool {
	now := int64(p.c.uptime())
	lately := func(ns int64) bool {
		return ns != 0 && now-ns < int64(2*pingInterval-pingInterval/20) // ticks are not exact
	}
	if lately(p.toldNS.Load()) && lately(p.pingNS) {
		return false
	}
	p.pingNS = now
	return true
}

// ping exchanges with a peer how both are, unless that is under way.
func (c *Coordinator) ping(p *peer) {
	if p.wired.Load() < int32(wire.LaneCount) || !p.pinging.CompareAndSwap(false, true) {
		return
	}
	c.running.Go(func() {
		defer p.pinging.Store(false)
		ctx, cancel := context.WithTimeout(c.serving, requestTimeout)
		defer cancel()
		full := (p.pings.Add(1)+uint32(p.id[0]))%livesFullEvery == 0
		reply, err := c.call(ctx, p, wire.Small, opPing, c.view.Load().epoch, c.appendStatus(nil, p, full))
		if err == nil {
			err = c.takeStatus(p, reply)
		}
		if err != nil && c.serving.Err() == nil && !errors.Is(err, wire.ErrTimeout) && !errors.Is(err, wire.ErrLost) && !errors.Is(err, wire.ErrDown) {
			c.log.Warn().Stringer("node", p.id).Err(err).Msg("a ping fails")
		}
	})
}
