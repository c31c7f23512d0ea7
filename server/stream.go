package server

import (
	"crypto/tls"
	"errors"
	"net"
	"os"
	"sync"
	"syscall"
	"time"

	"cartwheel/resp"
)

// serveStream serves one connection by one goroutine, until it ends. It is for
// TLS, and for where there is no loop.
func (s *Server) serveStream(conn net.Conn) {
	defer conn.Close()
	st := &stream{conn: conn, socket: conn, ending: make(chan struct{}), told: make(chan struct{}, 1)}
	attach := func(sess *session) {
		st.session = sess
		sess.tell = func() {
			select {
			case st.told <- struct{}{}:
			default:
			}
		}
		sess.gone = func() bool { return connHungUp(conn) }
	}
	// It counts from here on: those that never finish a handshake are bounded too.
	if !s.add(conn, 0, s.shards[0], st.end, attach) {
		return
	}
	defer s.remove(st.session)
	if s.opts.TLS == nil || st.handshake() {
		st.serve()
	}
}

// A stream is a session with a connection and a goroutine of its own.
type stream struct {
	*session
	conn    net.Conn      // speaks TLS where there is TLS
	socket  net.Conn      // below it; for deadlines
	ending  chan struct{} // closed when the connection is to end
	endOnce sync.Once
	told    chan struct{} // calls can be advanced
}

// end makes serve return once the command under way is answered.
func (st *stream) end() {
	st.endOnce.Do(func() {
		close(st.ending)
		st.session.cancel()
		_ = st.socket.SetReadDeadline(time.Now())
	})
}

// readUntil sets the deadline of reads, the zero time for none. It reports false
// if the connection is to end: end's deadline must stay.
func (st *stream) readUntil(deadline time.Time) bool {
	_ = st.socket.SetReadDeadline(deadline)
	select {
	case <-st.ending:
		return false
	default:
		return true
	}
}

func (st *stream) handshake() bool {
	deadline := time.Now().Add(handshakeTimeout)
	_ = st.socket.SetWriteDeadline(deadline)
	if !st.readUntil(deadline) {
		return false
	}
	secure := tls.Server(st.socket, st.srv.opts.TLS)
	if err := secure.HandshakeContext(st.ctx); err != nil {
		st.srv.log.Debug().Err(err).Str("addr", st.addr).Msg("TLS handshake failed")
		return false
	}
	st.conn = secure
	return true
}

func (st *stream) serve() {
	var slow resp.Writer
	for {
		deadline := time.Time{}
		if t := time.Duration(st.srv.settings.timeoutS.Load()) * time.Second; t > 0 {
			deadline = time.Now().Add(t)
		}
		if !st.readUntil(deadline) {
			return
		}
		n, err := st.conn.Read(st.in.Buffer(st.limits()))
		if err != nil {
			return
		}
		st.shard.netIn.Add(uint64(n))
		st.in.Wrote(n)
		for {
			why := st.consume()
			if why == stoppedGroup {
				st.srv.keys.Kick()
				for !st.advance() {
					<-st.told
					st.srv.keys.Kick()
				}
				continue
			}
			if why == stoppedSlow {
				st.runSlow(&slow)
				st.finishSlow(&slow)
				slow.Buf = nil
			}
			if !st.flush() || !st.account(false) || why == stoppedClosing {
				return
			}
			if why == stoppedDrained {
				break
			}
		}
		st.rest()
	}
}

// What a stream keeps of its output buffer between requests, and how much of it
// must go out within writeTimeout.
const (
	streamKeepBytes  = 4 << 10
	streamWriteBytes = 64 << 10
)

// flush commits what the replies wait for and sends them.
func (st *stream) flush() bool {
	if len(st.out.Buf) == 0 && st.held == 0 && st.seq <= st.srv.keys.Committed() {
		return true
	}
	err := st.srv.keys.Commit(st.seq)
	st.release(err)
	if err != nil {
		st.seq = 0 // that is answered for: what comes now does not depend on it
	}
	err = st.send()
	st.out.Buf, st.heldFrom = st.out.Buf[:0], 0
	if cap(st.out.Buf) > streamKeepBytes {
		st.out.Buf = nil
	}
	return err == nil
}

func (st *stream) send() error {
	for rest := st.out.Buf; len(rest) > 0; {
		part := rest[:min(len(rest), streamWriteBytes)]
		rest = rest[len(part):]
		_ = st.socket.SetWriteDeadline(time.Now().Add(writeTimeout))
		if _, err := st.conn.Write(part); err != nil {
			if errors.Is(err, os.ErrDeadlineExceeded) {
				st.srv.slowReader(&st.shared, len(part)+len(rest))
			}
			return err
		}
		st.shard.netOut.Add(uint64(len(part)))
	}
	return nil
}

// slowReader notes that a client is cut off because it takes no replies.
func (s *Server) slowReader(client *shared, waitingBytes int) {
	s.stats.slowReaders.Add(1)
	s.log.Warn().Uint64("client", client.id).Str("addr", client.addr).Int("bytes", waitingBytes).
		Msg("a client is cut off: it takes no replies")
}

// connHungUp reports that the other side of a connection sends no more.
func connHungUp(conn net.Conn) (gone bool) {
	socket, ok := conn.(syscall.Conn)
	if !ok {
		return false
	}
	raw, err := socket.SyscallConn()
	if err != nil {
		return false
	}
	_ = raw.Control(func(fd uintptr) { gone = hungUp(int(fd)) })
	return gone
}
