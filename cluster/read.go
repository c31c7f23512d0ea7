package cluster

import (
	"errors"
	"slices"

	"cartwheel/cluster/quorum"
	"cartwheel/cluster/sabotage"
	"cartwheel/cluster/wire"
	"cartwheel/store"
	"cartwheel/store/version"
)

// Read sets o to the object of a key as R owners have it; without siblings where
// the key is absent. The payloads must not be written to, and stay valid.
//
//  1. This node's object is an answer, if it is an owner.
//  2. Others are asked whether they have another one than it: those that have,
//     send it. Where one is slow past its usual time, a further one is asked.
//  3. The answers are merged. Where R is a quorum, the result is held by that many
//     before it is shown, so that no later read can miss it; those that
//     were behind get it in any case.
func (c *Coordinator) Read(db uint8, key []byte, need quorum.Need, o *version.Object, done quorum.Done) (seq uint64, pending bool, err error) {
	v := c.view.Load()
	if v.alone {
		if _, err := need.Reads(1); err != nil {
			return 0, false, wireError(err)
		}
		seq, err = c.store.Get(db, key, o)
		return seq, false, wireError(err)
	}
	if v.left {
		return 0, false, wireError(errLeft)
	}
	p := v.partition(key)
	pl := &v.places[p]
	r, err := need.Reads(pl.owners.Len())
	if err != nil {
		return 0, false, wireError(err)
	}
	if sabotage.On(sabotage.ReadsFromOneReplica) {
		r = 1
	}
	here := pl.holds() && !c.untrusted(p)
	var own store.Levels
	if here {
		own = c.store.Levels(p) // before the object
		seq, err = c.store.Get(db, key, o)
		switch {
		case errors.Is(err, store.ErrCorrupt):
			here, seq = false, 0 // others have it; what they have replaces it
		case err != nil:
			return 0, false, wireError(err)
		case r == 1 && !(need.Strict && pl.moves()):
			return seq, false, nil
		}
	}
	var w *waiter
	if done == nil {
		w = newWaiter()
		done = w
	}
	op := c.newOperation(kindRead, db, key, need, done)
	op.object, op.here, op.seq, op.own = o, here, seq, own
	op.mu.Lock()
	op.begin(v, p)
	op.startRead(r)
	notify := op.look()
	op.started(notify)
	if w != nil {
		seq, err = w.wait(c)
		return seq, false, err
	}
	return 0, true, nil
}

// started lets an operation go whose first requests are under way; the caller
// holds mu, which is released.
func (op *operation) started(notify func()) {
	if !op.ended {
		op.refs++
		op.c.young.add(op)
	}
	op.unref()
	if notify != nil {
		notify()
	}
}

// startRead asks as many replicas as are needed.
func (op *operation) startRead(r int) {
	next, rNext := op.nextReads()
	op.tally = quorum.NewTally(op.place.owners, r, next, rNext)
	op.merged, op.ownCounted = false, false
	op.stable, op.purge = store.Everything, 0
	if op.here {
		op.hash = op.object.Hash()
		op.stable, op.purge = op.own.Stable, op.own.Purge
		op.tally.Ack(op.place.self)
	} else {
		op.object.Reset()
		op.readOwnHints()
	}
	if op.need.Strict && op.place.moves() {
		op.askAll()
		return
	}
	for missing := r - op.acked(); missing > 0; missing-- {
		if !op.askOne() {
			break
		}
	}
}

// nextReads returns the owners to be that are to answer a strict read, and how many of
// them. Others may be at work in the ring that follows already, with writes that none
// of R owners knows of.
func (op *operation) nextReads() (next quorum.Set, r int) {
	if !op.need.Strict || sabotage.On(sabotage.NextNotRead) {
		return 0, 0
	}
	r, err := op.need.Reads(op.place.next.Len())
	if err != nil {
		return 0, 0 // it was looked at for the owners: there are as many as those
	}
	return op.place.next, r
}

// askAll asks all owners, and those to be.
func (op *operation) askAll() {
	for i, p := range op.place.nodes {
		switch {
		case i != op.place.self:
			if !reachable(p) || !op.ask(p, i, false) {
				op.tally.Fail(i)
			}
		case !op.place.holds():
			op.askHere()
		}
	}
}

// askHere takes this node's own object for the answer of an owner to be.
func (op *operation) askHere() {
	a := answer{node: op.place.self, levels: op.c.store.Levels(op.v.partition(op.key))}
	seq, err := op.c.store.Get(op.db, op.key, &a.object)
	if err != nil {
		op.tally.Fail(a.node)
		return
	}
	op.seq = max(op.seq, seq)
	op.answered(a)
	op.tally.Ack(a.node)
}

func (op *operation) acked() int { return op.tally.Acked(op.place.owners) }

// readOwnHints takes what this node keeps for owners that cannot be asked. It does
// not count as an answer while owners can be asked.
func (op *operation) readOwnHints() {
	if op.need.Strict {
		return
	}
	var o version.Object
	found, seq, err := op.c.store.GetHinted(op.db, op.key, &o)
	if err == nil && found {
		op.seq = max(op.seq, seq)
		op.answered(answer{node: -1, object: o})
	}
}

