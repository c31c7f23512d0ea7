package server_test

import (
	"bytes"
	"sync"
	"testing"
	"time"

	"golang.org/x/sys/unix"

	"cartwheel/server"
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
}

func (r *taker) ready(hup bool) (more bool) {
	r.mu.Lock()
	defer r.mu.Unlock()
	b := make([]byte, 10)
	n, err := unix.Read(r.fd, b)
	if n > 0 {
		r.taken = append(r.taken, b[:n]...)
	}
	r.ended = r.ended || n == 0 && err == nil
	return n == len(b) || n > 0 && hup
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
	stop, _ := l.Watch(a, r.ready)
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
	_, _ = unix.Write(b, []byte("last"))
	_ = unix.Close(b)
	until(t, "what came with the end", r.has(append(want, "last"...), true))
	stop()
	_ = unix.Close(a)

	// Nothing is called after stop, and a descriptor may be another socket's then.
	for range 20 {
		a, b := sockets(t)
		r := &taker{fd: a}
		stop, gone := l.Watch(a, r.ready)
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
	stop, gone := l.Watch(a, r.ready)
	n.stop()
	<-gone
	stop()
	if stop, _ := l.Watch(a, r.ready); stop != nil {
		t.Error("it watches after its end")
	}
}
