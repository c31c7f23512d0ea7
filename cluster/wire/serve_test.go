package wire

import (
	"bytes"
	"context"
	"errors"
	"io"
	"net"
	"os"
	"sync"
	"testing"
	"testing/synctest"
	"time"
)

// An insider is a peer that writes and reads frames by hand.
type insider struct {
	net.Conn
	reader frameReader
	ended  chan error // what Serve returned
}

// newInsider connects to what opts serve and shakes hands.
func newInsider(t testing.TB, ctx context.Context, opts ServeOptions, frameBytesMax int, connect func() (net.Conn, net.Conn)) *insider {
	t.Helper()
	if opts.Hello == nil {
		opts.Hello = hello(2)
	}
	dialed, accepted := connect()
	in := &insider{Conn: dialed, reader: frameReader{frameBytesMax: frameBytesMax}, ended: make(chan error, 1)}
	go func() { in.ended <- Serve(ctx, accepted, opts) }()
	id := Identity{Hello: hello(1)}
	if _, err := shakeHandsDialing(dialed, &id, Small, frameBytesMax, func() int64 { return 0 }); err != nil {
		t.Fatal(err)
	}
	return in
}

func (in *insider) write(t testing.TB, frames ...frame) {
	t.Helper()
	var buf []byte
	for i := range frames {
		buf = appendFrame(buf, &frames[i], [][]byte{frames[i].payload})
	}
	if _, err := in.Write(buf); err != nil {
		t.Fatal(err)
	}
}

func (in *insider) read(t testing.TB) (f frame) {
	t.Helper()
	for {
		ok, err := in.reader.next(&f)
		if err != nil {
			t.Fatal(err)
		}
		if ok {
			return f
		}
		if _, err := in.reader.fill(in); err != nil {
			t.Fatal(err)
		}
	}
}

func request(id uint64, leftMS uint32) frame { return frame{id: id, op: 7, last: leftMS} }

func pipe() (net.Conn, net.Conn) { return net.Pipe() }

func TestRepliesWaitUntilHandleHasReturned(t *testing.T) {
	for name, connect := range map[string]func() (net.Conn, net.Conn){"memory": pipe, "TCP": tcpPair(t)} {
		t.Run(name, func(t *testing.T) {
			replied, goOn := make(chan *Responder), make(chan struct{})
			handler := handlerFunc(func(b *Batch) {
				responder := b.Defer(0)
				b.Reply(1, 0, 0, 0)
				replied <- responder
				<-goOn
				b.Reply(2, 0, 0, 0)
			})
			in := newInsider(t, t.Context(), ServeOptions{Handler: handler}, 1<<20, connect)
			defer func() { in.Close(); <-in.ended }()
			in.write(t, request(10, 1000), request(11, 1000), request(12, 1000))
			(<-replied).Reply(0, 0, 0) // goes out at once, and takes nothing along
			if f := in.read(t); f.id != 10 {
				t.Fatalf("a reply to %d has left before Handle returned", f.id)
			}
			_ = in.SetReadDeadline(time.Now().Add(20 * time.Millisecond))
			if _, err := in.Read(make([]byte, 1)); err == nil {
				t.Fatal("a reply has left before Handle returned")
			}
			_ = in.SetReadDeadline(time.Time{})
			close(goOn)
			if first, second := in.read(t), in.read(t); first.id != 11 || second.id != 12 {
				t.Errorf("replies to %d, %d", first.id, second.id)
			}
		})
	}
}

