package cluster

import (
	"encoding/binary"
	"math/rand/v2"
	"sync"

	"cartwheel/cluster/quorum"
	"cartwheel/cluster/ring"
	"cartwheel/cluster/sabotage"
	"cartwheel/cluster/wire"
	"cartwheel/store"
	"cartwheel/store/version"
)

// Update changes the object of a key at its owners, of which this node is one,
// and returns the sequence to Commit before the change is acknowledged. o is
// memory to work in and is left as the change made it.
//
//  1. The change is applied to this node's object. Where it changes nothing, that
//     is all.
//  2. The whole object that it made is sent to all other owners, and to those
//     that are to become owners. For one that is down, or slow past its
//     usual time, a fallback keeps it as a hint.
//  3. W of them suffice, this node included.
//  4. An owner may say that a sibling of it was written later: then the write
//     gets a later dot, and is sent again.
//  5. For an owner that has not answered in time, this node keeps a hint.
func (c *Coordinator) Update(db uint8, key []byte, need quorum.Need, nowMS int64, o *version.Object, change version.Change, done quorum.Done) (seq uint64, pending bool, err error) {
	if v := c.view.Load(); v.alone {
		if _, err := need.Writes(1); err != nil {
			return 0, false, wireError(err)
		}
		seq, err = c.store.Update(db, key, nowMS, o, change)
		return seq, false, wireError(err)
	}
	var w *waiter
	if done == nil {
		w = newWaiter()
		done = w
	}
	op := c.newOperation(kindWrite, db, key, need, done)
	op.mu.Lock()
	notify, err := op.apply(nowMS, o, change)
	seq, changed := op.seq, op.changed
	op.started(notify)
	if err != nil || !changed {
		return seq, false, wireError(err)
	}
	if w != nil {
		seq, err = w.wait(c)
		return seq, false, err
	}
	return seq, true, nil
}

// A change that also says whether it is a plain write, one that is to win over
// all that was written before it.
type plainChange interface {
	version.Change
	Plain() bool
}

// apply changes this node's object and sends it to the others. Where it has
// (changed), done will be told; else the operation has ended. The caller holds mu.
func (op *operation) apply(nowMS int64, o *version.Object, change version.Change) (notify func(), err error) {
	c := op.c
	c.installing.RLock() // no ring comes between choosing the owners and the change
	defer c.installing.RUnlock()
	v := c.view.Load()
	op.begin(v, v.partition(op.key))
	op.changed = false
	if err := op.canWrite(); err != nil {
		op.ended, op.told = true, true
		return nil, err
	}
	op.change, op.text = change, nil
	op.vouch()
	if op.place.holds() {
		op.seq, err = c.store.Update(op.db, op.key, nowMS, o, op)
	} else {
		op.seq, err = op.applyToHint(nowMS, o)
	}
	op.change = nil
	if err != nil || !op.changed {
		op.ended, op.told = true, true
		return nil, err
	}
	if op.place.self >= 0 && !op.place.holds() { // an owner to be that stands in for the owners
		seq, _, err := c.store.Merge(op.db, op.key, nowMS, o, &version.Object{}, store.Levels{Stable: op.vouched})
		if err != nil {
			op.ended, op.told = true, true
			return nil, wireError(errUnknown)
		}
		op.seq = max(op.seq, seq)
		op.tally.Ack(op.place.self)
	}
	op.plain = false
	if p, ok := change.(plainChange); ok {
		op.plain = p.Plain()
	}
	op.encode(o)
	return op.sendAll(), nil
}

// vouch notes what is stable here, before the object is read that will be sent. What
// a node keeps as hints nobody vouches for.
func (op *operation) vouch() {
	op.vouched = 0
	if op.place.holds() {
		op.vouched = op.c.store.Levels(op.v.partition(op.key)).Stable
	}
}

// Apply and Blind make the operation the change that the store sees, so that it
// learns whether there was one.
func (op *operation) Apply(o *version.Object) bool {
	op.changed = op.change.Apply(o)
	return op.changed
}

func (op *operation) Blind() bool { return op.change.Blind() }

