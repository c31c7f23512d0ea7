package member

import (
	"io"
	"net"
)

// firstByte returns the first byte that comes over conn and a connection that
// still reads it: conn itself where the kernel can be asked to peek.
func firstByte(conn net.Conn) (first byte, sniffed net.Conn, err error) {
	if tcp, ok := conn.(*net.TCPConn); ok {
		if first, peeked, err := peek(tcp); peeked {
			return first, conn, err
		}
	}
	var b [1]byte
	if _, err := io.ReadFull(conn, b[:]); err != nil {
		return 0, nil, err
	}
	return b[0], &unreadConn{Conn: conn, first: b[0], unread: true}, nil
}

// unreadConn reads its first byte once more.
type unreadConn struct {
	net.Conn
	first  byte
	unread bool
}

func (c *unreadConn) Read(b []byte) (int, error) {
	if !c.unread || len(b) == 0 {
		return c.Conn.Read(b)
	}
	b[0], c.unread = c.first, false
	return 1, nil
}