func TestARequestPastItsDeadlineIsNotHandedOver(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		var handled []Request
		handler := handlerFunc(func(b *Batch) {
			handled = append(handled, b.Requests()...)
			if len(handled) == 1 {
				time.Sleep(3 * time.Second) // the disk, say
			}
			echo(b)
		})
		r := newRig(t, rigOptions{serve: ServeOptions{Handler: handler}})
		send := func(op Op, timeout time.Duration) {
			if err := r.Send(Small, op, 0, 0, timeout, new(int)); err != nil {
				t.Fatal(err)
			}
			r.Flush()
			time.Sleep(100 * time.Millisecond)
		}
		send(1, 10*time.Second) // begins to be handled
		send(2, time.Second)    // on its way: the peer does not read
		send(3, time.Second)    // waits to be written
		send(4, 10*time.Second)
		r.await(t, 4)
		if len(handled) != 2 || handled[1].Op != 4 {
			t.Fatalf("handled: %+v", handled)
		}
		if left := handled[1].Left; left < 7200*time.Millisecond || left > 7400*time.Millisecond {
			t.Errorf("%v left of 10s after 2.7s", left)
		}
		if late := r.serveCounters.LateRequests.Load(); late != 2 {
			t.Errorf("%d late requests counted", late)
		}
		if err := len(r.downs); err != 0 {
			t.Error("the connection was cut")
		}
		r.close()
	})
}

func TestWhatWaitedToBeWrittenDoesNotAgeTwice(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		var lefts []time.Duration
		handler := handlerFunc(func(b *Batch) {
			for _, r := range b.Requests() {
				lefts = append(lefts, r.Left)
			}
			if len(lefts) == 1 {
				time.Sleep(3 * time.Second)
			}
			echo(b)
		})
		r := newRig(t, rigOptions{serve: ServeOptions{Handler: handler}})
		for range 4 { // the second waits for the peer to read, the others in the outbox
			mustSend(t, r.Link, Small, new(int), 5*time.Second)
			r.Flush()
			synctest.Wait()
			time.Sleep(time.Millisecond)
		}
		r.await(t, 4)
		for i, left := range lefts[1:] {
			if left < 1950*time.Millisecond || left > 2050*time.Millisecond {
				t.Errorf("request %d has %v left, not 2s", i+1, left)
			}
		}
		if len(lefts) != 4 {
			t.Errorf("%d requests handled", len(lefts))
		}
		r.close()
	})
}

// A heldConn holds back what is written to it, as a system does for a process
// that is stopped.
type heldConn struct {
	net.Conn
	mu   sync.Mutex
	held bool
	wait *sync.Cond
}

func (c *heldConn) Read(p []byte) (int, error) {
	n, err := c.Conn.Read(p)
	c.mu.Lock()
	defer c.mu.Unlock()
	for c.held {
		c.wait.Wait()
	}
	return n, err
}

func (c *heldConn) hold(held bool) {
	c.mu.Lock()
	defer c.mu.Unlock()
	c.held = held
	c.wait.Broadcast()
}

func TestANodeThatWasStoppedDropsWhatNobodyWaitsForAnyMore(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		dialed, accepted := net.Pipe()
		held := &heldConn{Conn: accepted}
		held.wait = sync.NewCond(&held.mu)
		var handled []Op
		handler := handlerFunc(func(b *Batch) {
			for _, r := range b.Requests() {
				handled = append(handled, r.Op)
			}
			echo(b)
		})
		connections := 0
		r := newRig(t, rigOptions{down: true, serve: ServeOptions{Handler: handler}, connect: func() (net.Conn, net.Conn) {
			connections++
			if connections == 1 {
				return dialed, held
			}
			return nil, nil
		}})
		<-r.ups
		lane := Small
		if r.Send(Small, 1, 0, 0, time.Second, nil) != nil {
			lane = Bulk
			mustSend(t, r.Link, Bulk, nil, time.Second)
		}
		r.Flush()
		r.await(t, 1)
		time.Sleep(time.Minute)
		synctest.Wait()
		held.hold(true)
		before := len(handled)
		_ = r.Send(lane, 99, 0, 0, time.Second, nil)
		r.Flush()
		time.Sleep(4 * time.Second)
		held.hold(false)
		time.Sleep(100 * time.Millisecond)
		synctest.Wait()
		if len(handled) != before {
			t.Errorf("handled after 4s: %v", handled[before:])
		}
		_ = r.Send(lane, 100, 0, 0, time.Second, nil)
		r.Flush()
		time.Sleep(100 * time.Millisecond)
		synctest.Wait()
		if len(handled) != before+1 || handled[before] != 100 {
			t.Errorf("handled then: %v", handled[before:])
		}
		r.close()
	})
}

