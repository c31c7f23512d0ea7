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
//  3. Where there is work and the foreground's p99 is a third above what it is when
//     calm, the rate is halved, else it is raised by an eighth; and not again before
//     that can have shown.
//  4. Calm is the p99 while there is no work. Where there is work all the time and
//     clients wait longer than when calm, nobody knows whether their load has grown or
//     work is at fault: so work holds still for a second from time to time, and what the p99 is at the end of that is calm.
//  5. Where there are clients, work begins slowly each time: what it does to them
//     shows only half a second later.
//  6. A node without clients goes at the rate of the slowest of its peers that has some:
//     what it does slows their clients down, and only they see it.
//  7. The rate never falls under its minimum: work that is held up for long
//     makes hints overflow and replicas differ.
type admission struct {
	now       func() time.Time
	after     func(time.Duration) <-chan time.Time
	p99       func() time.Duration // nil: the rate is fixed
	peersRate func() int64         // 0: none has clients
	slots     chan struct{}        // holds a token for each call under way

	rateMin, rateMax float64 // bytes a second

	mu       sync.Mutex // guards what follows
	rate     float64
	bucket   float64 // bytes that may be sent at once; negative: a debt
	filledAt time.Time
	steered  time.Time
	worked   bool          // since it was steered
	seen     time.Duration // the p99 when it was steered
	calm     time.Duration // the p99 without work; 0: not known
	calmAt   time.Time     // when calm was seen
	moved    time.Time     // when the rate was
	workedAt time.Time     // when there was work last
	still    time.Time     // until when work holds still; zero: it does not
	resume   float64       // the rate after that
}

const (
	steerInterval  = 100 * time.Millisecond
	burst          = 100 * time.Millisecond // what may be saved up
	debtMax        = 5 * time.Second        // so that one huge object does not stop all for minutes
	toleranceRatio = 1.3                    // so that with what it overshoots it stays under 1.5
	toleranceMin   = 500 * time.Microsecond // less than that is noise
	calmMemory     = 2 * time.Second        // over which calm is the mean
	calmMax        = 10 * time.Second       // how old it may be to blame work
	stillFor       = time.Second            // longer than what the p99 is of
	stillDiscount  = 64                     // of the minimum: less than shows
	slowFactor     = 2                      // of the minimum: the rate that work begins with
	slowAfter      = time.Second            // without work
	movePause      = 300 * time.Millisecond // in which what a change of the rate does has shown
	messageCost    = 512                    // bytes' worth
	objectCost     = 256
	busyCost       = 8 << 20 // a second of one processor: at the default minimum work has an eighth of it
)

func newAdmission(opts *Options) *admission {
	a := &admission{
		now: opts.Now, after: opts.After, p99: opts.ForegroundP99, peersRate: opts.PeersRate,
		slots:   make(chan struct{}, opts.CallsMax),
		rateMin: float64(opts.RateMin), rateMax: float64(opts.RateMax),
		rate: float64(opts.RateMax),
	}
	if a.p99 != nil {
		a.rate = min(a.rate, slowFactor*a.rateMin) // whether others have clients is not known yet
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

// ClientsRate returns the rate that the clients of this node leave to work in the
// background, in bytes a second; 0: it has none, or there is no work here that they
// could suffer from.
func (r *Repair) ClientsRate() int64 { return r.admission.clientsRate() }

func (a *admission) clientsRate() int64 {
	a.mu.Lock()
	defer a.mu.Unlock()
	a.fill()
	if a.seen <= 0 || a.now().Sub(a.workedAt) > slowAfter {
		return 0
	}
	return int64(a.rate)
}

// Pace takes what work of the store's own costs that has read so many bytes in such a time, and returns
// how long it should wait with more: at least as long again, since a node of whose clients nobody
// knows may share its machine with others.
func (r *Repair) Pace(bytes int, took time.Duration) time.Duration {
	r.admission.spend(max(bytes/scanDiscount, int(took.Seconds()*busyCost)))
	return max(took, min(r.admission.pause(), debtMax)) // a debt of before work held still looks like minutes
}

// A Steering is the admission controller's state.
type Steering struct {
	Rate int64         // bytes a second that background work may cost now
	P99  time.Duration // that clients wait of late; 0: there are none
	Calm time.Duration // the same without background work; 0: not known
}

// present returns its state now.
func (a *admission) present() Steering {
	a.mu.Lock()
	defer a.mu.Unlock()
	a.fill()
	return Steering{Rate: int64(a.rate), P99: a.seen, Calm: a.calm}
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
		a.steer(now, a.p99(), since)
		a.steered = now
	}
}

// steer sets the rate by how long clients wait; the caller holds mu.
func (a *admission) steer(now time.Time, p99, since time.Duration) {
	worked := a.worked
	a.worked = a.bucket < 0
	a.seen = p99
	idle := now.Sub(a.workedAt) > slowAfter
	if worked {
		a.workedAt = now
	}
	if p99 <= 0 { // no clients
		a.endStill()
		a.calm = 0
		a.rate = min(a.rate*2, a.rateMax)
		if others := a.peersRate(); others > 0 {
			a.rate = max(a.rateMin, min(a.rate, float64(others)))
		}
		return
	}
	switch {
	case !a.still.IsZero():
		if now.Before(a.still) {
			return
		}
		a.endStill()
		a.calm, a.calmAt = p99, now
	case !worked && a.calm == 0:
		a.calm, a.calmAt = p99, now
	case !worked || p99 < a.calm:
		a.calm += time.Duration(float64(p99-a.calm) * min(1, float64(since)/float64(calmMemory)))
		a.calmAt = now
	}
	limit := max(time.Duration(float64(a.calm)*toleranceRatio), a.calm+toleranceMin)
	waits := worked && (p99 > limit || a.calm == 0)
	switch {
	case idle:
		a.rate = min(a.rate, slowFactor*a.rateMin)
	case waits && (a.calm == 0 || now.Sub(a.calmAt) > calmMax):
		a.still, a.resume, a.rate = now.Add(stillFor), a.rate, a.rateMin/stillDiscount
	case now.Sub(a.moved) < movePause:
	case waits:
		a.rate, a.moved = max(a.rate/2, a.rateMin), now
	default:
		a.rate, a.moved = min(a.rate*9/8, a.rateMax), now
	}
}

// endStill lets work go on as before it held still; the caller holds mu.
func (a *admission) endStill() {
	if !a.still.IsZero() {
		a.still, a.rate = time.Time{}, a.resume
	}
}
