package wire

import (
	"context"
	"io"
	"net"
	"syscall"
	"time"

	"cartwheel/cluster/quorum"
)

// newPolled returns nil where a poller cannot watch the connection.
func newPolled(conn net.Conn, reader *frameReader) *polled {
	fd := duplicate(conn)
	if fd < 0 {
		return nil
	}
	return &polled{fd: fd, reader: reader, broken: make(chan error, 1), aside: make(chan func() error, 1)}
}

// watch has a poller say when there is something to read, until the connection of box breaks
// or ctx ends. Where the poller has ended it returns no error, and what to read from if
// that is not conn any more. It is called once.
func (w *polled) watch(ctx context.Context, conn net.Conn, box *outbox, p quorum.Poller) (io.Reader, error) {
	again, stop, gone := p.Watch(w.fd, w)
	if stop == nil {
		w.end()
		_ = syscall.Close(w.fd)
		return nil, nil
	}
	bare, used := newBareConn(ctx, conn), false
	var use <-chan time.Time
	if bare != nil {
		use = time.After(0)
		defer func() {
			if !used {
				_ = bare.Close()
			}
		}()
	}
	var err error
	for watching := true; watching; {
		watching = false
		select {
		case do := <-w.aside:
			var more bool
			if more, err = w.do(do); more {
				again()
			}
			watching = err == nil
		case <-use:
			if used = box.use(bare); !used { // somebody is writing
				use = time.After(tick)
			}
			watching = true
		case err = <-w.broken:
		case <-box.done:
			err = net.ErrClosed // box knows why
		case <-ctx.Done():
			err = ctx.Err()
		case <-gone:
		}
	}
	w.end()
	if err == nil {
		select {
		case do := <-w.aside: // put there just before the poller ended
			err = do()
		default:
		}
		_ = syscall.Close(w.fd)
		if err != nil || !used {
			return nil, err
		}
		return bare.reader()
	}
	// What was in flight is lost now, and not when the poller comes to it; the peer sees the end, too.
	_ = syscall.Shutdown(w.fd, syscall.SHUT_RDWR)
	go func() {
		stop()
		_ = syscall.Close(w.fd)
	}()
	return nil, err
}

// readNow reads once, and does not wait. The caller holds mu.
func (w *polled) readNow(hup bool) (more bool, due uint64) {
	n, all, err := w.reader.fillNow(w.fd)
	if n > 0 {
		due, err = w.arrived(n)
	}
	if err != nil {
		w.over = true
		w.broken <- err
	}
	// A short read has emptied the socket: the next bytes make a new edge, but for a
	// close, which may have come with these.
	return err == nil && n > 0 && (hup || !all), due
}

// duplicate returns another descriptor of a bare TCP connection, or -1. Go's own poller does
// not know of it, and it cannot be closed by anybody else.
func duplicate(conn net.Conn) int {
	raw := rawConn(conn)
	if raw == nil {
		return -1
	}
	fd := -1
	err := raw.Control(func(from uintptr) { fd, _ = duplicateFD(from) })
	if err != nil && fd >= 0 {
		_ = syscall.Close(fd)
		return -1
	}
	return fd
}

// duplicateFD returns -1 with an error.
func duplicateFD(from uintptr) (fd int, err error) {
	r, _, errno := syscall.Syscall(syscall.SYS_FCNTL, from, syscall.F_DUPFD_CLOEXEC, 0)
	if errno != 0 {
		return -1, errno
	}
	return int(r), nil
}

// fillNow is fill that does not wait: where there is nothing it returns 0. It says whether that
// was all there is.
func (r *frameReader) fillNow(fd int) (n int, all bool, err error) {
	r.room()
	room := len(r.buf) - r.end
	n, errno := callNow(syscall.SYS_READ, uintptr(fd), r.buf[r.end:])
	switch {
	case errno == syscall.EAGAIN:
		r.full = false
		return 0, true, nil
	case errno != 0:
		return 0, false, errno
	case n == 0:
		return 0, false, io.EOF
	}
	r.end += n
	r.full = n == room
	return n, n < min(room, directBytesMax), nil
}