func TestAConnectionWhoseClocksHaveJumpedIsCut(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		count := 0
		handler := handlerFunc(func(b *Batch) { count += len(b.Requests()) })
		var counters Counters
		in := newInsider(t, t.Context(), ServeOptions{Handler: handler, Counters: &counters}, 1<<20, pipe)
		start := time.Now()
		clock := func(jump time.Duration) frame {
			return frame{flags: flagClock, hlc: uint64((time.Since(start) - jump) / time.Millisecond)}
		}
		for range 100 {
			in.write(t, clock(0), request(1, 500))
			time.Sleep(10 * time.Millisecond)
		}
		var err error
		for err == nil {
			f := clock(time.Minute)
			r := request(1, 500)
			_, err = in.Write(appendFrame(appendFrame(nil, &f, nil), &r, nil))
			time.Sleep(100 * time.Millisecond)
			if time.Since(start) > time.Minute {
				t.Fatal("it is not cut")
			}
		}
		if err := <-in.ended; err != errStale || count != 100 || counters.LateRequests.Load() < lateCount {
			t.Errorf("%v; %d handled, %d late", err, count, counters.LateRequests.Load())
		}
	})
}

func TestAPeerThatTakesNoRepliesIsCutAndHoldsLittle(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		payload := make([]byte, 10_000)
		var queuedMax, batchMax int
		handler := handlerFunc(func(b *Batch) {
			for i := range b.Requests() {
				b.Reply(i, 0, 0, 0, payload)
			}
			b.conn.mu.Lock()
			queuedMax = max(queuedMax, len(b.conn.box.queued))
			b.conn.mu.Unlock()
			batchMax = max(batchMax, len(b.out))
		})
		limits := [LaneCount]Limits{Small: {FrameBytesMax: 16 << 10, BytesMax: 100_000}}
		in := newInsider(t, t.Context(), ServeOptions{Handler: handler, Limits: limits}, 1<<20, pipe)
		start := time.Now()
		var err error
		for err == nil {
			var buf []byte
			for range 100 {
				r := request(1, 100_000)
				buf = appendFrame(buf, &r, nil)
			}
			_, err = in.Write(buf)
		}
		served := <-in.ended
		if took := time.Since(start); took < writeTimeout || took > 2*writeTimeout {
			t.Errorf("cut after %v", took)
		}
		if !errors.Is(served, os.ErrDeadlineExceeded) {
			t.Errorf("%v", served)
		}
		if queuedMax > serveBacklogMax+100_000 || batchMax > 100_000+100*HeaderBytes {
			t.Errorf("%d bytes queued, %d in a batch", queuedMax, batchMax)
		}
	})
}

func TestARepliesSizeIsBounded(t *testing.T) {
	handler := handlerFunc(func(b *Batch) {
		for i, r := range b.Requests() {
			if r.Op == 1 {
				b.Reply(i, 0, 0, 0, make([]byte, 20_000-HeaderBytes+len(r.Payload)))
				continue
			}
			responder := b.Defer(i)
			go responder.Reply(0, 0, 0, make([]byte, 20_000-HeaderBytes+len(r.Payload)))
		}
	})
	r := newRig(t, rigOptions{
		link:  LinkOptions{Limits: [LaneCount]Limits{Small: {FrameBytesMax: 20_000}}},
		serve: ServeOptions{Handler: handler, Limits: [LaneCount]Limits{Small: {FrameBytesMax: 1 << 20}, Bulk: {FrameBytesMax: frameBytesLeast, BytesMax: 50_000}}},
	})
	ask := func(lane Lane, op Op, n int) error {
		before := len(r.replies())
		if err := r.Send(lane, op, 0, 0, time.Minute, nil, make([]byte, n)); err != nil {
			return err
		}
		r.Flush()
		return r.await(t, before+1)[before].Err
	}
	for _, op := range []Op{1, 2} {
		if err := ask(Small, op, 0); err != nil {
			t.Error(err)
		}
		if err := ask(Small, op, 1); err != ErrTooLarge {
			t.Errorf("op %d: %v", op, err)
		}
	}
	if err := ask(Bulk, 1, frameBytesLeast); err != ErrTooLarge { // by what the peer has said that it takes
		t.Error(err)
	}
	if got := r.serveCounters.TooLarge.Load(); got != 2 {
		t.Errorf("%d counted", got)
	}
	// Together they are too large; those without a payload always go.
	for range 5 {
		mustSend(t, r.Link, Bulk, nil, time.Minute)
	}
	before := len(r.replies())
	r.Flush()
	for _, reply := range r.await(t, before+5)[before:] {
		if reply.Err != nil && reply.Err != ErrTooLarge {
			t.Error(reply.Err)
		}
	}
}

