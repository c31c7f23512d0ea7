package cluster

import (
	"math"
	"slices"
	"sync"
	"time"
)

// The young are the operations that wait for others, in the order in which they
// began. Those that wait longer than is usual are hurried: a further node is
// asked. One that ends is not kept: its memory is wanted again while it is still
// in the processor's caches. And writes are parked here that have lost those that
// were to answer, until they are sent again.
type young struct {
	wake chan struct{} // has runHurry tick

	mu      sync.Mutex // guards what follows; innermost, below an operation's
	ops     [kinds]youngList
	parked  []*operation
	added   bool // since the last rest
	ticking bool // runHurry does
	closed  bool
}

const (
	hurryTick = 5 * time.Millisecond
	hurryMin  = 10 * time.Millisecond
	hurryMax  = 100 * time.Millisecond
	// idleHurriesMax is how many ticks without a new operation there are, at least, until the next has to wake runHurry.
	idleHurriesMax = 4
)

// A youngList is operations, linked by older and newer.
type youngList struct {
	oldest, newest *operation
}

// add takes a reference to the operation that the caller has counted.
func (y *young) add(op *operation) {
	y.mu.Lock()
	defer y.mu.Unlock()
	l := &y.ops[op.kind]
	op.young, op.older = true, l.newest
	if l.newest == nil {
		l.oldest = op
	} else {
		l.newest.newer = op
	}
	l.newest = op
	y.added = true
	y.tick()
}

// remove takes the operation out, if it is in, and gives the reference back to the caller.
func (y *young) remove(op *operation) bool {
	y.mu.Lock()
	defer y.mu.Unlock()
	if !op.young {
		return false
	}
	y.ops[op.kind].unlink(op)
	return true
}

func (l *youngList) unlink(op *operation) {
	if op.older == nil {
		l.oldest = op.newer
	} else {
		op.older.newer = op.newer
	}
	if op.newer == nil {
		l.newest = op.older
	} else {
		op.newer.older = op.older
	}
	op.young, op.older, op.newer = false, nil, nil
}

// tick has runHurry tick; the caller holds mu.
func (y *young) tick() {
	if !y.ticking {
		y.ticking = true
		y.wake <- struct{}{} // runHurry has taken the one before, or it would tick
	}
}

// park takes a reference to the operation, which the caller counts, unless runHurry has ended.
func (y *young) park(op *operation) bool {
	y.mu.Lock()
	defer y.mu.Unlock()
	if y.closed {
		return false
	}
	y.parked = append(y.parked, op)
	y.tick()
	return true
}

// due removes and returns the parked that are to be sent again by a time.
func (y *young) due(now time.Duration) (ops []*operation) {
	y.mu.Lock()
	defer y.mu.Unlock()
	y.parked = slices.DeleteFunc(y.parked, func(op *operation) bool {
		due := op.parkedUntil <= now
		if due {
			ops = append(ops, op)
		}
		return due
	})
	return ops
}

// close has nothing be parked any more.
func (y *young) close() {
	y.mu.Lock()
	y.closed = true
	y.mu.Unlock()
	for _, op := range y.due(math.MaxInt64) {
		op.again()
	}
}

// rest reports whether there is nothing to tick for, until there is.
func (y *young) rest() bool {
	y.mu.Lock()
	defer y.mu.Unlock()
	y.ticking = y.added || y.ops[kindRead].oldest != nil || y.ops[kindWrite].oldest != nil || len(y.parked) > 0
	y.added = false
	return !y.ticking
}

// take removes those of a kind that began before a time, and appends them to into.
func (y *young) take(k kind, before time.Duration, into []*operation) []*operation {
	y.mu.Lock()
	defer y.mu.Unlock()
	l := &y.ops[k]
	for op := l.oldest; op != nil && op.began < before; op = l.oldest {
		l.unlink(op)
		into = append(into, op)
	}
	return into
}

// runHurry hurries what is slow, until the coordinator closes.
func (c *Coordinator) runHurry() {
	defer c.young.close()
	for {
		select {
		case <-c.stop:
			return
		case <-c.young.wake:
		}
		if !c.hurryUntilIdle() {
			return
		}
	}
}

func (c *Coordinator) hurryUntilIdle() bool {
	tick := time.NewTicker(hurryTick)
	defer tick.Stop()
	var ops []*operation
	for idle := 0; ; idle++ {
		select {
		case <-c.stop:
			return false
		case <-tick.C:
		}
		parked := c.young.due(c.uptime())
		for _, op := range parked {
			op.again()
		}
		if len(parked) > 0 {
			c.settle() // of some that was the end
			c.Kick()
		}
		ops = ops[:0]
		for k := range kinds {
			ops = c.young.take(k, c.uptime()-c.patience(k), ops)
		}
		if len(ops) == 0 {
			if idle >= idleHurriesMax {
				if c.young.rest() {
					return true
				}
				idle = 0
			}
			continue
		}
		idle = 0
		for _, p := range c.view.Load().peers {
			p.link.Receive()
		}
		for i, op := range ops {
			op.hurry()
			ops[i] = nil
		}
		c.settle()
		c.Kick()
	}
}

// patience is how long a request may take before another node is asked too:
// some times as long as the slowest live peer usually takes.
func (c *Coordinator) patience(k kind) time.Duration {
	slowest := time.Duration(0)
	for _, p := range c.view.Load().peers {
		if p.up() {
			slowest = max(slowest, p.usual(k))
		}
	}
	return min(max(4*slowest, hurryMin), hurryMax)
}

// hurry asks a further node in the place of each that has not answered.
func (op *operation) hurry() {
	op.mu.Lock()
	if op.ended || op.repairing {
		op.unref()
		return
	}
	var notify func()
	switch {
	case op.kind == kindRead:
		op.askOne()
		notify = op.look()
	default:
		for _, r := range slices.Clone(op.requests) {
			if r.round != op.round || r.done || r.hint {
				continue
			}
			f := op.nextFallback()
			if f == nil {
				break
			}
			op.put(f, r.node, true)
		}
		op.putToSlow()
		notify = op.count()
	}
	op.unref()
	if notify != nil {
		notify()
	}
}
