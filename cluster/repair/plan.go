package repair

import (
	"bytes"
	"slices"
	"time"

	"cartwheel/cluster/ring"
)

// planInterval is after what time the planner looks again, whatever happens.
const planInterval = time.Second

// plan makes the schedule what ring, liveness and store ask for. The caller holds
// mu.
func (r *Repair) plan(table *ring.Ring, now time.Time) {
	r.adopt(table, now)
	if r.shrinks { // who sees to that depends on who is up
		r.adoptMoves(table, true)
	}
	for _, e := range r.schedule.entries {
		e.wanted = false
	}
	if _, is := table.Member(r.self); !is {
		return // nobody talks to this node any more
	}
	r.planShown(table, now)
	r.planHints(table, now)
	r.planExchanges(table, now)
	r.planFills(table, now)
	r.planStability(table, now)
	if len(r.foreign) > 0 {
		e := r.schedule.want(task{kind: dropTask}, now.Add(dropPause))
		if r.departs && e.due.After(now.Add(departPause)) {
			e.due = now.Add(departPause)
		}
	}
	kicked := r.kicks.take()
	for t, e := range r.schedule.entries {
		if e.wanted && kicked[t.peer] {
			e.asked, e.failures = true, 0
		}
	}
}

// adopt derives from a new ring what does not change while it is the present one.
func (r *Repair) adopt(table *ring.Ring, now time.Time) {
	if r.ring == table {
		return
	}
	known := r.ring != nil && table.Epoch() <= r.ring.Epoch()+1
	r.ring = table
	r.adoptMoves(table, known)
	r.adoptForeign(table, now)
	self, _ := table.Member(r.self)
	r.departs = self.State == ring.Leaving && len(r.foreign) == table.Partitions()
	r.shared = map[ring.NodeID][]ring.Partition{}
	r.adoptStability(table)
	for p := range ring.Partition(table.Partitions()) {
		owners := table.Owners(p)
		if !slices.Contains(owners, r.self) {
			continue
		}
		for _, owner := range owners {
			if owner != r.self {
				r.shared[owner] = append(r.shared[owner], p)
			}
		}
	}
	for t, e := range r.schedule.entries { // what failed may have failed for the old ring
		if t.kind == fillTask || t.kind == commitTask {
			e.failures, e.asked = 0, true
		}
	}
}

// planHints wants hints replayed to who is up, and looked through once where the
// ring has changed. Those for who is no member any more wait for nobody, and may have
// come after that.
func (r *Repair) planHints(table *ring.Ring, now time.Time) {
	for _, st := range r.opts.Store.HintOwners() {
		_, is := table.Member(st.Owner)
		if st.Count > 0 && (!is || r.up(st.Owner) || r.swept[st.Owner] != table.Epoch()) {
			r.schedule.want(task{hintsTask, st.Owner}, now)
		}
	}
	for _, owner := range r.opts.Store.RepairsOwed() {
		// What is owed to who is no member any more is crossed off.
		if _, is := table.Member(owner); owner != r.self && (!is || r.opts.Peers.Up(owner)) {
			r.schedule.want(task{owedTask, owner}, now)
		}
	}
}

// planExchanges wants one with each peer that is up: the one of the lower id
// begins, unless a repair is owed here.
func (r *Repair) planExchanges(table *ring.Ring, now time.Time) {
	owed := r.owedPeers(table, now)
	for peer := range r.shared {
		if r.opts.NoExchanges || !r.opts.Peers.Up(peer) || (bytes.Compare(r.self[:], peer[:]) > 0 && !owed[peer]) {
			continue
		}
		e := r.schedule.want(task{exchangeTask, peer}, now)
		if owed[peer] && e.failures == 0 && e.due.After(now.Add(busyPause)) {
			e.due = now
		}
		// Hints first: they bring the same with less ado.
		if h := r.schedule.entries[task{hintsTask, peer}]; h != nil && h.running {
			e.due = maxTime(e.due, now.Add(busyPause))
			e.asked = false
		}
	}
}

// planFills wants each source that is up asked, and what is filled committed.
func (r *Repair) planFills(table *ring.Ring, now time.Time) {
	if len(r.fills) == 0 {
		return
	}
	moves, wait := r.filledMoves(table, now)
	if len(moves) > 0 || wait > 0 {
		e := r.schedule.want(task{kind: commitTask}, now.Add(wait))
		if len(moves) == len(r.fills) && e.failures == 0 && r.proposed != (proposal{table, len(moves)}) {
			e.asked = true
		}
	}
	for _, f := range r.fills {
		if !f.filledAt.IsZero() {
			continue
		}
		from, _ := r.sources(table, f.move)
		for _, source := range from {
			if !f.done[source] && r.opts.Peers.Up(source) {
				r.schedule.want(task{fillTask, source}, now)
			}
		}
	}
}

func maxTime(a, b time.Time) time.Time {
	if a.After(b) {
		return a
	}
	return b
}
