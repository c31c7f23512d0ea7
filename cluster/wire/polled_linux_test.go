package wire

import (
	"errors"
	"slices"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"golang.org/x/sys/unix"

	"cartwheel/cluster/quorum"
)

// A byHand is a polled socket of which a test calls the methods itself. Each byte that comes is a letter: what is
// done about it is due says.
type byHand struct {
	polled
	t     *testing.T
	other int // end of the socket
	did   []string
	due   func(letters string) uint64
}

func newByHand(t *testing.T) *byHand {
	t.Helper()
	fds, err := unix.Socketpair(unix.AF_UNIX, unix.SOCK_STREAM|unix.SOCK_NONBLOCK|unix.SOCK_CLOEXEC, 0)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _, _ = unix.Close(fds[0]), unix.Close(fds[1]) })
	h := &byHand{t: t, other: fds[1]}
	h.polled = polled{fd: fds[0], reader: &frameReader{}, broken: make(chan error, 1), aside: make(chan func() error, 1)}
	h.arrived = func(n int) (uint64, error) {
		letters := string(h.reader.buf[h.reader.start:h.reader.end])
		h.reader.start = h.reader.end
		h.did = append(h.did, letters)
		if h.due == nil {
			return 0, nil
		}
		return h.due(letters), nil
	}
	h.finish = func(err error) {
		if err != nil {
			h.did = append(h.did, err.Error())
			return
		}
		h.did = append(h.did, "finish")
	}
	return h
}

func (h *byHand) write(letters string) {
	h.t.Helper()
	if _, err := unix.Write(h.other, []byte(letters)); err != nil {
		h.t.Fatal(err)
	}
}

func (h *byHand) want(did ...string) {
	h.t.Helper()
	if !slices.Equal(h.did, did) {
		h.t.Fatalf("%q, want %q", h.did, did)
	}
	h.did = nil
}

func (h *byHand) ready(wantMore bool, wantDue uint64) {
	h.t.Helper()
	if more, due := h.Ready(false); more != wantMore || due != wantDue {
		h.t.Fatalf("Ready says %t, %d, want %t, %d", more, due, wantMore, wantDue)
	}
}

func (h *byHand) doAside(wantMore bool) {
	h.t.Helper()
	if more, err := h.do(<-h.aside); more != wantMore || err != nil {
		h.t.Fatalf("%t, %v, want %t", more, err, wantMore)
	}
}

func TestNothingIsReadWhileACommitIsUnderWay(t *testing.T) {
	h := newByHand(t)
	h.due = func(letters string) uint64 { return uint64(letters[0] - 'a') }
	h.write("b")
	h.ready(false, 1)
	h.want("b")
	h.write("c")
	h.ready(false, 0)
	h.want()
	if !h.Done(errors.New("no disk")) {
		t.Error("what has come meanwhile is forgotten")
	}
	h.want("no disk")
	h.ready(false, 2)
	h.want("c")
	if h.Done(nil) {
		t.Error("there is more, of which nobody has said anything")
	}
	h.want("finish")
	h.write("a")
	h.ready(false, 0)
	h.want("a")

	h.write("e")
	h.ready(false, 4)
	h.end()
	h.Done(nil)
	h.write("f")
	h.ready(false, 0)
	h.want("e")
}

func TestWhatIsNeverDueIsReadByAnybody(t *testing.T) {
	h := newByHand(t)
	h.write("a")
	h.readAll()
	h.want("a")
	h.mu.Lock() // as who reads
	h.write("b")
	h.readAll()
	h.ready(false, 0)
	h.mu.Unlock()
	h.want()
	h.readAll()
	h.want("b")
	h.end()
	h.write("c")
	h.readAll()
	h.want()
}

func TestNothingIsReadWhileSomethingIsDoneAside(t *testing.T) {
	h := newByHand(t)
	blocks := func() error { h.did = append(h.did, "blocks"); return nil }
	h.due = func(letters string) uint64 {
		if letters == "stuck" {
			h.putAside(blocks)
		}
		return 0
	}
	h.write("stuck")
	h.ready(false, 0)
	h.write("more")
	h.ready(false, 0)
	h.want("stuck")
	h.doAside(true)
	h.want("blocks")
	h.ready(false, 0)
	h.want("more")
	h.write("stuck")
	h.ready(false, 0)
	h.want("stuck")
	h.doAside(false)
	h.want("blocks")
	h.write("again")
	h.ready(false, 0)
	h.want("again")

	// A commit may be what has filled it.
	h.due = func(string) uint64 { return 1 }
	finish := h.finish
	h.finish = func(err error) { finish(err); h.putAside(blocks) }
	h.write("x")
	h.ready(false, 1)
	h.write("y")
	h.ready(false, 0)
	if h.Done(nil) {
		t.Error("it is to be read on")
	}
	h.want("x", "finish")
	h.finish = finish
	h.doAside(true)
	h.want("blocks")
	h.ready(false, 1)
	h.Done(nil)
	h.want("y", "finish")
	h.putAside(func() error { return errSilent })
	if more, err := h.do(<-h.aside); more || err != errSilent {
		t.Error(more, err)
	}
}

// A committing handler answers when its commit is made: by the status that commits have.
type committing struct {
	mu      sync.Mutex
	handled int // requests
	commits chan error
}

