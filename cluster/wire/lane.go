package wire

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"io"
	"math/rand/v2"
	"net"
	"sync"
	"sync/atomic"
	"time"

	"cartwheel/cluster/quorum"
)

// A lane is one connection of a Link, over and over: its own goroutine (run)
// dials, shakes hands, reads until the connection breaks, delivers what was in
// flight, and dials again. An outbox lives as long as its connection.
type lane struct {
	link      *Link
	id        Lane
	limits    Limits
	stale     atomic.Bool // nowMS is from before the last flush
	unflushed atomic.Bool
	polled    atomic.Pointer[polled] // nil: a goroutine reads

	// mu guards what follows, and the outbox of the connection. While it is held no callback is
	// called, and no lock taken but the connection's own.
	mu            sync.Mutex
	box           *outbox // nil while down
	frameBytesMax int     // that both sides take
	flight        *inFlight
	nowMS         int64 // a little old: reading a clock for each frame is a good part of its cost
	clockMS       int64 // of the last clock frame
	owedMS        int64 // since when the peer owes a reply and has sent nothing; 0 if it owes none
	unanswered    bool  // some request has timed out since owedMS
}

func newLane(l *Link, id Lane) *lane {
	ln := &lane{link: l, id: id, limits: l.opts.Limits[id].orDefault(id), flight: newInFlight()}
	ln.stale.Store(true)
	return ln
}

// send appends f and its payload, and puts it in flight.
func (ln *lane) send(f *frame, timeout time.Duration, token any, parts [][]byte) error {
	if timeout <= 0 {
		return ErrTimeout
	}
	size := frameBytes(parts)
	ln.mu.Lock()
	defer ln.mu.Unlock()
	box := ln.box
	if box == nil || box.broken != nil {
		return ErrDown
	}
	if size > ln.frameBytesMax {
		return ErrTooLarge
	}
	if ln.flight.count >= ln.limits.InFlightMax || ln.flight.bytes+size > ln.limits.BytesMax ||
		len(box.queued)+size > ln.limits.BytesMax {
		ln.link.counters.Overloaded.Add(1)
		return ErrOverloaded
	}
	if ln.stale.Load() {
		ln.stale.Store(false)
		ln.nowMS = ln.link.nowMS()
	}
	// While another buffer is written this one may wait for long.
	if len(box.queued) == 0 && (box.writing || ln.nowMS-ln.clockMS >= clockEveryMS) {
		ln.clockMS = ln.nowMS
		box.queued = appendFrame(box.queued, &frame{flags: flagClock}, nil)
	}
	if ln.owedMS == 0 {
		ln.owedMS = ln.nowMS
	}
	deadlineMS := ln.nowMS + int64((min(timeout, requestTimeoutMax)+time.Millisecond-1)/time.Millisecond) + 1
	f.id = ln.flight.add(token, f.op, size, deadlineMS)
	f.last = uint32(deadlineMS)
	box.queued = appendFrame(box.queued, f, parts)
	if !ln.unflushed.Load() {
		ln.unflushed.Store(true)
	}
	return nil
}

func (ln *lane) flush() {
	if !ln.unflushed.Load() || !ln.unflushed.Swap(false) {
		return
	}
	ln.stale.Store(true)
	ln.mu.Lock()
	box := ln.box
	ln.mu.Unlock()
	if box != nil {
		box.flush(false)
	}
}

// run keeps the lane connected until ctx ends.
func (ln *lane) run(ctx context.Context) {
	opts := &ln.link.opts
	delay := 2 * redialMin
	for ctx.Err() == nil {
		conn, peer, err := ln.dial(ctx)
		if err == nil {
			ln.converse(ctx, conn, peer)
			delay = 2 * redialMin
		} else {
			if opts.Failed != nil && ctx.Err() == nil {
				opts.Failed(ln.id, err)
			}
			delay = min(2*delay, redialMax)
		}
		select {
		case <-ctx.Done():
		case <-time.After(delay/2 + rand.N(delay/2)):
		}
	}
}

// dial connects and shakes hands.
func (ln *lane) dial(ctx context.Context) (net.Conn, *Hello, error) {
	dialing, cancel := context.WithTimeout(ctx, handshakeTimeout)
	defer cancel()
	conn, err := ln.link.opts.Dial(dialing, ln.id)
	if err != nil {
		return nil, nil, fmt.Errorf("dial: %w", err)
	}
	release := closeWith(ctx, conn)
	defer release()
	peer, err := shakeHandsDialing(conn, &ln.link.opts.Identity, ln.id, ln.limits.FrameBytesMax, ln.link.nowMS)
	if err != nil {
		conn.Close()
		var refused *RefusedError
		if errors.As(err, &refused) {
			ln.link.counters.Refused.Add(1)
		}
		return nil, nil, fmt.Errorf("handshake: %w", err)
	}
	return conn, peer, nil
}

// closeWith closes conn when ctx ends, if that is before release is called.
// After release nothing of it runs any more.
func closeWith(ctx context.Context, conn net.Conn) (release func()) {
	closed := make(chan struct{})
	stop := context.AfterFunc(ctx, func() {
		conn.Close()
		close(closed)
	})
	return func() {
		if !stop() {
			<-closed
		}
	}
}

