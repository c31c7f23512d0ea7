package server

import (
	"math/bits"
	"sync/atomic"
	"time"

	"cartwheel/server/command"
)

// stats counts what INFO shows of the server.
type stats struct {
	connections, rejectedConnections, evictedClients atomic.Uint64
	slowReaders, protocolErrors                      atomic.Uint64
}

// A shard holds the figures of the commands that one loop has run, so that
// loops do not share cache lines. Anyone may read.
type shard struct {
	commands []commandStats // by command ID
	unknown  atomic.Uint64
	netIn    atomic.Uint64
	netOut   atomic.Uint64
	hits     atomic.Uint64 // of keys looked up by reading commands
	misses   atomic.Uint64
	errors   errorCounts
}

// commandStats are the figures of one command.
type commandStats struct {
	calls, nanoseconds atomic.Uint64
	rejected, failed   atomic.Uint64
	histogram          atomic.Pointer[histogram]
}

// A histogram counts durations by their magnitude: four buckets for each power
// of two of nanoseconds.
type histogram [4 * 40]atomic.Uint64

func bucketOf(d time.Duration) int {
	n := uint64(max(d, 1))
	power := bits.Len64(n) - 1
	if power < 2 {
		return 0
	}
	quarter := int(n>>(power-2)) & 3
	return min(4*power+quarter, len(histogram{})-1)
}

// bucketEnd is the first duration past a bucket.
func bucketEnd(i int) time.Duration {
	power, quarter := i/4, i%4
	if power < 2 {
		return time.Duration(4)
	}
	return time.Duration(uint64(4+quarter+1) << (power - 2))
}

func newShard(table *command.Commands) *shard {
	return &shard{commands: make([]commandStats, table.Len())}
}

// record notes that a call has run.
func (s *session) record(c *call, ended time.Duration) {
	cmd := c.cmd
	if cmd == nil || c.h == &unknownHandler {
		return
	}
	took := ended - c.began
	st := &s.shard.commands[cmd.ID]
	st.calls.Add(1)
	st.nanoseconds.Add(uint64(took))
	if s.srv.settings.latencyTracking.Load() {
		st.observe(took)
	}
	if took >= time.Duration(s.srv.slowlog.thresholdNS.Load()) {
		s.srv.slowlog.add(c, took)
	}
}

func (st *commandStats) observe(took time.Duration) {
	h := st.histogram.Load()
	if h == nil {
		st.histogram.CompareAndSwap(nil, &histogram{})
		if h = st.histogram.Load(); h == nil {
			return // CONFIG RESETSTAT came between
		}
	}
	h[bucketOf(took)].Add(1)
}

// failed notes that a command has replied with an error.
func (sh *shard) failed(cmd *command.Command, reply []byte) {
	sh.commands[cmd.ID].failed.Add(1)
	sh.errors.add(reply)
}

// rejected notes that a command was refused before it ran.
func (sh *shard) rejected(cmd *command.Command, reply string) {
	sh.errors.add([]byte(reply))
	if cmd == nil {
		sh.unknown.Add(1)
		return
	}
	sh.commands[cmd.ID].rejected.Add(1)
}

// looked counts that a reading command found its key, or did not.
func (c *call) looked(found bool) {
	if found {
		c.s.shard.hits.Add(1)
	} else {
		c.s.shard.misses.Add(1)
	}
}