func (c *committing) Handle(b *Batch) (due uint64) {
	c.mu.Lock()
	defer c.mu.Unlock()
	c.handled += len(b.Requests())
	return uint64(c.handled)
}

func (c *committing) Blocks(*Batch) bool { return false }

func (c *committing) Commit(uint64) error { return <-c.commits }

func (c *committing) Finish(b *Batch, err error) {
	for i, r := range b.Requests() {
		status := uint8(0)
		if err != nil {
			status = 1
		}
		b.Reply(i, status, 0, 0, r.Payload)
	}
}

func TestRepliesWaitForTheCommit(t *testing.T) {
	for _, way := range []string{"a goroutine", "a poller"} {
		t.Run(way, func(t *testing.T) {
			h := &committing{commits: make(chan error)}
			opts := rigOptions{connect: tcpPair(t), serve: ServeOptions{Handler: h}}
			p := newFakePoller()
			defer p.end()
			p.commit = h.Commit
			if way == "a poller" {
				opts.serve.Poller = func() quorum.Poller { return p }
			}
			r := newRig(t, opts)
			if way == "a poller" {
				p.awaitWatching(t, 1)
			}
			for n := range 5 {
				mustSend(t, r.Link, Small, nil, time.Minute, []byte("payload"))
				r.Flush()
				time.Sleep(time.Millisecond)
				if got := len(r.replies()); got != n {
					t.Fatalf("%d replies before the commit", got-n)
				}
				var failure error
				if n%2 == 1 {
					failure = errors.New("no disk")
				}
				h.commits <- failure
				got := r.await(t, n+1)[n]
				if got.Err != nil || got.Status != uint8(n%2) || string(got.Payload) != "payload" {
					t.Fatalf("%+v", got)
				}
			}
		})
	}
}

// A peer that asks and takes no replies costs so much and no more, and gets them all when it does.
func TestAPollerDoesNotReadOnForAPeerThatTakesNoReplies(t *testing.T) {
	const requests, size = 3000, 10_000
	p := newFakePoller()
	defer p.end()
	payload := make([]byte, size)
	var handled atomic.Int64
	handler := handlerFunc(func(b *Batch) {
		for i := range b.Requests() {
			b.Reply(i, 0, 0, 0, payload)
		}
		handled.Add(int64(len(b.Requests())))
	})
	in := newInsider(t, t.Context(), ServeOptions{Handler: handler, Poller: func() quorum.Poller { return p }}, 1<<20, tcpPair(t))
	go func() {
		var buf []byte
		for range requests {
			r := request(1, 100_000)
			buf = appendFrame(buf, &r, nil)
		}
		_, _ = in.Write(buf)
	}()
	p.awaitWatching(t, 1)
	for before := int64(0); handled.Load() != before || before == 0; time.Sleep(100 * time.Millisecond) {
		before = handled.Load()
	}
	if n := handled.Load(); n == 0 || n >= requests { // sockets hold some megabytes
		t.Errorf("%d requests of %d are handled while no reply is taken", n, requests)
	}
	for range requests {
		in.read(t)
	}
	in.Close()
	if err := <-in.ended; err != nil {
		t.Error(err)
	}
}

// pollOptions has pollers read both sides, and each batch of requests wait for a commit.
func pollOptions(t *testing.T) (opts rigOptions) {
	asks, answers := newFakePoller(), newFakePoller()
	t.Cleanup(asks.end)
	t.Cleanup(answers.end)
	h := &committing{commits: make(chan error)}
	close(h.commits) // each is made at once
	asks.commit = h.Commit
	opts.link.Poller = func() quorum.Poller { return answers }
	opts.serve = ServeOptions{Handler: h, Poller: func() quorum.Poller { return asks }}
	return opts
}

// A holdingUp handler takes as long as the test likes.
type holdingUp struct {
	handlerFunc
	quick atomic.Bool
}

func (h *holdingUp) Blocks(*Batch) bool { return !h.quick.Load() }

func TestWhatBlocksDoesNotHoldUpAPoller(t *testing.T) {
	p := newFakePoller()
	defer p.end()
	poller := func() quorum.Poller { return p }
	goOn := make(chan struct{})
	wait := func(b *Batch) { <-goOn; echo(b) }
	h := &holdingUp{handlerFunc: wait}
	held := newRig(t, rigOptions{connect: tcpPair(t), serve: ServeOptions{Handler: h, Poller: poller}})
	other := newRig(t, rigOptions{connect: tcpPair(t), serve: ServeOptions{Poller: poller}})
	p.awaitWatching(t, 2)
	send := func() {
		mustSend(t, held.Link, Small, nil, time.Minute, []byte("payload"))
		held.Flush()
	}
	send()
	other.ask(t, 0, 10) // else it waits for ever
	send()              // is read when the first is done
	goOn <- struct{}{}
	held.await(t, 1)
	goOn <- struct{}{}
	held.await(t, 2)

	// One that was slow is expected to be slow again.
	h.quick.Store(true)
	send()
	time.Sleep(2 * asideAfter)
	goOn <- struct{}{}
	held.await(t, 3)
	send()
	other.ask(t, 10, 10)
	goOn <- struct{}{}
	held.await(t, 4)
}
