package server

import (
	"sync"
	"time"

	"cartwheel/server/command"
)

// totals are the figures of one command, of all shards.
type totals struct {
	calls, nanoseconds, rejected, failed uint64
	histogram                            [len(histogram{})]uint64
}

func (s *Server) totalsOf(cmd *command.Command) *totals {
	t := &totals{}
	for _, sh := range s.shards {
		st := &sh.commands[cmd.ID]
		t.calls += st.calls.Load()
		t.nanoseconds += st.nanoseconds.Load()
		t.rejected += st.rejected.Load()
		t.failed += st.failed.Load()
		if h := st.histogram.Load(); h != nil {
			for i := range h {
				t.histogram[i] += h[i].Load()
			}
		}
	}
	return t
}

// percentile is a time that at least this share of the calls did not exceed.
func (t *totals) percentile(share float64) time.Duration {
	all := uint64(0)
	for _, n := range t.histogram {
		all += n
	}
	sum := uint64(0)
	for i, n := range t.histogram {
		if sum += n; n > 0 && float64(sum) >= share*float64(all) {
			return bucketEnd(i)
		}
	}
	return 0
}

// sum adds up a figure of all shards.
func (s *Server) sum(figure func(*shard) uint64) (n uint64) {
	for _, sh := range s.shards {
		n += figure(sh)
	}
	return n
}

// errorCounts counts error replies by their code, the first word. The codes are
// those of our own texts, and so few.
type errorCounts struct {
	mu     sync.Mutex
	byCode map[string]*uint64 // guarded by mu
}

// add counts an error by its reply, without the '-'.
func (e *errorCounts) add(reply []byte) {
	end := 0
	for end < len(reply) && reply[end] != ' ' && reply[end] != '\r' {
		end++
	}
	e.mu.Lock()
	defer e.mu.Unlock()
	n := e.byCode[string(reply[:end])]
	if n == nil {
		if e.byCode == nil {
			e.byCode = make(map[string]*uint64)
		}
		n = new(uint64)
		e.byCode[string(reply[:end])] = n
	}
	*n++
}

// errors adds up the error replies of all shards by their code.
func (s *Server) errors() map[string]uint64 {
	all := make(map[string]uint64)
	for _, sh := range s.shards {
		sh.errors.mu.Lock()
		for code, n := range sh.errors.byCode {
			all[code] += *n
		}
		sh.errors.mu.Unlock()
	}
	return all
}

// reset is for CONFIG RESETSTAT.
func (sh *shard) reset() {
	for i := range sh.commands {
		st := &sh.commands[i]
		st.calls.Store(0)
		st.nanoseconds.Store(0)
		st.rejected.Store(0)
		st.failed.Store(0)
		st.histogram.Store(nil)
	}
	sh.unknown.Store(0)
	sh.netIn.Store(0)
	sh.netOut.Store(0)
	sh.hits.Store(0)
	sh.misses.Store(0)
	sh.errors.mu.Lock()
	sh.errors.byCode = nil
	sh.errors.mu.Unlock()
}

// reset is for CONFIG RESETSTAT.
func (st *stats) reset() {
	st.connections.Store(0)
	st.rejectedConnections.Store(0)
	st.evictedClients.Store(0)
	st.slowReaders.Store(0)
	st.protocolErrors.Store(0)
}
