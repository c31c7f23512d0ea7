package cluster

import (
	"context"
	"errors"
	"fmt"
	"strings"
	"time"

	"cartwheel/cluster/ring"
)

// applyTimeout bounds the agreement on what an operator asks for.
const applyTimeout = 10 * time.Second

// PlanRing shows what a change of the ring would do. It asks all members how much
// they have of what.
func (c *Coordinator) PlanRing(change ring.Change) (*ring.Plan, error) {
	v := c.view.Load()
	if v.left {
		return nil, wireError(errLeft)
	}
	sizes, _ := c.sizes(v)
	plan, err := ring.NewPlan(v.ring.Document(), change, sizes, c.isUp)
	if err != nil {
		return nil, wireError(explained(v.ring.Document(), err))
	}
	return plan, nil
}

// ApplyRing makes a change of the ring, and returns its plan. Where an epoch is
// given (not 0), it is made only of the ring of that epoch: of the one that was
// shown. Without force it is not made where its plan has obstacles.
func (c *Coordinator) ApplyRing(change ring.Change, epoch uint64, force bool) (*ring.Plan, error) {
	v := c.view.Load()
	if v.left {
		return nil, wireError(errLeft)
	}
	if change.Verb == ring.Replace {
		return nil, wireError(fmt.Errorf("the new node does that when it starts: cartwheel serve --join HOST:PORT --replace %.100s", change.Node))
	}
	sizes, _ := c.sizes(v)
	var plan *ring.Plan
	ctx, cancel := context.WithTimeout(c.serving, applyTimeout)
	defer cancel()
	_, err := c.agreement.Propose(ctx, func(d *ring.Document) (*ring.Document, error) {
		var err error
		plan, err = ring.NewPlan(d, change, sizes, c.isUp)
		switch {
		case err != nil:
			return nil, explained(d, err)
		case plan.Unchanged:
			return nil, nil
		case epoch != 0 && epoch != d.Epoch:
			return nil, fmt.Errorf("the ring has changed since epoch %d, it is at %d now: plan again, or leave out the epoch", epoch, d.Epoch)
		case len(plan.Obstacles) > 0 && !force:
			return nil, fmt.Errorf("%s (force does it nevertheless)", strings.Join(plan.Obstacles, "; "))
		}
		return d.With(change)
	})
	if err != nil {
		return nil, wireError(err)
	}
	if !plan.Unchanged {
		c.log.Info().Strs("change", plan.Change).Uint64("epoch", plan.Epoch+1).Msg("an operator has changed the ring")
	}
	return plan, nil
}

// explained says what to do about an error that a change has come to.
func explained(d *ring.Document, err error) error {
	if errors.Is(err, ring.ErrLastMember) {
		return fmt.Errorf("%w: nobody would own anything. Start another with `cartwheel serve --join %s`, then this one can go", err, d.Members[0].Peer)
	}
	return err
}
