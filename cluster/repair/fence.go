package repair

import (
	"encoding/binary"
	"slices"

	"cartwheel/cluster/ring"
	"cartwheel/cluster/sabotage"
	"cartwheel/store/version"
)

// What a member answers in a round that finds out what is stable (stability.go).

// A reason is why a partition has to stand still.
type reason byte

const (
	noReason      reason = iota
	holdsHints           // this node holds hints of it, for the node named
	owesRepair           // this node owes the node named a repair of it
	holdsForeign         // rows of it are here that are not this node's
	isRefilling          // this node is filled anew
	isMoving             // it moves
	isUnreachable        // the node named cannot be asked
	isUnsettled          // the node named has not compared it with all of its peers yet
	reasons
)

func (w reason) String() string {
	return [reasons]string{
		"nothing", "holds hints", "owes a repair", "holds rows that are not its own", "is filled anew",
		"it moves", "cannot be asked", "has still to compare it",
	}[w]
}

// A fenced is what a member remembers of a round: which HLC it has observed and, if
// it has been asked to settle, how many exchanges it had begun by then. A process
// that was started since remembers nothing, and so cannot vouch for what the one
// before it had.
type fenced struct {
	at     version.HLC
	asked  bool
	begun  uint64
	others *ring.Ring
}

// settling counts exchanges; the Repair's mu guards it.
type settling struct {
	begun  uint64                                    // exchanges
	clean  map[ring.NodeID]map[ring.Partition]uint64 // the latest that came out clean, by its number
	rounds map[ring.NodeID]*fenced                   // the latest of each leader
}

func newSettling() settling {
	return settling{clean: map[ring.NodeID]map[ring.Partition]uint64{}, rounds: map[ring.NodeID]*fenced{}}
}

// begin numbers an exchange that begins now.
func (s *settling) begin() uint64 {
	s.begun++
	return s.begun
}

// settledBy takes note of the partitions that an exchange has found to be the same
// on both sides, or has made so. What it cannot have seen does not count: trees that
// a flush has left incomplete, on either side, or objects that one side has refused.
func (r *Repair) settledBy(x *exchange, begun uint64) {
	store := r.opts.Store
	if !x.whole || !store.TreesWhole() || marksHash(store.FlushMarks()) != x.marks {
		return
	}
	r.mu.Lock()
	defer r.mu.Unlock()
	if r.ring != x.table {
		return
	}
	clean := r.settling.clean[x.peer]
	if clean == nil {
		clean = map[ring.Partition]uint64{}
		r.settling.clean[x.peer] = clean
	}
	for p, settles := range x.settles {
		if settles {
			clean[p] = max(clean[p], begun)
		}
	}
}

// fence answers when each dot at or below T that this node has issued is stored,
// and with the partitions that have to stand still.
func (s *service) fence() error {
	at, asked, err := s.round()
	if err != nil {
		return err
	}
	held, err := s.fenceHere(s.from, s.table, at, asked)
	if err != nil {
		return err
	}
	for _, p := range asked {
		if h, stands := held[p]; stands {
			s.out = append(binary.AppendUvarint(s.out, uint64(p)), byte(h.why))
			s.out = append(s.out, h.node[:]...)
		}
	}
	return nil
}

// round reads what the messages of a round begin with.
func (s *service) round() (at version.HLC, asked []ring.Partition, err error) {
	at = version.HLC(s.in.uint64())
	asked = s.in.partitions(s.table.Partitions())
	return at, asked, s.in.end()
}

