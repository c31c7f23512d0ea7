package repair

import (
	"cmp"
	"fmt"
	"maps"
	"slices"
	"strings"
	"sync/atomic"
	"time"

	"cartwheel/cluster/ring"
	"cartwheel/store/version"
)

type counters struct {
	exchanges, repaired, refused atomic.Uint64
	replayed, hintsKept          atomic.Uint64
	filled, dropped, failures    atomic.Uint64
	stable, refilled             atomic.Uint64
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

	Stable   uint64 // partitions that were found to be stable up to a later time, by rounds that this node led
	Refilled uint64 // partitions that were filled anew
	// PurgedTo is the least HLC that a partition of this node may be purged up to.
	PurgedTo version.HLC
	// HeldBack says what held back the partitions that this node leads the rounds of,
	// when it was looked at last; empty: nothing.
	HeldBack  string
	Untrusted int // partitions that are to be filled anew here

	FillBytes uint64 // that came to fill partitions

	Filling   int           // moves under way that this node sees to
	FillReady int           // those of them that are filled
	FillDone  int           // moves committed since this node had none to see to
	FillMoved uint64        // bytes that came since then
	FillTook  time.Duration // since then; when all is done, how long it took

	Running int   // tasks
	Foreign int64 // partitions with something in them that have moved away and are to be dropped
	Owed    int   // partitions of other nodes that are owed a repair: hints for them did not fit

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
		Stable: c.stable.Load(), Refilled: c.refilled.Load(),
		Foreign: c.foreign.Load(), FillBytes: c.fillBytes.Load(),
		Steering: r.admission.present(),
	}
	for _, m := range r.opts.Peers.Ring().Members() {
		f.Owed += len(r.opts.Store.RepairOwed(m.ID))
	}
	r.mu.Lock()
	defer r.mu.Unlock()
	f.PurgedTo, f.HeldBack = r.purgedTo(), heldBack(r.held)
	f.Untrusted = len(r.refilling(r.opts.Peers.Ring()))
	f.Filling = len(r.fills)
	for _, fill := range r.fills {
		if !fill.filledAt.IsZero() {
			f.FillReady++
		}
	}
	r.filling.show(&f, r.opts.Now(), len(r.fills) > 0)
	for _, n := range r.schedule.running {
		f.Running += n
	}
	return f
}

// A filling is the time from when there were moves to see to until there are none.
// It belongs to the Repair, whose mu guards it.
type filling struct {
	began, ended  time.Time
	filled, bytes uint64 // the counters when it began
}

// adopt notes that there are moves to see to, or none.
func (f *filling) adopt(c *counters, some bool, now time.Time) {
	under := !f.began.IsZero() && f.ended.IsZero()
	switch {
	case some && !under:
		*f = filling{began: now, filled: c.filled.Load(), bytes: c.fillBytes.Load()}
	case !some && under:
		f.ended = now
	}
}

func (f *filling) show(into *Figures, now time.Time, some bool) {
	if f.began.IsZero() {
		return
	}
	if !some && !f.ended.IsZero() {
		now = f.ended
	}
	into.FillDone, into.FillMoved, into.FillTook = int(into.Filled-f.filled), into.FillBytes-f.bytes, now.Sub(f.began)
}

// Remains are what a node has that others may lack: it must not depart before
// there are none.
type Remains struct {
	Hints      int64
	Owed       int  // members that are owed a repair
	Partitions int  // with something in them, of which the node is no owner
	Counting   bool // what is stored is still being counted
}

// Remains returns this node's.
func (r *Repair) Remains() (left Remains, err error) {
	left.Counting = !r.treesReady()
	for _, st := range r.opts.Store.HintOwners() {
		left.Hints += st.Count
	}
	table := r.opts.Peers.Ring()
	for _, m := range table.Members() {
		if m.ID != r.self && len(r.opts.Store.RepairOwed(m.ID)) > 0 {
			left.Owed++
		}
	}
	for p := range ring.Partition(table.Partitions()) {
		if holds(table, p, r.self) {
			continue
		}
		some := r.weighs(p)
		if !some { // the counts may lag behind
			if some, err = r.stores(p); err != nil {
				return left, err
			}
		}
		if some {
			left.Partitions++
		}
	}
	return left, nil
}

// None says that nothing remains.
func (left Remains) None() bool { return left == Remains{} }

// purgedTo returns the least purge level of what this node owns; 0 where it owns
// nothing.
func (r *Repair) purgedTo() (least version.HLC) {
	table := r.opts.Peers.Ring()
	some := false
	for p := range ring.Partition(table.Partitions()) {
		if !slices.Contains(table.Owners(p), r.self) {
			continue
		}
		if purge := r.opts.Store.Levels(p).Purge; !some || purge < least {
			least, some = purge, true
		}
	}
	return least
}

// holdsShown is how many reasons INFO names.
const holdsShown = 4

// heldBack names what holds partitions back, what holds back the most first.
func heldBack(held map[ring.Partition]hold) string {
	count := map[hold]int{}
	for _, h := range held {
		count[h]++
	}
	holds := slices.SortedFunc(maps.Keys(count), func(a, b hold) int {
		return cmp.Or(cmp.Compare(count[b], count[a]), strings.Compare(a.String(), b.String()))
	})
	var parts []string
	for _, h := range holds[:min(len(holds), holdsShown)] {
		parts = append(parts, fmt.Sprintf("%s (%d partitions)", h, count[h]))
	}
	return strings.Join(parts, "; ")
}
