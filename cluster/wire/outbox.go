package wire

import (
	"io"
	"net"
	"sync"
	"time"
)

// An outbox is the sending end of one connection. Frames are appended to queued
// under the lock, and leave many at a time.
//
// At any moment one goroutine at most is the connection's writer: whoever has
// set writing. That is a caller of flush, for as long as the socket takes
// everything at once; what it does not take the writer goroutine (run) gets,
// and stays the writer until nothing is queued.
type outbox struct {
	conn     sink             // written to by the writer; use replaces it, and direct, with mu, while there is none
	direct   *directWriter    // nil where conn cannot be written to without waiting
	stamp    func(buf []byte) // nil, or called for what is about to be written
	advanced func()           // nil, or called without mu when a slow peer has taken something
	counters *Counters
	handed   chan struct{} // run is the writer now; writing is set, so one fits always
	done     chan struct{} // closed by fail

	mu      *sync.Mutex // the owner's. Guards what follows
	less    sync.Cond   // queued is shorter, or the outbox broken
	queued  []byte
	spare   []byte // memory for queued
	rest    []byte // of a buffer that was written in part; only with writing
	writing bool
	again   bool  // asked for while writing
	broken  error // nothing is sent any more
}

// A sink is what an outbox needs of a connection.
type sink interface {
	io.WriteCloser
	SetDeadline(time.Time) error
	SetWriteDeadline(time.Time) error
}

const (
	outboxKeepBytes = 256 << 10 // of an empty buffer
	directRoundsMax = 4         // before a caller of flush lets the writer goroutine go on
)

func newOutbox(conn net.Conn, mu *sync.Mutex, counters *Counters) *outbox {
	return &outbox{
		conn:     conn,
		direct:   newDirectWriter(conn),
		counters: counters,
		handed:   make(chan struct{}, 1),
		done:     make(chan struct{}),
		mu:       mu,
		less:     sync.Cond{L: mu},
	}
}

// use has what is sent go by another end of the same connection, and closes the one before,
// unless somebody is just writing.
func (o *outbox) use(conn sink) bool {
	o.mu.Lock()
	defer o.mu.Unlock()
	if o.writing || o.broken != nil {
		return false
	}
	_ = o.conn.Close()
	o.conn, o.direct = conn, newDirectWriter(conn)
	return true
}

// close closes the connection, after fail.
func (o *outbox) close() {
	o.mu.Lock()
	conn := o.conn // it stays: use does nothing any more
	o.mu.Unlock()
	_ = conn.Close() // which may wait
}

// flush sends what is queued, or has it sent by whoever is the writer. Unless
// mayBlock it does not wait for the peer.
func (o *outbox) flush(mayBlock bool) {
	o.mu.Lock()
	defer o.mu.Unlock()
	if !o.claim() {
		return
	}
	if o.direct == nil && !mayBlock {
		o.handOver()
		return
	}
	for range directRoundsMax {
		buf := o.take()
		o.mu.Unlock()
		n, err := o.attempt(buf)
		if err == nil && n < len(buf) && mayBlock {
			err = o.write(buf[n:])
			n = len(buf)
		}
		o.mu.Lock()
		if err != nil {
			o.failLocked(err)
			return
		}
		if n < len(buf) {
			o.rest = buf[n:]
			o.handOver()
			return
		}
		o.give(buf)
		if !o.again {
			o.writing = false
			return
		}
	}
	o.handOver()
}

// flushSoon has the writer goroutine send what is queued, together with what is
// queued until it comes to that.
func (o *outbox) flushSoon() {
	o.mu.Lock()
	defer o.mu.Unlock()
	if o.claim() {
		o.handOver()
	}
}

// claim makes the caller the writer if there is something to write and no other
// writer; another one is told.
func (o *outbox) claim() bool {
	if len(o.queued) == 0 || o.broken != nil {
		return false
	}
	if o.writing {
		o.again = true
		return false
	}
	o.writing = true
	return true
}

// handOver makes run the writer in place of the caller.
func (o *outbox) handOver() { o.handed <- struct{}{} }

// run is the writer goroutine. It ends when the outbox fails.
func (o *outbox) run() {
	for {
		select {
		case <-o.handed:
		case <-o.done:
			return
		}
		if !o.drain() {
			return
		}
	}
}

func (o *outbox) drain() bool {
	o.mu.Lock()
	defer o.mu.Unlock()
	buf := o.rest
	o.rest = nil
	for o.broken == nil {
		if len(buf) == 0 {
			if len(o.queued) == 0 {
				o.writing, o.again = false, false
				return true
			}
			buf = o.take()
		}
		o.mu.Unlock()
		err := o.write(buf)
		o.mu.Lock()
		if err != nil {
			o.failLocked(err)
			break
		}
		o.give(buf)
		buf = nil
	}
	return false
}

// take takes what is queued; give gives its memory back.
func (o *outbox) take() []byte {
	buf := o.queued
	o.queued, o.spare, o.again = o.spare[:0], nil, false
	o.less.Broadcast()
	if o.stamp != nil {
		o.stamp(buf)
	}
	return buf
}

func (o *outbox) give(buf []byte) {
	if cap(buf) <= outboxKeepBytes {
		o.spare = buf[:0]
	}
}

// attempt writes what the connection takes without waiting.
func (o *outbox) attempt(buf []byte) (n int, err error) {
	if o.direct == nil {
		return 0, nil
	}
	n, err = o.direct.write(buf)
	o.counters.Writes.Add(1)
	o.counters.BytesOut.Add(uint64(n))
	return n, err
}

// write waits until the peer has taken buf, for each part of it writeTimeout at
// most.
func (o *outbox) write(buf []byte) error {
	for len(buf) > 0 {
		part := buf[:min(len(buf), writeBytesMax)]
		began := time.Now()
		if err := o.conn.SetWriteDeadline(began.Add(writeTimeout)); err != nil {
			return err
		}
		n, err := o.conn.Write(part)
		o.counters.Writes.Add(1)
		o.counters.BytesOut.Add(uint64(n))
		if err != nil {
			return err
		}
		buf = buf[n:]
		if o.advanced != nil && time.Since(began) >= tick { // else this system may hold it
			o.advanced()
		}
	}
	return o.conn.SetWriteDeadline(time.Time{}) // it would hold for direct writes too
}

// awaitBelow waits until fewer than bytes are queued.
func (o *outbox) awaitBelow(bytes int) error {
	o.mu.Lock()
	defer o.mu.Unlock()
	for o.broken == nil && len(o.queued) >= bytes {
		o.less.Wait()
	}
	return o.broken
}

// below reports whether fewer than bytes are queued, or nothing ever will be sent.
func (o *outbox) below(bytes int) bool {
	o.mu.Lock()
	defer o.mu.Unlock()
	return o.broken != nil || len(o.queued) < bytes
}

// fail ends the connection. The first reason stays. It returns that.
func (o *outbox) fail(err error) error {
	o.mu.Lock()
	defer o.mu.Unlock()
	o.failLocked(err)
	return o.broken
}

func (o *outbox) failLocked(err error) {
	if o.broken != nil {
		return
	}
	o.broken = err
	o.queued, o.spare, o.rest = nil, nil, nil
	o.less.Broadcast()
	close(o.done)
	_ = o.conn.SetDeadline(past) // what waits for the peer returns
}

var past = time.Unix(1, 0)