func TestTooManyDeferredRequestsAreRefusedAtOnce(t *testing.T) {
	var mu sync.Mutex
	var responders []*Responder
	handler := handlerFunc(func(b *Batch) {
		mu.Lock()
		defer mu.Unlock()
		for i := range b.Requests() {
			if responder := b.Defer(i); responder != nil {
				responders = append(responders, responder)
			}
		}
	})
	limits := [LaneCount]Limits{Small: {InFlightMax: 10}}
	r := newRig(t, rigOptions{serve: ServeOptions{Handler: handler, Limits: limits}})
	for round := range 3 {
		for range 25 {
			mustSend(t, r.Link, Small, nil, time.Minute)
		}
		r.Flush()
		before := 25 * round
		for _, reply := range r.await(t, before+15)[before:] {
			if reply.Err != ErrOverloaded {
				t.Fatal(reply.Err)
			}
		}
		mu.Lock()
		for _, responder := range responders {
			responder.Reply(3, 4, 5, []byte("pay"), []byte("load"))
			responder.Reply(6, 7, 8) // is not the first
		}
		responders = nil
		mu.Unlock()
		for _, reply := range r.await(t, before+25)[before+15:] {
			if reply.Err != nil || reply.Status != 3 || reply.Epoch != 4 || reply.HLC != 5 || string(reply.Payload) != "payload" {
				t.Fatalf("%+v", reply)
			}
		}
	}
	if late := r.linkCounters.LateReplies.Load(); late != 0 {
		t.Errorf("%d replies too many", late)
	}
	if n := r.serveCounters.Overloaded.Load(); n != 45 {
		t.Errorf("%d counted", n)
	}
}

func TestAResponderOutlivesItsConnectionAndKnowsItsDeadline(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		deferred := make(chan *Responder, 1)
		handler := handlerFunc(func(b *Batch) { deferred <- b.Defer(0) })
		in := newInsider(t, t.Context(), ServeOptions{Handler: handler}, 1<<20, pipe)
		in.write(t, request(1, 1000))
		responder := <-deferred
		time.Sleep(999 * time.Millisecond)
		if responder.Late() {
			t.Error("late before its deadline")
		}
		time.Sleep(time.Millisecond)
		if !responder.Late() {
			t.Error("not late at its deadline")
		}
		in.Close()
		if err := <-in.ended; err != nil {
			t.Error(err)
		}
		responder.Reply(0, 0, 0, []byte("nobody hears it"))
		responder.Reply(0, 0, 0)
	})
}

func TestDeferredRepliesShareWrites(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		var responders []*Responder
		handler := handlerFunc(func(b *Batch) {
			for i := range b.Requests() {
				responders = append(responders, b.Defer(i))
			}
		})
		r := newRig(t, rigOptions{serve: ServeOptions{Handler: handler}})
		for range 100 {
			mustSend(t, r.Link, Small, nil, time.Minute)
		}
		r.Flush()
		synctest.Wait()
		writes := r.serveCounters.Writes.Load()
		for _, responder := range responders {
			responder.Reply(0, 0, 0)
		}
		r.await(t, 100)
		// One goroutine replies and another writes: how many go together is a matter
		// of chance, but never each by itself.
		if got := r.serveCounters.Writes.Load() - writes; got > 90 {
			t.Errorf("%d writes for 100 replies", got)
		}
		r.close()
	})
}

