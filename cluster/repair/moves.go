package repair

import (
	"context"
	"slices"
	"time"

	"cartwheel/cluster/ring"
	"cartwheel/store"
	"cartwheel/store/version"
)

// adoptMoves makes the fills those of the ring; the caller holds mu. known says
// that no epoch was missed since the fills were made.
func (r *Repair) adoptMoves(table *ring.Ring, known bool) {
	wanted := map[ring.Move]bool{}
	r.shrinks = false
	for _, m := range table.Document().Moves {
		r.shrinks = r.shrinks || m.To == (ring.NodeID{})
		if r.sees(table, m) {
			wanted[m] = true
		}
	}
	for m, f := range r.fills {
		if !wanted[m] || !known {
			f.stop()
			delete(r.fills, m)
		}
	}
	for m := range wanted {
		if r.fills[m] == nil {
			r.fills[m] = r.newFill(m)
		}
	}
	r.filling.adopt(&r.counters, len(r.fills) > 0, r.opts.Now())
}

// sees says whether this node sees to a move.
func (r *Repair) sees(table *ring.Ring, m ring.Move) bool {
	if m.To != (ring.NodeID{}) {
		return m.To == r.self
	}
	if !r.deadForGood(table, m.From) {
		return m.From == r.self
	}
	for _, owner := range table.Owners(m.Partition) {
		if owner != m.From && (owner == r.self || r.opts.Peers.Up(owner)) {
			return owner == r.self
		}
	}
	return false
}

// deadForGood says that nothing more is to be had from a node. One that leaves
// and is down is waited for: it may have the only copy of what it acknowledged.
func (r *Repair) deadForGood(table *ring.Ring, id ring.NodeID) bool {
	if id == r.self {
		return false
	}
	m, known := table.Member(id)
	return !known || (m.State == ring.Removed && !r.opts.Peers.Up(id))
}

// sources returns the nodes that the move is filled from and how many of them are
// needed. All that are up are.
func (r *Repair) sources(table *ring.Ring, m ring.Move) (from []ring.NodeID, need int) {
	if m.To != (ring.NodeID{}) && m.From != (ring.NodeID{}) && !r.deadForGood(table, m.From) {
		return []ring.NodeID{m.From}, 1
	}
	owners := table.Owners(m.Partition)
	others := slices.DeleteFunc(slices.Clone(owners), func(id ring.NodeID) bool {
		return id == m.From || id == r.self || r.deadForGood(table, id)
	})
	majority := len(owners)/2 + 1
	return others, min(majority, len(others))
}

// isFilled says whether all is here that has to be; the caller holds mu.
func (r *Repair) isFilled(table *ring.Ring, f *fill) bool {
	from, need := r.sources(table, f.move)
	n := 0
	for _, id := range from {
		if f.done[id] {
			n++
		} else if r.opts.Peers.Up(id) {
			return false
		}
	}
	return n >= need
}

// filledMoves returns the moves to commit now, or when to look again; none, while
// there are others that will be filled soon. The caller holds mu.
func (r *Repair) filledMoves(table *ring.Ring, now time.Time) (moves []ring.Move, wait time.Duration) {
	first := now
	for _, f := range r.fills {
		if f.filledAt.IsZero() && r.isFilled(table, f) {
			f.filledAt = now
		}
		if !f.filledAt.IsZero() {
			moves = append(moves, f.move)
			if f.filledAt.Before(first) {
				first = f.filledAt
			}
		}
	}
	if len(moves) == 0 || len(moves) == len(r.fills) {
		return moves, 0
	}
	if waited := now.Sub(first); waited < r.opts.FilledWait {
		return nil, r.opts.FilledWait - waited
	}
	return moves, 0
}

// commitFilled proposes the epoch in which what is filled has moved.
func (r *Repair) commitFilled(ctx context.Context) error {
	table := r.opts.Peers.Ring()
	r.mu.Lock()
	var moves []ring.Move
	if r.ring == table { // else the plan is to be made anew first
		moves, _ = r.filledMoves(table, r.opts.Now())
	}
	filled, unsure := map[ring.Partition]store.Filled{}, map[ring.Partition]version.HLC{}
	for _, m := range moves {
		if m.To != r.self {
			continue
		}
		purge := r.opts.Store.Levels(m.Partition).Purge
		f := r.fills[m]
		unsure[m.Partition] = purge
		if stable, trusted := f.stableOf(purge); trusted {
			filled[m.Partition] = store.Filled{Stable: stable, Doubts: f.doubts}
		}
	}
	r.mu.Unlock()
	if len(moves) == 0 {
		return nil
	}
	trusted, err := r.opts.Store.Trust(filled)
	if err != nil {
		return err
	}
	for _, p := range trusted {
		delete(unsure, p)
	}
	// It is filled anew once this node owns it.
	if err := r.opts.Store.Distrust(unsure); err != nil {
		return err
	}
	slices.SortFunc(moves, compareMoves)
	ctx, cancel := context.WithTimeout(ctx, r.opts.FilledTimeout)
	defer cancel()
	if err := r.opts.Filled(ctx, table.Epoch(), moves); err != nil {
		return err
	}
	r.counters.filled.Add(uint64(len(moves)))
	r.mu.Lock()
	r.proposed = proposal{table, len(moves)}
	r.mu.Unlock()
	r.log.Info().Int("moves", len(moves)).Msg("filled partitions have moved here")
	return nil
}

// A proposal is how many moves of a ring were proposed to be committed.
type proposal struct {
	table *ring.Ring
	moves int
}

func compareMoves(a, b ring.Move) int {
	if a.Partition != b.Partition {
		return int(a.Partition) - int(b.Partition)
	}
	return slices.Compare(append(a.From[:], a.To[:]...), append(b.From[:], b.To[:]...))
}