// askOne asks one more replica, the fastest owner that has not been asked, else a fallback, else
// an owner that does not seem to be up and may only be slow, else this node's own hints. It reports whether there was one.
func (op *operation) askOne() bool {
	return op.askOwner((*peer).up) || op.askFallback() || op.askOwner((*peer).slow) || op.countOwnHints()
}

// askOwner asks the fastest owner of some that has not been asked, and reports whether there was one.
func (op *operation) askOwner(of func(*peer) bool) bool {
	for {
		node, fastest := -1, (*peer)(nil)
		for i, p := range op.place.nodes {
			if p == nil || !op.place.owners.Has(i) || !of(p) || op.asked(p) || op.tally.Has(i) || op.tally.Failed(i) {
				continue // the last: it could not be sent, though the peer is up; it would be tried for ever
			}
			if fastest == nil || p.usual(kindRead) < fastest.usual(kindRead) {
				node, fastest = i, p
			}
		}
		if fastest == nil {
			return false
		}
		if op.ask(fastest, node, false) {
			return true
		}
		op.tally.Fail(node)
	}
}

// askFallback asks a fallback in the place of an owner that cannot be asked, and reports whether there was one.
func (op *operation) askFallback() bool {
	i := op.without(up)
	if i < 0 {
		return false
	}
	for f := op.nextFallback(); f != nil; f = op.nextFallback() {
		if op.ask(f, i, true) {
			return true
		}
	}
	return false
}

// countOwnHints counts what this node keeps for the owners, as a fallback, for one that cannot be asked, even late.
func (op *operation) countOwnHints() bool {
	i := op.without(reachable)
	if i < 0 || op.need.Strict || op.ownCounted || !slices.Contains(op.place.fallbacks(), nil) {
		return false
	}
	op.ownCounted = true
	op.tally.Ack(i)
	return true
}

// without returns the first owner without an answer, or anybody asked in its place, of which none is to be expected: it has
// failed, has not been asked or may not answer; -1: there is none.
func (op *operation) without(may func(*peer) bool) int {
	for i, p := range op.place.nodes {
		if !op.place.owners.Has(i) || i == op.place.self || op.tally.Has(i) || op.standsFor(i) {
			continue
		}
		if !may(p) || !op.asked(p) || op.tally.Failed(i) {
			return i
		}
	}
	return -1
}

// standsFor reports that a fallback has been asked in the place of a node.
func (op *operation) standsFor(node int) bool {
	for _, r := range op.requests {
		if r.node == node && r.hint && r.round == op.round {
			return true
		}
	}
	return false
}

func (op *operation) ask(p *peer, node int, fallback bool) bool {
	r := op.request(p, node, fallback)
	g := get{fallback: fallback, any: !op.here, db: op.db, hash: op.hash, key: op.key}
	op.scratch = g.append(op.scratch[:0])
	return op.send(r, opGet, op.scratch) == nil
}

// answered takes an object into the answers and into the merged one.
func (op *operation) answered(a answer) {
	if sabotage.On(sabotage.StaleReadRepair) {
		a.levels = store.Levels{Stable: store.Everything}
	}
	if !a.same {
		op.object.MergeIn(&a.object)
		op.merged = true
		op.stable, op.purge = min(op.stable, a.levels.Stable), max(op.purge, a.levels.Purge)
	}
	op.answers = append(op.answers, a)
}

// readReply takes one replica's answer; the caller holds mu.
func (op *operation) readReply(r *request, reply *wire.Reply) (notify func()) {
	if op.ended || op.repairing {
		return nil
	}
	err := reply.Err
	switch {
	case errors.Is(err, wire.ErrTooLarge) && !r.bulk:
		g := get{fallback: r.hint, any: !op.here, db: op.db, hash: op.hash, key: op.key}
		op.scratch = g.append(op.scratch[:0])
		r.bulk, r.done = true, false
		if err = r.peer.sendOn(wire.Bulk, opGet, op.v.epoch, requestTimeout, r, op.scratch); err == nil {
			op.refs++
			return nil
		}
		r.done = true
	case err != nil:
	case reply.Status == statusSame:
		op.answered(answer{node: r.node, peer: r.peer, hint: r.hint, same: true})
	case reply.Status == statusObject:
		a := answer{node: r.node, peer: r.peer, hint: r.hint}
		var text []byte
		if a.levels, text, err = cutLevels(reply.Payload); err == nil && len(text) > 0 {
			err = a.object.Decode(append([]byte(nil), text...))
		}
		if err == nil {
			op.answered(a)
		}
	default:
		err = errMessage
	}
	if err == nil {
		op.tally.Ack(r.node)
		return op.look()
	}
	op.askOne()
	if !op.underWayFor(r.node) {
		op.tally.Fail(r.node)
	}
	return op.look()
}

