package server

import (
	"crypto/tls"
	"net"
	"sync"
	"time"

	"cartwheel/resp"
)

// serveStream serves one connection by one goroutine, until it ends. It is for
// TLS, and for where there is no loop.
func (s *Server) serveStream(conn net.Conn) {
	defer conn.Close()
	if s.opts.TLS != nil {
		secure := tls.Server(conn, s.opts.TLS)
		_ = conn.SetDeadline(time.Now().Add(handshakeTimeout))
		if err := secure.HandshakeContext(s.ctx); err != nil {
			s.log.Debug().Err(err).Stringer("addr", conn.RemoteAddr()).Msg("TLS handshake failed")
			return
		}
		_ = conn.SetDeadline(time.Time{})
		conn = secure
	}
	st := &stream{conn: conn, ending: make(chan struct{})}
	if !s.add(conn, 0, s.shards[0], st.end, func(sess *session) { st.session = sess }) {
		_, _ = conn.Write([]byte("-ERR max number of clients reached\r\n"))
		return
	}
	defer s.remove(st.session)
	st.serve()
}

// A stream is a session with a connection and a goroutine of its own.
type stream struct {
	*session
	conn    net.Conn
	ending  chan struct{} // closed when the connection is to end
	endOnce sync.Once
}

// end makes serve return once the command under way is answered.
func (st *stream) end() {
	st.endOnce.Do(func() {
		close(st.ending)
		st.session.cancel()
		_ = st.conn.SetReadDeadline(time.Now())
	})
}

func (st *stream) serve() {
	var slow resp.Writer
	for {
		if t := time.Duration(st.srv.settings.timeoutS.Load()) * time.Second; t > 0 {
			_ = st.conn.SetReadDeadline(time.Now().Add(t))
		}
		n, err := st.conn.Read(st.in.Buffer(st.limits()))
		if err != nil {
			return
		}
		st.shard.netIn.Add(uint64(n))
		st.in.Wrote(n)
		for {
			why := st.consume()
			if why == stoppedSlow {
				st.runSlow(&slow)
				st.finishSlow(&slow)
				slow.Buf = nil
			}
			if !st.flush() || !st.account() || why == stoppedClosing {
				return
			}
			if why == stoppedDrained {
				break
			}
		}
		select {
		case <-st.ending:
			return
		default:
		}
		st.in.Release()
	}
}

// flush commits what the replies wait for and sends them.
func (st *stream) flush() bool {
	if len(st.out.Buf) == 0 && st.held == 0 {
		return true
	}
	st.release(st.srv.keys.Commit(st.seq))
	st.shard.netOut.Add(uint64(len(st.out.Buf)))
	_ = st.conn.SetWriteDeadline(time.Now().Add(writeTimeout))
	_, err := st.conn.Write(st.out.Buf)
	st.out.Buf, st.heldFrom = st.out.Buf[:0], 0
	if cap(st.out.Buf) > outBytesSmall {
		st.out.Buf = nil
	}
	return err == nil
}
