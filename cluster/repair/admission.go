package repair

import (
	"context"
	"sync"
	"time"
)

// An admission is the one controller that all background work asks before it
// sends, serves or merges anything: a token bucket of bytes whose rate is
// steered by how long clients wait.
//
//  1. Each message costs its bytes, and a little for itself and for each object.
//     Work begins while the bucket is not in debt, and may take it into debt: so an
//     object of any size goes, and what comes after it waits the longer.
//  2. Serving never waits, since that would hold up the peer stream. It takes from
//     the bucket, and the reply tells the caller how long to pause.
//  3. Every interval in which there was work, the rate is cut by a quarter where the
//     foreground's p99 is more than half above what it is when calm, else raised by
//     an eighth. Calm is the p99 while there is no work, or the least seen during it;
//     it creeps upward, or a load that grew would look like work's fault for ever.
//  4. The rate never falls under its minimum: work that is held up altogether
//     makes hints overflow and replicas differ.
type admission struct {
	now   func() time.Time
	after func(time.Duration) <-chan time.Time
	p99   func() time.Duration // nil: the rate is fixed
	slots chan struct{}        // holds a token for each call under way

	rateMin, rateMax float64 // bytes a second

	mu       sync.Mutex // guards what follows
	rate     float64
	bucket   float64 // bytes that may be sent at once; negative: a debt
	filledAt time.Time
	steered  time.Time
	worked   bool // since it was steered
	calm     time.Duration
}

const (
	steerInterval  = 100 * time.Millisecond
	burst          = 100 * time.Millisecond // what may be saved up
	debtMax        = 5 * time.Second        // so that one huge object does not stop all for minutes
	toleranceRatio = 1.5
	toleranceMin   = 500 * time.Microsecond // less than that is noise
	messageCost    = 512                    // bytes' worth
	objectCost     = 256
)

func newAdmission(opts *Options) *admission {
	a := &admission{
		now: opts.Now, after: opts.After, p99: opts.ForegroundP99,
		slots:   make(chan struct{}, opts.CallsMax),
		rateMin: float64(opts.RateMin), rateMax: float64(opts.RateMax),
		rate: float64(opts.RateMax),
	}
	a.filledAt, a.steered = a.now(), a.now()
	a.bucket = a.rate * burst.Seconds()
	return a
}

// enter waits until a call of that cost may begin; leave ends it.
func (a *admission) enter(ctx context.Context, bytes int) error {
	select {
	case a.slots <- struct{}{}:
	case <-ctx.Done():
		return ctx.Err()
	}
	for {
		wait := a.try(bytes)
		if wait <= 0 {
			return nil
		}
		select {
		case <-a.after(min(wait, steerInterval)):
		case <-ctx.Done():
			a.leave()
			return ctx.Err()
		}
	}
}

func (a *admission) leave() { <-a.slots }

// try takes the cost where the bucket is not in debt, or says how long it will
// be.
func (a *admission) try(bytes int) (wait time.Duration) {
	a.mu.Lock()
	defer a.mu.Unlock()
	a.fill()
	if a.bucket < 0 {
		return max(a.debt(), time.Millisecond)
	}
	a.take(bytes)
	return 0
}

// spend takes the cost of what has been done already.
func (a *admission) spend(bytes int) {
	a.mu.Lock()
	defer a.mu.Unlock()
	a.fill()
	a.take(bytes)
}

// pause returns how long a peer that is served should wait with more.
func (a *admission) pause() time.Duration {
	a.mu.Lock()
	defer a.mu.Unlock()
	a.fill()
	return a.debt()
}

// present returns the rate in bytes a second.
func (a *admission) present() int64 {
	a.mu.Lock()
	defer a.mu.Unlock()
	a.fill()
	return int64(a.rate)
}

// debt is how long the bucket will take to come out of it; the caller holds mu.
func (a *admission) debt() time.Duration {
	return time.Duration(max(0, -a.bucket/a.rate) * float64(time.Second))
}

func (a *admission) take(bytes int) {
	a.bucket = max(a.bucket-float64(bytes), -a.rate*debtMax.Seconds())
	a.worked = true
}

// fill brings rate and bucket up to now; the caller holds mu.
func (a *admission) fill() {
	now := a.now()
	elapsed := now.Sub(a.filledAt)
	if elapsed > 0 {
		a.bucket = min(a.bucket+a.rate*elapsed.Seconds(), a.rate*burst.Seconds())
	}
	a.filledAt = now
	if since := now.Sub(a.steered); a.p99 != nil && since >= steerInterval {
		a.steer(a.p99(), since)
		a.steered = now
	}
}

// steer sets the rate by how long clients wait; the caller holds mu.
func (a *admission) steer(p99, since time.Duration) {
	worked := a.worked
	a.worked = a.bucket < 0
	switch {
	case p99 <= 0: // no clients
		a.rate = min(a.rate*2, a.rateMax)
		return
	case !worked || a.calm == 0:
		a.calm = p99
	case p99 < a.calm:
		a.calm = p99
	default: // by a hundredth a second
		a.calm += time.Duration(float64(a.calm) * min(since.Seconds(), 1) / 100)
	}
	limit := max(time.Duration(float64(a.calm)*toleranceRatio), a.calm+toleranceMin)
	if worked && p99 > limit {
		a.rate = max(a.rate*3/4, a.rateMin)
		return
	}
	a.rate = min(a.rate*9/8, a.rateMax)
}
