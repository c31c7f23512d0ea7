package wire

import (
	"sync/atomic"
	"time"
)

// A Request as it came from a peer.
type Request struct {
	ID         uint64 // the sender's, of no use but in logs
	Op         Op
	Epoch, HLC uint64
	Left       time.Duration // how long, from when it was read, its sender waits for a reply; positive
	Payload    []byte        // aliases the buffer: valid until the end of Handle and Finish
}

// A Batch is the requests that came in by one read of one connection. It is the
// goroutine's that Handle or Finish runs in.
type Batch struct {
	conn     *served
	requests []Request
	nowMS    int64 // when they were read
	out      []byte
	spare    []Responder // memory for the next ones
}

// Requests returns the requests in the order in which they were sent.
func (b *Batch) Requests() []Request { return b.requests }

// Peer returns what the peer has said when it connected. It must not be changed.
func (b *Batch) Peer() *Hello { return b.conn.peer }

// Reply answers request i; the payload is the parts in a row, copied. The
// replies go out when Handle has returned, and Finish where there is one, and not before. Of several to one
// request the first counts. One that is too large for the peer, or with those
// before it for Limits.BytesMax, reaches it as ErrTooLarge.
func (b *Batch) Reply(i int, status uint8, epoch, hlc uint64, parts ...[]byte) {
	r := &b.requests[i]
	f := frame{id: r.ID, op: r.Op, flags: flagReply, epoch: epoch, hlc: hlc, last: uint32(status)}
	b.out = b.conn.appendReply(b.out, &f, parts)
}

// Defer returns a Responder, by which any goroutine may answer request i later.
// It returns nil if too many of the connection's requests are deferred already:
// the request has then been answered by ErrOverloaded, and must not be carried
// out.
func (b *Batch) Defer(i int) *Responder {
	r := &b.requests[i]
	if b.conn.deferred.Add(1) > int64(b.conn.limits.InFlightMax) {
		b.conn.deferred.Add(-1)
		b.conn.counters.Overloaded.Add(1)
		f := frame{id: r.ID, op: r.Op, flags: flagReply | flagOverloaded}
		b.out = appendFrame(b.out, &f, nil)
		return nil
	}
	if len(b.spare) == 0 {
		b.spare = make([]Responder, respondersAtOnce)
	}
	responder := &b.spare[0]
	b.spare = b.spare[1:]
	responder.conn, responder.id, responder.op = b.conn, r.ID, r.Op
	responder.deadlineMS = b.nowMS + int64(r.Left/time.Millisecond)
	return responder
}

// appendReply appends a reply, or in place of one that is too large a refusal.
func (s *served) appendReply(dst []byte, f *frame, parts [][]byte) []byte {
	size := frameBytes(parts)
	if size > s.peer.FrameBytesMax || len(parts) > 0 && len(dst)+size > s.limits.BytesMax {
		s.counters.TooLarge.Add(1)
		f.flags |= flagTooLarge
		parts = nil
	}
	return appendFrame(dst, f, parts)
}

const respondersAtOnce = 16

// A Responder answers one request once, from any goroutine, also when its
// connection is gone. Until it does, the request counts as deferred.
type Responder struct {
	conn       *served
	id         uint64
	op         Op
	deadlineMS int64
	done       atomic.Bool
}

// Reply answers as Batch.Reply does. It does not wait: another goroutine sends
// the reply, together with others. Of several the first counts.
func (r *Responder) Reply(status uint8, epoch, hlc uint64, parts ...[]byte) {
	if r.done.Swap(true) {
		return
	}
	s := r.conn
	s.deferred.Add(-1)
	f := frame{id: r.id, op: r.op, flags: flagReply, epoch: epoch, hlc: hlc, last: uint32(status)}
	s.mu.Lock()
	gone := s.box.broken != nil
	if !gone {
		s.box.queued = s.appendReply(s.box.queued, &f, parts)
	}
	s.mu.Unlock()
	if !gone {
		s.box.flushSoon()
	}
}

// Late reports whether the request's deadline has passed: nobody waits for the
// reply any more.
func (r *Responder) Late() bool { return r.conn.nowMS() >= r.deadlineMS }
