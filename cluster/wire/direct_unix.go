//go:build unix

package wire

import (
	"errors"
	"net"
	"syscall"
)

// A directWriter writes to a TCP socket what that takes at once, and never
// waits. One goroutine at a time may use it.
type directWriter struct {
	raw syscall.RawConn
	try func(fd uintptr) (done bool) // the method, bound once: binding allocates
	buf []byte
	n   int
	err error
}

// newDirectWriter returns nil if conn is not a bare TCP connection.
func newDirectWriter(conn net.Conn) *directWriter {
	tcp, ok := conn.(*net.TCPConn)
	if !ok {
		return nil
	}
	raw, err := tcp.SyscallConn()
	if err != nil {
		return nil
	}
	d := &directWriter{raw: raw}
	d.try = d.tryOnce
	return d
}

func (d *directWriter) write(buf []byte) (n int, err error) {
	d.buf, d.n, d.err = buf, 0, nil
	err = d.raw.Write(d.try)
	d.buf = nil
	if err != nil {
		return 0, err
	}
	return d.n, d.err
}

func (d *directWriter) tryOnce(fd uintptr) (done bool) {
	for {
		n, err := syscall.Write(int(fd), d.buf)
		switch {
		case err == nil:
			d.n = n
		case errors.Is(err, syscall.EINTR):
			continue
		case !errors.Is(err, syscall.EAGAIN):
			d.err = err
		}
		return true
	}
}
