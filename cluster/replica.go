package cluster

import (
	"encoding/binary"
	"slices"
	"time"

	"cartwheel/cluster/quorum"
	"cartwheel/cluster/ring"
	"cartwheel/cluster/sabotage"
	"cartwheel/cluster/wire"
	"cartwheel/store"
	"cartwheel/store/version"
)

// A handling answers what a peer asks on one connection, all the requests that came with one read at
// a time: what they change is committed together, and where the event loop reads the connection, together with
// what clients change.
//
// A request of another epoch than this node's is refused, and whoever is behind
// gets the newer ring: replicas that answer one request all go by the same.
type handling struct {
	c    *Coordinator
	from ring.NodeID

	// Of the batch that is handled.
	b        *wire.Batch
	v        *view
	nowMS    int64
	acks     []ack
	due      uint64 // the commit that these wait for
	forwards []int  // requests
	taught   bool   // the ring is in a reply already, which comes before those behind it

	o, sent version.Object // memory
}

// Handle is wire.Handler's.
func (h *handling) Handle(b *wire.Batch) (due uint64) {
	c, requests := h.c, b.Requests()
	highest := version.HLC(0)
	for i := range requests {
		highest = max(highest, version.HLC(requests[i].HLC))
		if requests[i].Op == opDocument {
			status := uint8(statusOK)
			if requests[i].Epoch > c.view.Load().epoch && !c.learn(requests[i].Payload) { // before what comes behind it
				status = statusRefused
			}
			b.Reply(i, status, 0, 0)
		}
	}
	h.b, h.nowMS, h.due, h.taught = b, c.store.NowMS(), 0, false
	h.forwards = h.forwards[:0]
	if p := c.view.Load().byID[h.from]; p != nil && c.observe(p, highest) != nil {
		for i := range requests {
			h.refuse(i, "your clock is ahead of mine by more than max-clock-drift")
		}
		return 0
	}
	c.installing.RLock()
	h.v = c.view.Load()
	for i := range requests {
		if i%store.PrefetchMax == 0 {
			h.lookAhead(requests[i:])
		}
		h.one(i, &requests[i])
	}
	c.installing.RUnlock()
	for _, i := range h.forwards { // they take the lock by themselves
		h.forward(i, &requests[i])
	}
	if len(h.forwards) > 0 {
		c.settleAside()
		c.Kick()
	}
	h.o.Rest()
	h.sent.Rest()
	if len(h.acks) > 0 && h.due <= c.store.Committed() {
		h.Finish(b, nil)
		return 0
	}
	return h.due
}

// Blocks is wire.Handler's: a ring that is learnt is written to the disk.
func (h *handling) Blocks(b *wire.Batch) bool {
	epoch := h.c.view.Load().epoch
	return slices.ContainsFunc(b.Requests(), func(r wire.Request) bool { return r.Op == opDocument && r.Epoch > epoch })
}

// An ack is a reply that waits for the commit.
type ack struct {
	index   int
	status  uint8
	payload []byte
}

func (h *handling) one(i int, r *wire.Request) {
	switch r.Op {
	case opDocument:
		return
	case opPing:
		if h.v.byID[h.from] == nil && r.Epoch < h.v.epoch { // it has left, and may not know
			h.turnAway(i)
			return
		}
		h.slow(i, r)
		return
	case opAgree, opJoin, opFlush: // whatever ring they have
		h.slow(i, r)
		return
	}
	switch {
	case r.Epoch > h.v.epoch:
		h.reply(i, statusBehind, nil)
	case r.Epoch < h.v.epoch && h.v.byID[h.from] == nil:
		h.turnAway(i)
	case r.Epoch < h.v.epoch:
		h.teach(i)
	case h.v.byID[h.from] == nil:
		h.refuse(i, "NOREPLICAS This node has left the ring: connect to another") // a client of it may be shown that
	case r.Op == opPut:
		h.put(i, r.Payload)
	case r.Op == opGet:
		h.get(i, r.Payload)
	case r.Op == opForward:
		h.forwards = append(h.forwards, i)
	default:
		h.slow(i, r)
	}
}