// Keep takes the form of what has been stored, which is what is sent, too.
func (op *operation) Keep(form []byte) { op.text = form }

// encode takes the object that is to be sent, unless Keep has its form already.
func (op *operation) encode(o *version.Object) {
	if op.text == nil {
		op.memory = version.AppendObject(op.memory[:0], o)
		op.text = op.memory
	}
	op.dot = version.Dot{}
	for i := range o.Siblings {
		if o.Siblings[i].Dot.Compare(op.dot) > 0 && o.Siblings[i].Dot.HLC >= op.dot.HLC {
			op.dot = o.Siblings[i].Dot
		}
	}
}

// canWrite says, before anything is done, whether as many nodes can be reached
// as the write needs.
func (op *operation) canWrite() error {
	if op.v.left {
		return errLeft
	}
	pl := op.place
	w, err := op.need.Writes(pl.owners.Len())
	if err != nil {
		return err
	}
	self := pl.self
	op.stands, op.stood = self, ring.NodeID{}
	if !pl.holds() {
		if self = pl.standsIn(); self < 0 || op.need.Strict {
			return errNotOwner
		}
		op.stands, op.stood = self, pl.ids[self]
	}
	wNext, err := op.need.Writes(pl.next.Len())
	if err != nil {
		return err
	}
	if sabotage.On(sabotage.WriteCountedTwice) {
		w, wNext = max(w-1, 1), max(wNext-1, 1)
	}
	op.tally = quorum.NewTally(pl.owners, w, pl.next, wNext)
	op.tally.Ack(self)
	if !op.inReach() {
		return quorum.ErrNoReplicas
	}
	return nil
}

// inReach says whether the write can have the acknowledgements that it lacks.
func (op *operation) inReach() bool {
	pl := op.place
	reach, standIns := op.tally, 0
	for i, p := range pl.nodes {
		if reachable(p) || !p.tried.Load() { // a node that has just joined will be up in a moment
			reach.Ack(i)
		}
	}
	if reach.Enough() {
		return true
	}
	if !op.need.Strict {
		for _, p := range pl.fallbacks() {
			if p != nil && p.up() {
				standIns++
			}
		}
	}
	for i := range pl.nodes {
		if standIns > 0 && !reach.Has(i) {
			reach.Ack(i)
			standIns--
		}
	}
	return reach.Enough()
}

// sendAll sends the object to all nodes of its place, or to others in their place, in
// a new round. Those in their place come last: an owner to be that stands in for an
// owner has the object as its own before it acknowledges it as another's.
func (op *operation) sendAll() (notify func()) {
	op.round++
	op.fallback, op.later = 0, 0
	var missed quorum.Set
	for i, p := range op.place.nodes {
		if i != op.place.self && !op.tally.Has(i) && (p == nil || !p.up() || !op.put(p, i, false)) {
			missed |= quorum.Of(i)
		}
	}
	for i := range op.place.nodes {
		if missed.Has(i) {
			op.standIn(i)
		}
	}
	return op.count()
}

// standIn has a fallback keep the object for a node or, where there is none,
// this node, which does not count.
func (op *operation) standIn(node int) {
	if !op.ended {
		for f := op.nextFallback(); f != nil; f = op.nextFallback() {
			if op.put(f, node, true) {
				return
			}
		}
	}
	if !op.underWayFor(node) {
		op.tally.Fail(node)
	}
	op.keepHint(node)
}

// putToSlow sends the object to those nodes, too, that do not seem to be up, or did not, and in whose place nobody
// acknowledges it: all others may have stood still for a moment, and this one may only think so.
func (op *operation) putToSlow() (sent bool) {
	for i, p := range op.place.nodes {
		if p != nil && reachable(p) && !op.tally.Has(i) && !op.underWayFor(i) && !op.asked(p) && op.put(p, i, false) {
			op.tally.Retry(i)
			sent = true
		}
	}
	return sent
}

// keepHint keeps, here, what a node of the place has missed.
func (op *operation) keepHint(node int) {
	var o version.Object
	if err := o.Decode(op.text); err != nil {
		op.c.log.Error().Err(err).Msg("an object that was sent cannot be decoded")
		return
	}
	op.c.keepHint(op.place.ids[node], op.db, op.key, &o)
}

