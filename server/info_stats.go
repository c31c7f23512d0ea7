package server

import (
	"maps"
	"slices"
	"time"

	"cartwheel/server/command"
)

func infoStats(s *Server, t *infoText) {
	commands := func(sh *shard) (n uint64) {
		for i := range sh.commands {
			n += sh.commands[i].calls.Load()
		}
		return n
	}
	errors := uint64(0)
	for _, n := range s.errors() {
		errors += n
	}
	t.fields(
		"total_connections_received", s.stats.connections.Load(),
		"total_commands_processed", s.sum(commands),
		"total_net_input_bytes", s.sum(func(sh *shard) uint64 { return sh.netIn.Load() }),
		"total_net_output_bytes", s.sum(func(sh *shard) uint64 { return sh.netOut.Load() }),
		"rejected_connections", s.stats.rejectedConnections.Load(),
		"evicted_keys", 0,
		"evicted_clients", s.stats.evictedClients.Load(),
		"keyspace_hits", s.sum(func(sh *shard) uint64 { return sh.hits.Load() }),
		"keyspace_misses", s.sum(func(sh *shard) uint64 { return sh.misses.Load() }),
		"pubsub_channels", 0,
		"pubsub_patterns", 0,
		"latest_fork_usec", 0,
		"total_error_replies", errors,
		"protocol_errors", s.stats.protocolErrors.Load(),
		"slow_readers_cut_off", s.stats.slowReaders.Load(),
		"unknown_commands", s.sum(func(sh *shard) uint64 { return sh.unknown.Load() }),
	)
}

// eachUsed visits the commands that were called or refused.
func (s *Server) eachUsed(visit func(cmd *command.Command, t *totals)) {
	for _, cmd := range s.table.All() {
		if t := s.totalsOf(cmd); t.calls+t.rejected > 0 {
			visit(cmd, t)
		}
	}
}

func infoCommandStats(s *Server, t *infoText) {
	s.eachUsed(func(cmd *command.Command, n *totals) {
		us := float64(n.nanoseconds) / float64(time.Microsecond)
		t.line("cmdstat_%s:calls=%d,usec=%d,usec_per_call=%.2f,rejected_calls=%d,failed_calls=%d",
			cmd.FullName(), n.calls, uint64(us), us/float64(max(n.calls, 1)), n.rejected, n.failed)
	})
}

func infoLatencyStats(s *Server, t *infoText) {
	s.eachUsed(func(cmd *command.Command, n *totals) {
		us := func(share float64) float64 { return float64(n.percentile(share)) / float64(time.Microsecond) }
		if us(1) > 0 {
			t.line("latency_percentiles_usec_%s:p50=%.3f,p99=%.3f,p99.9=%.3f", cmd.FullName(), us(0.5), us(0.99), us(0.999))
		}
	})
}

func infoErrorStats(s *Server, t *infoText) {
	counts := s.errors()
	for _, code := range slices.Sorted(maps.Keys(counts)) {
		t.line("errorstat_%s:count=%d", code, counts[code])
	}
}