// lookAhead tells the store which keys come next.
func (h *handling) lookAhead(requests []wire.Request) {
	var keys [store.PrefetchMax][]byte
	n := 0
	db := uint8(0)
	for i := range requests[:min(len(requests), len(keys))] {
		of, key := keyOf(&requests[i])
		if key == nil || n > 0 && of != db {
			continue
		}
		db, keys[n] = of, key
		n++
	}
	if n > 1 {
		h.c.store.Prefetch(db, keys[:n])
	}
}

// keyOf returns the key that a put or a get is of, nil for others.
func keyOf(r *wire.Request) (db uint8, key []byte) {
	switch r.Op {
	case opPut:
		var m put
		if m.parse(r.Payload) == nil && m.hint == nil {
			return m.db, m.key
		}
	case opGet:
		var m get
		if m.parse(r.Payload) == nil && !m.fallback {
			return m.db, m.key
		}
	}
	return 0, nil
}

// teach tells a peer that is behind of the newer ring. The document, which may be
// long, comes with the first reply of a batch.
func (h *handling) teach(i int) {
	text := h.v.text
	if h.taught {
		text = nil
	}
	h.taught = true
	h.reply(i, statusEpoch, text)
}

func (h *handling) reply(i int, status uint8, payload []byte) {
	h.b.Reply(i, status, h.v.epoch, uint64(h.c.store.LastHLC()), payload)
}

func (h *handling) refuse(i int, why string) {
	h.b.Reply(i, statusRefused, 0, uint64(h.c.store.LastHLC()), []byte(why))
}

func (h *handling) put(i int, payload []byte) {
	var m put
	err := m.parse(payload)
	if err == nil {
		err = h.sent.Decode(m.text) // whoever keeps it copies it
	}
	if err != nil {
		h.refuse(i, err.Error())
		return
	}
	c := h.c
	c.saw(h.sent.Clock)
	if sabotage.Once(sabotage.AckWithoutApply, 50) || m.hint != nil && sabotage.On(sabotage.HintNotStored) {
		h.acks = append(h.acks, ack{index: i})
		return
	}
	if m.hint != nil {
		seq, err := c.store.AddHint(*m.hint, m.db, m.key, h.nowMS, &h.sent)
		if err != nil {
			h.refuse(i, err.Error())
			return
		}
		a := ack{index: i}
		if m.plain {
			if _, _, err := c.store.GetHinted(m.db, m.key, &h.o); err == nil {
				a.judge(&h.o, m.dot)
			}
		}
		h.acks, h.due = append(h.acks, a), max(h.due, seq)
		return
	}
	seq, _, err := c.store.MergeFormed(m.db, m.key, h.nowMS, &h.sent, m.text, &h.o, store.Levels{Stable: m.stable})
	if err != nil {
		h.refuse(i, err.Error())
		return
	}
	a := ack{index: i}
	if m.plain {
		a.judge(&h.o, m.dot)
	}
	h.acks, h.due = append(h.acks, a), max(h.due, seq)
}

// judge makes the acknowledgement of a plain write say if another sibling wins
// against it.
func (a *ack) judge(o *version.Object, dot version.Dot) {
	if win := o.Winner(); win != nil && win.Dot != dot && hasDot(o, dot) {
		a.status, a.payload = statusLater, binary.BigEndian.AppendUint64(nil, uint64(win.Written))
	}
}

func hasDot(o *version.Object, d version.Dot) bool {
	for i := range o.Siblings {
		if o.Siblings[i].Dot == d {
			return true
		}
	}
	return false
}

