package server

import (
	"context"
	"net"
	"slices"
	"sync"
	"sync/atomic"
	"time"
)

// registry knows the sessions there are.
type registry struct {
	mu     sync.Mutex
	byID   map[uint64]*session // guarded by mu
	lastID uint64              // guarded by mu
	count  atomic.Int64
	bytes  atomic.Int64 // of buffers
}

// add makes a session for a connection, unless there are too many or the server
// stops. It calls attach before others can see the session, and so before cut may be called.
func (s *Server) add(conn net.Conn, fd int, sh *shard, cut func(), attach func(*session)) bool {
	r := &s.clients
	if r.count.Add(1) > int64(s.settings.maxClients.Load()) {
		r.count.Add(-1)
		s.stats.rejectedConnections.Add(1)
		return false
	}
	sess := &session{srv: s, shard: sh, authed: s.password.Load() == nil}
	sess.addr, sess.laddr = conn.RemoteAddr().String(), conn.LocalAddr().String()
	sess.fd, sess.created, sess.cut = fd, time.Now(), cut
	sess.ctx, sess.cancel = context.WithCancel(s.ctx)
	sess.unblock = make(chan bool, 1)
	sess.command.Store(-1)
	sess.activeMS.Store(s.uptime().Milliseconds())
	sess.call = s.newCall(sess)
	r.mu.Lock()
	defer r.mu.Unlock()
	if s.ctx.Err() != nil {
		sess.cancel()
		r.count.Add(-1)
		return false // Shutdown may have looked for sessions already
	}
	s.stats.connections.Add(1)
	r.lastID++
	sess.id = r.lastID
	attach(sess)
	r.byID[sess.id] = sess
	return true
}

// remove forgets a session whose connection is closed.
func (s *Server) remove(sess *session) {
	r := &s.clients
	sess.cancel()
	r.bytes.Add(-sess.inBytes.Swap(0) - sess.outBytes.Swap(0))
	r.mu.Lock()
	delete(r.byID, sess.id)
	r.mu.Unlock()
	r.count.Add(-1)
}

// all returns the sessions by rising id.
func (r *registry) all() []*session {
	r.mu.Lock()
	all := make([]*session, 0, len(r.byID))
	for _, sess := range r.byID {
		all = append(all, sess)
	}
	r.mu.Unlock()
	slices.SortFunc(all, func(a, b *session) int { return int(int64(a.id) - int64(b.id)) })
	return all
}

func (r *registry) get(id uint64) *session {
	r.mu.Lock()
	defer r.mu.Unlock()
	return r.byID[id]
}

// outBytesSmall is what an output buffer may keep while it is not used.
const outBytesSmall = 64 << 10

// fairBytesMin is what each session may have at least: a short request and its
// reply in progress.
const fairBytesMin = 32 << 10

// account notes the memory of a session's buffers, small ones only where the
// output is stuck: others come from a pool and go back at once. It reports false
// where all sessions together have too much and this one more than its share:
// its connection should end. So they never have more than twice the limit, or
// fairBytesMin each.
func (s *session) account(stuck bool) bool {
	var in, out int64
	if s.in.Buffered() > 0 {
		in = int64(s.in.Size())
	}
	if stuck || cap(s.out.Buf) > outBytesSmall {
		out = int64(cap(s.out.Buf))
	}
	delta := in - s.inBytes.Load() + out - s.outBytes.Load()
	if delta == 0 {
		return true
	}
	s.inBytes.Store(in)
	s.outBytes.Store(out)
	r := &s.srv.clients
	if total := r.bytes.Add(delta); total <= s.srv.clientBytesMax || delta < 0 {
		return true
	}
	if in+out <= max(fairBytesMin, s.srv.clientBytesMax/max(1, r.count.Load())) {
		return true
	}
	s.srv.stats.evictedClients.Add(1)
	s.srv.log.Warn().Uint64("client", s.id).Str("addr", s.addr).Int64("bytes", in+out).
		Msg("a client is cut off: the buffers of all clients are at their limit")
	return false
}