func (op *operation) put(p *peer, node int, hint bool) bool {
	r := op.request(p, node, hint)
	m := put{plain: op.plain, db: op.db, dot: op.dot, stable: op.vouched, key: op.key}
	if hint {
		op.c.stats.standIns.Add(1)
		m.hint = &op.place.ids[node]
	}
	op.scratch = m.append(op.scratch[:0])
	return op.send(r, opPut, op.scratch, op.text) == nil
}

// putReply takes the end of a request; the caller holds mu.
func (op *operation) putReply(r *request, reply *wire.Reply) (notify func()) {
	switch {
	case reply.Err == nil && (reply.Status == statusOK || reply.Status == statusLater && sabotage.On(sabotage.StampAnewLost)):
		op.tally.Ack(r.node)
	case reply.Err == nil && reply.Status == statusLater && len(reply.Payload) == 8:
		op.later = max(op.later, version.HLC(binary.BigEndian.Uint64(reply.Payload)))
		if op.ended {
			return nil // W others had nothing later
		}
		return op.stampAnew()
	default:
		if reply.Err == nil {
			op.c.refused(r.peer, reply)
		}
		op.standIn(r.node)
	}
	return op.count()
}

// count ends a write that has its acknowledgements, or will never have them.
func (op *operation) count() (notify func()) {
	switch {
	case op.ended, op.parked:
		return nil
	case op.tally.Enough():
		return op.tell(nil)
	case op.tally.Hopeless() || !op.underWay():
		if op.putToSlow() && !op.tally.Hopeless() {
			return nil
		}
		return op.park()
	}
	return nil
}

// standsIn returns the index of the owner that this node takes writes for, because
// no owner is up and no fallback before it; -1: of none.
func (p *place) standsIn() int {
	for i, n := range p.nodes {
		if p.owners.Has(i) && up(n) {
			return -1
		}
	}
	for _, n := range p.fallbacks() {
		if n == nil {
			return 0
		}
		if n.up() {
			return -1
		}
	}
	return -1
}

// applyToHint changes what this node keeps for the owners, none of which is up.
//
// A vector clock says of its incarnations that all their earlier writes of the key
// were seen. Hints go away when they have been replayed, so this node's own
// incarnation could not say that: each time that a hint begins anew it gets an
// incarnation of its own (Dot).
func (op *operation) applyToHint(nowMS int64, o *version.Object) (seq uint64, err error) {
	c := op.c
	c.fallback.mu.Lock()
	defer c.fallback.mu.Unlock()
	if _, _, err := c.store.GetHinted(op.db, op.key, o); err != nil {
		return 0, err
	}
	if !op.Apply(o) {
		return 0, nil
	}
	return c.store.AddHint(op.place.ids[op.stands], op.db, op.key, nowMS, o)
}

// fallback is what a node needs that coordinates writes for owners none of which
// is up.
type fallback struct {
	mu   sync.Mutex                          // held while a hint is read and changed
	last map[version.Incarnation]version.HLC // guarded by mu: the last dot of each that hints have got here
}

// barrier returns when each hint has been stored whose dot was given before.
func (f *fallback) barrier() {
	f.mu.Lock()
	//lint:ignore SA2001 who held it has stored what it gave a dot
	f.mu.Unlock()
}

// Incarnations of hints begin with these bits, and are not kept in mind: there
// may be one for each key that is written in an outage.
const (
	hintIncarnationMark = 0xfa11 << 48
	hintIncarnationMask = 0xffff << 48
	hintIncarnationsMax = 1 << 16 // that are continued
)

func ofHint(i version.Incarnation) bool { return i&hintIncarnationMask == hintIncarnationMark }

