package wire

import (
	"context"
	"time"
)

const (
	tick         = tickMS * time.Millisecond
	idleTicksMax = 3 // until the sweeper rests
	silenceMaxMS = int64(silenceMax / time.Millisecond)
	stoodStillMS = 10 * tickMS // between two ticks: this process did, or its machine
)

// startSweeping has the sweeper tick. Send does so behind putting something in
// flight: either the sweeper, having said that it rests, still sees that, or it
// is woken.
func (l *Link) startSweeping() {
	if l.sweeping.CompareAndSwap(false, true) {
		l.wake <- struct{}{} // the sweeper has taken the one before, or it would tick
	}
}

// sweep ticks while anything is in flight, and a little longer.
func (l *Link) sweep(ctx context.Context) {
	for {
		select {
		case <-ctx.Done():
			return
		case <-l.wake:
		}
		if !l.tickUntilIdle(ctx) {
			return
		}
	}
}

func (l *Link) tickUntilIdle(ctx context.Context) bool {
	ticker := time.NewTicker(tick)
	defer ticker.Stop()
	var replies []Reply
	lastMS := l.nowMS()
	for idle := 0; ; idle++ {
		select {
		case <-ctx.Done():
			return false
		case <-ticker.C:
		}
		sinceMS := l.nowMS() - lastMS
		lastMS += sinceMS
		for _, ln := range l.lanes {
			ln.readPolled()
			if sinceMS > stoodStillMS {
				continue // let those read who have stood still too, before anything counts as late
			}
			var waiting bool
			replies, waiting = ln.sweep(replies[:0])
			if len(replies) > 0 {
				l.opts.Deliver(replies)
				clear(replies)
			}
			if waiting {
				idle = 0
			}
		}
		if idle >= idleTicksMax && l.rest() {
			return true
		}
	}
}

func (ln *lane) readPolled() {
	if w := ln.polled.Load(); w != nil {
		w.readAll()
	}
}

// rest reports whether the sweeper may stop ticking until it is woken.
func (l *Link) rest() bool {
	l.sweeping.Store(false)
	for _, ln := range l.lanes {
		if ln.waiting() && l.sweeping.CompareAndSwap(false, true) {
			return false
		}
	}
	return true
}

// sweep takes the requests whose time is up, flushes what its sender has left
// behind, and cuts the connection of a peer that has fallen silent. It reports
// whether anything is in flight still.
func (ln *lane) sweep(replies []Reply) (due []Reply, waiting bool) {
	ln.flush()
	ln.mu.Lock()
	defer ln.mu.Unlock()
	nowMS := ln.link.nowMS()
	ln.nowMS = nowMS
	replies = ln.flight.sweep(nowMS, replies)
	if len(replies) > 0 {
		ln.unanswered = true
		ln.link.counters.TimedOut.Add(uint64(len(replies)))
	}
	if ln.box != nil && ln.unanswered && ln.owedMS != 0 && nowMS-ln.owedMS > silenceMaxMS {
		ln.box.failLocked(errSilent)
	}
	return replies, ln.flight.count > 0
}

func (ln *lane) waiting() bool {
	ln.mu.Lock()
	defer ln.mu.Unlock()
	return ln.flight.count > 0
}
