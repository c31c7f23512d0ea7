package wire

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"io"
	"net"
	"sync"
	"sync/atomic"
	"time"

	"cartwheel/cluster/quorum"
	"cartwheel/cluster/sabotage"
)

// ServeOptions say what is done with the requests of a connection.
type ServeOptions struct {
	Identity
	// Handler is given all requests. Required.
	Handler Handler
	// Poller returns what watches a connection of lane Small, where that is a bare TCP connection, or nil; it
	// is asked until it returns one. Handle and Finish are then called by the poller, unless the Handler says that a batch
	// blocks, or the last one took long. May be nil.
	Poller   func() quorum.Poller
	Limits   [LaneCount]Limits
	Counters *Counters // may be shared; nil for none
}

// A Handler carries out the requests of one connection.
type Handler interface {
	// Handle is given the requests that came in by one read, in order, by the
	// goroutine that reads the connection: that does not go on before Handle
	// returns. Each request should be answered by Batch.Reply or deferred by
	// Batch.Defer; one that is neither runs into its sender's timeout. Where it returns the number of
	// a commit, Finish is called after that, and answers what Handle left. Neither
	// the batch nor what it returned may be used after the last of these.
	Handle(*Batch) (due uint64)
	// Blocks reports whether Handle may block for long.
	Blocks(*Batch) bool
	// Commit waits for a commit.
	Commit(due uint64) error
	// Finish is given the batch again, when the commit is made or has failed. Nothing is read in between,
	// and the requests' payloads are as they were.
	Finish(b *Batch, err error)
}

// Serve serves a connection that a peer has dialed, from its handshake, which
// begins with a 'W', until it breaks or ctx ends, and closes it. It returns why: nil if the peer closed it
// between frames or ctx ended, a *RefusedError if the handshake was refused.
// Deferred requests may be answered later still; nobody will hear of it.
func Serve(ctx context.Context, conn net.Conn, opts ServeOptions) error {
	release := closeWith(ctx, conn)
	defer release()
	defer conn.Close()
	s := &served{handler: opts.Handler, counters: opts.Counters, began: time.Now()}
	if s.counters == nil {
		s.counters = new(Counters)
	}
	err := s.shakeHands(conn, &opts)
	if err == nil {
		err = s.serve(ctx, conn, &opts)
	}
	if ctx.Err() != nil {
		return nil
	}
	return err
}

// served is a connection that is served.
type served struct {
	handler  Handler
	counters *Counters
	began    time.Time
	peer     *Hello
	limits   Limits
	transit  transit
	lateness lateness
	slow     bool         // the last requests took long
	deferred atomic.Int64 // requests that have a Responder, and no reply

	mu  sync.Mutex // guards box. Below it are only the connection's own locks
	box *outbox
}

func (s *served) nowMS() int64 { return int64(time.Since(s.began) / time.Millisecond) }

func (s *served) shakeHands(conn net.Conn, opts *ServeOptions) error {
	var frameBytesMax [LaneCount]int
	var limits [LaneCount]Limits
	for lane := range LaneCount {
		limits[lane] = opts.Limits[lane].orDefault(lane)
		frameBytesMax[lane] = limits[lane].FrameBytesMax
	}
	peer, clockMS, err := shakeHandsListening(conn, &opts.Identity, &frameBytesMax)
	if err != nil {
		var refused *RefusedError
		if errors.As(err, &refused) {
			s.counters.Refused.Add(1)
		}
		return fmt.Errorf("handshake: %w", err)
	}
	s.peer, s.limits = peer, limits[peer.Lane]
	s.transit = newTransit(s.nowMS(), clockMS)
	return nil
}

func (s *served) serve(ctx context.Context, conn net.Conn, opts *ServeOptions) error {
	s.box = newOutbox(conn, &s.mu, s.counters)
	var writer sync.WaitGroup
	writer.Go(s.box.run)
	err := s.box.fail(s.handle(ctx, conn, opts.Poller))
	s.box.close()
	writer.Wait()
	if err == io.EOF { // bare: between frames
		return nil
	}
	return err
}

// handle reads, has the requests handled and sends the replies, until the
// connection breaks: by this goroutine until there is a poller, then by that one, and again by
// this where the poller ends.
func (s *served) handle(ctx context.Context, conn net.Conn, poller func() quorum.Poller) error {
	reader := frameReader{frameBytesMax: s.limits.FrameBytesMax}
	batch := Batch{conn: s}
	src := newDirectReader(conn)
	for {
		if p := pollerFor(s.peer.Lane, poller); p != nil {
			other, err := s.poll(ctx, conn, &reader, &batch, p)
			if err != nil {
				return err
			}
			if other != nil {
				src = other
			}
		}
		n, err := reader.fill(src)
		if errors.Is(err, io.EOF) && reader.start < reader.end {
			return io.ErrUnexpectedEOF
		}
		if err != nil {
			return err
		}
		readErr := s.requests(n, &reader, &batch)
		if err := cmp.Or(s.carryOut(&batch), readErr); err != nil {
			return err
		}
	}
}

