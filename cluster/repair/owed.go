package repair

import (
	"context"
	"fmt"
	"slices"
	"time"

	"cartwheel/cluster/ring"
)

// Where hints for an owner did not all fit, its partition is owed a repair. Whoever
// noted that asks the owner for it when it is up, again and again, and forgets
// the note when the owner says that it has compared the partition with all of its
// other owners since it was first asked. The holder of the note may be no owner
// itself, which is why it cannot do it.

// An owedKey names a repair that was asked for.
type owedKey struct {
	by ring.NodeID
	p  ring.Partition
}

// An owedRepair is how far it has come.
type owedRepair struct {
	with    map[ring.NodeID]bool // the other owners that p was compared with
	askedAt time.Time
}

// owedForget is when a repair that nobody asks for any more is forgotten.
const owedForget = time.Minute

// owed answers which of the partitions have been repaired, and sees to it that
// the others are.
func (s *service) owed() error {
	asked := s.in.partitions(s.table.Partitions())
	if err := s.in.end(); err != nil {
		return err
	}
	for _, p := range asked {
		if !s.owns(p) {
			return errNotOwner
		}
	}
	s.out = appendPartitions(s.out, s.askedToRepair(s.from, asked, s.table))
	s.poke()
	return nil
}

func (r *Repair) askedToRepair(by ring.NodeID, asked []ring.Partition, table *ring.Ring) (done []ring.Partition) {
	now := r.opts.Now()
	r.mu.Lock()
	defer r.mu.Unlock()
	for _, p := range asked {
		key := owedKey{by, p}
		o := r.owed[key]
		if o == nil {
			o = &owedRepair{with: map[ring.NodeID]bool{}}
			r.owed[key] = o
		}
		o.askedAt = now
		if len(r.owedWith(p, o, table)) == 0 {
			done = append(done, p)
			delete(r.owed, key)
		}
	}
	return done
}

// owedWith returns with which owners a partition is still to be compared; the
// caller holds mu.
func (r *Repair) owedWith(p ring.Partition, o *owedRepair, table *ring.Ring) (left []ring.NodeID) {
	for _, owner := range table.Owners(p) {
		if owner != r.self && !o.with[owner] {
			left = append(left, owner)
		}
	}
	return left
}

// owedPeers returns the peers that owed repairs wait for, and forgets those that
// nobody asks for any more, or that its new owners will be asked for. The caller
// holds mu.
func (r *Repair) owedPeers(table *ring.Ring, now time.Time) map[ring.NodeID]bool {
	peers := map[ring.NodeID]bool{}
	for key, o := range r.owed {
		if now.Sub(o.askedAt) > owedForget || int(key.p) >= table.Partitions() || !slices.Contains(table.Owners(key.p), r.self) {
			delete(r.owed, key)
			continue
		}
		for _, peer := range r.owedWith(key.p, o, table) {
			peers[peer] = true
		}
	}
	return peers
}

// owedBefore returns the owed repairs that an exchange which begins now counts
// for.
func (r *Repair) owedBefore() []*owedProgress {
	r.mu.Lock()
	defer r.mu.Unlock()
	var all []*owedProgress
	for key, o := range r.owed {
		all = append(all, &owedProgress{key.p, o})
	}
	return all
}

// An owedProgress is an owed repair of a partition.
type owedProgress struct {
	p      ring.Partition
	repair *owedRepair
}

// owedAfter takes note that the partitions of x are the same here and at its
// peer.
func (r *Repair) owedAfter(begun []*owedProgress, x *exchange) {
	r.mu.Lock()
	defer r.mu.Unlock()
	for _, o := range begun {
		if x.clean[o.p] {
			o.repair.with[x.peer] = true
		}
	}
}

// collectOwed asks an owner to repair what it is owed, and forgets what it has
// repaired. It reports whether something is left.
func (r *Repair) collectOwed(ctx context.Context, owner ring.NodeID) (left bool, err error) {
	table := r.opts.Peers.Ring()
	var asked []ring.Partition
	var seq uint64
	for _, p := range r.opts.Store.RepairOwed(owner) {
		if holds(table, p, owner) {
			asked = append(asked, p)
			continue
		}
		// Its heirs were filled from the other owners.
		done, err := r.opts.Store.RepairDone(owner, p)
		if err != nil {
			return true, err
		}
		seq = max(seq, done)
	}
	if len(asked) == 0 {
		return false, r.opts.Store.Commit(seq)
	}
	in, err := r.call(ctx, owner, askOwed, func(dst []byte) []byte { return appendPartitions(dst, asked) })
	if err != nil {
		return true, err
	}
	repaired := in.partitions(table.Partitions())
	if err := in.end(); err != nil {
		return true, fmt.Errorf("the reply of %s: %w", owner, err)
	}
	for _, p := range repaired {
		if !slices.Contains(asked, p) {
			return true, fmt.Errorf("the reply of %s: %w", owner, errMessage)
		}
		done, err := r.opts.Store.RepairDone(owner, p)
		if err != nil {
			return true, err
		}
		seq = max(seq, done)
	}
	return len(repaired) < len(asked), r.opts.Store.Commit(seq)
}
