package wire

import (
	"context"
	"io"
	"net"
	"os"
	"sync"
	"syscall"
	"time"
)

// A bareConn is a TCP connection of which Go's poller does not know, but for as long as
// somebody waits for it: that poller would wake a thread for all that arrives, beside the
// one that reads it.
type bareConn struct {
	release func() bool // has ctx not interrupt any more

	mu       sync.Mutex // held over what is done with fd, none of which waits; guards what follows
	fd       int        // -1: it is closed
	over     bool       // nobody may wait any more
	deadline time.Time  // of a Write
	waiting  *os.File   // that of a Write; nil: none waits
	reading  *os.File   // that of reader
}

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
	for _, f := range []*os.File{b.waiting, b.reading} {
		if f != nil {
			_ = f.SetDeadline(past)
		}
	}
}

// file returns a file of the connection, of which Go's poller knows. The caller holds mu.
func (b *bareConn) file() (*os.File, error) {
	if b.fd < 0 || b.over {
		return nil, net.ErrClosed
	}
	fd, err := duplicateFD(uintptr(b.fd))
	if err != nil {
		return nil, err
	}
	return os.NewFile(uintptr(fd), "peer"), nil
}

// Write waits until buf is written, or the deadline has passed. One goroutine at a time
// may call it.
func (b *bareConn) Write(buf []byte) (n int, err error) {
	f, err := b.wait()
	if err != nil {
		return 0, err
	}
	n, err = f.Write(buf)
	b.mu.Lock()
	b.waiting = nil
	b.mu.Unlock()
	_ = f.Close()
	return n, err
}

func (b *bareConn) wait() (*os.File, error) {
	b.mu.Lock()
	defer b.mu.Unlock()
	f, err := b.file()
	if err != nil {
		return nil, err
	}
	if err := f.SetWriteDeadline(b.deadline); err != nil {
		_ = f.Close()
		return nil, err
	}
	b.waiting = f
	return f, nil
}

// SetDeadline is that of Write: who reads does not wait, but for reader.
func (b *bareConn) SetDeadline(t time.Time) error { return b.SetWriteDeadline(t) }

func (b *bareConn) SetWriteDeadline(t time.Time) error {
	b.mu.Lock()
	defer b.mu.Unlock()
	b.deadline = t
	if b.waiting != nil && !b.over {
		return b.waiting.SetWriteDeadline(t)
	}
	return nil
}

// Close closes it, also for reader. A Write that waits goes on waiting, up to the deadline.
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

// reader returns what reads, and waits. It is called once.
func (b *bareConn) reader() (io.Reader, error) {
	b.mu.Lock()
	defer b.mu.Unlock()
	f, err := b.file()
	if err != nil {
		return nil, err
	}
	b.reading = f
	return newDirectReader(f), nil
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
