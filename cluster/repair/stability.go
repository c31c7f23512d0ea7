package repair

import (
	"bytes"
	"context"
	"encoding/binary"
	"fmt"
	"slices"
	"time"

	"cartwheel/cluster/ring"
	"cartwheel/store/version"
)

// What is stable of a partition, and what may be purged of it, is found out in rounds
// (design section 9). The first owner leads them, for all of its partitions together.
//
//  1. The leader issues an HLC, T, and asks every member of the ring to fence it. A member
//     observes T, so that each dot it issues later is above it; waits for those who got a
//     dot before that, so that each dot at or below T that it has issued is stored;
//     and then says which partitions it holds hints of, owes a repair of, or holds rows
//     of that are not its own. Those stand still, and so do those that move.
//  2. When all have answered, each dot at or below T is in the rows of some owner, or what
//     superseded it is. For whoever issued it stored it before its answer, as an owner in
//     its rows or else as a hint; and a hint that was gone by the answer of who held it
//     was by then in the rows of an owner.
//  3. Only then the owners are told to settle: each pair of them is to be compared in an
//     exchange that begins after that. Not before: a hint may reach an owner when that owner
//     has just been compared, and be gone when its holder answers the fence.
//  4. An exchange leaves both sides with what either had when it began. When all pairs
//     have settled, by 2, every owner has everything with a dot at or below T. A hint that
//     comes into being later, from a frame that was late, has nothing that the owners have not.
//  5. Every owner is told that the partition is stable up to T. It makes what it has
//     durable, and then T. When all have, and not before, they are told that it may be
//     purged up to T: who purges can be sure that each other owner has what superseded
//     what is purged, and knows it.
//
// The ring is the same from 1 to 5: each message is answered on the leader's epoch only.
// An owner that was started anew meanwhile has forgotten the round, and says so. Any
// failure ends the round; nothing but T has to be remembered.

// A round is one of these, under way.
type round struct {
	table   *ring.Ring
	at      version.HLC
	began   time.Time
	pending map[ring.Partition]map[ring.NodeID]bool // the owners that are still to settle it
}

// A hold is what held a partition back when it was looked at last, and at which node
// or because of which.
type hold struct {
	why  reason
	node ring.NodeID
}

func (h hold) String() string {
	return fmt.Sprintf("%s: %s", h.node, h.why)
}

// roundIntervals is how many intervals a round waits for the last pairs to settle.
const roundIntervals = 6

// adoptStability derives from a new ring what this node leads; the caller holds mu.
func (r *Repair) adoptStability(table *ring.Ring) {
	r.leads = nil
	for p := range ring.Partition(table.Partitions()) {
		if owners := table.Owners(p); len(owners) > 0 && owners[0] == r.self {
			r.leads = append(r.leads, p)
		}
	}
	r.settling.clean = map[ring.NodeID]map[ring.Partition]uint64{}
	r.held = map[ring.Partition]hold{}
	r.refills = map[ring.Partition]*refill{}
}

// planStability wants rounds led, and what is not trusted filled anew.
func (r *Repair) planStability(table *ring.Ring, now time.Time) {
	if len(r.leads) > 0 {
		r.schedule.want(task{kind: stableTask}, now.Add(r.opts.StabilityInterval/2))
	}
	if refilling := r.refilling(table); len(refilling) > 0 {
		for _, source := range r.refillSources(table, refilling) {
			r.schedule.want(task{refillTask, source}, now)
		}
	}
}

// stabilise begins a round, or takes the one under way further.
func (r *Repair) stabilise(ctx context.Context) (again time.Duration, err error) {
	table := r.opts.Peers.Ring()
	r.mu.Lock()
	rd := r.round
	r.mu.Unlock()
	if rd == nil || rd.table != table || len(rd.pending) == 0 || r.opts.Now().Sub(rd.began) > roundIntervals*r.opts.StabilityInterval {
		rd, err = r.beginRound(ctx, table)
	}
	if err == nil {
		err = r.advance(ctx, rd)
	}
	r.mu.Lock()
	defer r.mu.Unlock()
	r.round = rd
	switch {
	case err != nil:
		r.round = nil
		return r.opts.StabilityInterval, err
	case len(rd.pending) > 0:
		return r.opts.StabilityInterval / 2, nil
	}
	return r.opts.StabilityInterval, nil
}

// beginRound fences the partitions that do not move at all members.
func (r *Repair) beginRound(ctx context.Context, table *ring.Ring) (*round, error) {
	moving := map[ring.Partition]bool{}
	for _, m := range table.Document().Moves {
		moving[m.Partition] = true
	}
	held := map[ring.Partition]hold{}
	var asked []ring.Partition
	for p := range ring.Partition(table.Partitions()) {
		switch {
		case len(table.Owners(p)) == 0 || table.Owners(p)[0] != r.self:
		case moving[p]:
			held[p] = hold{isMoving, r.self}
		default:
			asked = append(asked, p)
		}
	}
	for _, m := range table.Members() {
		if !r.up(m.ID) {
			r.stand(table, asked, held, m.ID)
			return &round{table: table}, nil // another time
		}
	}
	at, err := r.opts.Store.LoneHLC(r.opts.Store.NowMS())
	if err != nil {
		return nil, err
	}
	for _, m := range table.Members() {
		if err := r.fenceAt(ctx, table, m.ID, at, asked, held); err != nil {
			r.stand(table, asked, held, m.ID)
			return nil, err
		}
	}
	r.setHeld(table, held)
	rd := &round{table: table, at: at, began: r.opts.Now(), pending: map[ring.Partition]map[ring.NodeID]bool{}}
	for _, p := range asked {
		if _, stands := held[p]; stands {
			continue
		}
		rd.pending[p] = map[ring.NodeID]bool{}
		for _, owner := range table.Owners(p) {
			rd.pending[p][owner] = true
		}
	}
	return rd, nil
}