// carryOut has requests handled and sends the replies, and waits for whatever there is to wait for.
func (s *served) carryOut(batch *Batch) error {
	if due := s.handled(batch); due != 0 {
		s.handler.Finish(batch, s.handler.Commit(due))
	}
	s.post(batch)
	s.box.flush(true)
	return s.box.awaitBelow(serveBacklogMax)
}

// handled has requests handled.
func (s *served) handled(batch *Batch) (due uint64) {
	if len(batch.requests) == 0 {
		return 0
	}
	began := time.Now()
	due = s.handler.Handle(batch)
	s.slow = time.Since(began) > asideAfter
	return due
}

// asideAfter is how long requests must take to be handled for the next ones to be handled by the connection's own
// goroutine and not by the poller: they wait for a disk.
const asideAfter = 5 * time.Millisecond

// poll is as receiving's.
func (s *served) poll(ctx context.Context, conn net.Conn, reader *frameReader, batch *Batch, p quorum.Poller) (src io.Reader, err error) {
	w := newPolled(conn, reader)
	if w == nil {
		return nil, nil
	}
	answer := func() {
		s.post(batch)
		s.box.flush(false)
		if !s.box.below(serveBacklogMax) {
			w.putAside(func() error { return s.box.awaitBelow(serveBacklogMax) })
		}
	}
	carryOut := func() error { return s.carryOut(batch) }
	w.arrived = func(n int) (due uint64, err error) {
		err = s.requests(n, reader, batch)
		if len(batch.requests) > 0 && (s.slow || s.handler.Blocks(batch)) {
			w.putAside(carryOut)
			return 0, err
		}
		if due = s.handled(batch); due == 0 {
			answer()
		}
		return due, err
	}
	w.finish = func(err error) {
		s.handler.Finish(batch, err)
		answer()
	}
	src, err = w.watch(ctx, conn, s.box, p)
	if errors.Is(err, io.EOF) && reader.start < reader.end {
		return nil, io.ErrUnexpectedEOF
	}
	return src, err
}

// requests fills the batch with the requests that have arrived, with n bytes now, and are not past
// their deadline.
func (s *served) requests(n int, reader *frameReader, batch *Batch) error {
	s.counters.Reads.Add(1)
	s.counters.BytesIn.Add(uint64(n))
	batch.nowMS = s.nowMS()
	batch.requests = batch.requests[:0]
	ageMS := s.transit.ageMS(batch.nowMS)
	var f frame
	for {
		ok, err := reader.next(&f)
		if err != nil || !ok {
			return err
		}
		switch f.flags {
		case 0:
		case flagClock:
			s.transit.observe(batch.nowMS, f.hlc)
			ageMS = s.transit.ageMS(batch.nowMS)
			continue
		default:
			return errFrameFlags
		}
		if err := s.request(&f, ageMS, batch); err != nil {
			return err
		}
	}
}

func (s *served) request(f *frame, ageMS int64, batch *Batch) error {
	leftMS := int64(f.last) - ageMS
	if sabotage.On(sabotage.LateFrameApplied) {
		leftMS = max(leftMS, 1)
	}
	if leftMS > 0 {
		s.lateness = lateness{}
		batch.requests = append(batch.requests, Request{
			ID: f.id, Op: f.op, Epoch: f.epoch, HLC: f.hlc,
			Left: time.Duration(leftMS) * time.Millisecond, Payload: f.payload,
		})
		return nil
	}
	s.counters.LateRequests.Add(1)
	if f.last > 0 && s.lateness.stale(batch.nowMS) { // else it was late when it was written
		return errStale
	}
	return nil
}

// post queues a batch's replies.
func (s *served) post(batch *Batch) {
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.box.broken != nil {
		return
	}
	if len(s.box.queued) == 0 { // as nearly always: then they need not be copied
		s.box.queued, batch.out = batch.out, s.box.queued[:0]
		return
	}
	s.box.queued = append(s.box.queued, batch.out...)
	batch.out = batch.out[:0]
	if cap(batch.out) > outboxKeepBytes {
		batch.out = nil
	}
}

// lateness notices that nothing comes in time any more. Then either a clock has
// jumped, so that the transit misjudges everything from now on, or this side
// has fallen so far behind that the rest of the stream is worth nothing: both
// are mended by a new connection.
type lateness struct {
	sinceMS int64
	count   int // of late requests in a row
}

const (
	lateMaxMS = 1000
	lateCount = 8
)

// stale notes that a request came late, and reports whether for lateMaxMS all
// have.
func (l *lateness) stale(nowMS int64) bool {
	if l.count == 0 {
		l.sinceMS = nowMS
	}
	l.count++
	return l.count >= lateCount && nowMS-l.sinceMS >= lateMaxMS
}
