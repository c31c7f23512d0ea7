package repair

import (
	"context"
	"sync"
	"testing"
	"time"
)

// A handClock is moved by hand, and by whoever waits on it.
type handClock struct {
	mu sync.Mutex
	at time.Time
}

func (c *handClock) now() time.Time {
	c.mu.Lock()
	defer c.mu.Unlock()
	return c.at
}

func (c *handClock) pass(d time.Duration) {
	c.mu.Lock()
	defer c.mu.Unlock()
	c.at = c.at.Add(d)
}

func (c *handClock) after(d time.Duration) <-chan time.Time {
	c.pass(d)
	ch := make(chan time.Time, 1)
	ch <- c.now()
	return ch
}

const testRate = 10 << 20

func newTestAdmission(p99 func() time.Duration) (*admission, *handClock) {
	c := &handClock{at: time.UnixMilli(1_700_000_000_000)}
	o := Options{Now: c.now, After: c.after, RateMin: testRate / 10, RateMax: testRate, CallsMax: 2, ForegroundP99: p99}.withDefaults()
	return newAdmission(&o), c
}

// send sends messages of a size for a time, and returns the bytes a second.
func send(t *testing.T, a *admission, c *handClock, bytes int, forTime time.Duration) (rate float64) {
	t.Helper()
	began, total := c.now(), 0
	for c.now().Sub(began) < forTime {
		if err := a.enter(context.Background(), bytes); err != nil {
			t.Fatal(err)
		}
		a.leave()
		total += bytes
		c.pass(100 * time.Microsecond)
	}
	return float64(total) / c.now().Sub(began).Seconds()
}

func TestBackgroundKeepsToItsRate(t *testing.T) {
	for _, size := range []int{1000, 100_000, 3 << 20, 30 << 20} {
		a, c := newTestAdmission(nil)
		rate := send(t, a, c, size, 60*time.Second)
		if rate > 1.2*testRate || rate < 0.8*testRate {
			t.Errorf("messages of %d bytes go at %.0f bytes a second, not %d", size, rate, testRate)
		}
	}
}

// A load is clients that wait for a time of their own, and for background work in
// proportion to its rate.
type load struct {
	a          *admission
	base, work time.Duration
}

// p99 is called with the admission's mu held.
func (l *load) p99() time.Duration {
	return l.base + time.Duration(float64(l.work)*l.a.rate/testRate)
}

func newTestLoad(base, work time.Duration) (*load, *handClock) {
	l := &load{base: base}
	var c *handClock
	l.a, c = newTestAdmission(l.p99)
	for range 20 { // no work yet
		c.pass(steerInterval)
		l.a.pause()
	}
	l.work = work
	return l, c
}

func TestBackgroundGivesWayToClientsThatWait(t *testing.T) {
	l, c := newTestLoad(2*time.Millisecond, 0)
	send(t, l.a, c, 100_000, 10*time.Second)
	if fast := send(t, l.a, c, 100_000, 10*time.Second); fast < 0.8*testRate {
		t.Errorf("while clients do not mind: %.0f bytes a second", fast)
	}
	l.work = 40 * time.Millisecond // at the least rate, still twice as long
	send(t, l.a, c, 100_000, 5*time.Second)
	if slow := send(t, l.a, c, 100_000, 5*time.Second); slow > 0.2*testRate || slow < 0.05*testRate {
		t.Errorf("while clients wait: %.0f bytes a second, and %d is the least", slow, testRate/10)
	}
	l.work = 0
	send(t, l.a, c, 100_000, 15*time.Second)
	if again := send(t, l.a, c, 100_000, 10*time.Second); again < 0.8*testRate {
		t.Errorf("after that: %.0f bytes a second", again)
	}
}

// TestClientsWaitAtMostHalfAsLongAgainHoweverLongTheWorkIs is of hours: what calm is
// must not be forgotten, nor the work made slower than the clients need.
func TestClientsWaitAtMostHalfAsLongAgainHoweverLongTheWorkIs(t *testing.T) {
	l, c := newTestLoad(2*time.Millisecond, 4*time.Millisecond) // at full rate thrice as long
	send(t, l.a, c, 100_000, time.Minute)
	var sum time.Duration
	rate, seconds := 0.0, 1000
	for range seconds {
		rate += send(t, l.a, c, 100_000, time.Second)
		sum += l.a.present().P99
	}
	if mean := sum / time.Duration(seconds); mean > 3*time.Millisecond {
		t.Errorf("clients wait for %v, and %v without the work", mean, l.base)
	}
	if rate /= float64(seconds); rate < 0.1*testRate {
		t.Errorf("%.0f bytes a second, of which clients would not mind %d", rate, testRate/8)
	}
}

func TestWorkBeginsSlowlyWhereThereAreClients(t *testing.T) {
	l, c := newTestLoad(2*time.Millisecond, 0)
	for range 2 {
		if first := send(t, l.a, c, 100_000, 500*time.Millisecond); first > 0.6*testRate {
			t.Errorf("%.0f bytes a second at first", first)
		}
		send(t, l.a, c, 100_000, 5*time.Second)
		if then := send(t, l.a, c, 100_000, 10*time.Second); then < 0.8*testRate {
			t.Errorf("%.0f bytes a second then", then)
		}
		c.pass(2 * slowAfter)
	}
	l.base = 0 // they go
	send(t, l.a, c, 100_000, 500*time.Millisecond)
	if alone := send(t, l.a, c, 100_000, time.Second); alone < 0.8*testRate {
		t.Errorf("%.0f bytes a second without clients", alone)
	}
}

