package member

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"time"

	"cartwheel/cluster/ring"
)

const (
	// The pause after a lost attempt is random, up to a bound that doubles.
	pauseMin = 20 * time.Millisecond
	pauseMax = time.Second

	// ForcedEpochs is how far ahead a forced document's epoch jumps.
	ForcedEpochs = 1000
)

var (
	// ErrNoMajority: too few members answered in time. Nothing was changed.
	ErrNoMajority = errors.New("no majority of the members answered")
	// ErrUndecided: the change was proposed, and may or may not take effect.
	ErrUndecided = errors.New("the change is proposed, and may or may not take effect")
)

// A Change returns the document that is to follow current, or nil where nothing
// is left to do, as ring.ErrUnchanged says too. It is called again, with a newer
// document, each time that another node's change has won, and must then see
// whether its own is in it already. The epoch of what it returns is not looked at.
type Change func(current *ring.Document) (*ring.Document, error)

// Propose has the change agreed on by a majority of the members, and returns the
// document that it is in. It tries again while others win or too few answer,
// until ctx is done: then the error is ErrNoMajority, or ErrUndecided, and
// ctx's. An error of change is returned as it is.
func (a *Agreement) Propose(ctx context.Context, change Change) (*ring.Document, error) {
	select {
	case a.proposing <- struct{}{}:
		defer func() { <-a.proposing }()
	case <-ctx.Done():
		return nil, fmt.Errorf("%w: %w", ErrNoMajority, ctx.Err())
	}
	p := proposal{agreement: a, change: change}
	for pause := pauseMin; ; pause = min(2*pause, pauseMax) {
		done, err := p.attempt(ctx)
		if done != nil || err != nil {
			return done, err
		}
		select {
		case <-a.opts.After(1 + time.Duration(a.opts.Rand(int64(pause)))):
		case <-ctx.Done():
			return nil, p.late(ctx.Err())
		}
	}
}

// A proposal is one call of Propose.
type proposal struct {
	agreement *Agreement
	change    Change

	own      *ring.Document // proposed last
	form     []byte         // its form
	proposed bool           // some node may have accepted it
	beaten   ballot         // the highest that beat one of its rounds
	last     string         // how the last round failed
}

func (p *proposal) late(cause error) error {
	kind := ErrNoMajority
	if p.proposed {
		kind = ErrUndecided
	}
	return fmt.Errorf("%w (%s): %w", kind, p.last, cause)
}

// attempt runs rounds until the change is committed, there is nothing to change,
// or, with neither result nor error, a round fails.
func (p *proposal) attempt(ctx context.Context) (*ring.Document, error) {
	for ctx.Err() == nil {
		before := p.agreement.Current()
		if before == nil {
			return nil, ErrNoDocument
		}
		if p.committed() {
			return p.own, nil
		}
		nothing, err := p.rebase(before)
		if nothing || err != nil {
			return before, err
		}
		won, err := p.round(ctx)
		if err != nil {
			return nil, err
		}
		if won {
			return p.own, nil
		}
		if p.agreement.Current() == before || !p.committed() {
			return nil, nil // the other rivals have lost at this moment too
		}
	}
	return nil, nil
}

// committed says that the committed document is the one proposed last, whoever
// drove it to its end.
func (p *proposal) committed() bool {
	a := p.agreement
	a.mu.Lock()
	defer a.mu.Unlock()
	return p.own != nil && bytes.Equal(a.state.form, p.form)
}

// rebase makes the change anew where the document is not the one that it was made
// of. It says whether nothing is to change.
func (p *proposal) rebase(current *ring.Document) (nothing bool, err error) {
	if p.own != nil && p.own.Epoch == current.Epoch+1 {
		return false, nil
	}
	own, err := successor(current, p.change, current.Epoch+1)
	if errors.Is(err, ring.ErrUnchanged) || err == nil && own == nil {
		return true, nil
	}
	if err != nil {
		return false, err
	}
	// What was proposed for an epoch that was seen to go to another is lost; for
	// one that was skipped, nobody here knows.
	p.proposed = p.proposed && p.own.Epoch < current.Epoch
	p.own, p.form = own, own.Append(nil)
	return false, nil
}

// successor returns what change makes of current, valid and of the given epoch.
func successor(current *ring.Document, change Change, epoch uint64) (*ring.Document, error) {
	changed, err := change(current)
	if changed == nil || err != nil {
		return nil, err
	}
	next := *changed
	next.Epoch = epoch
	if next.Cluster != current.Cluster {
		return nil, ErrForeign
	}
	if err := next.Validate(); err != nil {
		return nil, fmt.Errorf("the changed ring document: %w", err)
	}
	return &next, nil
}

// round runs one round and says whether it committed the proposal. What it learns
// is installed when it returns.
func (p *proposal) round(ctx context.Context) (won bool, err error) {
	a := p.agreement
	r, err := a.begin(p.beaten)
	if err != nil {
		return false, err
	}
	if r.base.document.Epoch+1 != p.own.Epoch {
		return false, nil
	}
	a.ask(ctx, r)
	if r.settled() && !r.overtaken() && a.complete(ctx, r) {
		r.propose(p.form)
		own := bytes.Equal(r.value, p.form)
		p.proposed = p.proposed || own
		a.ask(ctx, r)
		if r.settled() {
			installed, err := a.commit(r)
			return installed && own, err
		}
	}
	p.last = fmt.Sprintf("%d of the %d answers needed; %s", r.answers, r.needed(), r.reason)
	if p.beaten.less(r.beatenBy) {
		p.beaten = r.beatenBy
	}
	if r.overtaken() {
		if _, err := a.Fetch(ctx, r.newer); err != nil {
			a.opts.Log.Debug().Err(err).Msg("a newer ring document is tried for again")
		}
	}
	return false, nil
}

// begin starts a round with a ballot that is durably its own.
func (a *Agreement) begin(beaten ballot) (*round, error) {
	a.mu.Lock()
	defer a.mu.Unlock()
	next, r := newRound(a.state, a.opts.Self, beaten)
	if err := a.become(next); err != nil {
		return nil, err
	}
	return r, nil
}

// commit installs what a round has chosen and has the others told of it.
func (a *Agreement) commit(r *round) (installed bool, err error) {
	installed, err = a.Install(r.value)
	if err != nil {
		return false, err
	}
	a.teller.tell(r.base.document)
	return installed, nil
}

// Force commits a change by this node alone, for an operator who has lost the
// majority of the members for good. The epoch jumps by ForcedEpochs, above
// whatever the lost ones may have decided among themselves, so that they follow
// should they come back. It gives up what agreement promises: used on both sides
// of a cut network it makes two clusters of one, which then refuse each other
// (ErrDiverged) until it is used once more.
func (a *Agreement) Force(change Change) (*ring.Document, error) {
	current := a.Current()
	if current == nil {
		return nil, ErrNoDocument
	}
	forced, err := successor(current, change, current.Epoch+ForcedEpochs)
	if errors.Is(err, ring.ErrUnchanged) || err == nil && forced == nil {
		return current, nil
	}
	if err != nil {
		return nil, err
	}
	a.opts.Log.Warn().Uint64("epoch", forced.Epoch).Msg("a ring document is forced without a majority")
	installed, err := a.Install(forced.Append(nil))
	if err != nil {
		return nil, err
	}
	if !installed {
		return nil, fmt.Errorf("forcing epoch %d: %w", forced.Epoch, ErrDiverged)
	}
	a.teller.tell(current)
	return a.Current(), nil
}