func TestServeEnds(t *testing.T) {
	t.Run("when the peer closes between frames", func(t *testing.T) {
		in := newInsider(t, t.Context(), ServeOptions{Handler: echo}, 1<<20, tcpPair(t))
		in.write(t, request(1, 1000))
		in.read(t)
		in.Close()
		if err := <-in.ended; err != nil {
			t.Error(err)
		}
	})
	t.Run("when its context does", func(t *testing.T) {
		ctx, cancel := context.WithCancel(t.Context())
		in := newInsider(t, ctx, ServeOptions{Handler: echo}, 1<<20, tcpPair(t))
		cancel()
		if err := <-in.ended; err != nil {
			t.Error(err)
		}
		if _, err := in.Read(make([]byte, 1)); err == nil {
			t.Error("the connection is open")
		}
		in.Close()
	})
	for name, c := range map[string]struct {
		frame []byte
		err   error
	}{
		"when a frame is too long":      {[]byte{0, 128, 0, 0}, errFrameLength},
		"when a frame is too short":     {make([]byte, 4), errFrameLength},
		"when a reply comes":            {appendFrame(nil, &frame{flags: flagReply}, nil), errFrameFlags},
		"when unknown flags come":       {appendFrame(nil, &frame{flags: 64}, nil), errFrameFlags},
		"when a request is cut":         {appendFrame(nil, &frame{last: 1000}, nil)[:20], io.ErrUnexpectedEOF},
		"when a length is cut":          {[]byte{0}, io.ErrUnexpectedEOF},
		"when its memory is to be used": {append([]byte{0x7f, 0xff, 0xff, 0xff}, make([]byte, 1000)...), errFrameLength},
	} {
		t.Run(name, func(t *testing.T) {
			handled := 0
			handler := handlerFunc(func(b *Batch) { handled += len(b.Requests()) })
			in := newInsider(t, t.Context(), ServeOptions{Handler: handler}, 1<<20, pipe)
			r := request(1, 1000)
			_, _ = in.Write(append(appendFrame(nil, &r, nil), c.frame...))
			in.Close()
			if err := <-in.ended; err != c.err || handled != 1 {
				t.Errorf("%v, %d requests handled", err, handled)
			}
		})
	}
}

func TestEveryPrefixOfAConnectionHandsOverItsWholeRequests(t *testing.T) {
	var stream []byte
	for i := range 5 {
		r := request(uint64(i), 10_000)
		stream = appendFrame(stream, &r, [][]byte{bytes.Repeat([]byte{byte(i)}, 20)})
	}
	const size = HeaderBytes + 20
	for cut := range len(stream) + 1 {
		handled := 0
		handler := handlerFunc(func(b *Batch) {
			for _, r := range b.Requests() {
				if r.ID != uint64(handled) || !bytes.Equal(r.Payload, bytes.Repeat([]byte{byte(handled)}, 20)) {
					t.Errorf("request %d: %+v", handled, r)
				}
				handled++
			}
		})
		in := newInsider(t, t.Context(), ServeOptions{Handler: handler}, 1<<20, pipe)
		_, _ = in.Write(stream[:cut/2])
		_, _ = in.Write(stream[cut/2 : cut])
		in.Close()
		if err := <-in.ended; handled != cut/size || (err == nil) != (cut%size == 0) {
			t.Fatalf("cut at %d: %d requests, %v", cut, handled, err)
		}
	}
}

func TestWhatIsNoPeerIsNotWaitedFor(t *testing.T) {
	for _, sent := range []string{"GET ", "\x03\x01\x02\x04", "WIRD"} {
		stranger, accepted := net.Pipe()
		go func() { _, _ = io.WriteString(stranger, sent) }()
		err := Serve(t.Context(), accepted, ServeOptions{Identity: Identity{Hello: hello(2)}, Handler: echo})
		if !errors.Is(err, errNotAPeer) {
			t.Errorf("%q: %v", sent, err)
		}
		stranger.Close()
	}
}
