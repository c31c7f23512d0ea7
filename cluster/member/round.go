package member

import (
	"bytes"
	"fmt"

	"cartwheel/cluster/quorum"
	"cartwheel/cluster/ring"
)

// A round is one attempt to have the next epoch decided, under one ballot. It
// only counts: its owner sends what request returns to the voters, and gives it
// their replies, in any order and any number of times.
//
//  1. It asks for promises. With a majority of them it knows what may have been
//     chosen already: the value accepted under the highest ballot.
//  2. propose turns it to asking for votes, for that value or, where there is
//     none, its owner's.
//  3. With a majority of votes the value is chosen.
type round struct {
	base   state
	ballot ballot
	value  []byte // proposed, once voting

	voting  bool
	voters  map[ring.NodeID]bool // whether it has answered what is asked now
	answers int

	adopted   []byte // accepted before, under the highest ballot
	adoptedAt ballot
	beatenBy  ballot // a higher ballot was promised
	newer     []byte // a newer document was heard of
	reason    string // why somebody abstained
}

// newRound returns a round on top of s under a ballot above beaten and above all
// that s has promised, and the state that must be durable before it begins: a
// restarted proposer then never uses its ballot again.
func newRound(s state, self ring.NodeID, beaten ballot) (state, *round) {
	counter := max(s.pending().promised.counter, beaten.counter) + 1
	s = s.promising(ballot{counter: counter, proposer: self})
	r := &round{base: s, ballot: s.record.promised, voters: make(map[ring.NodeID]bool, len(s.document.Members))}
	for i := range s.document.Members {
		r.voters[s.document.Members[i].ID] = false
	}
	return s, r
}

// request returns what to ask the voters now.
func (r *round) request() message {
	m := message{
		kind:    prepare,
		cluster: r.base.document.Cluster,
		epoch:   r.base.document.Epoch + 1,
		ballot:  r.ballot,
		baseSum: r.base.sum,
	}
	if r.voting {
		m.kind, m.value = accept, r.value
	} else {
		m.base = r.base.form
	}
	return m
}

// take counts a reply.
func (r *round) take(from ring.NodeID, reply message) {
	answered, voter := r.voters[from]
	if !voter || reply.epoch != r.base.document.Epoch+1 || reply.ballot != r.ballot {
		return
	}
	switch {
	case reply.kind == newer:
		r.newer = reply.value
	case reply.kind == refusal:
		if r.beatenBy.less(reply.accepted) {
			r.beatenBy = reply.accepted
		}
	case reply.kind == abstain:
		r.reason = fmt.Sprintf("%s: %.100s", from, reply.value)
	case answered:
	case reply.kind == vote && r.voting:
		r.count(from)
	case reply.kind == promise && !r.voting && r.adopt(reply):
		r.count(from)
	}
}

func (r *round) count(from ring.NodeID) {
	r.voters[from] = true
	r.answers++
}

// adopt notes what a promise says was accepted before. It is false where that
// cannot be: such a promise does not count.
func (r *round) adopt(reply message) bool {
	if reply.accepted.none() {
		return true
	}
	if !reply.accepted.less(r.ballot) && reply.accepted != r.ballot || r.base.follows(reply.value) != nil {
		return false
	}
	if r.adoptedAt.less(reply.accepted) {
		r.adoptedAt, r.adopted = reply.accepted, bytes.Clone(reply.value)
	}
	return true
}

func (r *round) needed() int { return quorum.Majority(len(r.voters)) }

// settled says that a majority has answered what is asked now.
func (r *round) settled() bool { return r.answers >= r.needed() }

// propose turns a round with a majority of promises to asking for votes. own is
// proposed if nothing may have been chosen before.
func (r *round) propose(own []byte) {
	r.value = own
	if r.adopted != nil {
		r.value = r.adopted
	}
	r.voting, r.answers = true, 0
	clear(r.voters)
	for i := range r.base.document.Members {
		r.voters[r.base.document.Members[i].ID] = false
	}
}
