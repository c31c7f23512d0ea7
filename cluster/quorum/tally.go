package quorum

import "math/bits"

// NodesMax is how many nodes a Tally can tell apart.
const NodesMax = 64

// A Set is a set of the nodes of one operation, by their index.
type Set uint64

// Of returns the set of one node.
func Of(i int) Set { return 1 << i }

// Has reports whether a node is in the set.
func (s Set) Has(i int) bool { return s>>i&1 != 0 }

// Len returns how many nodes are in the set.
func (s Set) Len() int { return bits.OnesCount64(uint64(s)) }

// A Tally counts who has answered one operation. While partitions move, a write
// needs as many of the owners there are as of those there will be, so that
// reads of neither can miss it: a node that comes in place of an owner shares
// its slot. A strict read does likewise, since there may be a newer ring, of which
// nobody who answers knows, that has only the owners to be.
type Tally struct {
	owners, next         Set
	needOwners, needNext int
	acked, failed        Set
}

// NewTally returns a tally of an operation that needs so many answers of the
// owners, and of the owners to be. Other reads than strict ones pass no owners to be.
func NewTally(owners Set, needOwners int, next Set, needNext int) Tally {
	return Tally{owners: owners, next: next, needOwners: needOwners, needNext: needNext}
}

// Anew returns a tally that needs the same, of which nobody has answered.
func (t *Tally) Anew() Tally { return NewTally(t.owners, t.needOwners, t.next, t.needNext) }

// Ack notes that a node, or another one in its place, has answered.
func (t *Tally) Ack(i int) { t.acked |= Of(i) }

// Fail notes that neither a node nor another in its place will answer.
func (t *Tally) Fail(i int) { t.failed |= Of(i) }

// Retry notes that a node may answer after all.
func (t *Tally) Retry(i int) { t.failed &^= Of(i) }

// Enough reports that the operation has the answers that it needs.
func (t *Tally) Enough() bool {
	return (t.acked&t.owners).Len() >= t.needOwners && (t.acked&t.next).Len() >= t.needNext
}

// Hopeless reports that it will never have them.
func (t *Tally) Hopeless() bool {
	open := ^t.failed | t.acked
	return (open&t.owners).Len() < t.needOwners || (open&t.next).Len() < t.needNext
}

// Acked returns how many of a set have answered.
func (t *Tally) Acked(of Set) int { return (t.acked & of).Len() }

// Failed reports that neither the node nor another in its place will answer.
func (t *Tally) Failed(i int) bool { return t.failed.Has(i) }

// Has reports that the node, or another in its place, has answered.
func (t *Tally) Has(i int) bool { return t.acked.Has(i) }
