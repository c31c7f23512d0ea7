package cluster

import (
	"sync"
	"time"

	"cartwheel/cluster/quorum"
	"cartwheel/cluster/ring"
	"cartwheel/cluster/sabotage"
	"cartwheel/cluster/wire"
	"cartwheel/store"
	"cartwheel/store/version"
)

// An operation is a read or a write of one key that waits for other nodes.
//
// It is asked of replicas by requests, each of which ends exactly once: by a
// reply, or by an error. Whoever delivers the end holds mu while the operation
// moves on; done is told after mu is released. The operation's memory goes back when
// it has ended and no request of it is under way.
type operation struct {
	c    *Coordinator
	done quorum.Done
	need quorum.Need
	db   uint8
	hash uint64 // of the local object, to a read
	key  []byte

	mu       sync.Mutex
	kind     kind
	round    uint8 // requests of earlier rounds end without effect
	ended    bool
	told     bool // done has been told, or needs not be
	refs     int  // requests under way, and one for whoever starts it, one for the list of the young, one while it is parked
	v        *view
	place    *place
	tally    quorum.Tally
	requests []*request
	scratch  []byte // for headers
	fallback int    // the next of place.fallbacks to be tried
	began    time.Duration
	seq      uint64
	renews   int

	// guarded by Coordinator.young.mu
	young        bool // it is in its list
	older, newer *operation

	// of a read
	object     *version.Object // the caller's; of this node, and then merged
	own        store.Levels    // of this node, before its object was read
	stable     version.HLC     // the least of what vouches for what is merged
	purge      version.HLC     // the greatest
	here       bool            // this node has an object of its own to compare
	merged     bool            // some replica had another object
	answers    []answer
	repairing  bool         // the replicas that are behind get the merged object
	held       quorum.Tally // of those that have it; enough of them must before it is shown
	ownCounted bool         // this node's hints count for an owner

	// of a write
	change      version.Change // while it is applied
	changed     bool
	dot         version.Dot
	plain       bool
	later       version.HLC // of a sibling that wins against it
	tries       int
	parked      bool
	parks       int
	parkedUntil time.Duration // it is sent again
	stands      int           // the index of the owner that this node counts for: itself, or one that is down
	stood       ring.NodeID   // that one, if it is not this node; it may have another index in another ring
	text        []byte        // the form of the object that is sent: never changed
	memory      []byte        // for text, unless it is the store's
	vouched     version.HLC   // what was stable here before text was read
}

type kind uint8

const (
	kindRead kind = iota
	kindWrite
	kinds
)

// A request is what is asked of one node for an operation.
type request struct {
	op     *operation
	peer   *peer
	node   int   // the index of the node that it is for
	round  uint8 // of the operation
	hint   bool  // peer stands for the node
	repair bool  // of a read
	bulk   bool  // sent by the lane for bulk, since the reply was too large
	done   bool
}

// An answer is the object that one replica has.
type answer struct {
	node   int
	peer   *peer // nil: this node
	hint   bool
	object version.Object
	levels store.Levels
	same   bool // as this node's
}

// errNotOwner says that this node has lost the key while a command ran.
var errNotOwner = quorum.ErrMoved

func (c *Coordinator) newOperation(k kind, db uint8, key []byte, need quorum.Need, done quorum.Done) *operation {
	op, _ := c.operations.Get().(*operation)
	if op == nil {
		op = &operation{c: c}
	}
	op.kind, op.db, op.need, op.done = k, db, need, done
	op.key = append(op.key[:0], key...)
	op.refs = 1
	op.began = c.uptime()
	return op
}

// unref lets go of the operation; the caller holds mu, which is released.
func (op *operation) unref() {
	op.refs--
	if op.refs > 0 || !op.ended {
		op.mu.Unlock()
		return
	}
	c := op.c
	for i := range op.answers {
		op.answers[i].object.Reset()
		op.answers[i].peer = nil
	}
	memory, key, answers, requests, scratch := op.memory[:0], op.key[:0], op.answers[:0], op.requests, op.scratch
	if cap(memory) > operationKeepBytes {
		memory = nil
	}
	op.mu.Unlock()
	for _, r := range requests {
		*r = request{}
	}
	*op = operation{c: c, memory: memory, key: key, answers: answers, requests: requests[:0], scratch: scratch}
	c.operations.Put(op)
}

