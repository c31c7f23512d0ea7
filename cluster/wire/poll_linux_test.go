package wire

import (
	"errors"
	"fmt"
	"net"
	"sync"
	"testing"
	"time"

	"golang.org/x/sys/unix"

	"cartwheel/cluster/quorum"
)

// A fakePoller asks all sockets all the time, by one goroutine.
type fakePoller struct {
	commit   func(due uint64) error // nil: always nil
	mu       sync.Mutex             // held while ready runs
	watching map[int]*fakeWatch
	ended    chan struct{}
	watched  int // calls
}

type fakeWatch struct {
	quorum.Watched
	gone chan struct{}
}

// read has what there is be read, and commits for it.
func (w *fakeWatch) read(commit func(due uint64) error) {
	for more := true; more; {
		var due uint64
		if more, due = w.Ready(true); due != 0 {
			var err error
			if commit != nil {
				err = commit(due)
			}
			more = w.Done(err)
		}
	}
}

func newFakePoller() *fakePoller {
	p := &fakePoller{watching: map[int]*fakeWatch{}, ended: make(chan struct{})}
	go func() {
		for {
			p.mu.Lock()
			for _, w := range p.watching {
				w.read(p.commit)
			}
			over := p.watching == nil
			p.mu.Unlock()
			if over {
				close(p.ended)
				return
			}
			time.Sleep(100 * time.Microsecond)
		}
	}()
	return p
}

func (p *fakePoller) Watch(fd int, by quorum.Watched) (again, stop func(), gone <-chan struct{}) {
	p.mu.Lock()
	defer p.mu.Unlock()
	if p.watching == nil {
		return nil, nil, nil
	}
	w := &fakeWatch{by, make(chan struct{})}
	p.watching[fd] = w
	p.watched++
	again = func() {} // it asks all the time
	return again, func() {
		p.mu.Lock()
		defer p.mu.Unlock()
		if p.watching[fd] == w {
			delete(p.watching, fd)
			close(w.gone)
		}
	}, w.gone
}

func (p *fakePoller) end() {
	p.mu.Lock()
	for _, w := range p.watching {
		close(w.gone)
	}
	p.watching = nil
	p.mu.Unlock()
	<-p.ended
}

func (p *fakePoller) awaitWatching(t *testing.T, n int) {
	t.Helper()
	eventually(t, func() error {
		if now, _ := p.polled(); now != n {
			return fmt.Errorf("%d connections are watched, not %d", now, n)
		}
		return nil
	})
}

// polled returns how many sockets are watched, and how many have been.
func (p *fakePoller) polled() (now, ever int) {
	p.mu.Lock()
	defer p.mu.Unlock()
	return len(p.watching), p.watched
}

// ask sends n requests and waits until all replies, of which there have been before, have come.
func (r *rig) ask(t *testing.T, before, n int) {
	t.Helper()
	for range n {
		mustSend(t, r.Link, Small, nil, time.Minute, []byte("payload"))
	}
	r.Flush()
	for _, reply := range r.await(t, before+n)[before:] {
		if reply.Err != nil || string(reply.Payload) != "payload" {
			t.Fatalf("%+v", reply)
		}
	}
}

func TestAPollerTakesWhatComesAndGivesItBack(t *testing.T) {
	t.Run("answers", func(t *testing.T) {
		p := newFakePoller()
		accepted := func(_, accepted net.Conn) net.Conn { return accepted }
		takesAndGivesBack(t, p, rigOptions{link: LinkOptions{Poller: func() quorum.Poller { return p }}}, accepted)
	})
	t.Run("requests", func(t *testing.T) {
		p := newFakePoller()
		dialed := func(dialed, _ net.Conn) net.Conn { return dialed }
		takesAndGivesBack(t, p, rigOptions{serve: ServeOptions{Poller: func() quorum.Poller { return p }}}, dialed)
	})
}

