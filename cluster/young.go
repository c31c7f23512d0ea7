package cluster

import (
	"sync"
	"time"
)

// The young are the operations that wait for others, in the order in which they
// began. Those that wait longer than is usual are hurried: a further node is
// asked.
type young struct {
	mu  sync.Mutex
	ops []*operation // guarded by mu
}

const (
	hurryTick = 5 * time.Millisecond
	hurryMin  = 10 * time.Millisecond
	hurryMax  = 100 * time.Millisecond
)

// add takes a reference to the operation that the caller has counted.
func (y *young) add(op *operation) {
	y.mu.Lock()
	y.ops = append(y.ops, op)
	y.mu.Unlock()
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
	tick := time.NewTicker(hurryTick)
	defer tick.Stop()
	var ops []*operation
	for {
		select {
		case <-c.stop:
			return
		case <-tick.C:
		}
		ops = c.young.take(c.uptime()-c.patience(), ops)
		if len(ops) == 0 {
			continue
		}
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
