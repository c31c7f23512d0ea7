package ring

import (
	"errors"
	"fmt"
	"slices"
	"strconv"
	"strings"
	"unicode/utf8"
)

// Validate says what is wrong with a document that may have come from anywhere.
// All other methods rely on what it checks.
func (d *Document) Validate() error {
	switch {
	case !partitionsValid(d.Partitions):
		return ErrPartitions
	case d.Epoch < 1 || d.Epoch > epochMax:
		return fmt.Errorf("epoch %d is not between 1 and 2^48", d.Epoch)
	case d.Replicas < 1 || d.Replicas > ReplicasMax:
		return fmt.Errorf("%d replicas are not between 1 and %d", d.Replicas, ReplicasMax)
	case len(d.Owners) != d.Partitions:
		return fmt.Errorf("there are owners of %d partitions, not %d", len(d.Owners), d.Partitions)
	}
	if err := d.validateMembers(); err != nil {
		return err
	}
	states := make(map[NodeID]State, len(d.Members))
	for _, m := range d.Members {
		states[m.ID] = m.State
	}
	for p, owners := range d.Owners {
		if err := d.validateOwners(owners, states); err != nil {
			return fmt.Errorf("partition %d: %w", p, err)
		}
	}
	return d.validateMoves(states)
}

func (d *Document) validateMembers() error {
	if len(d.Members) > MembersMax {
		return fmt.Errorf("%d members are more than %d", len(d.Members), MembersMax)
	}
	staying := 0
	for i := range d.Members {
		m := &d.Members[i]
		if err := m.validate(); err != nil {
			return fmt.Errorf("member %s: %w", m.ID, err)
		}
		if i > 0 && compareIDs(d.Members[i-1].ID, m.ID) >= 0 {
			return fmt.Errorf("member %s is out of order", m.ID)
		}
		if m.State.stays() {
			staying++
		}
	}
	if staying == 0 {
		return errors.New("no member is to stay")
	}
	return nil
}

func (m *Member) validate() error {
	switch {
	case m.ID.none():
		return errors.New("it has no id")
	case m.Weight < 0 || m.Weight > WeightMax:
		return fmt.Errorf("weight %d is not between 1 and %d", m.Weight, WeightMax)
	case m.State < Joining || m.State > Removed:
		return fmt.Errorf("state %d is unknown", m.State)
	}
	for _, address := range []string{m.Peer, m.Client, m.Cluster} {
		if !textValid(address) || strings.Contains(address, " ") {
			return fmt.Errorf("%.*q is not an address", textBytesMax, address)
		}
	}
	if !textValid(m.Zone) {
		return fmt.Errorf("%.*q is not a zone", textBytesMax, m.Zone)
	}
	return nil
}

// textValid keeps out what would spoil a log line or a reply.
func textValid(s string) bool {
	return len(s) <= textBytesMax && utf8.ValidString(s) &&
		!strings.ContainsFunc(s, func(r rune) bool { return !strconv.IsPrint(r) })
}

func (d *Document) validateOwners(owners []NodeID, states map[NodeID]State) error {
	if len(owners) == 0 || len(owners) > d.Replicas {
		return fmt.Errorf("%d owners are not between 1 and %d", len(owners), d.Replicas)
	}
	for i, owner := range owners {
		if states[owner] == 0 {
			return fmt.Errorf("its owner %s is %w", owner, ErrUnknownMember)
		}
		if slices.Contains(owners[:i], owner) {
			return fmt.Errorf("%s owns it twice", owner)
		}
	}
	return nil
}

func (d *Document) validateMoves(states map[NodeID]State) error {
	for i, m := range d.Moves {
		if int(m.Partition) >= d.Partitions {
			return fmt.Errorf("a move of partition %d, there is none", m.Partition)
		}
		if i > 0 && d.Moves[i-1].compare(m) >= 0 {
			return fmt.Errorf("partition %d: its moves are out of order", m.Partition)
		}
	}
	var fault error
	d.movesOf(func(p Partition, moves []Move) {
		if err := d.validateMovesOf(d.Owners[p], moves, states); err != nil && fault == nil {
			fault = fmt.Errorf("partition %d: %w", p, err)
		}
	})
	return fault
}

// validateMovesOf checks that the moves of one partition can be committed in
// any order and leave at every step between one owner and N.
func (d *Document) validateMovesOf(owners []NodeID, moves []Move, states map[NodeID]State) error {
	if len(moves) > d.Replicas { // before each is compared with all others
		return fmt.Errorf("%d moves are more than %d", len(moves), d.Replicas)
	}
	added, dropped := 0, 0
	for i, m := range moves {
		switch {
		case m.From.none() && m.To.none():
			return errors.New("a move from nobody to nobody")
		case m.From.none():
			added++
		case !slices.Contains(owners, m.From):
			return fmt.Errorf("a move from %s, which does not own it", m.From)
		}
		switch {
		case m.To.none():
			dropped++
		case states[m.To] == 0:
			return fmt.Errorf("a move to %s, %w", m.To, ErrUnknownMember)
		case !states[m.To].stays():
			return fmt.Errorf("a move to %s, which is leaving", m.To)
		case slices.Contains(owners, m.To):
			return fmt.Errorf("a move to %s, which owns it", m.To)
		}
		for _, other := range moves[:i] {
			if !m.From.none() && other.From == m.From || !m.To.none() && other.To == m.To {
				return errors.New("two moves of one owner")
			}
		}
	}
	switch {
	case added > 0 && dropped > 0:
		return errors.New("an owner is added and another dropped")
	case len(owners)+added > d.Replicas:
		return fmt.Errorf("it would have %d owners, more than %d", len(owners)+added, d.Replicas)
	case len(owners) == dropped:
		return errors.New("it would have no owner")
	}
	return nil
}
