package wire

import (
	"context"
	"errors"
	"fmt"
	"net"
	"sync"
	"testing"
	"time"

	"go.uber.org/goleak"
)

func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

// A handlerFunc is a Handler.
type handlerFunc func(*Batch)

func (f handlerFunc) Handle(b *Batch) (due uint64) { f(b); return 0 }
func (f handlerFunc) Blocks(*Batch) bool           { return false }
func (f handlerFunc) Commit(uint64) error          { panic("nothing is due") }
func (f handlerFunc) Finish(*Batch, error)         { panic("nothing is due") }

// echo answers each request by its payload, its op as status, and its epoch and
// HLC plus one.
var echo = handlerFunc(func(b *Batch) {
	for i, r := range b.Requests() {
		b.Reply(i, uint8(r.Op), r.Epoch+1, r.HLC+1, r.Payload)
	}
})

// A rig is a Link and what serves its connections.
type rig struct {
	*Link
	linkCounters, serveCounters Counters

	ups    chan *Hello
	downs  chan error
	failed chan error // of either side
	ended  chan error // what Serve returned

	mu        sync.Mutex
	delivered []Reply // with copies of the payloads
	serving   sync.WaitGroup
	cancel    context.CancelFunc
}

type rigOptions struct {
	link    LinkOptions
	serve   ServeOptions
	connect func() (dialed, accepted net.Conn)
	down    bool // do not wait for the lanes to be up
}

func hello(node byte) func() Hello {
	return func() Hello { return Hello{Node: [20]byte{node}, Incarnation: uint64(node), Extension: []byte{node}} }
}

func newRig(t testing.TB, opts rigOptions) *rig {
	t.Helper()
	ctx, cancel := context.WithCancel(context.Background())
	r := &rig{
		ups: make(chan *Hello, 100), downs: make(chan error, 100), failed: make(chan error, 100),
		ended: make(chan error, 100), cancel: cancel,
	}
	if opts.connect == nil {
		opts.connect = func() (net.Conn, net.Conn) { return net.Pipe() }
	}
	if opts.serve.Handler == nil {
		opts.serve.Handler = echo
	}
	if opts.serve.Hello == nil {
		opts.serve.Hello = hello(2)
	}
	opts.serve.Counters, opts.link.Counters = &r.serveCounters, &r.linkCounters
	if opts.link.Hello == nil {
		opts.link.Hello = hello(1)
	}
	var connecting sync.Mutex // the lanes dial at the same time
	opts.link.Dial = func(context.Context, Lane) (net.Conn, error) {
		connecting.Lock()
		dialed, accepted := opts.connect()
		connecting.Unlock()
		if dialed == nil {
			return nil, errors.New("nobody there")
		}
		r.serving.Go(func() { offer(r.ended, Serve(ctx, accepted, opts.serve)) })
		return dialed, nil
	}
	deliver := opts.link.Deliver
	opts.link.Deliver = func(replies []Reply) {
		r.note(replies)
		if deliver != nil {
			deliver(replies)
		}
	}
	opts.link.Up = func(_ Lane, peer *Hello) { offer(r.ups, peer) }
	opts.link.Down = func(_ Lane, err error) { offer(r.downs, err) }
	opts.link.Failed = func(_ Lane, err error) { offer(r.failed, err) }
	r.Link = NewLink(opts.link)
	t.Cleanup(r.close)
	if !opts.down {
		for range LaneCount {
			<-r.ups
		}
	}
	return r
}

// offer sends what a test may or may not look at.
func offer[T any](to chan T, what T) {
	select {
	case to <- what:
	default:
	}
}

func (r *rig) close() {
	r.Link.Close()
	r.cancel()
	r.serving.Wait()
}

func (r *rig) note(replies []Reply) {
	r.mu.Lock()
	defer r.mu.Unlock()
	for _, reply := range replies {
		reply.Payload = append([]byte(nil), reply.Payload...)
		r.delivered = append(r.delivered, reply)
	}
}

func (r *rig) replies() []Reply {
	r.mu.Lock()
	defer r.mu.Unlock()
	return append([]Reply(nil), r.delivered...)
}

// await waits for n replies in all.
func (r *rig) await(t testing.TB, n int) []Reply {
	t.Helper()
	eventually(t, func() error {
		if got := len(r.replies()); got < n {
			return fmt.Errorf("%d replies of %d", got, n)
		}
		return nil
	})
	return r.replies()
}

// eventually waits until what returns nil. In a synctest bubble it takes no
// time.
func eventually(t testing.TB, what func() error) {
	t.Helper()
	deadline := time.Now().Add(20 * time.Second)
	for {
		err := what()
		if err == nil {
			return
		}
		if time.Now().After(deadline) {
			t.Fatal(err)
		}
		time.Sleep(time.Millisecond)
	}
}

func mustSend(t testing.TB, l *Link, lane Lane, token any, timeout time.Duration, parts ...[]byte) {
	t.Helper()
	if err := l.Send(lane, 5, 10, 20, timeout, token, parts...); err != nil {
		t.Fatal(err)
	}
}

// tcpPair returns the two ends of a connection over loopback.
func tcpPair(t testing.TB) func() (dialed, accepted net.Conn) {
	t.Helper()
	listener, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { listener.Close() })
	var mu sync.Mutex
	return func() (net.Conn, net.Conn) {
		mu.Lock()
		defer mu.Unlock()
		dialed, err := net.Dial("tcp", listener.Addr().String())
		if err != nil {
			return nil, nil
		}
		accepted, err := listener.Accept()
		if err != nil {
			dialed.Close()
			return nil, nil
		}
		return dialed, accepted
	}
}
