package wire

import (
	"context"
	"io"
	"net"
	"syscall"
)

// poll has a poller say when there is something to read, until the connection breaks or ctx
// ends. It returns nil where the poller has ended, or cannot watch this connection.
func (r *receiving) poll(ctx context.Context, conn net.Conn, box *outbox, p Poller) error {
	fd := duplicate(conn)
	if fd < 0 {
		return nil
	}
	defer syscall.Close(fd)
	broken := make(chan error, 1)
	var w polled
	w.read = func(hup bool) (more bool) {
		n, err := r.reader.fillNow(fd)
		if n > 0 {
			err = r.deliver(n)
		}
		if err != nil {
			w.over = true
			broken <- err
		}
		// A short read has emptied the socket: the next bytes make a new edge, but for a
		// close, which may have come with these.
		return err == nil && n > 0 && (hup || r.reader.full)
	}
	stop, gone := p.Watch(fd, w.ready)
	if stop == nil {
		return nil
	}
	r.ln.polled.Store(&w)
	defer w.end()
	defer r.ln.polled.Store(nil)
	defer stop()
	select {
	case err := <-broken:
		return err
	case <-box.done:
		return net.ErrClosed // box knows why
	case <-ctx.Done():
		return ctx.Err()
	case <-gone:
		return nil
	}
}

// duplicate returns another descriptor of a bare TCP connection, or -1. Go's own poller does
// not know of it, and it cannot be closed by anybody else.
func duplicate(conn net.Conn) int {
	raw := rawConn(conn)
	if raw == nil {
		return -1
	}
	fd := -1
	err := raw.Control(func(from uintptr) {
		r, _, errno := syscall.Syscall(syscall.SYS_FCNTL, from, syscall.F_DUPFD_CLOEXEC, 0)
		if errno == 0 {
			fd = int(r)
		}
	})
	if err != nil && fd >= 0 {
		_ = syscall.Close(fd)
		return -1
	}
	return fd
}

// fillNow is fill that does not wait: where there is nothing it returns 0.
func (r *frameReader) fillNow(fd int) (n int, err error) {
	r.room()
	n, errno := callNow(syscall.SYS_READ, uintptr(fd), r.buf[r.end:])
	switch {
	case errno == syscall.EAGAIN:
		r.full = false
		return 0, nil
	case errno != 0:
		return 0, errno
	case n == 0:
		return 0, io.EOF
	}
	r.end += n
	r.full = r.end == len(r.buf)
	return n, nil
}
