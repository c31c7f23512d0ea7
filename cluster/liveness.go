package cluster

import (
	"context"
	"errors"
	"time"

	"cartwheel/cluster/wire"
)

// Who is up is judged every moment, by the links: a peer is up while its lanes
// are connected and it answers. It never changes who owns what.
const (
	pingInterval = time.Second
	pingSoon     = 50 * time.Millisecond // to one that owes an answer
	suspectAfter = 250 * time.Millisecond
)

func (p *peer) connected(lane wire.Lane, h *wire.Hello) {
	run := h.Run
	p.run.Store(&run)
	if p.wired.Add(1) == int32(wire.LaneCount) {
		p.awaitedNS.Store(0)
		p.heard()
	}
}

func (p *peer) disconnected(_ wire.Lane, err error) {
	p.wired.Add(-1)
	p.down(err)
}

// unreachable logs what will not mend itself.
func (p *peer) unreachable(lane wire.Lane, err error) {
	var refused *wire.RefusedError
	if errors.As(err, &refused) && lane == wire.Small {
		p.c.log.Warn().Stringer("node", p.id).Str("addr", p.address()).Err(err).Msg("a node and this one do not get together")
	}
}

// heard notes that the peer has answered.
func (p *peer) heard() {
	p.heardNS.Store(int64(p.c.uptime()))
	if p.awaitedNS.Load() != 0 {
		p.awaitedNS.Store(0)
	}
	if p.live.Load() || p.wired.Load() < int32(wire.LaneCount) {
		return
	}
	if p.live.CompareAndSwap(false, true) {
		p.c.log.Info().Stringer("node", p.id).Msg("a node is up")
		p.c.changed.Add(1)
		if r := p.c.repair; r != nil {
			r.PeerUp(p.id)
		}
	}
}

func (p *peer) down(why error) {
	if p.live.CompareAndSwap(true, false) {
		p.c.log.Warn().Stringer("node", p.id).Err(why).Msg("a node is down")
		p.c.changed.Add(1)
	}
}

// heardOfLate reports that the process known by the peer's id is there.
func (p *peer) heardOfLate() bool {
	return time.Duration(int64(p.c.uptime())-p.heardNS.Load()) < pingInterval+suspectAfter
}

var errSilent = errors.New("it does not answer")

// runPings says to all peers, from time to time, that this node lives and how it
// is, and suspects those that do not answer.
func (c *Coordinator) runPings() {
	tick := time.NewTicker(pingSoon)
	defer tick.Stop()
	saved := c.uptime()
	for {
		select {
		case <-c.stop:
			return
		case <-tick.C:
		}
		now := c.uptime()
		for _, p := range c.view.Load().peers {
			c.watch(p, now)
		}
		if hinted := c.hinted.Load(); hinted > c.store.Committed() {
			_ = c.store.Commit(hinted) // a failure stops the writes by itself
		}
		if now-saved > 10*time.Second {
			saved = now
			c.saveLives()
		}
	}
}

// watch suspects a peer that owes an answer for too long, and pings it when it is
// time.
func (c *Coordinator) watch(p *peer, now time.Duration) {
	awaited := time.Duration(p.awaitedNS.Load())
	if awaited != 0 && now-awaited > suspectAfter {
		p.down(errSilent)
	}
	if p.wired.Load() < int32(wire.LaneCount) || p.pinging.Load() {
		return
	}
	if awaited == 0 && now-time.Duration(p.heardNS.Load()) < pingInterval {
		return
	}
	p.pinging.Store(true)
	c.running.Go(func() {
		defer p.pinging.Store(false)
		ctx, cancel := context.WithTimeout(c.serving, requestTimeout)
		defer cancel()
		reply, err := c.call(ctx, p, wire.Small, opPing, c.view.Load().epoch, c.appendStatus(nil))
		if err == nil {
			err = c.takeStatus(p, reply)
		}
		if err != nil && !errors.Is(err, wire.ErrTimeout) && !errors.Is(err, wire.ErrLost) && !errors.Is(err, wire.ErrDown) {
			c.log.Warn().Stringer("node", p.id).Err(err).Msg("a ping fails")
		}
	})
}
