package member

import (
	"net"
	"slices"
	"sync"
)

// A lot holds a bounded number of connections. Where there is no room for one
// more, the oldest is closed.
type lot struct {
	max int

	mu     sync.Mutex // guards what follows
	conns  []net.Conn // oldest first
	closed bool
}

func newLot(most int) *lot { return &lot{max: most} }

func (l *lot) add(conn net.Conn) {
	l.mu.Lock()
	defer l.mu.Unlock()
	if l.closed {
		conn.Close()
		return
	}
	if len(l.conns) == l.max {
		l.conns[0].Close()
		l.conns = slices.Delete(l.conns, 0, 1)
	}
	l.conns = append(l.conns, conn)
}

// remove takes a connection out and says whether it was still there.
func (l *lot) remove(conn net.Conn) bool {
	l.mu.Lock()
	defer l.mu.Unlock()
	at := slices.Index(l.conns, conn)
	if at < 0 {
		return false
	}
	l.conns = slices.Delete(l.conns, at, at+1)
	return true
}

// closeEach closes all connections.
func (l *lot) closeEach() {
	l.mu.Lock()
	defer l.mu.Unlock()
	for _, conn := range l.conns {
		conn.Close()
	}
	l.conns = nil
}

// closeAll closes all connections, those to come included.
func (l *lot) closeAll() {
	l.mu.Lock()
	l.closed = true
	l.mu.Unlock()
	l.closeEach()
}

// keep adds a connection and returns it as one that leaves the lot when it is
// closed.
func (l *lot) keep(conn net.Conn) net.Conn {
	l.add(conn)
	return &keptConn{conn, l}
}

type keptConn struct {
	net.Conn
	lot *lot
}

func (c *keptConn) Close() error {
	c.lot.remove(c.Conn)
	return c.Conn.Close()
}