func TestANodeWithoutClientsGivesWayToThoseOfItsPeers(t *testing.T) {
	a, c := newTestAdmission(func() time.Duration { return 0 })
	var others int64
	a.peersRate = func() int64 { return others }
	send(t, a, c, 10_000, 5*time.Second)
	if rate := send(t, a, c, 10_000, 5*time.Second); rate < 0.9*testRate {
		t.Errorf("where no node has clients the rate is %.0f of %d", rate, testRate)
	}
	others = testRate / 4
	send(t, a, c, 10_000, time.Second)
	if rate := send(t, a, c, 10_000, 5*time.Second); rate < 0.9*testRate/4 || rate > 1.1*testRate/4 {
		t.Errorf("where a peer's clients leave %d the rate is %.0f", others, rate)
	}
	others = 1
	send(t, a, c, 10_000, time.Second)
	if rate := send(t, a, c, 10_000, 20*time.Second); rate < 0.9*testRate/10 {
		t.Errorf("the rate is %.0f, and %d at the least", rate, testRate/10)
	}
}

// The store waits as long as it is told, and is not told that work only holds still.
func TestTheStoreIsNotHeldUpByADebtOfAnotherRate(t *testing.T) {
	steered := 0
	a, c := newTestAdmission(func() time.Duration {
		if steered++; steered < 4 {
			return 0
		}
		return 50 * time.Millisecond // clients come, between the cost and the pause
	})
	a.now = func() time.Time {
		c.pass(steerInterval)
		return c.now()
	}
	r := &Repair{admission: a}
	r.Pace(1<<40, 0)
	if wait := r.Pace(1<<40, 0); a.still.IsZero() || wait > debtMax {
		t.Errorf("it is to wait for %v, and work holds still: %v", wait, !a.still.IsZero())
	}
}

func TestClientsOfANodeWithoutWorkHoldNobodyUp(t *testing.T) {
	a, c := newTestAdmission(func() time.Duration { return time.Millisecond })
	send(t, a, c, 10_000, 5*time.Second)
	if rate := a.clientsRate(); rate == 0 {
		t.Error("clients that wait beside work leave it no rate")
	}
	c.pass(time.Second)
	a.clientsRate() // sees the last of the work
	c.pass(2 * time.Second)
	if rate := a.clientsRate(); rate != 0 {
		t.Errorf("clients without work beside them leave it %d", rate)
	}
}

func TestANodeThatHasStartedBeginsSlowly(t *testing.T) {
	a, _ := newTestAdmission(func() time.Duration { return 0 })
	if rate := a.present().Rate; rate > slowFactor*testRate/10 {
		t.Errorf("the rate is %d at first", rate)
	}
}

func TestALoadThatGrowsIsNotTakenForTheFaultOfWork(t *testing.T) {
	l, c := newTestLoad(2*time.Millisecond, 0)
	send(t, l.a, c, 100_000, time.Minute)
	l.base = 20 * time.Millisecond
	send(t, l.a, c, 100_000, 30*time.Second)
	if rate := send(t, l.a, c, 100_000, time.Minute); rate < 0.8*testRate {
		t.Errorf("%.0f bytes a second", rate)
	}
}

func TestBackgroundIsNeverHeldUpAltogether(t *testing.T) {
	p99 := time.Millisecond
	a, c := newTestAdmission(func() time.Duration { p99 += time.Millisecond; return p99 })
	if rate := send(t, a, c, 50_000, 120*time.Second); rate < 0.8*testRate/10 {
		t.Errorf("%.0f bytes a second, and %d is the least", rate, testRate/10)
	}
}

func TestWhatIsServedIsPaidForByPauses(t *testing.T) {
	a, c := newTestAdmission(nil)
	a.spend(testRate / 2)
	if pause := a.pause(); pause < 300*time.Millisecond || pause > 500*time.Millisecond {
		t.Errorf("a pause of %v after half a second's bytes", pause)
	}
	c.pass(time.Second)
	if pause := a.pause(); pause != 0 {
		t.Errorf("a pause of %v when all is paid", pause)
	}
}

func TestWaitingForAdmissionEndsWithItsContext(t *testing.T) {
	a, _ := newTestAdmission(nil)
	ctx, cancel := context.WithCancel(context.Background())
	for range 2 {
		if err := a.enter(ctx, 1); err != nil {
			t.Fatal(err)
		}
	}
	cancel()
	if err := a.enter(ctx, 1); err == nil {
		t.Error("a third call entered, of two")
	}
}

func TestEngagementsExcludeOthersUntilTheyEndOrExpire(t *testing.T) {
	c := &handClock{at: time.UnixMilli(1)}
	e := newEngagements(c.now)
	a, b := nodeID(1), nodeID(2)
	if !e.begin(1, a) || e.begin(1, b) || e.join(1, b) || e.join(1, a) || !e.begin(2, b) {
		t.Error("begun: others are let in, or other partitions are not")
	}
	c.pass(time.Hour)
	if e.join(1, b) {
		t.Error("what this node has begun expired")
	}
	e.end(1, b)
	if e.begin(1, b) {
		t.Error("ended by another")
	}
	e.end(1, a)
	for range 2 {
		if !e.join(1, b) {
			t.Error("joined: it cannot go on")
		}
	}
	if e.join(1, a) || e.begin(1, a) {
		t.Error("joined: others are let in")
	}
	c.pass(engagedFor + 1)
	if !e.begin(1, a) {
		t.Error("a peer's does not expire")
	}
}
