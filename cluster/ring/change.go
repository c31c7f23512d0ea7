package ring

import (
	"errors"
	"fmt"
	"slices"
)

// The changes. Each returns a new document of the next epoch. While moves are
// under way, a change starts from where they lead: what is still wanted goes on.

// WithMember returns the document with a joiner, and moves toward its share. A
// member that is known already is changed instead, see WithChanged.
func (d *Document) WithMember(m Member) (*Document, error) {
	at, known := d.search(m.ID)
	if known {
		return d.WithChanged(m)
	}
	m.State, m.Weight = Joining, m.weight()
	if err := m.validate(); err != nil {
		return nil, fmt.Errorf("member %s: %w", m.ID, err)
	}
	successor := d.next()
	successor.Members = slices.Insert(successor.Members, at, m)
	successor.retarget()
	return successor.settled()
}

// WithChanged returns the document with another address, zone or weight of a
// member, and moves as the last two ask for. m's state is ignored.
func (d *Document) WithChanged(m Member) (*Document, error) {
	at, known := d.search(m.ID)
	if !known {
		return nil, fmt.Errorf("%s: %w", m.ID, ErrUnknownMember)
	}
	before := d.Members[at]
	m.State, m.Weight = before.State, m.weight()
	if m == before {
		return nil, ErrUnchanged
	}
	if err := m.validate(); err != nil {
		return nil, fmt.Errorf("member %s: %w", m.ID, err)
	}
	successor := d.next()
	successor.Members[at] = m
	if m.Zone != before.Zone || m.Weight != before.weight() {
		successor.retarget()
	}
	return successor.settled()
}

// WithoutMember returns the document in which a member is leaving, and moves of
// all that it owns. It stays a member when they are committed, since it alone
// knows whether it has anything that others lack, and goes by WithDeparted.
func (d *Document) WithoutMember(id NodeID) (*Document, error) {
	if m, _ := d.Member(id); m.State == Removed {
		return nil, ErrUnchanged
	}
	return d.without(id, Leaving)
}

// WithRemoved returns the document in which a member that is dead for good is
// given up, and moves of all that it owns. It is gone when they are committed.
func (d *Document) WithRemoved(id NodeID) (*Document, error) { return d.without(id, Removed) }

func (d *Document) without(id NodeID, as State) (*Document, error) {
	at, known := d.search(id)
	switch {
	case !known:
		return nil, fmt.Errorf("%s: %w", id, ErrUnknownMember)
	case d.Members[at].State == as:
		return nil, ErrUnchanged
	case !slices.ContainsFunc(d.Members, func(m Member) bool { return m.ID != id && m.State.stays() }):
		return nil, ErrLastMember
	}
	successor := d.next()
	successor.Members[at].State = as
	if d.Members[at].State.stays() {
		successor.retarget()
	}
	return successor.settled()
}

// WithDeparted returns the document without a member that is leaving and owns
// nothing any more.
func (d *Document) WithDeparted(id NodeID) (*Document, error) {
	at, known := d.search(id)
	switch {
	case !known:
		return nil, fmt.Errorf("%s: %w", id, ErrUnknownMember)
	case d.Members[at].State != Leaving || d.owns(id):
		return nil, fmt.Errorf("%s: %w", id, ErrHolds)
	}
	successor := d.next()
	successor.Members = slices.Delete(successor.Members, at, at+1)
	return successor.settled()
}

func (d *Document) owns(id NodeID) bool {
	return slices.ContainsFunc(d.Owners, func(owners []NodeID) bool { return slices.Contains(owners, id) })
}

// WithReplaced returns the document in which a joiner is to take exactly the
// partitions of a dead member, which is given up. Its weight and zone should be those
// of the dead: later changes move what they ask for otherwise. Of moves from the
// dead that were under way, those stay that its own leaving is not the reason of.
func (d *Document) WithReplaced(dead NodeID, m Member) (*Document, error) {
	deadAt, known := d.search(dead)
	if !known {
		return nil, fmt.Errorf("%s: %w", dead, ErrUnknownMember)
	}
	at, known := d.search(m.ID)
	if known {
		return nil, fmt.Errorf("%s is a member already", m.ID)
	}
	m.State, m.Weight = Joining, m.weight()
	if err := m.validate(); err != nil {
		return nil, fmt.Errorf("member %s: %w", m.ID, err)
	}
	successor := d.next()
	wasLeaving := !d.Members[deadAt].State.stays()
	successor.Members[deadAt].State = Removed
	successor.Members = slices.Insert(successor.Members, at, m)
	successor.Moves = nil
	d.movesOf(func(p Partition, moves []Move) {
		replaced := replacedMoves(p, d.Owners[p], moves, dead, m.ID, wasLeaving)
		successor.Moves = append(successor.Moves, replaced...)
	})
	return successor.settled()
}

