package wire

import (
	"context"
	"net"
	"sync"
	"sync/atomic"
	"time"

	"cartwheel/cluster/quorum"
)

// LinkOptions say where a Link leads and what it does with what comes back.
// The callbacks are called without any lock held. None may call Close.
type LinkOptions struct {
	Identity

	// Dial connects to the peer, by TCP or TLS over it or what a test uses. It is
	// called again whenever a connection is gone, and must end when ctx does. The
	// connection must honour deadlines. Required.
	Dial func(ctx context.Context, lane Lane) (net.Conn, error)

	// Deliver is given the replies that came in by one read, the requests whose
	// time is up, or those whose connection broke. The slice and the payloads are
	// valid until it returns. It is called by the goroutines that read (one a
	// lane) and by the one that sweeps, so by several at once; it may Send and
	// Flush. While it runs its goroutine does not read. Required.
	Deliver func([]Reply)

	// Up is called when a lane has a connection, before any reply from it is
	// delivered; Down when that breaks, before its requests are delivered. They
	// alternate. Failed is called when an attempt to connect failed; a
	// *RefusedError is in err where the handshake was refused. For one lane no
	// two of the three are called at the same time. All may be nil.
	Up     func(lane Lane, peer *Hello)
	Down   func(lane Lane, err error)
	Failed func(lane Lane, err error)

	// Poller returns what watches the connection of lane Small, where that is a bare TCP connection,
	// or nil; it is asked until it returns one. Deliver is then called by the poller, and must
	// not block for long. May be nil.
	Poller func() quorum.Poller

	Limits   [LaneCount]Limits
	Counters *Counters // may be shared; nil for none
}

// A Reply is what became of one request.
type Reply struct {
	Token      any // what Send was given
	Op         Op
	Status     uint8 // the peer's, as Epoch, HLC and Payload are; zero with Err
	Epoch, HLC uint64
	Payload    []byte
	Err        error // ErrTimeout, ErrLost, ErrOverloaded or ErrTooLarge
}

// A Link sends requests to one peer and delivers the replies. It dials by itself,
// again and again for ever. Any number of goroutines may use it.
type Link struct {
	opts     LinkOptions
	counters *Counters
	began    time.Time
	lanes    [LaneCount]*lane
	sweeping atomic.Bool   // the sweeper ticks
	wake     chan struct{} // has it tick

	cancel context.CancelFunc
	owned  sync.WaitGroup // the lanes' goroutines and the sweeper
}

// NewLink starts to connect to the peer. Close ends it.
func NewLink(opts LinkOptions) *Link {
	ctx, cancel := context.WithCancel(context.Background())
	l := &Link{opts: opts, counters: opts.Counters, began: time.Now(), wake: make(chan struct{}, 1), cancel: cancel}
	if l.counters == nil {
		l.counters = new(Counters)
	}
	for id := range l.lanes {
		l.lanes[id] = newLane(l, Lane(id))
	}
	for _, ln := range l.lanes {
		l.owned.Go(func() { ln.run(ctx) })
	}
	l.owned.Go(func() { l.sweep(ctx) })
	return l
}

// Send queues a request whose payload is the parts in a row, copied before it
// returns. It never waits. If it returns nil the token will be delivered exactly
// once, at the latest shortly after timeout; token should be a pointer, as
// anything else is allocated. If it returns an error (ErrDown, ErrOverloaded,
// ErrTooLarge, ErrTimeout) nothing was sent and nothing will be delivered.
//
// Whoever sends must Flush after the last of what can go together: until then
// requests wait, up to 10 ms and more.
func (l *Link) Send(to Lane, op Op, epoch, hlc uint64, timeout time.Duration, token any, parts ...[]byte) error {
	if err := l.lanes[to].send(&frame{op: op, epoch: epoch, hlc: hlc}, timeout, token, parts); err != nil {
		return err
	}
	if !l.sweeping.Load() {
		l.startSweeping()
	}
	return nil
}

// Flush sends what has been queued, by one write a lane where the system takes
// that at once. It does not wait for the peer.
func (l *Link) Flush() {
	for _, ln := range l.lanes {
		ln.flush()
	}
}

// Receive delivers what has arrived and its poller has not come to yet.
func (l *Link) Receive() {
	for _, ln := range l.lanes {
		ln.readPolled()
	}
}

// Close ends the connections and delivers what is in flight with ErrLost. When
// it returns no callback runs and none will.
func (l *Link) Close() {
	l.cancel()
	l.owned.Wait()
}

// nowMS is the Link's clock: milliseconds, monotonic.
func (l *Link) nowMS() int64 { return int64(time.Since(l.began) / time.Millisecond) }
