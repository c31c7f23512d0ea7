package repair

import (
	"context"
	"errors"
	"slices"
	"sync"
	"time"

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
//  5. The new owner takes over what is stable at its sources, the least of it, and
//     before that what they have purged: whatever is at or below that comes from
//     then on only from those who have everything.
//  6. Filled moves are committed together: at once where no others are left, else
//     when the first has waited for a second.
type fill struct {
	move     ring.Move
	done     map[ring.NodeID]bool         // the sources that all is here of
	levels   map[ring.NodeID]store.Levels // of the sources, before the pass over them began
	doubts   uint64                       // here, before the first of these
	reached  map[ring.NodeID]extent       // how far the pass over a source has come
	stop     context.CancelFunc
	ctx      context.Context // done when the move is no longer wanted
	filledAt time.Time       // zero: it is not filled
}

func (r *Repair) newFill(m ring.Move) *fill {
	f := &fill{move: m, done: map[ring.NodeID]bool{}, levels: map[ring.NodeID]store.Levels{}, reached: map[ring.NodeID]extent{}}
	f.ctx, f.stop = context.WithCancel(r.ctx)
	return f
}

// fillsFrom returns the fills that are to be filled from a source.
func (r *Repair) fillsFrom(table *ring.Ring, source ring.NodeID) (fills []*fill) {
	r.mu.Lock()
	defer r.mu.Unlock()
	for _, f := range r.fills {
		from, _ := r.sources(table, f.move)
		if f.filledAt.IsZero() && !f.done[source] && slices.Contains(from, source) && !r.dropping[f.move.Partition] {
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

// fillEmpty takes over the levels of the source, fills those of which neither side
// holds anything, and returns the others.
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
	holding, levels := map[ring.Partition]bool{}, map[ring.Partition]store.Levels{}
	for _, p := range partitions {
		holding[p] = in.byte() != 0
		levels[p] = in.levels()
	}
	if err := x.replied(in); err != nil {
		return nil, err
	}
	if err := x.fillLevels(fills, levels); err != nil {
		return nil, err
	}
	for _, f := range fills {
		// Who goes has to bring what is here, even where the others hold nothing.
		some, err := x.stores(f.move.Partition)
		if err != nil {
			return nil, err
		}
		if some || f.move.From == x.self || holding[f.move.Partition] {
			rest = append(rest, f)
			continue
		}
		x.fillDone(f, x.peer)
	}
	x.poke()
	return rest, nil
}

// fillLevels notes the levels of a source, and has what it has purged be known here
// before anything comes.
func (x *exchange) fillLevels(fills []*fill, levels map[ring.Partition]store.Levels) error {
	purged := map[ring.Partition]version.HLC{}
	x.mu.Lock()
	for _, f := range fills {
		if len(f.levels) == 0 {
			f.doubts = x.opts.Store.Doubts(f.move.Partition)
		}
		if _, begun := f.levels[x.peer]; !begun {
			f.levels[x.peer] = levels[f.move.Partition]
		}
		if f.move.To == x.self {
			purged[f.move.Partition] = levels[f.move.Partition].Purge
		}
	}
	x.mu.Unlock()
	return x.opts.Store.RaisePurge(purged)
}

// stableOf returns up to where everything is here once the move is filled: what a
// source had that has itself all that was purged up to an HLC. trusted says that there was
// one; the caller holds mu.
func (f *fill) stableOf(purge version.HLC) (least version.HLC, trusted bool) {
	for source := range f.done {
		if stable := f.levels[source].Stable; stable >= purge && (!trusted || stable < least) {
			least, trusted = stable, true
		}
	}
	return least, trusted
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

// holding answers of which partitions something is stored, and what is stable. It looks, and asks no
// tree.
func (s *service) holding() error {
	asked := s.in.partitions(s.table.Partitions())
	if err := s.in.end(); err != nil {
		return err
	}
	if err := s.opts.Store.CommitAll(); err != nil {
		return err
	}
	for _, p := range asked {
		if !s.owns(p) {
			return errNotOwner
		}
		levels := s.opts.Store.Levels(p) // before it looks
		holds, err := s.stores(p)
		if err != nil {
			return err
		}
		some := byte(0)
		if holds {
			some = 1
		}
		s.out = appendLevels(append(s.out, some), levels)
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
