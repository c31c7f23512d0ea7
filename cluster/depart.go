package cluster

import (
	"context"
	"errors"
	"fmt"
	"time"

	"cartwheel/cluster/ring"
)

// errLeft: this node is no member of the ring any more.
var errLeft = errors.New("this node has left its ring, or was removed from it")

// departTicks is for how many ticks in a row nothing must remain here before this
// node departs: what was under way when it last owned something has ended by then.
const departTicks = 3

// departInterval is between two looks.
const departInterval = 500 * time.Millisecond

// runDeparture lets this node go when it is to leave. Others see only that it owns
// nothing any more. It alone knows whether it has anything that they lack:
//
//  1. The moves are committed: it owns nothing, coordinates nothing, and as no
//     fallback gets no hints.
//  2. What is still here of partitions that have moved may be the only copy of a
//     write that the owners have missed: they are given it before it is dropped.
//  3. Hints are the only copies too: they have been replayed, repairs that are
//     owed asked for.
//  4. Only then it proposes the ring without itself. Until that is agreed it is a
//     member like all others, and serves its clients by what others own.
func (c *Coordinator) runDeparture() {
	tick := time.NewTicker(departInterval)
	defer tick.Stop()
	for quiet := 0; ; {
		select {
		case <-c.stop:
			return
		case <-tick.C:
		}
		if c.view.Load().left && c.strand() {
			return
		}
		if !c.mayDepart() {
			quiet = 0
			continue
		}
		if quiet++; quiet < departTicks {
			continue
		}
		if err := c.depart(); err != nil && c.serving.Err() == nil {
			c.log.Warn().Err(err).Msg("this node is ready to leave, and the others do not agree to it yet")
		}
	}
}

// strand tells, of a node that was removed from the ring, what it has that it can
// bring to nobody any more, since nobody takes anything from it. It reports whether that is known.
func (c *Coordinator) strand() bool {
	left, err := c.repairing.Load().Remains()
	if err != nil || left.Counting {
		return false
	}
	c.stats.stranded.Store(uint64(left.Hints))
	if left.Hints > 0 || left.Owed > 0 {
		c.log.Error().Int64("hints", left.Hints).Int("owed", left.Owed).
			Msg("this node was removed while it held hints: the others may lack writes that it acknowledged, which are only in its data directory")
	}
	return true
}

// mayDepart says that this node leaves, and has nothing any more that others lack.
func (c *Coordinator) mayDepart() bool {
	v, self := c.view.Load(), c.store.NodeID()
	if m, is := v.ring.Member(self); !is || m.State != ring.Leaving {
		return false
	}
	for p := range v.places {
		if v.places[p].self >= 0 {
			return false
		}
	}
	left, err := c.repairing.Load().Remains()
	if err != nil {
		c.log.Warn().Err(err).Msg("this node cannot tell whether it may leave")
		return false
	}
	return left.None()
}

const departTimeout = 10 * time.Second

func (c *Coordinator) depart() error {
	ctx, cancel := context.WithTimeout(c.serving, departTimeout)
	defer cancel()
	_, err := c.agreement.Propose(ctx, func(d *ring.Document) (*ring.Document, error) {
		if _, is := d.Member(c.store.NodeID()); !is {
			return nil, nil
		}
		return d.WithDeparted(c.store.NodeID())
	})
	return err
}

// replaced gives a node that joins the place of a dead one.
func (c *Coordinator) replaced(d *ring.Document, r *joinRequest) (*ring.Document, error) {
	dead, err := d.Find(r.Replace)
	if err != nil {
		return nil, err
	}
	if c.isUp(dead.ID) {
		return nil, fmt.Errorf("%s is up, and is not replaced: stop it first", dead.ID.Short())
	}
	return d.With(ring.Change{Verb: ring.Replace, Node: dead.ID.String(), Heir: r.Member})
}

// isUp says whether a member can be asked; this node always can.
func (c *Coordinator) isUp(id ring.NodeID) bool {
	p := c.peer(id)
	return id == c.store.NodeID() || p != nil && p.up()
}

// turnAway tells a node of the ring that it was a member of once, and is no more.
// It logs that at most once a second.
func (h *handling) turnAway(i int) {
	if second := h.nowMS / 1000; h.c.turnedAway.Swap(second) != second {
		h.c.log.Warn().Stringer("node", h.from).Msg("a node that has left the ring, or was removed from it, is back: it is told so, and not served")
	}
	h.teach(i)
}