// stand notes that a member holds everything back.
func (r *Repair) stand(table *ring.Ring, asked []ring.Partition, held map[ring.Partition]hold, by ring.NodeID) {
	for _, p := range asked {
		held[p] = hold{isUnreachable, by}
	}
	r.setHeld(table, held)
}

// setHeld replaces what is remembered for INFO.
func (r *Repair) setHeld(table *ring.Ring, held map[ring.Partition]hold) {
	r.mu.Lock()
	defer r.mu.Unlock()
	if r.ring == table {
		r.held = held
	}
}

// fenceAt has one member fence T, and adds what it holds.
func (r *Repair) fenceAt(ctx context.Context, table *ring.Ring, id ring.NodeID, at version.HLC, asked []ring.Partition, held map[ring.Partition]hold) error {
	if id == r.self {
		own, err := r.fenceHere(r.self, table, at, asked)
		for p, h := range own {
			held[p] = h
		}
		return err
	}
	in, err := r.ask(ctx, id, askFence, at, asked)
	if err != nil {
		return err
	}
	for len(in.rest) > 0 {
		p, why, node := in.partition(table.Partitions()), reason(in.byte()), in.nodeID()
		if why == noReason || why > isRefilling || !slices.Contains(asked, p) {
			in.fail()
			break
		}
		if why != isRefilling && why != owesRepair {
			node = id // who holds it says more than whom it is for
		}
		held[p] = hold{why, node}
	}
	return replyOf(id, in)
}

func (r *Repair) ask(ctx context.Context, id ring.NodeID, kind byte, at version.HLC, partitions []ring.Partition) (*reader, error) {
	return r.call(ctx, id, kind, func(dst []byte) []byte {
		return appendPartitions(binary.BigEndian.AppendUint64(dst, uint64(at)), partitions)
	})
}

func replyOf(id ring.NodeID, in *reader) error {
	if err := in.end(); err != nil {
		return fmt.Errorf("the reply of %s: %w", id, err)
	}
	return nil
}

// advance asks the owners what has settled, and carries on with what all of them have
// settled.
func (r *Repair) advance(ctx context.Context, rd *round) error {
	for owner, asked := range rd.unsettled() {
		settled, err := r.settleAt(ctx, rd, owner, asked)
		if err != nil {
			return err
		}
		for _, p := range settled {
			delete(rd.pending[p], owner)
		}
	}
	var done []ring.Partition
	held := map[ring.Partition]hold{}
	for p, owners := range rd.pending {
		if len(owners) == 0 {
			done = append(done, p)
		}
		for owner := range owners {
			held[p] = hold{isUnsettled, owner}
		}
	}
	slices.Sort(done)
	if err := r.finish(ctx, rd, done); err != nil {
		return err
	}
	r.mu.Lock()
	defer r.mu.Unlock()
	for _, p := range done {
		delete(rd.pending, p)
		delete(r.held, p)
	}
	for p, h := range held {
		if r.ring == rd.table {
			r.held[p] = h
		}
	}
	return nil
}

// unsettled returns the pending partitions by owner, in order.
func (rd *round) unsettled() map[ring.NodeID][]ring.Partition {
	by := map[ring.NodeID][]ring.Partition{}
	for p, owners := range rd.pending {
		for owner := range owners {
			by[owner] = append(by[owner], p)
		}
	}
	for _, partitions := range by {
		slices.Sort(partitions)
	}
	return by
}

func (r *Repair) settleAt(ctx context.Context, rd *round, owner ring.NodeID, asked []ring.Partition) (settled []ring.Partition, err error) {
	if owner == r.self {
		return r.settleHere(r.self, rd.table, rd.at, asked)
	}
	in, err := r.ask(ctx, owner, askSettle, rd.at, asked)
	if err != nil {
		return nil, err
	}
	settled = in.partitions(rd.table.Partitions())
	for _, p := range settled {
		if _, named := slices.BinarySearch(asked, p); !named {
			in.fail()
		}
	}
	return settled, replyOf(owner, in)
}

// finish makes partitions stable at all of their owners and, when they are, has what
// is dead be purged.
func (r *Repair) finish(ctx context.Context, rd *round, done []ring.Partition) error {
	if len(done) == 0 {
		return nil
	}
	by := map[ring.NodeID][]ring.Partition{}
	var owners []ring.NodeID
	for _, p := range done {
		for _, owner := range rd.table.Owners(p) {
			if by[owner] == nil {
				owners = append(owners, owner)
			}
			by[owner] = append(by[owner], p)
		}
	}
	slices.SortFunc(owners, func(a, b ring.NodeID) int { return bytes.Compare(a[:], b[:]) })
	for _, kind := range [...]byte{askStable, askPurge} {
		for _, owner := range owners {
			if r.opts.Peers.Ring() != rd.table {
				return errNotOwner
			}
			if err := r.finishAt(ctx, rd, owner, kind, by[owner]); err != nil {
				return err
			}
		}
	}
	r.counters.stable.Add(uint64(len(done)))
	return nil
}

func (r *Repair) finishAt(ctx context.Context, rd *round, owner ring.NodeID, kind byte, done []ring.Partition) error {
	switch {
	case owner != r.self:
		in, err := r.ask(ctx, owner, kind, rd.at, done)
		if err != nil {
			return err
		}
		return replyOf(owner, in)
	case kind == askStable:
		return r.stableHere(r.self, rd.table, rd.at, done)
	}
	return r.purgeHere(rd.at, done)
}
