package member

import (
	"context"
	"maps"
	"slices"
	"sync"

	"cartwheel/cluster/ring"
)

// A teller tells the members of a commit, once and best effort: who misses it
// learns by gossip, or by the epoch of a request. Commits that come while it is
// telling one are told together, as the latest.
type teller struct {
	agreement *Agreement
	cancel    context.CancelFunc
	done      chan struct{}
	wake      chan struct{} // holds one token

	mu sync.Mutex // guards to
	to map[ring.NodeID]struct{}
}

func (t *teller) start(a *Agreement) {
	ctx, cancel := context.WithCancel(context.Background())
	t.agreement, t.cancel = a, cancel
	t.done, t.wake = make(chan struct{}), make(chan struct{}, 1)
	t.to = make(map[ring.NodeID]struct{})
	go func() {
		defer close(t.done)
		t.run(ctx)
	}()
}

func (t *teller) stop() {
	t.cancel()
	<-t.done
}

// tell has the current document told to its members and to those of the document
// before it.
func (t *teller) tell(before *ring.Document) {
	t.mu.Lock()
	defer t.mu.Unlock()
	for _, d := range []*ring.Document{before, t.agreement.Current()} {
		for i := range d.Members {
			t.to[d.Members[i].ID] = struct{}{}
		}
	}
	delete(t.to, t.agreement.opts.Self)
	select {
	case t.wake <- struct{}{}:
	default:
	}
}

func (t *teller) run(ctx context.Context) {
	for {
		select {
		case <-t.wake:
		case <-ctx.Done():
			return
		}
		t.mu.Lock()
		to := slices.Collect(maps.Keys(t.to))
		clear(t.to)
		t.mu.Unlock()
		t.once(ctx, to)
	}
}

func (t *teller) once(ctx context.Context, to []ring.NodeID) {
	a := t.agreement
	a.mu.Lock()
	s := a.state
	a.mu.Unlock()
	m := message{kind: committed, cluster: s.document.Cluster, epoch: s.document.Epoch, value: s.form}
	form := m.append(nil)
	a.callAll(ctx, to, len(form), func(ctx context.Context, node ring.NodeID) {
		if _, err := a.call(ctx, node, &m, form); err != nil {
			a.opts.Log.Debug().Err(err).Stringer("node", node).Msg("a member was not told of a commit")
		}
	})
}