// fenceHere observes T, waits for those who had a dot before that, and then looks
// for what is held of the partitions. The order matters: what is held is looked for
// when nothing at or below T can come into being here any more.
func (r *Repair) fenceHere(leader ring.NodeID, table *ring.Ring, at version.HLC, asked []ring.Partition) (held map[ring.Partition]hold, err error) {
	if !r.treesReady() || !r.opts.Store.TreesWhole() {
		return nil, errNotReady
	}
	if err := r.opts.Store.Fence(at, asked); err != nil {
		return nil, err
	}
	r.opts.Barrier()
	if err := r.opts.Store.CommitAll(); err != nil { // hints are looked for among what is committed
		return nil, err
	}
	held = map[ring.Partition]hold{}
	hints, err := r.opts.Store.HintPartitions()
	if err != nil {
		return nil, err
	}
	for _, p := range asked {
		owner, hinted := hints[p]
		switch {
		case hinted && !sabotage.On(sabotage.HintsNotFenced) && !sabotage.On(sabotage.HintAfterPurge):
			held[p] = hold{holdsHints, owner}
		case !holds(table, p, r.self) && r.weighs(p):
			held[p] = hold{holdsForeign, r.self}
		case r.opts.Store.Refilling(p):
			held[p] = hold{isRefilling, r.self}
		}
	}
	for _, m := range r.opts.Store.RepairsOwed() {
		for _, p := range r.opts.Store.RepairOwed(m) {
			if _, named := slices.BinarySearch(asked, p); named {
				held[p] = hold{owesRepair, m}
			}
		}
	}
	r.mu.Lock()
	defer r.mu.Unlock()
	r.settling.rounds[leader] = &fenced{at: at, others: table}
	return held, nil
}

// settle answers which partitions have been compared, with each peer that this node
// begins the exchanges with, by an exchange that began after the first such question
// of this round.
func (s *service) settle() error {
	at, asked, err := s.round()
	if err != nil {
		return err
	}
	settled, err := s.settleHere(s.from, s.table, at, asked)
	s.out = appendPartitions(s.out, settled)
	return err
}

func (r *Repair) settleHere(leader ring.NodeID, table *ring.Ring, at version.HLC, asked []ring.Partition) (settled []ring.Partition, err error) {
	r.mu.Lock()
	defer r.mu.Unlock()
	f := r.settling.rounds[leader]
	if f == nil || f.at != at || f.others != table {
		return nil, errNotReady
	}
	if !f.asked {
		f.asked, f.begun = true, r.settling.begun
	}
	for _, p := range asked {
		owners := table.Owners(p)
		if !slices.Contains(owners, r.self) {
			return nil, errNotOwner
		}
		if r.settledPairs(p, owners, f.begun) {
			settled = append(settled, p)
		}
	}
	return settled, nil
}

// settledPairs says whether the pairs that this node begins the exchanges of have
// come out clean in one that began after a number; the caller holds mu.
func (r *Repair) settledPairs(p ring.Partition, owners []ring.NodeID, after uint64) bool {
	for _, peer := range owners {
		if slices.Compare(r.self[:], peer[:]) < 0 && r.settling.clean[peer][p] <= after {
			return false
		}
	}
	return true
}

// stable takes note, durably, that partitions are stable up to T.
func (s *service) stable() error {
	at, asked, err := s.round()
	if err != nil {
		return err
	}
	return s.stableHere(s.from, s.table, at, asked)
}

func (r *Repair) stableHere(leader ring.NodeID, table *ring.Ring, at version.HLC, asked []ring.Partition) error {
	r.mu.Lock()
	f := r.settling.rounds[leader]
	remembers := f != nil && f.asked && f.at == at && f.others == table
	r.mu.Unlock()
	if !remembers {
		return errNotReady
	}
	if err := r.opts.Store.RaiseStable(upTo(asked, at)); err != nil {
		return err
	}
	for _, p := range asked {
		if r.opts.Store.Levels(p).Stable < at {
			return errNotReady // it has come to be filled anew
		}
	}
	return nil
}

// purge takes note that every owner has said that partitions are stable up to T.
func (s *service) purge() error {
	at, asked, err := s.round()
	if err != nil {
		return err
	}
	return s.purgeHere(at, asked)
}

func (r *Repair) purgeHere(at version.HLC, asked []ring.Partition) error {
	for _, p := range asked {
		if r.opts.Store.Levels(p).Stable < at {
			return errNotReady
		}
	}
	return r.opts.Store.RaisePurge(upTo(asked, at))
}

func upTo(partitions []ring.Partition, at version.HLC) map[ring.Partition]version.HLC {
	all := make(map[ring.Partition]version.HLC, len(partitions))
	for _, p := range partitions {
		all[p] = at
	}
	return all
}
