package repair

import (
	"context"
	"errors"
	"slices"
	"sync"
	"time"

	"cartwheel/cluster/quorum"
	"cartwheel/cluster/ring"
	"cartwheel/store"
	"cartwheel/store/version"
)

// Filling of moving partitions (design section 10):
//
//  1. A move is filled by the node that the partition moves to, from the owner that
//     it moves away from. Where that one is dead for good, or nobody goes, from
//     all the other owners: each that is up, and a majority at least. Where nobody
//     comes, the one that goes brings the others what it has, or, if it is dead,
//     the first of the others that is up sees to the move.
//  2. Writes go to the new owner from the epoch on that has the move. So it is
//     enough that what the source had when a pass over the whole partition began is
//     here. That pass is exact: it reads what is stored, and trusts no tree, which
//     after a flush may be incomplete for a while. One by leaves, a moment later, follows.
//  3. A pass that began at an epoch counts while the move is in each epoch after it. Where
//     this node has missed one, it begins anew; what is here already costs its keys only.
//  4. Of the partitions of which both sides hold nothing, all are filled by one message.
//  5. Filled moves are committed together: at once where no others are left, else
//     when the first has waited for a second.
type fill struct {
	move     ring.Move
	done     map[ring.NodeID]bool   // the sources that all is here of
	reached  map[ring.NodeID]extent // how far the pass over a source has come
	stop     context.CancelFunc
	ctx      context.Context // done when the move is no longer wanted
	filledAt time.Time       // zero: it is not filled
}

func (r *Repair) newFill(m ring.Move) *fill {
	f := &fill{move: m, done: map[ring.NodeID]bool{}, reached: map[ring.NodeID]extent{}}
	f.ctx, f.stop = context.WithCancel(r.ctx)
	return f
}

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

func (r *Repair) deadForGood(table *ring.Ring, id ring.NodeID) bool {
	if id == r.self {
		return false
	}
	m, known := table.Member(id)
	return !known || (m.State == ring.Leaving && !r.opts.Peers.Up(id))
}