const operationKeepBytes = 16 << 10

// begin sets the operation on a ring.
func (op *operation) begin(v *view, p ring.Partition) {
	op.v, op.place = v, &v.places[p]
	op.fallback = 0
}

// request returns a request for a node, in this round.
func (op *operation) request(p *peer, node int, hint bool) *request {
	var r *request
	if n := len(op.requests); n < cap(op.requests) {
		op.requests = op.requests[:n+1]
		if r = op.requests[n]; r == nil {
			r = &request{}
			op.requests[n] = r
		}
	} else {
		r = &request{}
		op.requests = append(op.requests, r)
	}
	*r = request{op: op, peer: p, node: node, round: op.round, hint: hint}
	return r
}

// send sends a request. Where that fails, it has not been sent.
func (op *operation) send(r *request, code wire.Op, parts ...[]byte) error {
	if err := r.peer.send(code, op.v.epoch, r, parts...); err != nil {
		op.requests = op.requests[:len(op.requests)-1]
		return err
	}
	r.bulk = laneFor(parts) == wire.Bulk
	op.refs++
	return nil
}

// asked reports that a request to the peer is or was under way in this round.
func (op *operation) asked(p *peer) bool {
	for _, r := range op.requests {
		if r.peer == p && r.round == op.round {
			return true
		}
	}
	return false
}

// nextFallback returns the next live node that may stand in for an owner.
func (op *operation) nextFallback() *peer {
	if op.need.Strict && !sabotage.On(sabotage.FallbackAsOwner) {
		return nil
	}
	for fallbacks := op.place.fallbacks(); op.fallback < len(fallbacks); {
		p := fallbacks[op.fallback]
		op.fallback++
		if p != nil && p.up() && !op.counts(p) {
			return p
		}
	}
	return nil
}

// counts reports that the peer has been asked as an owner, or in the place of one.
// An owner to be, which is asked for itself too, may stand in for one.
func (op *operation) counts(p *peer) bool {
	for _, r := range op.requests {
		if r.peer == p && r.round == op.round && (r.hint || op.place.owners.Has(r.node)) {
			return true
		}
	}
	return false
}

// tell tells done how the operation ended; the caller holds mu, and a reference
// beside that of the young. It returns what is to be called without mu.
func (op *operation) tell(err error) (notify func()) {
	op.ended = true
	if op.c.young.remove(op) {
		op.refs--
	}
	if op.told {
		return nil
	}
	op.told = true
	now := op.c.uptime()
	op.c.foreground.waited(now, now-op.began)
	done, seq := op.done, op.seq
	return func() { done.Done(seq, err) }
}

// A waiter is a Done to block on.
type waiter struct {
	ended chan struct{}
	seq   uint64
	err   error
}

func newWaiter() *waiter { return &waiter{ended: make(chan struct{}, 1)} }

func (w *waiter) Done(seq uint64, err error) {
	w.seq, w.err = seq, err
	w.ended <- struct{}{}
}

// wait blocks until Done.
func (w *waiter) wait(c *Coordinator) (seq uint64, err error) {
	c.Kick()
	<-w.ended
	return w.seq, w.err
}

// keepHint keeps, here, what an owner has missed, for when it is back.
func (c *Coordinator) keepHint(owner ring.NodeID, db uint8, key []byte, o *version.Object) {
	if _, err := c.store.AddHint(owner, db, key, c.store.NowMS(), o); err != nil {
		c.log.Debug().Err(err).Stringer("node", owner).Msg("no hint is kept: the node will be repaired")
		return
	}
	c.stats.hints.Add(1)
}

// refused logs why a peer does not do what it was asked.
func (c *Coordinator) refused(p *peer, reply *wire.Reply) {
	c.log.Debug().Stringer("node", p.id).Uint8("status", reply.Status).Bytes("why", reply.Payload).Msg("a node refuses a write")
}