// look ends a read that has its answers, or will never have them.
func (op *operation) look() (notify func()) {
	switch {
	case op.tally.Enough():
		return op.settleRead()
	case op.tally.Hopeless() || !op.underWay():
		return op.tell(wireError(quorum.ErrNoReplicas))
	}
	return nil
}

// underWay reports that a request of this round has yet to end.
func (op *operation) underWay() bool {
	for _, r := range op.requests {
		if !r.done && r.round == op.round {
			return true
		}
	}
	return false
}

// levels are those of the merged object. Where nobody who answered has all that was
// deleted up to the purge, nobody says what is.
func (op *operation) levels() store.Levels {
	if !op.trusted() {
		return store.Levels{Stable: op.stable}
	}
	return store.Levels{Stable: op.stable, Purge: op.purge}
}

// trusted says whether an answer comes from a node that has everything up to the
// greatest purge among the answers.
func (op *operation) trusted() bool {
	if op.here && op.own.Stable >= op.purge {
		return true
	}
	for i := range op.answers {
		if a := &op.answers[i]; !a.same && a.levels.Stable >= op.purge {
			return true
		}
	}
	return false
}

// underWayFor reports the same of requests for one node.
func (op *operation) underWayFor(node int) bool {
	for _, r := range op.requests {
		if !r.done && r.round == op.round && r.node == node {
			return true
		}
	}
	return false
}

// settleRead ends a read that has its answers: at once where they agree, else
// when a quorum holds what they make together.
func (op *operation) settleRead() (notify func()) {
	if op.merged && op.stable < op.purge && op.trusted() {
		if err := op.mergeVouched(); err != nil {
			return op.tell(wireError(err))
		}
	}
	// Where this node has forgotten something, also what is absent is news to it.
	forgot := op.place.holds() && (!op.here || op.own.Stable < op.purge)
	if !op.merged || len(op.object.Siblings) == 0 && !forgot || sabotage.On(sabotage.ReadRepairOff) {
		return op.tell(nil)
	}
	merged := op.object.Hash()
	op.held = op.tally.Anew()
	var behind []answer
	for _, a := range op.answers {
		hash := op.hash
		if !a.same {
			hash = a.object.Hash()
		}
		if hash == merged {
			if a.node >= 0 {
				op.held.Ack(a.node)
			}
		} else if a.peer != nil {
			behind = append(behind, a)
		}
	}
	if op.place.holds() || op.place.self >= 0 && op.need.Strict {
		if !op.here || op.hash != merged {
			seq, _, err := op.c.store.Merge(op.db, op.key, op.c.store.NowMS(), op.object, &version.Object{}, op.levels())
			if err != nil {
				return op.tell(wireError(err))
			}
			op.seq = max(op.seq, seq)
		}
		op.held.Ack(op.place.self)
	}
	if len(behind) == 0 || len(op.object.Siblings) == 0 {
		return op.tell(nil)
	}
	r, _ := op.need.Reads(op.place.owners.Len())
	waits := r >= quorum.Majority(op.place.owners.Len())
	op.repairing = true
	op.memory = version.AppendObject(op.memory[:0], op.object)
	op.text = op.memory
	for _, a := range behind {
		op.repair(a)
	}
	if !waits || op.held.Enough() {
		return op.tell(nil)
	}
	if !op.repairsUnderWay() {
		return op.repairFailed()
	}
	return nil
}

// repairsUnderWay reports that a repair has yet to end.
func (op *operation) repairsUnderWay() bool {
	for _, r := range op.requests {
		if r.repair && !r.done && r.round == op.round {
			return true
		}
	}
	return false
}

// repair sends the merged object to a replica that is behind.
func (op *operation) repair(a answer) {
	r := op.request(a.peer, a.node, a.hint)
	r.repair = true
	p := put{db: op.db, key: op.key, stable: op.stable}
	if sabotage.On(sabotage.StaleReadRepair) {
		p.stable = store.Everything
	}
	if a.hint {
		id := op.place.ids[a.node]
		p.hint = &id
	}
	op.scratch = p.append(op.scratch[:0])
	if op.send(r, opPut, op.scratch, op.text) == nil {
		op.c.stats.readRepairs.Add(1)
	}
}

// repairReply takes the end of a repair; the caller holds mu.
func (op *operation) repairReply(r *request, reply *wire.Reply) (notify func()) {
	if op.ended {
		return nil
	}
	if reply.Err == nil && (reply.Status == statusOK || reply.Status == statusLater) {
		op.held.Ack(r.node)
	}
	switch {
	case op.held.Enough():
		return op.tell(nil)
	case !op.repairsUnderWay():
		return op.repairFailed()
	}
	return nil
}

// repairFailed ends a read of which less than a quorum holds the result. A strict
// one must not show what a later one may not find.
func (op *operation) repairFailed() (notify func()) {
	if op.need.Strict {
		return op.tell(wireError(quorum.ErrNoReplicas))
	}
	return op.tell(nil)
}
