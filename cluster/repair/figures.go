package repair

import "sync/atomic"

type counters struct {
	exchanges, repaired, refused atomic.Uint64
	replayed, hintsKept          atomic.Uint64
	filled, dropped, failures    atomic.Uint64
	sent, received               atomic.Uint64
	fillBytes                    atomic.Uint64
	differing, foreign           atomic.Int64
}

// Figures are what INFO and `cluster status` show. Counts are since the start.
type Figures struct {
	Exchanges     uint64 // that came to their end
	Differing     int64  // partitions that differed in the latest of them
	Repaired      uint64 // objects that an exchange, a transfer or a replay changed here
	Refused       uint64 // objects from the future
	HintsReplayed uint64 // and removed
	HintsKept     uint64 // sent or looked at, and kept for another time
	Filled        uint64 // moves that were committed
	Dropped       uint64 // partitions
	Failures      uint64 // of tasks, which were tried again
	BytesSent     uint64 // in messages that this node began
	BytesReceived uint64 // in replies to them

	FillBytes uint64 // that came to fill partitions

	Filling   int   // moves under way that this node sees to
	FillReady int   // those of them that are filled
	Running   int   // tasks
	Foreign   int64 // partitions with something in them that have moved away and are to be dropped
	Owed      int   // partitions of other nodes that are owed a repair: hints for them did not fit

	Steering // of all of it
}

// Figures returns the present ones.
func (r *Repair) Figures() Figures {
	c := &r.counters
	f := Figures{
		Exchanges: c.exchanges.Load(), Differing: c.differing.Load(),
		Repaired: c.repaired.Load(), Refused: c.refused.Load(),
		HintsReplayed: c.replayed.Load(), HintsKept: c.hintsKept.Load(),
		Filled: c.filled.Load(), Dropped: c.dropped.Load(), Failures: c.failures.Load(),
		BytesSent: c.sent.Load(), BytesReceived: c.received.Load(),
		Foreign: c.foreign.Load(), FillBytes: c.fillBytes.Load(),
		Steering: r.admission.present(),
	}
	for _, m := range r.opts.Peers.Ring().Members() {
		f.Owed += len(r.opts.Store.RepairOwed(m.ID))
	}
	r.mu.Lock()
	defer r.mu.Unlock()
	f.Filling = len(r.fills)
	for _, fill := range r.fills {
		if !fill.filledAt.IsZero() {
			f.FillReady++
		}
	}
	for _, n := range r.schedule.running {
		f.Running += n
	}
	return f
}