// replacedMoves returns the moves of p with heir in the place of dead.
func replacedMoves(p Partition, owners []NodeID, moves []Move, dead, heir NodeID, wasLeaving bool) []Move {
	goes := slices.Contains(owners, dead)
	var replaced []Move
	for _, m := range moves {
		if m.To == dead {
			m.To = heir
		}
		if m.From == dead {
			goes = false
			if wasLeaving {
				m.To = heir
			}
		}
		replaced = append(replaced, m)
	}
	if goes {
		replaced = append(replaced, Move{p, dead, heir})
	}
	slices.SortFunc(replaced, Move.compare)
	return replaced
}

// WithCommitted returns the document in which some of the moves have taken
// effect. It does not look at whether they may.
func (d *Document) WithCommitted(done []Move) (*Document, error) {
	if len(done) == 0 {
		return nil, ErrUnchanged
	}
	successor := d.next()
	for _, m := range done {
		at, found := slices.BinarySearchFunc(successor.Moves, m, Move.compare)
		if !found {
			return nil, fmt.Errorf("partition %d has no move under way from %s to %s", m.Partition, m.From, m.To)
		}
		successor.Moves = slices.Delete(successor.Moves, at, at+1)
		successor.Owners[m.Partition] = after(successor.Owners[m.Partition], []Move{m})
	}
	return successor.settled()
}

// ErrMissedEpoch is wrapped by the error of a change that was prepared for a document too old.
var ErrMissedEpoch = errors.New("the ring has changed twice since")

// WithFilled returns the successor in which those of the moves have taken effect that were filled when
// this document, or the one before it, was the present one, and are still under way. Of an older one it is
// not known that each was under way in all documents between: what was written while it was not has not been
// sent to the new owner.
func (d *Document) WithFilled(epoch uint64, filled []Move) (*Document, error) {
	if d.Epoch > epoch+1 {
		return nil, fmt.Errorf("what was filled at epoch %d is not committed at %d: %w", epoch, d.Epoch, ErrMissedEpoch)
	}
	return d.WithCommitted(slices.DeleteFunc(slices.Clone(filled), func(m Move) bool { return !slices.Contains(d.Moves, m) }))
}

// settled finishes a change: who has all is active, who was given up and owns
// nothing is gone, and the owners are in order.
func (d *Document) settled() (*Document, error) {
	busy := map[NodeID]bool{}
	for _, m := range d.Moves {
		busy[m.To] = true
	}
	owns := map[NodeID]bool{}
	for _, owners := range d.Owners {
		for _, owner := range owners {
			owns[owner] = true
		}
	}
	d.Members = slices.DeleteFunc(d.Members, func(m Member) bool { return m.State == Removed && !owns[m.ID] })
	for i := range d.Members {
		if m := &d.Members[i]; m.State == Joining && !busy[m.ID] {
			m.State = Active
		}
	}
	if len(d.Moves) == 0 {
		d.Moves = nil // as Decode has it
	}
	d.Owners = inOrder(d.Owners)
	if err := d.Validate(); err != nil {
		return nil, err
	}
	return d, nil
}

// retarget computes the placement anew and the moves toward it.
func (d *Document) retarget() {
	underWay := make([][]Move, d.Partitions)
	next := make([][]NodeID, d.Partitions)
	d.movesOf(func(p Partition, moves []Move) {
		underWay[p] = moves
		next[p] = after(d.Owners[p], moves)
	})
	zones := make(map[NodeID]string, len(d.Members))
	for _, m := range d.Members {
		zones[m.ID] = m.Zone
	}
	target := assign(d.Members, d.Partitions, d.Replicas, d.Owners, next)
	var moves []Move
	for p := range Partition(d.Partitions) {
		moves = append(moves, movesToward(p, d.Owners[p], target[p], underWay[p], zones)...)
	}
	d.Moves = moves
}

// movesToward pairs the owners of p that are to go with those that are to come:
// as the moves under way have it, else within a zone, else as they stand, so
// that the zones stay spread while only some are committed.
func movesToward(p Partition, owners, target []NodeID, underWay []Move, zones map[NodeID]string) []Move {
	going, coming := without(owners, target), without(target, owners)
	var moves []Move
	pair := func(fits func(from, to NodeID) bool) {
		for _, to := range slices.Clone(coming) {
			i := slices.IndexFunc(going, func(from NodeID) bool { return fits(from, to) })
			if i < 0 {
				continue
			}
			moves = append(moves, Move{p, going[i], to})
			going = slices.Delete(going, i, i+1)
			coming = without(coming, []NodeID{to})
		}
	}
	pair(func(from, to NodeID) bool { return slices.Contains(underWay, Move{p, from, to}) })
	pair(func(from, to NodeID) bool { return zones[from] == zones[to] })
	pair(func(NodeID, NodeID) bool { return true })
	for _, from := range going {
		moves = append(moves, Move{Partition: p, From: from})
	}
	for _, to := range coming {
		moves = append(moves, Move{Partition: p, To: to})
	}
	slices.SortFunc(moves, Move.compare)
	return moves
}

// without returns the ids that are not among others.
func without(ids, others []NodeID) (rest []NodeID) {
	for _, id := range ids {
		if !slices.Contains(others, id) {
			rest = append(rest, id)
		}
	}
	return rest
}
