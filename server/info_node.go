package server

import (
	"fmt"
	"os"
	"runtime"
	"runtime/metrics"
	"strconv"
	"strings"
	"time"
)

func infoServer(s *Server, t *infoText) {
	_, port := s.hostPort()
	mode := "standalone"
	if t.cluster {
		mode, port = "cluster", strconv.Itoa(int(s.clusterAt.Port()))
	}
	now := time.Now()
	t.fields(
		"redis_version", RedisVersion,
		"redis_git_sha1", "00000000",
		"redis_git_dirty", 0,
		"redis_build_id", "cartwheel-"+Version,
		"redis_mode", mode,
		"os", runtime.GOOS+" "+runtime.GOARCH,
		"arch_bits", strconv.IntSize,
		"go_version", runtime.Version(),
		"process_id", os.Getpid(),
		"process_supervised", "no",
		"run_id", s.runID,
		"tcp_port", port,
		"server_time_usec", now.UnixMicro(),
		"uptime_in_seconds", seconds(s.uptime()),
		"uptime_in_days", seconds(s.uptime())/(24*60*60),
		"hz", 10,
		"configured_hz", 10,
		"lru_clock", now.Unix()&(1<<24-1),
		"config_file", s.opts.ConfigFile,
	)
}

func infoClients(s *Server, t *infoText) {
	blocked := 0
	for _, sess := range s.clients.all() {
		if sess.blocked.Load() {
			blocked++
		}
	}
	t.fields(
		"connected_clients", s.clients.count.Load(),
		"cluster_connections", 0,
		"maxclients", s.settings.maxClients.Load(),
		"blocked_clients", blocked,
		"tracking_clients", 0,
		"clients_in_timeout_table", 0,
	)
}

func infoMemory(s *Server, t *infoText) {
	used, resident := memoryUsed(), residentBytes()
	bytes := func(name string, n uint64) {
		t.field(name, n)
		t.field(name+"_human", human(n))
	}
	bytes("used_memory", used)
	bytes("used_memory_rss", resident)
	bytes("used_memory_peak", peakResidentBytes())
	bytes("maxmemory", 0)
	t.fields(
		"maxmemory_policy", "noeviction",
		"mem_fragmentation_ratio", fmt.Sprintf("%.2f", float64(resident)/float64(max(used, 1))),
		"mem_clients_normal", s.clients.bytes.Load(),
		"mem_allocator", "go",
		"memory_budget", s.opts.MemoryBytes,
	)
}

// memoryUsed is what Go's runtime holds and has not given back.
func memoryUsed() uint64 {
	samples := []metrics.Sample{{Name: "/memory/classes/total:bytes"}, {Name: "/memory/classes/heap/released:bytes"}}
	metrics.Read(samples)
	return samples[0].Value.Uint64() - samples[1].Value.Uint64()
}

// residentBytes is 0 where the system does not tell.
func residentBytes() uint64 {
	text, err := os.ReadFile("/proc/self/statm")
	if err != nil {
		return 0
	}
	columns := strings.Fields(string(text))
	if len(columns) < 2 {
		return 0
	}
	pages, _ := strconv.ParseUint(columns[1], 10, 64)
	return pages * uint64(os.Getpagesize())
}

// human is a number of bytes as INFO writes it for people.
func human(n uint64) string {
	const unit = 1 << 10
	if n < unit {
		return fmt.Sprintf("%dB", n)
	}
	f, i := float64(n)/unit, 0
	for ; f >= unit && i < 4; i++ {
		f /= unit
	}
	return fmt.Sprintf("%.2f%c", f, "KMGTP"[i])
}

func infoPersistence(s *Server, t *infoText) {
	running, status := 0, "ok"
	if s.saves.running.Load() {
		running = 1
	}
	if s.saves.failed.Load() {
		status = "err"
	}
	t.fields(
		"loading", 0,
		"async_loading", 0,
		"rdb_changes_since_last_save", 0,
		"rdb_bgsave_in_progress", running,
		"rdb_last_save_time", s.saves.lastS.Load(),
		"rdb_last_bgsave_status", status,
		"aof_enabled", 1,
		"aof_rewrite_in_progress", 0,
		"aof_rewrite_scheduled", 0,
		"aof_last_bgrewrite_status", "ok",
		"aof_last_write_status", status,
	)
}

func infoReplication(s *Server, t *infoText) {
	t.fields(
		"role", "master",
		"connected_slaves", 0,
		"master_failover_state", "no-failover",
		"master_replid", s.runID,
		"master_replid2", strings.Repeat("0", 40),
		"master_repl_offset", 0,
		"second_repl_offset", -1,
		"repl_backlog_active", 0,
		"repl_backlog_size", 0,
		"repl_backlog_first_byte_offset", 0,
		"repl_backlog_histlen", 0,
	)
}

func infoCPU(_ *Server, t *infoText) {
	user, system := cpuTimes()
	t.field("used_cpu_sys", fmt.Sprintf("%.6f", system.Seconds()))
	t.field("used_cpu_user", fmt.Sprintf("%.6f", user.Seconds()))
}

func infoCluster(_ *Server, t *infoText) { t.field("cluster_enabled", bit(t.cluster)) }

func infoCartwheel(s *Server, t *infoText) {
	t.field("cartwheel_version", Version)
	_, _, _, ready := s.keys.Size(0)
	select {
	case <-ready:
		t.field("keys_counted", 1)
	default:
		t.field("keys_counted", 0) // what Keyspace shows is too low yet
	}
	for _, figure := range s.keys.Figures() {
		t.field(figure[0], figure[1])
	}
}

func infoKeyspace(s *Server, t *infoText) {
	for db := range databases {
		if keys, expires, meanTTLMS, _ := s.keys.Size(uint8(db)); keys > 0 {
			t.line("db%d:keys=%d,expires=%d,avg_ttl=%d", db, keys, expires, meanTTLMS)
		}
	}
}
