package member

import (
	"context"
	"sync"
	"time"

	"cartwheel/cluster/ring"
)

const (
	// bytesAtOnce bounds, roughly, the requests that are on their way to members at
	// the same time; but there are always askedAtOnceMin of them.
	bytesAtOnce    = 4 << 20
	askedAtOnceMin = 32

	// askPatience is after what time without an answer a request does not keep
	// others from being sent: those who are asked first may be those who are dead.
	askPatience = 100 * time.Millisecond

	// beatenPatience is how long a round that has met a higher ballot still waits for
	// a majority of promises: the dead would have it wait for all of callTimeout.
	beatenPatience = 250 * time.Millisecond
)

// ask sends the round's request to all voters, this node first, and returns when
// a majority has answered, a newer document is heard of, or no majority can come
// about any more.
func (a *Agreement) ask(ctx context.Context, r *round) {
	ctx, cancel := context.WithCancel(ctx)
	defer cancel()
	request, withBase := r.request(), r.withBase()
	form := request.append(nil)
	var mu sync.Mutex // guards r and beaten
	before := r.beatenBy
	var beaten *time.Timer
	defer func() {
		if beaten != nil {
			beaten.Stop()
		}
	}()
	a.callAll(ctx, r.order(), len(form), func(ctx context.Context, to ring.NodeID) {
		reply, err := a.call(ctx, to, &request, form)
		if err == nil && reply.kind == behind {
			reply, err = a.call(ctx, to, &withBase, withBase.append(nil))
		}
		mu.Lock()
		defer mu.Unlock()
		if err != nil {
			a.opts.Log.Debug().Err(err).Stringer("node", to).Msg("a member does not answer a proposal")
			r.fail(to)
		} else {
			r.take(to, reply)
		}
		if reply.kind == abstain {
			a.opts.Log.Debug().Stringer("node", to).Bytes("reason", reply.value).Msg("a member abstains")
		}
		if r.settled() || r.overtaken() || r.hopeless() {
			cancel()
		}
		switch {
		case r.beatenBy == before || beaten != nil:
		case r.voting:
			// Who refuses a vote has promised a higher ballot, and will not be alone in
			// that: the others need not be sent a document for nothing.
			cancel()
		default:
			beaten = time.AfterFunc(beatenPatience, cancel)
		}
	})
}

// complete has a round with a majority of promises know what it must propose, and says
// whether it does.
func (a *Agreement) complete(ctx context.Context, r *round) bool {
	if !r.lacks() {
		return true
	}
	ctx, cancel := context.WithTimeout(ctx, callTimeout)
	defer cancel()
	wanted := r.wanted()
	reply, err := a.call(ctx, r.adoptedBy, &wanted, wanted.append(nil))
	if err != nil {
		a.opts.Log.Debug().Err(err).Stringer("node", r.adoptedBy).Msg("a member does not show what it has accepted")
		return false
	}
	r.take(r.adoptedBy, reply)
	return !r.lacks()
}

// callAll calls call for each node, of requests of that size, and returns when all
// calls have returned. Each has callTimeout; none is begun when ctx is done.
func (a *Agreement) callAll(ctx context.Context, nodes []ring.NodeID, size int, call func(context.Context, ring.NodeID)) {
	var calls sync.WaitGroup
	defer calls.Wait()
	room := make(chan struct{}, max(askedAtOnceMin, bytesAtOnce/size))
	for _, node := range nodes {
		select {
		case room <- struct{}{}:
		case <-ctx.Done():
			return
		}
		calls.Go(func() {
			leave := sync.OnceFunc(func() { <-room })
			defer leave()
			defer time.AfterFunc(askPatience, leave).Stop()
			ctx, cancel := context.WithTimeout(ctx, callTimeout)
			defer cancel()
			call(ctx, node)
		})
	}
}
