package member

import (
	"bytes"
	"errors"
	"fmt"

	"github.com/cespare/xxhash/v2"

	"cartwheel/cluster/ring"
)

var (
	// ErrForeign: a document of another cluster.
	ErrForeign = errors.New("a ring document of another cluster")
	// ErrDiverged: two different documents of one epoch, which only two uses of
	// Force in one cluster can make. Another Force, on the side that is to prevail,
	// ends it.
	ErrDiverged = errors.New("another ring document of the same epoch")
)

// nothingNewer is the reply to a fetch of a document that is not there.
const nothingNewer = "nothing newer is known here"

// A state is all that a node must remember of the agreement. States are values:
// each step returns the next one, which its caller makes durable before anybody
// hears of it.
//
// The document of epoch e+1 is decided by single-decree Paxos (Lamport, "Paxos
// Made Simple", section 2) among the members of document e:
//
//  1. Only who has document e, and is a member of it, votes on epoch e+1.
//     Who has a newer one says so instead of voting; who has an older one takes
//     the proposer's first.
//  2. A promise or a vote leaves after the record that bears it is durable.
//  3. What a majority has accepted under one ballot is chosen: any later ballot's
//     majority of promises meets that majority, and so proposes the same.
//  4. A chosen document is committed: installed wherever it is heard of. It ends
//     the votes on its epoch.
//
// By induction over the epochs there is one document of each.
type state struct {
	document *ring.Document // committed; nil before one is known
	form     []byte         // its form
	sum      uint64         // of form
	record   *record        // nil before the first; void unless its epoch is the next
}

// withDocument returns the state after a committed document has been heard of,
// and whether it was newer.
func (s state) withDocument(form []byte) (next state, installed bool, err error) {
	if bytes.Equal(form, s.form) {
		return s, false, nil
	}
	d, err := ring.Decode(form)
	switch {
	case err != nil:
		return s, false, err
	case s.document == nil:
	case d.Cluster != s.document.Cluster:
		return s, false, ErrForeign
	case d.Epoch < s.document.Epoch:
		return s, false, nil
	case d.Epoch == s.document.Epoch:
		return s, false, fmt.Errorf("epoch %d: %w", d.Epoch, ErrDiverged)
	}
	next = s
	next.document, next.form, next.sum = d, bytes.Clone(form), xxhash.Sum64(form)
	return next, true, nil
}

// pending returns the record of the epoch that follows the document's.
func (s state) pending() record {
	epoch := s.document.Epoch + 1
	if s.record == nil || s.record.epoch != epoch {
		return record{epoch: epoch}
	}
	return *s.record
}

// answer returns the state after a request, and the reply that may be sent once
// that state is durable.
func (s state) answer(self, from ring.NodeID, m message) (next state, reply message) {
	reply = message{cluster: m.cluster, epoch: m.epoch, ballot: m.ballot, baseSum: m.baseSum}
	refuse := func(reason string) (state, message) {
		reply.kind, reply.value = abstain, []byte(reason)
		return s, reply
	}
	if s.document != nil && m.cluster != s.document.Cluster {
		return refuse(ErrForeign.Error())
	}
	if heard := m.brings(s); heard != nil {
		next, _, err := s.withDocument(heard)
		if err != nil {
			return refuse(err.Error())
		}
		if _, listed := next.document.Member(self); s.document == nil && !listed {
			return refuse("not a member")
		}
		s = next
	}
	switch {
	case m.kind == prepare && (s.document == nil || m.epoch > s.document.Epoch+1):
		reply.kind = behind
		return s, reply
	case s.document == nil:
		return refuse("no ring document is known here")
	case m.cluster != s.document.Cluster:
		return refuse(ErrForeign.Error())
	case m.kind == committed:
		return refuse("")
	case m.epoch <= s.document.Epoch:
		reply.kind = newer
		if m.kind == fetch { // a proposer hears it from many, and fetches it from one
			reply.value = s.form
		}
		return s, reply
	case m.kind == fetch:
		return refuse(nothingNewer)
	case m.kind != prepare && m.kind != accept:
		return refuse("not a request")
	case m.epoch > s.document.Epoch+1:
		return refuse("an older ring document is known here")
	case m.baseSum != s.sum:
		return refuse(ErrDiverged.Error())
	case m.ballot.none() || m.ballot.proposer != from:
		return refuse("the ballot is not the sender's")
	}
	if _, voter := s.document.Member(self); !voter {
		return refuse("not a member")
	}
	return s.decide(m, reply)
}

// brings returns the committed document that comes with a request, where its
// acceptor needs it.
func (m *message) brings(s state) []byte {
	switch {
	case m.kind == committed:
		return m.value
	case m.kind == prepare && len(m.base) > 0 && (s.document == nil || m.epoch > s.document.Epoch+1):
		return m.base
	}
	return nil
}

// decide promises or votes, where an equal or higher ballot than any promised
// before asks for it.
func (s state) decide(m, reply message) (state, message) {
	r := s.pending()
	if m.ballot.less(r.promised) {
		reply.kind, reply.accepted = refusal, r.promised
		return s, reply
	}
	if m.kind == prepare {
		reply.kind, reply.accepted = promise, r.accepted
		if m.accepted == r.accepted { // one of many is asked for it
			reply.value = r.value
		}
		return s.promising(m.ballot), reply
	}
	if err := s.follows(m.value); err != nil {
		reply.kind, reply.value = abstain, []byte(err.Error())
		return s, reply
	}
	reply.kind = vote
	if r.accepted != m.ballot {
		s.record = &record{epoch: r.epoch, promised: m.ballot, accepted: m.ballot, value: bytes.Clone(m.value)}
	}
	return s, reply
}

// promising returns the state that takes part in no ballot below b.
func (s state) promising(b ballot) state {
	if r := s.pending(); r.promised != b {
		r.promised = b
		s.record = &r
	}
	return s
}

// follows says why a document's form cannot be the next epoch's.
func (s state) follows(form []byte) error {
	d, err := ring.Decode(form)
	switch {
	case err != nil:
		return err
	case d.Cluster != s.document.Cluster:
		return ErrForeign
	case d.Epoch != s.document.Epoch+1:
		return fmt.Errorf("a document of epoch %d does not follow one of epoch %d", d.Epoch, s.document.Epoch)
	}
	return nil
}
