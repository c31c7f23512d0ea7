package cluster

import (
	"bytes"
	"slices"
	"sync"
	"sync/atomic"

	"cartwheel/cluster/quorum"
	"cartwheel/cluster/wire"
	"cartwheel/store/version"
)

// deliver takes the ends of requests to a peer, all that came with one read.
func (p *peer) deliver(replies []wire.Reply) {
	if p.c.pollers.Load() == nil || !p.lessons.take(p, replies) {
		p.end(replies)
	}
}

// Lessons are replies by which this node learns a ring, which it writes to the disk: that is not to
// hold up a poller. Those that come meanwhile and are of that ring wait, too: else their operations
// would begin again on the ring that there was.
type lessons struct {
	mu      sync.Mutex // guards what follows
	batches [][]wire.Reply
	taking  bool   // a goroutine is at it
	epoch   uint64 // of the newest document among them
}

// take takes a batch if it has to wait.
func (l *lessons) take(p *peer, replies []wire.Reply) bool {
	epoch := p.c.view.Load().epoch
	ahead := func(r wire.Reply) bool { return r.Err == nil && r.Status == statusEpoch && r.Epoch > epoch }
	if !slices.ContainsFunc(replies, ahead) {
		return false
	}
	l.mu.Lock()
	defer l.mu.Unlock()
	if !l.taking && !slices.ContainsFunc(replies, teaches) {
		return false
	}
	replies = slices.Clone(replies)
	for i := range replies {
		switch r := &replies[i]; {
		case teaches(*r) && r.Epoch <= l.epoch:
			r.Payload = nil // one copy is enough to learn from
		case teaches(*r):
			l.epoch = r.Epoch
			fallthrough
		default:
			r.Payload = bytes.Clone(r.Payload)
		}
	}
	l.batches = append(l.batches, replies)
	if !l.taking {
		l.taking = true
		p.c.running.Go(func() {
			for batch := l.next(); batch != nil; batch = l.next() {
				p.end(batch)
			}
		})
	}
	return true
}

// next returns the batch that has waited longest, or nil where all are done.
func (l *lessons) next() (batch []wire.Reply) {
	l.mu.Lock()
	defer l.mu.Unlock()
	if len(l.batches) == 0 {
		l.taking, l.epoch = false, 0
		return nil
	}
	batch, l.batches = l.batches[0], l.batches[1:]
	return batch
}

// teaches says whether a reply has a ring document.
func teaches(reply wire.Reply) bool {
	return reply.Err == nil && reply.Status == statusEpoch && len(reply.Payload) > 0
}

func (p *peer) end(replies []wire.Reply) {
	c := p.c
	highest, answered := version.HLC(0), false
	for i := range replies {
		reply := &replies[i]
		if reply.Err == nil {
			answered = true
			highest = max(highest, version.HLC(reply.HLC))
			if teaches(*reply) {
				c.learn(reply.Payload)
			}
		}
	}
	p.count(replies)
	if answered {
		_ = c.observe(p, highest) // it says so itself
	}
	if r, is := replies[0].Token.(*request); is && !r.repair { // one of a batch is enough to learn from
		p.took(r.op.kind, c.uptime()-r.op.began)
	}
	for i := range replies {
		replies[i].Token.(ender).end(&replies[i])
	}
	c.settleAside()
	c.Kick()
}

// An ender is told how a request ended.
type ender interface{ end(reply *wire.Reply) }

func (r *request) end(reply *wire.Reply) {
	op := r.op
	op.mu.Lock()
	r.done = true
	var notify func()
	switch {
	case reply.Err == nil && reply.Status == statusBehind && !r.peer.deaf():
		if !op.ended || op.kind == kindWrite {
			notify = op.teach(r)
		}
	case r.round != op.round:
		// What came of an earlier round does not matter any more.
	case reply.Err == nil && reply.Status == statusEpoch:
		if op.c.deaf() && op.c.view.Load() == op.v { // it would begin again as it was
			op.renews = renewsMax
		}
		notify = op.renew()
	case r.repair:
		notify = op.repairReply(r, reply)
	case op.kind == kindRead:
		notify = op.readReply(r, reply)
	default:
		notify = op.putReply(r, reply)
	}
	op.unref()
	if notify != nil {
		notify()
	}
}

// teach sends the ring to a peer that is behind, and begins again.
func (op *operation) teach(r *request) (notify func()) {
	lane := wire.Small
	if r.bulk {
		lane = wire.Bulk // it must come before what is sent again
	}
	r.peer.teach(lane, op.c.view.Load())
	if r.round != op.round {
		return nil
	}
	return op.renew()
}

// teach sends the ring to the peer, unless it is on its way by that lane: it may be
// long, and those who find out that the peer is behind are many.
func (p *peer) teach(lane wire.Lane, v *view) {
	teaching := &p.teaching[lane]
	if teaching.CompareAndSwap(false, true) && p.sendOn(lane, opDocument, v.epoch, requestTimeout, taught{p, teaching}, v.text) != nil {
		teaching.Store(false)
	}
}

// taught ends the sending of a document.
type taught struct {
	peer     *peer
	teaching *atomic.Bool
}

func (t taught) end(reply *wire.Reply) {
	t.peer.taught(reply.Err, reply.Status)
	t.teaching.Store(false)
}

// renewsMax is how often an operation begins again because rings differ.
const renewsMax = 16

// renew begins the operation again, on the ring that there is now.
func (op *operation) renew() (notify func()) {
	if op.renews++; op.renews > renewsMax {
		if op.ended {
			return nil
		}
		if op.kind == kindRead {
			return op.tell(wireError(errRings))
		}
		return op.tell(wireError(errUnknown))
	}
	v := op.c.view.Load()
	if v.left && !op.ended {
		if op.kind == kindWrite {
			return op.tell(wireError(errUnknown))
		}
		return op.tell(wireError(errLeft))
	}
	op.begin(v, v.partition(op.key))
	if op.kind == kindWrite {
		op.retally()
		return op.sendAll()
	}
	if op.ended {
		return nil
	}
	op.round++
	op.repairing = false
	op.answers = op.answers[:0]
	r, err := op.need.Reads(op.place.owners.Len())
	if err != nil {
		return op.tell(wireError(err))
	}
	p := v.partition(op.key)
	op.here = op.place.holds() && !op.c.untrusted(p)
	if op.here {
		op.own = op.c.store.Levels(p) // before the object
		seq, err := op.c.store.Get(op.db, op.key, op.object)
		if op.here = err == nil; op.here {
			op.seq = max(op.seq, seq)
		}
	}
	op.startRead(r)
	return op.look()
}

// retally begins to count anew on a ring that may have left this node out.
func (op *operation) retally() {
	pl := op.place
	w, err := op.need.Writes(pl.owners.Len())
	wNext, errNext := op.need.Writes(pl.next.Len())
	if err != nil || errNext != nil {
		w, wNext = pl.owners.Len(), pl.next.Len() // as many as there are
	}
	op.tally = quorum.NewTally(pl.owners, w, pl.next, wNext)
	if pl.self >= 0 {
		op.tally.Ack(pl.self)
	}
	// The hint that this node keeps for an owner still counts for that one.
	if at := slices.Index(pl.ids, op.stood); at >= 0 && !pl.holds() {
		op.tally.Ack(at)
	}
}
