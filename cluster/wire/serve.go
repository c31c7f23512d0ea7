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

	"cartwheel/cluster/sabotage"
)

// ServeOptions say what is done with the requests of a connection.
type ServeOptions struct {
	Identity
	// Handler is given all requests. Required.
	Handler  Handler
	Limits   [LaneCount]Limits
	Counters *Counters // may be shared; nil for none
}

// A Handler carries out requests.
type Handler interface {
	// Handle is given the requests that came in by one read, in order, by the
	// goroutine that reads the connection: that does not go on before Handle
	// returns. Each request should be answered by Batch.Reply or deferred by
	// Batch.Defer; one that is neither runs into its sender's timeout. Neither
	// the batch nor what it returned may be used afterwards.
	Handle(*Batch)
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
		err = s.serve(conn)
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
	deferred atomic.Int64 // requests that have a Responder, and no reply

	mu  sync.Mutex // guards box. A leaf
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

func (s *served) serve(conn net.Conn) error {
	s.box = newOutbox(conn, &s.mu, s.counters)
	var writer sync.WaitGroup
	writer.Go(s.box.run)
	err := s.box.fail(s.handle(conn))
	conn.Close()
	writer.Wait()
	if err == io.EOF { // bare: between frames
		return nil
	}
	return err
}

// handle reads, has the requests handled and sends the replies, until the
// connection breaks.
func (s *served) handle(conn net.Conn) error {
	reader := frameReader{frameBytesMax: s.limits.FrameBytesMax}
	batch := Batch{conn: s}
	src := newDirectReader(conn)
	for {
		n, err := reader.fill(src)
		if errors.Is(err, io.EOF) && reader.start < reader.end {
			return io.ErrUnexpectedEOF
		}
		if err != nil {
			return err
		}
		s.counters.Reads.Add(1)
		s.counters.BytesIn.Add(uint64(n))
		readErr := s.requests(&reader, &batch)
		if len(batch.requests) > 0 {
			s.handler.Handle(&batch)
			s.post(&batch)
			s.box.flush(true)
		}
		if err := cmp.Or(readErr, s.box.awaitBelow(serveBacklogMax)); err != nil {
			return err
		}
	}
}

// requests fills the batch with the requests that have arrived and are not past
// their deadline.
func (s *served) requests(reader *frameReader, batch *Batch) error {
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
