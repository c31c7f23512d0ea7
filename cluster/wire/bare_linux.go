package wire

import (
	"context"
	"errors"
	"io"
	"net"
	"os"
	"sync"
	"syscall"
	"time"

	"golang.org/x/sys/unix"
)

// A bareConn is a TCP connection of which Go's poller does not know: that poller would wake
// a thread for all that arrives, beside the one that reads it. Who waits to write, which is
// rare, has a thread wait.
type bareConn struct {
	release func() bool // has ctx not interrupt any more

	mu       sync.Mutex // innermost; held over calls of the system, none of which waits. Guards what follows
	fd       int        // -1: it is closed
	over     bool       // nobody may wait any more
	deadline time.Time  // of a Write; zero: none
	reading  *os.File   // that of reader
}

// bareWaitMS is how soon a Write that waits looks if it still may.
const bareWaitMS = 50

// newBareConn returns another end of a connection, for as long as ctx: conn is to be closed. It returns nil
// where conn is not a TCP connection as it is.
func newBareConn(ctx context.Context, conn net.Conn) *bareConn {
	fd := duplicate(conn)
	if fd < 0 {
		return nil
	}
	b := &bareConn{fd: fd}
	b.release = context.AfterFunc(ctx, b.interrupt)
	return b
}

// interrupt has all return that wait, now and later.
func (b *bareConn) interrupt() {
	b.mu.Lock()
	defer b.mu.Unlock()
	b.over = true
	if b.reading != nil {
		_ = b.reading.SetReadDeadline(past)
	}
}

// Write waits until buf is written, or the deadline has passed. One goroutine at a time
// may call it.
func (b *bareConn) Write(buf []byte) (n int, err error) {
	for n < len(buf) {
		fd, some, err := b.writeSome(buf[n:])
		if err != nil {
			return n, err
		}
		if n += some; some == 0 {
			wait := []unix.PollFd{{Fd: int32(fd), Events: unix.POLLOUT}}
			if _, err := unix.Poll(wait, bareWaitMS); err != nil && !errors.Is(err, unix.EINTR) {
				return n, err
			}
		}
	}
	return n, nil
}

// writeSome writes what the connection takes, unless the time for that is over.
func (b *bareConn) writeSome(buf []byte) (fd, n int, err error) {
	b.mu.Lock()
	defer b.mu.Unlock()
	switch {
	case b.fd < 0, b.over:
		return -1, 0, net.ErrClosed
	case !b.deadline.IsZero() && !time.Now().Before(b.deadline):
		return -1, 0, os.ErrDeadlineExceeded
	}
	n, errno := callNow(syscall.SYS_WRITE, uintptr(b.fd), buf)
	if errno != 0 && errno != syscall.EAGAIN {
		return -1, 0, errno
	}
	if errno != 0 {
		n = 0
	}
	return b.fd, n, nil
}

// SetDeadline is that of Write, and of reader.
func (b *bareConn) SetDeadline(t time.Time) error {
	b.mu.Lock()
	defer b.mu.Unlock()
	b.deadline = t
	if b.reading != nil {
		return b.reading.SetReadDeadline(t)
	}
	return nil
}

func (b *bareConn) SetWriteDeadline(t time.Time) error {
	b.mu.Lock()
	defer b.mu.Unlock()
	b.deadline = t
	return nil
}

// Close closes it, also for those that wait.
func (b *bareConn) Close() error {
	b.release()
	b.mu.Lock()
	defer b.mu.Unlock()
	if b.fd < 0 {
		return net.ErrClosed
	}
	fd := b.fd
	b.fd = -1
	if b.reading != nil {
		_ = b.reading.Close()
	}
	return syscall.Close(fd)
}

// reader returns what reads, and waits, by Go's poller. It is called once.
func (b *bareConn) reader() (io.Reader, error) {
	b.mu.Lock()
	defer b.mu.Unlock()
	if b.fd < 0 || b.over {
		return nil, net.ErrClosed
	}
	fd, err := duplicateFD(uintptr(b.fd))
	if err != nil {
		return nil, err
	}
	b.reading = os.NewFile(uintptr(fd), "peer")
	return newDirectReader(b.reading), nil
}

// SyscallConn returns what directWriter writes with.
func (b *bareConn) SyscallConn() (syscall.RawConn, error) { return (*bareRaw)(b), nil }

// A bareRaw is a bareConn as syscall.RawConn, but that it waits for nothing.
type bareRaw bareConn

func (r *bareRaw) Write(f func(fd uintptr) (done bool)) error {
	r.mu.Lock()
	defer r.mu.Unlock()
	if r.fd < 0 {
		return net.ErrClosed
	}
	f(uintptr(r.fd))
	return nil
}

func (r *bareRaw) Read(f func(fd uintptr) (done bool)) error { return r.Write(f) }

func (r *bareRaw) Control(f func(fd uintptr)) error {
	return r.Write(func(fd uintptr) bool { f(fd); return true })
}
