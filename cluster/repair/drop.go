package repair

import (
	"context"
	"maps"
	"slices"
	"time"

	"cartwheel/cluster/ring"
	"cartwheel/cluster/sabotage"
	"cartwheel/store"
)

// Dropping of what has moved away. What is here of a partition may be the only copy
// of a write, if those that have it now missed it. So:
//
//  1. The partition is neither this node's nor becoming so, for a while already, or
//     the node is about to depart.
//  2. All of its owners are up, and each has been brought what it lacks of all that
//     is here, by a pass that is exact: it reads what is stored, and trusts no tree.
//  3. The ring is still the same, and nothing has been written here meanwhile.
//
// Only then it is dropped; else another time.

// dropsBatch is how many partitions are dropped by one task.
const dropsBatch = 16

// adoptForeign takes note of which partitions are not this node's; the caller
// holds mu.
func (r *Repair) adoptForeign(table *ring.Ring, now time.Time) {
	for p := range ring.Partition(table.Partitions()) {
		if holds(table, p, r.self) {
			delete(r.foreign, p)
		} else if _, known := r.foreign[p]; !known {
			r.foreign[p] = now
		}
	}
}

// toDrop returns the partitions of which anything is here, which are to be
// dropped, and those of them of which the time has come and all owners are up.
func (r *Repair) toDrop(table *ring.Ring) (all, due []ring.Partition) {
	r.mu.Lock()
	foreign, grace := maps.Clone(r.foreign), r.opts.DropGrace
	if r.departs {
		grace = 0
	}
	r.mu.Unlock()
	now := r.opts.Now()
	for p, since := range foreign {
		if !r.weighs(p) {
			continue
		}
		all = append(all, p)
		if now.Sub(since) >= grace && r.mayDrop(table, p) {
			due = append(due, p)
		}
	}
	slices.Sort(due)
	return all, due
}

func (r *Repair) mayDrop(table *ring.Ring, p ring.Partition) bool {
	down := func(id ring.NodeID) bool { return !r.opts.Peers.Up(id) }
	return !holds(table, p, r.self) && !slices.ContainsFunc(table.Owners(p), down)
}

// weighs says whether the counts or the tree of a partition show anything.
func (r *Repair) weighs(p ring.Partition) bool {
	if r.opts.Store.Root(p) != 0 {
		return true
	}
	for db := range uint8(store.Databases) {
		if r.opts.Store.PartitionCounts(db, p) != (store.Counts{}) {
			return true
		}
	}
	return false
}

// drop drops what it may, and reports whether something is left.
func (r *Repair) drop(ctx context.Context) (left bool, err error) {
	if !r.treesReady() {
		return true, errNotReady
	}
	table := r.opts.Peers.Ring()
	all, due := r.toDrop(table)
	r.counters.foreign.Store(int64(len(all)))
	batch, dropped := due[:min(len(due), dropsBatch)], 0
	defer func() {
		if dropped > 0 {
			r.log.Info().Int("dropped", dropped).Int("left", len(all)-dropped).Msg("partitions that have moved away are dropped")
		}
	}()
	for _, p := range batch {
		done, err := r.dropOne(ctx, table, p)
		if err != nil {
			return true, err
		}
		if done {
			dropped++
		}
	}
	return dropped < len(all), nil
}

func (r *Repair) dropOne(ctx context.Context, table *ring.Ring, p ring.Partition) (dropped bool, err error) {
	before := r.opts.Store.Root(p)
	for _, owner := range table.Owners(p) {
		if sabotage.On(sabotage.DroppedEarly) {
			break
		}
		x := r.newExchange(owner, table, modeExact|modePushOnly)
		if err := x.pass(ctx, &extent{partition: p, mask: allLeaves}); err != nil {
			return false, err
		}
	}
	if !r.beginDrop(table, p) {
		return false, nil
	}
	defer r.endDrop(p)
	if !r.mayDrop(table, p) || r.opts.Store.Root(p) != before {
		return false, nil
	}
	if err := r.opts.Store.DropPartition(p); err != nil {
		return false, err
	}
	r.counters.dropped.Add(1)
	return true, nil
}

// beginDrop notes that a partition is being dropped, while the ring is still the
// same: if it moves back here meanwhile, it is filled only afterwards, or what is about to
// go would be taken for what has come.
func (r *Repair) beginDrop(table *ring.Ring, p ring.Partition) bool {
	r.mu.Lock()
	defer r.mu.Unlock()
	if r.ring != table || r.opts.Peers.Ring() != table {
		return false
	}
	r.dropping[p] = true
	return true
}

func (r *Repair) endDrop(p ring.Partition) {
	r.mu.Lock()
	delete(r.dropping, p)
	r.mu.Unlock()
	r.poke()
}