// Dot returns the identity of a new write of a key with that clock: above floor,
// and above every one that this node has given before.
func (c *Coordinator) Dot(key []byte, clock version.Clock, nowMS int64, floor version.HLC) (version.Dot, error) {
	hlc, err := c.store.NextHLC(nowMS, floor)
	if err != nil {
		return version.Dot{}, wireError(err)
	}
	v := c.view.Load()
	if !v.alone && !v.places[v.partition(key)].holds() {
		return version.Dot{Incarnation: c.hintIncarnation(clock, hlc), HLC: hlc}, nil
	}
	i, err := c.incarnation(v)
	if err != nil {
		return version.Dot{}, wireError(err)
	}
	return version.Dot{Incarnation: i, HLC: hlc}, nil
}

// hintIncarnation returns the incarnation for a dot of that HLC: the one whose
// last dot is the clock's, so that all its writes of the key are in the hint, or a
// new one. The caller holds fallback.mu.
func (c *Coordinator) hintIncarnation(clock version.Clock, hlc version.HLC) version.Incarnation {
	f := &c.fallback
	if f.last == nil || len(f.last) >= hintIncarnationsMax {
		f.last = make(map[version.Incarnation]version.HLC)
	}
	i := version.Incarnation(rand.Uint64()&^hintIncarnationMask | hintIncarnationMark)
	for _, entry := range clock {
		if last, own := f.last[entry.Incarnation]; own && last == entry.HLC {
			i = entry.Incarnation
		}
	}
	f.last[i] = hlc
	return i
}

// stampsMax is how often one write is stamped anew.
const stampsMax = 8

// stampAnew gives the write a dot above all that it has to win against, and
// sends it again.
func (op *operation) stampAnew() (notify func()) {
	c := op.c
	if op.tries++; op.tries > stampsMax {
		return op.tell(wireError(errUnknown))
	}
	nowMS := c.store.NowMS()
	again := &restamp{c: c, key: op.key, dot: op.dot, floor: max(op.later, c.store.FlushMark(op.db)), nowMS: nowMS, within: op.need.Span}
	var o version.Object
	c.installing.RLock()
	defer c.installing.RUnlock()
	v := c.view.Load()
	op.begin(v, v.partition(op.key))
	if err := op.canWrite(); err != nil || !op.place.holds() {
		return op.tell(wireError(errUnknown)) // some have it as it was
	}
	op.vouch()
	seq, err := c.store.Update(op.db, op.key, nowMS, &o, again)
	op.seq = max(op.seq, seq)
	switch {
	case err != nil, again.err != nil:
		return op.tell(wireError(errUnknown)) // likewise
	case again.gone:
		return op.tell(nil) // a flush has taken it
	}
	// Where the sibling has been overwritten here, by one who has seen it, what has
	// overwritten it is sent: it too must win at W replicas.
	c.stats.restamps.Add(1)
	op.text, op.dot = again.text, again.dot
	return op.sendAll()
}

// A restamp gives a sibling, or if that was overwritten the one that wins now, a
// dot above what it has to win against.
type restamp struct {
	c      *Coordinator
	key    []byte
	dot    version.Dot // of the sibling, and then of the one that wins
	floor  version.HLC
	nowMS  int64
	within quorum.Span
	text   []byte // the object then
	gone   bool   // nothing is there
	err    error
}

func (r *restamp) Apply(o *version.Object) (changed bool) {
	at := -1
	for i := range o.Siblings {
		if o.Siblings[i].Dot == r.dot {
			at = i
		}
	}
	switch {
	case len(o.Siblings) == 0:
		r.gone = true
		return false
	case at < 0 && o.Siblings[0].Written > r.floor:
		r.dot = o.Siblings[0].Dot
		r.text = version.AppendObject(nil, o)
		return false
	}
	s := o.Siblings[max(at, 0)]
	s.Dot, r.err = r.c.Dot(r.key, o.Clock, r.nowMS, max(o.MaxHLC(), r.floor))
	if r.err != nil {
		return false
	}
	var late bool
	if s.Written, late = r.within.Written(s.Dot.HLC, r.floor); late {
		r.err = errUnknown // it is not to win any more
		return false
	}
	r.dot = s.Dot
	o.Put(o.Clock, s)
	r.text = version.AppendObject(nil, o)
	return true
}

func (r *restamp) Blind() bool { return false }
