package cluster

import (
	"sync"
	"time"
)

// The young are the operations that wait for others, in the order in which they
// began. Those that wait longer than is usual are hurried: a further node is
// asked.
type young struct {
	wake chan struct{} // has runHurry tick

	mu      sync.Mutex // guards what follows
	ops     []*operation
	ticking bool // runHurry does
}

const (
	hurryTick = 5 * time.Millisecond
	hurryMin  = 10 * time.Millisecond
	hurryMax  = 100 * time.Millisecond
	// idleHurriesMax is how many ticks without an operation there are until the next has to wake runHurry.
	idleHurriesMax = 20
)

// add takes a reference to the operation that the caller has counted.
func (y *young) add(op *operation) {
	y.mu.Lock()
	defer y.mu.Unlock()
	y.ops = append(y.ops, op)
	if !y.ticking {
		y.ticking = true
		y.wake <- struct{}{} // runHurry has taken the one before, or it would tick
	}
}

// rest reports whether there is nothing to tick for, until there is.
func (y *young) rest() bool {
	y.mu.Lock()
	defer y.mu.Unlock()
	y.ticking = len(y.ops) > 0
	return !y.ticking
}

// take removes and returns those that began before a time.
func (y *young) take(before time.Duration, into []*operation) []*operation {
	y.mu.Lock()
	defer y.mu.Unlock()
	n := 0
	for n < len(y.ops) && y.ops[n].began < before {
		n++
	}
	into = append(into[:0], y.ops[:n]...)
	rest := copy(y.ops, y.ops[n:])
	clear(y.ops[rest:])
	y.ops = y.ops[:rest]
	return into
}

// runHurry hurries what is slow, until the coordinator closes.
func (c *Coordinator) runHurry() {
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
		ops = c.young.take(c.uptime()-c.patience(), ops)
		if len(ops) == 0 {
			if idle >= idleHurriesMax && c.young.rest() {
				return true
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
func (c *Coordinator) patience() time.Duration {
	slowest := time.Duration(0)
	for _, p := range c.view.Load().peers {
		if p.up() {
			slowest = max(slowest, p.usual())
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
	if op.kind == kindRead {
		op.askOne()
		notify = op.look()
	} else {
		for _, r := range append([]*request(nil), op.requests...) {
			if r.round != op.round || r.done || r.hint {
				continue
			}
			f := op.nextFallback()
			if f == nil {
				break
			}
			op.put(f, r.node, true)
		}
		notify = op.count()
	}
	op.unref()
	if notify != nil {
		notify()
	}
}