// converse serves one connection from its first frame to its end.
func (ln *lane) converse(ctx context.Context, conn net.Conn, peer *Hello) {
	opts := &ln.link.opts
	box := newOutbox(conn, &ln.mu, ln.link.counters)
	box.stamp = func(buf []byte) { stamp(buf, ln.link.nowMS()) }
	box.advanced = ln.advanced
	var writer sync.WaitGroup
	writer.Go(box.run)
	release := closeWith(ctx, conn)
	ln.connected(box, peer)
	if opts.Up != nil {
		opts.Up(ln.id, peer)
	}

	err := box.fail(ln.receive(ctx, conn, box))
	box.close()
	lost := ln.disconnected()
	release()
	writer.Wait()
	if opts.Down != nil {
		opts.Down(ln.id, cmp.Or(context.Cause(ctx), err))
	}
	if len(lost) > 0 {
		opts.Deliver(lost)
	}
}

func (ln *lane) connected(box *outbox, peer *Hello) {
	ln.mu.Lock()
	defer ln.mu.Unlock()
	ln.box, ln.frameBytesMax = box, min(peer.FrameBytesMax, ln.limits.FrameBytesMax)
	ln.owedMS, ln.unanswered = 0, false
	ln.clockMS = -clockEveryMS
	ln.stale.Store(true)
}

// disconnected takes all that is in flight.
func (ln *lane) disconnected() []Reply {
	ln.mu.Lock()
	defer ln.mu.Unlock()
	ln.box = nil
	lost := ln.flight.takeAll(nil)
	ln.link.counters.Lost.Add(uint64(len(lost)))
	return lost
}

// A receiving is what one connection brings.
type receiving struct {
	ln      *lane
	reader  frameReader
	replies []Reply // memory
}

// receive reads and delivers until the connection breaks: by this goroutine until there is
// a poller, then by that one, and again by this where the poller ends.
func (ln *lane) receive(ctx context.Context, conn net.Conn, box *outbox) error {
	r := receiving{ln: ln, reader: frameReader{frameBytesMax: ln.limits.FrameBytesMax}}
	src := newDirectReader(conn)
	for {
		if p := pollerFor(ln.id, ln.link.opts.Poller); p != nil {
			other, err := r.poll(ctx, conn, box, p)
			if err != nil {
				return err
			}
			if other != nil {
				src = other
			}
		}
		n, err := r.reader.fill(src)
		if err == nil {
			err = r.deliver(n)
		}
		if err != nil {
			return err
		}
	}
}

// pollerFor returns what reads the connections of a lane, nil where a goroutine does.
func pollerFor(lane Lane, poller func() quorum.Poller) quorum.Poller {
	if lane != Small || poller == nil {
		return nil
	}
	return poller()
}

// poll has a poller say when there is something to read, until the connection breaks or ctx
// ends. It returns no error where the poller has ended, or cannot watch this connection, and
// what to read from if that is not conn any more.
func (r *receiving) poll(ctx context.Context, conn net.Conn, box *outbox, p quorum.Poller) (io.Reader, error) {
	w := newPolled(conn, &r.reader)
	if w == nil {
		return nil, nil
	}
	w.arrived = func(n int) (due uint64, err error) { return 0, r.deliver(n) }
	r.ln.polled.Store(w)
	defer r.ln.polled.Store(nil)
	return w.watch(ctx, conn, box, p)
}

// deliver delivers what the reader has read, n bytes the last time.
func (r *receiving) deliver(n int) (err error) {
	counters := r.ln.link.counters
	counters.Reads.Add(1)
	counters.BytesIn.Add(uint64(n))
	r.replies, err = r.ln.match(&r.reader, r.replies[:0])
	if len(r.replies) > 0 {
		r.ln.link.opts.Deliver(r.replies)
		clear(r.replies)
	}
	return err
}

// match appends the replies that have arrived and that someone waits for.
func (ln *lane) match(reader *frameReader, replies []Reply) ([]Reply, error) {
	ln.mu.Lock()
	defer ln.mu.Unlock()
	defer ln.heard()
	var f frame
	for {
		ok, err := reader.next(&f)
		if err != nil || !ok {
			return replies, err
		}
		if f.flags&^(flagOverloaded|flagTooLarge) != flagReply {
			return replies, errFrameFlags
		}
		token, op, ok := ln.flight.take(f.id)
		if !ok {
			ln.link.counters.LateReplies.Add(1)
			continue
		}
		reply := Reply{Token: token, Op: op, Epoch: f.epoch, HLC: f.hlc}
		switch {
		case f.flags&flagOverloaded != 0:
			reply.Err = ErrOverloaded
		case f.flags&flagTooLarge != 0:
			reply.Err = ErrTooLarge
		default:
			reply.Status, reply.Payload = uint8(f.last), f.payload
		}
		replies = append(replies, reply)
	}
}

// heard notes that the peer has sent something. The caller holds mu.
func (ln *lane) heard() {
	ln.unanswered = false
	ln.owedMS = 0
	if ln.flight.count > 0 {
		ln.owedMS = ln.nowMS
	}
}

// advanced notes that a peer slow to read has taken something.
func (ln *lane) advanced() {
	ln.mu.Lock()
	defer ln.mu.Unlock()
	if ln.owedMS != 0 {
		ln.owedMS = ln.link.nowMS()
	}
}
