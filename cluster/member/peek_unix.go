//go:build unix

package member

import (
	"io"
	"net"
	"syscall"
)

// peek waits for the first byte and leaves it in the kernel's buffer. peeked is
// false where it cannot tell.
func peek(conn *net.TCPConn) (first byte, peeked bool, err error) {
	raw, err := conn.SyscallConn()
	if err != nil {
		return 0, false, err
	}
	var b [1]byte
	var n int
	var fault error
	err = raw.Read(func(fd uintptr) bool {
		for {
			n, _, fault = syscall.Recvfrom(int(fd), b[:], syscall.MSG_PEEK)
			if fault != syscall.EINTR {
				return fault != syscall.EAGAIN
			}
		}
	})
	switch {
	case err != nil:
		return 0, true, err
	case fault != nil:
		return 0, true, fault
	case n == 0:
		return 0, true, io.EOF
	}
	return b[0], true, nil
}
