package wire

import (
	"errors"
	"io"
	"net"
	"os"
	"sync"
	"sync/atomic"
	"testing"
	"testing/synctest"
	"time"
)

// A deadlineConn remembers its deadline of writing.
type deadlineConn struct {
	net.Conn
	mu       sync.Mutex
	deadline time.Time
}

func (c *deadlineConn) SetWriteDeadline(deadline time.Time) error {
	c.mu.Lock()
	defer c.mu.Unlock()
	c.deadline = deadline
	return c.Conn.SetWriteDeadline(deadline)
}

func TestADeadlineDoesNotOutliveItsWrite(t *testing.T) {
	left, right := net.Pipe()
	conn := &deadlineConn{Conn: left}
	box := newOutbox(conn, new(sync.Mutex), new(Counters))
	box.queued = append(box.queued, "payload"...)
	var reading sync.WaitGroup
	reading.Go(func() { _, _ = right.Read(make([]byte, 100)) })
	box.flush(true)
	reading.Wait()
	if !conn.deadline.IsZero() { // it would hold for direct writes, long after
		t.Errorf("the deadline is %v", conn.deadline)
	}
	left.Close()
	right.Close()
}

func TestAFlushDuringAWriteIsNotForgotten(t *testing.T) {
	for _, mayBlock := range []bool{true, false} {
		synctest.Test(t, func(t *testing.T) {
			left, right := net.Pipe()
			var mu sync.Mutex
			box := newOutbox(left, &mu, new(Counters))
			var working sync.WaitGroup
			working.Go(box.run)
			queue := func(text string) {
				mu.Lock()
				defer mu.Unlock()
				box.queued = append(box.queued, text...)
			}
			queue("one")
			working.Go(func() { box.flush(true) })
			synctest.Wait() // it waits for the peer
			queue("two")
			working.Go(func() { box.flush(mayBlock) })
			synctest.Wait()
			got := make([]byte, 6)
			_ = right.SetReadDeadline(time.Now().Add(time.Second))
			if _, err := io.ReadFull(right, got); err != nil || string(got) != "onetwo" {
				t.Errorf("%q, %v", got, err)
			}
			_ = box.fail(io.EOF)
			left.Close()
			working.Wait()
		})
	}
}

func TestWhatTimedOutButWaitsToBeWrittenIsBounded(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		handler := handlerFunc(func(*Batch) { time.Sleep(time.Hour) })
		limits := [LaneCount]Limits{Small: {FrameBytesMax: frameBytesLeast, BytesMax: 200_000}}
		r := newRig(t, rigOptions{link: LinkOptions{Limits: limits}, serve: ServeOptions{Handler: handler}})
		overloaded := false
		for range 500 {
			err := r.Send(Small, 1, 2, 3, 5*time.Millisecond, new(int), make([]byte, 10_000))
			overloaded = overloaded || errors.Is(err, ErrOverloaded)
			r.Flush()
			time.Sleep(tick) // nothing is in flight for long
			ln := r.lanes[Small]
			ln.mu.Lock()
			if ln.box != nil && len(ln.box.queued) > 200_000 {
				t.Fatalf("%d bytes queued", len(ln.box.queued))
			}
			ln.mu.Unlock()
		}
		if !overloaded {
			t.Error("never overloaded")
		}
		go r.close()
		time.Sleep(2 * time.Hour)
	})
}

func TestDeferredRepliesThatThePeerDoesNotTakeAreBounded(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		payload := make([]byte, 10_000)
		var responding sync.WaitGroup
		queuedMax := 0
		var handled atomic.Int64
		handler := handlerFunc(func(b *Batch) {
			for i := range b.Requests() {
				responder := b.Defer(i)
				responding.Go(func() { responder.Reply(0, 0, 0, payload) })
			}
			responding.Wait()
			b.conn.mu.Lock()
			defer b.conn.mu.Unlock()
			queuedMax = max(queuedMax, len(b.conn.box.queued))
			handled.Add(1)
		})
		limits := [LaneCount]Limits{Small: {FrameBytesMax: frameBytesLeast, BytesMax: 100_000}}
		in := newInsider(t, t.Context(), ServeOptions{Handler: handler, Limits: limits}, 1<<20, pipe)
		start := time.Now()
		var err error
		for err == nil && handled.Load() < 1000 {
			r := request(1, 100_000)
			buf := appendFrame(nil, &r, nil)
			_, err = in.Write(appendFrame(buf, &r, nil))
		}
		if err == nil {
			t.Fatal("it reads on while its replies are not taken")
		}
		if err := <-in.ended; !errors.Is(err, os.ErrDeadlineExceeded) || time.Since(start) > 2*writeTimeout {
			t.Errorf("%v after %v", err, time.Since(start))
		}
		if queuedMax > serveBacklogMax+30_000 {
			t.Errorf("%d bytes queued", queuedMax)
		}
	})
}