func takesAndGivesBack(t *testing.T, p *fakePoller, opts rigOptions, notPolled func(dialed, accepted net.Conn) net.Conn) {
	var mu sync.Mutex
	var last *net.TCPConn // of the side that is not polled; the lane for small requests may be either
	connect := tcpPair(t)
	opts.connect = func() (net.Conn, net.Conn) {
		dialed, accepted := connect()
		mu.Lock()
		defer mu.Unlock()
		last = notPolled(dialed, accepted).(*net.TCPConn)
		return dialed, accepted
	}
	r := newRig(t, opts)
	p.awaitWatching(t, 1)
	r.ask(t, 0, 300)

	// Connections break, and others are watched in their place.
	for range 5 {
		mu.Lock()
		_ = last.CloseWrite() // its descriptor is not the only one
		mu.Unlock()
		<-r.downs
		<-r.ups
	}
	p.awaitWatching(t, 1)
	before := len(r.replies())
	r.ask(t, before, 300)

	// Without the poller the connection goes on.
	p.end()
	r.ask(t, before+300, 300)
	if len(r.downs) > 0 {
		t.Error("the connection broke when the poller ended")
	}
}

// A poller that is held up, as by a disk, does not make answers late.
func TestWhatAPollerDoesNotComeToIsReadAllTheSame(t *testing.T) {
	p := newFakePoller()
	r := newRig(t, rigOptions{connect: tcpPair(t), link: LinkOptions{Poller: func() quorum.Poller { return p }}})
	p.awaitWatching(t, 1)
	p.mu.Lock() // it stands still
	r.ask(t, 0, 10)
	p.mu.Unlock()
	r.ask(t, 10, 10)
	p.end()
	r.ask(t, 20, 10)
}

// A peer that goes away takes with it what is in flight, and Close does, whoever reads.
func TestWhatIsInFlightIsLostWithAWatchedConnection(t *testing.T) {
	p := newFakePoller()
	defer p.end()
	held := make(chan struct{})
	defer close(held)
	silent := handlerFunc(func(b *Batch) {
		for i := range b.Requests() {
			b.Defer(i)
		}
	})
	r := newRig(t, rigOptions{
		connect: tcpPair(t), serve: ServeOptions{Handler: silent}, link: LinkOptions{Poller: func() quorum.Poller { return p }},
	})
	mustSend(t, r.Link, Small, nil, time.Minute, []byte("payload"))
	r.Flush()
	r.cancel() // the peer closes its connections
	if got := r.await(t, 1)[0]; !errors.Is(got.Err, ErrLost) {
		t.Errorf("%+v", got)
	}
	r.Link.Close()
	if now, ever := p.polled(); now != 0 || ever == 0 {
		t.Errorf("%d connections are watched, %d were", now, ever)
	}
}

// One call reads so much and no more, whatever room there is: what it leaves makes no new edge.
func TestAReadThatWasCutOffIsNotTakenForAll(t *testing.T) {
	var fds [2]int
	if err := unix.Pipe2(fds[:], unix.O_NONBLOCK|unix.O_CLOEXEC); err != nil {
		t.Fatal(err)
	}
	defer unix.Close(fds[0])
	defer unix.Close(fds[1])
	const backlog = directBytesMax + 100
	if _, err := unix.FcntlInt(uintptr(fds[1]), unix.F_SETPIPE_SZ, 2*directBytesMax); err != nil {
		t.Fatal(err)
	}
	if n, err := unix.Write(fds[1], make([]byte, backlog)); n != backlog || err != nil {
		t.Fatalf("%d bytes fit, %v", n, err)
	}
	r := frameReader{buf: make([]byte, readBytesKeep)}
	for _, want := range []struct {
		n   int
		all bool
	}{{directBytesMax, false}, {100, true}, {0, true}} {
		if n, all, err := r.fillNow(fds[0]); n != want.n || all != want.all || err != nil {
			t.Errorf("%d bytes, all is %t, %v, want %+v", n, all, err, want)
		}
	}
}