// sources returns the nodes that the move is filled from and how many of them are
// needed. All that are up are.
func (r *Repair) sources(table *ring.Ring, m ring.Move) (from []ring.NodeID, need int) {
	if m.To != (ring.NodeID{}) && m.From != (ring.NodeID{}) && !r.deadForGood(table, m.From) {
		return []ring.NodeID{m.From}, 1
	}
	owners := table.Owners(m.Partition)
	others := slices.DeleteFunc(slices.Clone(owners), func(id ring.NodeID) bool { return id == m.From || id == r.self })
	return others, min(quorum.Majority(len(owners)), len(others))
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

// fillsFrom returns the fills that are to be filled from a source.
func (r *Repair) fillsFrom(table *ring.Ring, source ring.NodeID) (fills []*fill) {
	r.mu.Lock()
	defer r.mu.Unlock()
	for _, f := range r.fills {
		from, _ := r.sources(table, f.move)
		if f.filledAt.IsZero() && !f.done[source] && slices.Contains(from, source) {
			fills = append(fills, f)
		}
	}
	slices.SortFunc(fills, func(a, b *fill) int { return int(a.move.Partition) - int(b.move.Partition) })
	return fills
}

// fillWorkers is how many partitions are filled from one source at a time.
const fillWorkers = 3

// fillFrom fills from one source what is to be filled from it, and reports
// whether any of that is done.
func (r *Repair) fillFrom(ctx context.Context, source ring.NodeID) (progress bool, err error) {
	table := r.opts.Peers.Ring()
	fills := r.fillsFrom(table, source)
	if len(fills) == 0 {
		return false, nil
	}
	x := r.newExchange(source, table, modeExact)
	rest, err := x.fillEmpty(ctx, fills)
	if err != nil {
		return false, err
	}
	err = r.fillAll(ctx, table, rest, source)
	return len(r.fillsFrom(table, source)) < len(fills), err
}

// fillAll fills partitions from one source, several at a time.
func (r *Repair) fillAll(ctx context.Context, table *ring.Ring, fills []*fill, source ring.NodeID) (err error) {
	work := make(chan *fill)
	failed := make(chan error, fillWorkers)
	var workers sync.WaitGroup
	for range fillWorkers {
		workers.Go(func() {
			for f := range work {
				if err := r.fillOne(ctx, table, f, source); err != nil && f.ctx.Err() == nil {
					failed <- err
					return
				}
			}
		})
	}
	for _, f := range fills {
		select {
		case work <- f:
			continue
		case err = <-failed:
		case <-ctx.Done():
			err = ctx.Err()
		}
		break
	}
	close(work)
	workers.Wait()
	close(failed)
	for e := range failed {
		err = errors.Join(err, e)
	}
	return err
}

// fillEmpty fills those of which the source holds nothing, and returns the others.
func (x *exchange) fillEmpty(ctx context.Context, fills []*fill) (rest []*fill, err error) {
	var partitions []ring.Partition
	for _, f := range fills {
		if n := len(partitions); n == 0 || partitions[n-1] != f.move.Partition {
			partitions = append(partitions, f.move.Partition)
		}
	}
	in, err := x.call(ctx, x.peer, askHolding, func(dst []byte) []byte { return appendPartitions(dst, partitions) })
	if err != nil {
		return nil, err
	}
	holding := in.partitions(x.table.Partitions())
	if err := x.replied(in); err != nil {
		return nil, err
	}
	for _, f := range fills {
		// Who goes has to bring what is here, even where the others hold nothing.
		if f.move.From == x.self || slices.Contains(holding, f.move.Partition) {
			rest = append(rest, f)
			continue
		}
		x.fillDone(f, x.peer)
	}
	x.poke()
	return rest, nil
}

// fillOne fills one partition from one source.
func (r *Repair) fillOne(ctx context.Context, table *ring.Ring, f *fill, source ring.NodeID) error {
	ctx, cancel := context.WithCancel(ctx)
	defer cancel()
	defer context.AfterFunc(f.ctx, cancel)()
	x := r.newExchange(source, table, modeExact)
	if f.move.From == r.self {
		x.mode |= modePushOnly
	}
	p := f.move.Partition

	r.mu.Lock()
	e, begun := f.reached[source]
	r.mu.Unlock()
	if !begun {
		e = extent{partition: p, mask: allLeaves}
	}
	err := x.pass(ctx, &e)
	r.mu.Lock()
	f.reached[source] = e
	r.mu.Unlock()
	if err != nil {
		return err
	}
	if x.treesReady() {
		if err := x.passAgain(ctx, p); err != nil && !errors.Is(err, errNotReady) {
			return err
		}
	}
	r.fillDone(f, source)
	return nil
}

// passAgain compares the leaves, and what differs below them.
func (x *exchange) passAgain(ctx context.Context, p ring.Partition) error {
	found, err := x.leavesTwice(ctx, []ring.Partition{p})
	if err != nil || found[0].differ == 0 {
		return err
	}
	return x.pass(ctx, &extent{partition: p, mask: found[0].differ})
}

func (r *Repair) fillDone(f *fill, source ring.NodeID) {
	r.mu.Lock()
	defer r.mu.Unlock()
	f.done[source] = true
	delete(f.reached, source)
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
	r.mu.Unlock()
	if len(moves) == 0 {
		return nil
	}
	slices.SortFunc(moves, compareMoves)
	ctx, cancel := context.WithTimeout(ctx, r.opts.FilledTimeout)
	defer cancel()
	if err := r.opts.Filled(ctx, moves); err != nil {
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

// holding answers in which partitions something is stored. It looks, and asks no
// tree.
func (s *service) holding() error {
	asked := s.in.partitions(s.table.Partitions())
	if err := s.in.end(); err != nil {
		return err
	}
	if err := s.opts.Store.Sync(); err != nil {
		return err
	}
	for _, p := range asked {
		if !s.owns(p) {
			return errNotOwner
		}
		holds, err := s.stores(p)
		if err != nil {
			return err
		}
		if holds {
			s.out = appendPartitions(s.out, []ring.Partition{p})
		}
	}
	return nil
}

// stores says whether anything is stored of a partition.
func (r *Repair) stores(p ring.Partition) (some bool, err error) {
	e := extent{partition: p, mask: allLeaves}
	err = r.scan(&e, r.opts.Peers.Ring().Partitions(), func(store.Key, *version.Object) bool {
		some = true
		return false
	})
	return some, err
}
