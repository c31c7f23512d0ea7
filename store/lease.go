package store

import (
	"sync"
	"sync/atomic"
	"time"

	"cartwheel/store/version"
)

// leaseSpan is how far ahead of the HLCs issued the persisted lease is moved,
// and so how much of the clock a crash skips.
const leaseSpan = 2 * time.Second

// A lease issues HLCs below an upper bound that has been persisted before.
//
//  1. next takes an HLC from the generator; at or below the bound it is issued.
//  2. Above the middle of the span that is left, the bound is moved in the
//     background; above the bound itself, before next returns.
//  3. Moving persists first and then raises the bound. If it cannot persist,
//     no HLC above the bound is issued: the caller's write fails.
type lease struct {
	gen     *version.Generator
	persist func(version.HLC) error // durable when it returns
	bound   atomic.Uint64

	mu      sync.Mutex // held over persist
	moving  atomic.Bool
	movers  sync.WaitGroup
	onError func(error)
}

func newLease(start version.HLC, drift time.Duration, persist func(version.HLC) error, onError func(error)) *lease {
	l := &lease{gen: version.NewGenerator(start, drift), persist: persist, onError: onError}
	l.bound.Store(uint64(start))
	return l
}

// next issues an HLC above floor and above all that were issued before, over
// restarts too.
func (l *lease) next(wallMS int64, floor version.HLC) (version.HLC, error) {
	h := l.gen.Next(wallMS, floor)
	bound := version.HLC(l.bound.Load())
	if h > bound {
		if err := l.move(h); err != nil {
			return 0, err
		}
	} else if bound.Milliseconds()-h.Milliseconds() < leaseSpan.Milliseconds()/2 && l.moving.CompareAndSwap(false, true) {
		l.movers.Go(func() {
			defer l.moving.Store(false)
			if err := l.move(h); err != nil {
				l.onError(err)
			}
		})
	}
	return h, nil
}

// move raises the bound to leaseSpan above h.
func (l *lease) move(h version.HLC) error {
	l.mu.Lock()
	defer l.mu.Unlock()
	bound := version.MakeHLC(h.Milliseconds()+leaseSpan.Milliseconds(), 0)
	if version.HLC(l.bound.Load()) >= bound {
		return nil
	}
	if err := l.persist(bound); err != nil {
		return err
	}
	l.bound.Store(uint64(bound))
	return nil
}

// wait returns when no bound is being moved in the background.
func (l *lease) wait() { l.movers.Wait() }
