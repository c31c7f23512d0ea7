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
//     chosen already: the value accepted under the highest ballot. There is one value
//     to a ballot, which may be long, so it is asked for (wanted) from one voter only.
//  2. propose turns it to asking for votes, for that value or, where there is
//     none, its owner's.
//  3. With a majority of votes the value is chosen.
type round struct {
	base   state
	ballot ballot
	value  []byte // proposed, once voting

	voting   bool
	voters   map[ring.NodeID]verdict // on what is asked now
	answers  int                     // for it
	failures int                     // against it, or none that counts
	promised []ring.NodeID           // who was for it when promises were asked for

	adoptedAt ballot      // the highest that something was accepted under before
	adoptedBy ring.NodeID // by this voter
	adopted   []byte      // what it was; nil until that is known
	beatenBy  ballot      // a higher ballot was promised
	newer     ring.NodeID // has a newer document; zero: nobody is known to
	reason    string      // why somebody abstained
}

// A verdict is what has become of asking one voter.
type verdict uint8

const (
	waiting verdict = iota
	failed
	given
)

// newRound returns a round on top of s under a ballot above beaten and above all
// that s has promised, and the state that must be durable before it begins: a
// restarted proposer then never uses its ballot again.
func newRound(s state, self ring.NodeID, beaten ballot) (state, *round) {
	counter := max(s.pending().promised.counter, beaten.counter) + 1
	s = s.promising(ballot{counter: counter, proposer: self})
	r := &round{base: s, ballot: s.record.promised, voters: make(map[ring.NodeID]verdict, len(s.document.Members))}
	for i := range s.document.Members {
		r.voters[s.document.Members[i].ID] = waiting
	}
	return s, r
}

// request returns what to ask the voters now. The base goes only to those who lack it
// (withBase): it may be long, and they are many.
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
	}
	return m
}

// withBase returns the request for a voter that has an older document.
func (r *round) withBase() message {
	m := r.request()
	if !r.voting {
		m.base = r.base.form
	}
	return m
}

// order returns the voters in the order in which to ask them: this node, those who
// have promised, who were alive a moment ago, then the others.
func (r *round) order() []ring.NodeID {
	self := r.ballot.proposer
	asked := map[ring.NodeID]bool{self: true}
	order := []ring.NodeID{self}
	add := func(id ring.NodeID) {
		if _, voter := r.voters[id]; voter && !asked[id] {
			asked[id] = true
			order = append(order, id)
		}
	}
	for _, id := range r.promised {
		add(id)
	}
	for i := range r.base.document.Members {
		add(r.base.document.Members[i].ID)
	}
	return order
}

// fail notes that a voter's answer did not come, or does not count.
func (r *round) fail(voter ring.NodeID) {
	if of, is := r.voters[voter]; is && of == waiting {
		r.voters[voter] = failed
		r.failures++
	}
}

// hopeless says that those who have not failed are no majority.
func (r *round) hopeless() bool { return len(r.voters)-r.failures < r.needed() }

// overtaken says that the epoch has been decided without this round.
func (r *round) overtaken() bool { return r.newer != ring.NodeID{} }

// take counts a reply.
func (r *round) take(from ring.NodeID, reply message) {
	before, voter := r.voters[from]
	if !voter || reply.epoch != r.base.document.Epoch+1 || reply.ballot != r.ballot {
		return
	}
	r.fail(from) // unless it counts
	switch {
	case reply.kind == newer:
		r.newer = from
	case reply.kind == refusal:
		if r.beatenBy.less(reply.accepted) {
			r.beatenBy = reply.accepted
		}
	case reply.kind == abstain:
		r.reason = fmt.Sprintf("%s: %.100s", from, reply.value)
	case before == given && reply.kind == promise && !r.voting && r.lacks():
		r.adopt(from, reply)
	case before == given:
	case reply.kind == vote && r.voting:
		r.count(from)
	case reply.kind == promise && !r.voting && r.adopt(from, reply):
		r.count(from)
	}
}

func (r *round) count(from ring.NodeID) {
	if r.voters[from] == failed {
		r.failures--
	}
	r.voters[from] = given
	r.answers++
	if !r.voting {
		r.promised = append(r.promised, from)
	}
}

// adopt notes what a promise says was accepted before. It is false where that
// cannot be: such a promise does not count.
func (r *round) adopt(from ring.NodeID, reply message) bool {
	if reply.accepted.none() {
		return true
	}
	if !reply.accepted.less(r.ballot) && reply.accepted != r.ballot {
		return false
	}
	if len(reply.value) > 0 && r.base.follows(reply.value) != nil {
		return false
	}
	if r.adoptedAt.less(reply.accepted) {
		r.adoptedAt, r.adoptedBy, r.adopted = reply.accepted, from, nil
	}
	if r.adoptedAt == reply.accepted && r.adopted == nil && len(reply.value) > 0 {
		r.adopted = bytes.Clone(reply.value)
	}
	return true
}

// lacks says that the value that must be proposed is not known here. Nothing can be
// proposed while it is not.
func (r *round) lacks() bool { return !r.adoptedAt.none() && r.adopted == nil }

// wanted returns the request for that value, which goes to adoptedBy.
func (r *round) wanted() message {
	m := r.request()
	m.accepted = r.adoptedAt
	return m
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
	r.voting, r.answers, r.failures = true, 0, 0
	for id := range r.voters {
		r.voters[id] = waiting
	}
}
