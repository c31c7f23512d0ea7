package sim

import (
	"fmt"
	"math/rand/v2"
	"time"

	"cartwheel/store"
)

// A plan is what a seed decides before anything runs.
type plan struct {
	nodes      int
	replicas   int
	partitions int
	zones      int // that the machines are in; 0: none
	weights    bool
	sync       store.SyncMode
	syncOne    bool
	hintBytes  int64
	exchange   time.Duration
	stability  time.Duration
	rounds     int
	lasting    time.Duration // a round's faults
	pace       int           // how many times longer than usual clients wait, keys live and faults are apart; 0 is 1
	badClocks  bool          // clocks jump beyond max-clock-drift
	syncTakes  time.Duration // of disks, at most
	loads      []load
}

func newPlan(r *rand.Rand) plan {
	p := plan{
		nodes: 3 + r.IntN(3), replicas: 3, partitions: []int{4, 8, 16}[r.IntN(3)],
		sync:     []store.SyncMode{store.SyncEverysec, store.SyncEverysec, store.SyncAlways}[r.IntN(3)],
		exchange: time.Duration(500+r.IntN(3000)) * time.Millisecond,
		rounds:   2, lasting: 20 * time.Second,
		weights: r.IntN(4) == 0, badClocks: r.IntN(4) == 0,
	}
	p.stability = time.Duration(500+r.IntN(3000)) * time.Millisecond
	if r.IntN(3) == 0 {
		p.zones = 2 + r.IntN(2)
	}
	if r.IntN(4) == 0 {
		p.hintBytes = 1 << (10 + r.IntN(4))
	}
	p.loads = []load{setAdd, siblings, register}
	if !p.badClocks { // which value is the newest is for the clocks to say
		p.loads = append(p.loads, sessions)
	}
	switch r.IntN(8) {
	case 0:
		p.sync = store.SyncNo
	case 1:
		p.sync, p.syncOne = store.SyncEverysec, true
	}
	p.syncTakes = []time.Duration{100 * time.Microsecond, time.Millisecond, 10 * time.Millisecond}[r.IntN(3)]
	if r.IntN(6) == 0 {
		// Hours, at a node's own intervals: each fault has time to be noticed and mended, and little is under way at any time.
		p.pace, p.exchange, p.stability = 180, 10*time.Second, 10*time.Second
	}
	return p
}

// paced returns how long something takes at the plan's pace.
func (p *plan) paced(d time.Duration) time.Duration { return d * time.Duration(max(1, p.pace)) }

func (p plan) String() string {
	return fmt.Sprintf("%d nodes, pace %d, %d partitions, %d zones, weights %v, sync %v (one: %v), hints of %d bytes, exchanges every %v, rounds of what is stable every %v, clocks beyond their bounds %v, syncs of up to %v",
		p.nodes, p.pace, p.partitions, p.zones, p.weights, p.sync, p.syncOne, p.hintBytes, p.exchange, p.stability, p.badClocks, p.syncTakes)
}

// A budget says which faults a round may have, so that the promises still claim
// something in it.
type budget struct {
	// losses is how many machines may still lose what they have acknowledged. No write is
	// then acknowledged by fewer than two, and only what one loses is lost.
	lossy  bool
	losses int
	// rollback says that the loss may be an old copy put back. It forgets votes too, so the
	// ring does not change in that round.
	rollback bool
}

func newBudget(r *rand.Rand) budget {
	switch r.IntN(5) {
	case 0:
		return budget{lossy: true, losses: 1, rollback: true}
	case 1, 2:
		return budget{lossy: true, losses: 1}
	}
	return budget{}
}
