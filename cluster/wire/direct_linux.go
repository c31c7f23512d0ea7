package wire

import (
	"io"
	"net"
	"os"
	"syscall"
	"unsafe"
)

// The calls of this file go past Go's scheduler, which is not told of them: a socket
// that does not block keeps its thread for microseconds only, and a scheduler that is
// told takes the processor away from who is in a call for longer than twenty of them, as
// a write to a socket of the same machine is. To get it back then costs more than the call.

// A directWriter writes to a TCP socket what that takes at once, and never
// waits. One goroutine at a time may use it.
type directWriter struct {
	raw syscall.RawConn
	try func(fd uintptr) (done bool) // the method, bound once: binding allocates
	buf []byte
	n   int
	err error
}

// newDirectWriter returns nil if conn is not a TCP connection as it is.
func newDirectWriter(conn sink) *directWriter {
	raw := rawConn(conn)
	if raw == nil {
		return nil
	}
	d := &directWriter{raw: raw}
	d.try = d.tryOnce
	return d
}

func rawConn(conn any) syscall.RawConn {
	var of syscall.Conn
	switch c := conn.(type) {
	case *net.TCPConn:
		of = c
	case *bareConn:
		of = c
	case *os.File:
		of = c
	default:
		return nil
	}
	raw, err := of.SyscallConn()
	if err != nil {
		return nil
	}
	return raw
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
	if len(d.buf) == 0 {
		return true
	}
	switch n, errno := callNow(syscall.SYS_WRITE, fd, d.buf); errno {
	case 0:
		d.n = n
	case syscall.EAGAIN:
	default:
		d.err = errno
	}
	return true
}

// A directReader reads from a TCP socket, and waits where there is nothing yet. One
// goroutine at a time may use it.
type directReader struct {
	raw syscall.RawConn
	try func(fd uintptr) (done bool)
	buf []byte
	n   int
	err error
}

// newDirectReader returns conn itself if that is not a TCP connection as it is, or a file of one.
func newDirectReader(conn io.Reader) io.Reader {
	raw := rawConn(conn)
	if raw == nil {
		return conn
	}
	d := &directReader{raw: raw}
	d.try = d.tryOnce
	return d
}

// Read is io.Reader's.
func (d *directReader) Read(buf []byte) (int, error) {
	if len(buf) == 0 {
		return 0, nil
	}
	d.buf, d.n, d.err = buf, 0, nil
	err := d.raw.Read(d.try)
	d.buf = nil
	switch {
	case err != nil:
		return 0, err
	case d.err != nil:
		return 0, d.err
	case d.n == 0:
		return 0, io.EOF
	}
	return d.n, nil
}

func (d *directReader) tryOnce(fd uintptr) (done bool) {
	switch n, errno := callNow(syscall.SYS_READ, fd, d.buf); errno {
	case 0:
		d.n = n
	case syscall.EAGAIN:
		return false
	default:
		d.err = errno
	}
	return true
}

// directBytesMax is how much one call moves: nothing can stop it meanwhile, and so the
// garbage collector waits for it, and all else for that one.
const directBytesMax = 256 << 10

// callNow reads or writes some of buf, which is not empty.
func callNow(trap, fd uintptr, buf []byte) (n int, errno syscall.Errno) {
	buf = buf[:min(len(buf), directBytesMax)]
	for {
		r, _, errno := syscall.RawSyscall(trap, fd, uintptr(unsafe.Pointer(unsafe.SliceData(buf))), uintptr(len(buf)))
		if errno != syscall.EINTR {
			return int(r), errno
		}
	}
}