// get answers with the object, unless its hash is the one that the peer has.
// What it shows must be as durable as what it acknowledges.
func (h *handling) get(i int, payload []byte) {
	var m get
	if err := m.parse(payload); err != nil {
		h.refuse(i, err.Error())
		return
	}
	c := h.c
	if m.fallback {
		found, seq, err := c.store.GetHinted(m.db, m.key, &h.o)
		if err != nil {
			h.refuse(i, err.Error())
			return
		}
		if !found {
			h.o.Reset()
		}
		if !m.any && h.o.Hash() == m.hash {
			h.show(i, statusSame, nil, seq)
			return
		}
		text := appendLevels(nil, store.Levels{}) // nobody vouches for hints
		if len(h.o.Siblings) > 0 {
			text = version.AppendObject(text, &h.o)
		}
		h.show(i, statusObject, text, seq)
		return
	}
	p := h.v.partition(m.key)
	if c.untrusted(p) {
		h.refuse(i, "what is here of the partition is not trusted")
		return
	}
	levels := c.store.Levels(p) // before the object
	if !m.any {
		hash, seq, err := c.store.Digest(m.db, m.key)
		if err == nil && hash == m.hash {
			h.show(i, statusSame, nil, seq)
			return
		}
	}
	text, seq, err := c.store.GetEncoded(m.db, m.key, appendLevels(make([]byte, 0, 512), levels))
	if err != nil {
		h.refuse(i, err.Error())
		return
	}
	h.show(i, statusObject, text, seq)
}

// show answers a get: at once, if what it shows is as durable as what is
// acknowledged, else with the acknowledgements.
func (h *handling) show(i int, status uint8, text []byte, seq uint64) {
	if seq <= h.c.store.Committed() {
		h.reply(i, status, text)
		return
	}
	h.acks, h.due = append(h.acks, ack{i, status, text}), max(h.due, seq)
}

// Commit is wire.Handler's.
func (h *handling) Commit(due uint64) error { return h.c.CommitReplica(due) }

// Finish acknowledges what has been made durable.
func (h *handling) Finish(_ *wire.Batch, err error) {
	for _, a := range h.acks {
		if err != nil {
			h.refuse(a.index, err.Error())
		} else {
			h.reply(a.index, a.status, a.payload)
		}
	}
	clear(h.acks) // they may be large
	h.acks = h.acks[:0]
}

// forward has the server run a command that the peer passes on. A node that starts is
// reached by its peers a moment before it has a server: the command waits for that.
func (h *handling) forward(i int, r *wire.Request) {
	f, err := parseForwarded(r.Payload)
	if err != nil {
		h.refuse(i, err.Error())
		return
	}
	if err := h.c.store.Observe(f.Need.Span.After); err != nil { // the dot is to be above it
		h.refuse(i, err.Error())
		return
	}
	c, epoch, answer := h.c, h.v.epoch, h.b.Defer(i)
	if answer == nil {
		return
	}
	respond := func(reply []byte, err error) {
		if err != nil {
			answer.Reply(statusRefused, epoch, uint64(c.store.LastHLC()), []byte(err.Error()))
			return
		}
		answer.Reply(statusOK, epoch, uint64(c.store.LastHLC()), reply)
	}
	if x := c.executor.Load(); x != nil {
		(*x).Execute(f, respond)
		return
	}
	c.executeLater(f, r.Left, answer.Late, respond)
}

// executeLater has a command run that has come before there was a server, if there is
// one in time.
func (c *Coordinator) executeLater(f *quorum.Forwarded, left time.Duration, late func() bool, respond func([]byte, error)) {
	c.running.Go(func() {
		select {
		case <-c.executes:
			if !late() {
				(*c.executor.Load()).Execute(f, respond)
				c.settle()
				c.Kick()
				return
			}
		case <-time.After(left):
		case <-c.stop:
		}
		respond(nil, wireError(quorum.ErrNoReplicas)) // it was not run
	})
}

// slow answers in a goroutine of its own what may take long.
func (h *handling) slow(i int, r *wire.Request) {
	c, from, op, payload := h.c, h.from, r.Op, append([]byte(nil), r.Payload...)
	answer := h.b.Defer(i)
	if answer == nil {
		return
	}
	c.running.Go(func() {
		status, reply := c.serve(from, op, payload)
		answer.Reply(status, c.view.Load().epoch, uint64(c.store.LastHLC()), reply)
	})
}
