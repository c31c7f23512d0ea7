package store

import (
	"math"
	"sync"
	"sync/atomic"
	"time"

	"cartwheel/store/version"
)

// leaseSpanMax is how far ahead of the HLCs issued the persisted lease is moved
// at most, and so how much of the clock a crash skips. It is four fifths of what
// peers let a clock be ahead, where that is less: what a node issues right after
// a crash is not to be refused.
const leaseSpanMax = 400 * time.Millisecond

// leaseIdle is how long after the last HLC the lease is kept ahead of the clock.
const leaseIdle = 10 * time.Second

// A lease issues HLCs below an upper bound that has been persisted before.
//
//  1. next takes an HLC from the generator; at or below the bound it is issued.
//  2. When less than half of the span is left, the bound is moved in the
//     background, by next or, if that is called rarely, by keepAhead; above the
//     bound itself, before next returns: that is after a pause of leaseIdle.
//  3. Moving persists first and then raises the bound. If it cannot persist,
//     no HLC above the bound is issued: the caller's write fails.
type lease struct {
	gen     *version.Generator
	persist func(version.HLC) error // durable when it returns
	spanMS  int64
	bound   atomic.Uint64
	// issued is at or above all HLCs that were issued here, in earlier lives too.
	issued   atomic.Uint64
	issuedMS atomic.Int64 // wall time of the last one of next

	mu      sync.Mutex // held over persist
	moving  atomic.Bool
	movers  sync.WaitGroup
	onError func(error)
}

func newLease(start version.HLC, drift time.Duration, persist func(version.HLC) error, onError func(error)) *lease {
	l := &lease{gen: version.NewGenerator(start, drift), persist: persist, onError: onError}
	l.spanMS = min(leaseSpanMax, drift*4/5).Milliseconds()
	l.bound.Store(uint64(start))
	l.issued.Store(uint64(start))
	return l
}

// next is issue, and has the bound be kept ahead for a while.
func (l *lease) next(wallMS int64, floor version.HLC) (version.HLC, error) {
	h, err := l.issue(wallMS, floor)
	if err == nil && l.issuedMS.Load() != wallMS { // written to rarely, since all read it
		l.issuedMS.Store(wallMS)
	}
	return h, err
}

// issue issues an HLC above floor and above all that were issued before, over
// restarts too.
func (l *lease) issue(wallMS int64, floor version.HLC) (version.HLC, error) {
	h := l.gen.Next(wallMS, floor)
	bound := version.HLC(l.bound.Load())
	if h > bound {
		if err := l.move(h); err != nil {
			return 0, err
		}
	} else if l.short(bound, h) && l.moving.CompareAndSwap(false, true) {
		l.movers.Go(func() {
			defer l.moving.Store(false)
			if err := l.move(h); err != nil {
				l.onError(err)
			}
		})
	}
	raise(&l.issued, h)
	return h, nil
}

// short says that the bound is to be moved.
func (l *lease) short(bound, h version.HLC) bool {
	return bound.Milliseconds()-h.Milliseconds() < (l.spanMS+1)/2
}

// keepAhead moves the bound for what may be issued next, if anything was lately.
// Call it a few times in the time of a span.
func (l *lease) keepAhead(wallMS int64) {
	last := l.issuedMS.Load()
	if last == 0 || wallMS-last > leaseIdle.Milliseconds() {
		return
	}
	h := max(l.gen.Last(), version.MakeHLC(wallMS, 0))
	if !l.short(version.HLC(l.bound.Load()), h) {
		return
	}
	if err := l.move(h); err != nil {
		l.onError(err)
	}
}

// move raises the bound to the span above h.
func (l *lease) move(h version.HLC) error {
	l.mu.Lock()
	defer l.mu.Unlock()
	bound := version.MakeHLC(h.Milliseconds()+l.spanMS, math.MaxUint16)
	if version.HLC(l.bound.Load()) >= bound {
		return nil
	}
	if err := l.persist(bound); err != nil {
		return err
	}
	l.bound.Store(uint64(bound))
	return nil
}

// cover makes what is issued from now on be above h, over restarts too.
func (l *lease) cover(h version.HLC) error {
	if h <= version.HLC(l.bound.Load()) {
		return nil
	}
	return l.move(h)
}

// wait returns when no bound is being moved in the background.
func (l *lease) wait() { l.movers.Wait() }
