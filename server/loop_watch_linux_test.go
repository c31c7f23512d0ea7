package server_test

import (
	"bytes"
	"slices"
	"sync"
	"testing"
	"time"

	"golang.org/x/sys/unix"

	"cartwheel/server"
	"cartwheel/store"
)

// sockets returns the two ends of a connection.
func sockets(t *testing.T) (a, b int) {
	t.Helper()
	fds, err := unix.Socketpair(unix.AF_UNIX, unix.SOCK_STREAM|unix.SOCK_NONBLOCK|unix.SOCK_CLOEXEC, 0)
	if err != nil {
		t.Fatal(err)
	}
	return fds[0], fds[1]
}

// A taker reads what a loop says there is, a few bytes at a time.
type taker struct {
	fd    int
	mu    sync.Mutex
	taken []byte
	ended bool
	asked int    // how often it was called
	due   uint64 // what each read waits for
	done  []error
}

func (r *taker) hasDone(errs ...error) func() bool {
	return func() bool {
		r.mu.Lock()
		defer r.mu.Unlock()
		return slices.Equal(r.done, errs)
	}
}

func (r *taker) hasAsked() int {
	r.mu.Lock()
	defer r.mu.Unlock()
	return r.asked
}

func (r *taker) Done(err error) (more bool) {
	r.mu.Lock()
	defer r.mu.Unlock()
	r.done = append(r.done, err)
	return false
}

func (r *taker) Ready(hup bool) (more bool, due uint64) {
	r.mu.Lock()
	defer r.mu.Unlock()
	r.asked++
	b := make([]byte, 10)
	n, err := unix.Read(r.fd, b)
	if n > 0 {
		r.taken = append(r.taken, b[:n]...)
	}
	r.ended = r.ended || n == 0 && err == nil
	if n > 0 {
		due = r.due
	}
	return n == len(b) || n > 0 && hup, due
}

func (r *taker) has(want []byte, ended bool) func() bool {
	return func() bool {
		r.mu.Lock()
		defer r.mu.Unlock()
		return bytes.Equal(r.taken, want) && r.ended == ended
	}
}

func TestALoopSaysWhatThereIsToRead(t *testing.T) {
	n := start(t, server.Options{})
	l := n.srv.Pollers()[0]
	a, b := sockets(t)
	r := &taker{fd: a}
	_, _ = unix.Write(b, []byte("before")) // it is watched
	again, stop, _ := l.Watch(a, r)
	until(t, "what came before", r.has([]byte("before"), false))
	want := []byte("before")
	for i := range 100 {
		part := bytes.Repeat([]byte{'x'}, i+1)
		_, _ = unix.Write(b, part)
		want = append(want, part...)
		if i%10 == 0 {
			until(t, "all that came", r.has(want, false))
		}
	}
	until(t, "all that came", r.has(want, false))
	n.dial().expect("+PONG\r\n", "PING") // it is in no call now
	asked := r.hasAsked()
	again()
	until(t, "a call that was asked for", func() bool { return r.hasAsked() > asked })
	_, _ = unix.Write(b, []byte("last"))
	_ = unix.Close(b)
	until(t, "what came with the end", r.has(append(want, "last"...), true))
	stop()
	_ = unix.Close(a)

	// Nothing is called after stop, and a descriptor may be another socket's then.
	for range 20 {
		a, b := sockets(t)
		r := &taker{fd: a}
		_, stop, gone := l.Watch(a, r)
		_, _ = unix.Write(b, []byte("x"))
		stop()
		r.mu.Lock()
		taken := len(r.taken)
		r.mu.Unlock()
		_, _ = unix.Write(b, []byte("y"))
		time.Sleep(100 * time.Microsecond) // nothing can be waited for
		if r.mu.Lock(); len(r.taken) != taken {
			t.Error("it is read from after stop")
		}
		r.mu.Unlock()
		<-gone
		_, _ = unix.Close(a), unix.Close(b)
	}
}

func TestALoopThatEndsGivesBackWhatItWatches(t *testing.T) {
	n := start(t, server.Options{})
	l := n.srv.Pollers()[0]
	a, b := sockets(t)
	defer func() { _, _ = unix.Close(a), unix.Close(b) }()
	r := &taker{fd: a}
	_, stop, gone := l.Watch(a, r)
	n.stop()
	<-gone
	stop()
	if _, stop, _ := l.Watch(a, r); stop != nil {
		t.Error("it watches after its end")
	}
}

// A gated key space has commits of a test, which wait for it.
type gated struct {
	server.Keyspace
	gate chan error
}

const gatedSeq = 1 << 60 // above all of the store

func (g *gated) CommitReplica(seq uint64) error {
	if seq >= gatedSeq {
		return <-g.gate
	}
	return g.Keyspace.CommitReplica(seq)
}

// Commit is not asked for what no client has done: with --sync one it would write that to the disk.
func (g *gated) Commit(seq uint64) error {
	if seq >= gatedSeq {
		return errCommit
	}
	return g.Keyspace.Commit(seq)
}

func TestALoopCommitsForThoseItWatches(t *testing.T) {
	keys := &gated{open(t, store.Options{}), make(chan error)}
	n := start(t, server.Options{Keys: keys})
	l := n.srv.Pollers()[0]
	a, b := sockets(t)
	defer func() { _, _ = unix.Close(a), unix.Close(b) }()
	r := &taker{fd: a, due: gatedSeq}
	_, _, gone := l.Watch(a, r)
	ask := func() { _, _ = unix.Write(b, []byte("x")) }

	ask()
	until(t, "what came", r.has([]byte("x"), false))
	time.Sleep(20 * time.Millisecond) // a commit that takes so long
	if !r.hasDone()() {
		t.Error("it is done before the commit")
	}
	keys.gate <- nil
	until(t, "the first commit", r.hasDone(nil))

	// The next is waited for by another goroutine, and the loop serves meanwhile.
	ask()
	until(t, "what came then", r.has([]byte("xx"), false))
	c := n.dial()
	c.expect("+PONG\r\n", "PING")
	time.Sleep(20 * time.Millisecond) // as long
	if !r.hasDone(nil)() {
		t.Error("it is done before the second commit")
	}
	keys.gate <- errCommit
	until(t, "the second commit", r.hasDone(nil, errCommit))

	// The end of the loop is no end of a commit.
	ask()
	until(t, "what came last", r.has([]byte("xxx"), false))
	stopped := make(chan struct{})
	go func() { defer close(stopped); n.stop() }()
	select {
	case <-gone:
		t.Error("it is given back before its commit")
	case <-time.After(20 * time.Millisecond):
	}
	close(keys.gate)
	<-gone
	<-stopped
	if !r.hasDone(nil, errCommit, nil)() {
		t.Errorf("done: %v", r.done)
	}
}
