package server

import (
	"math"
	"net"
	"strconv"
	"time"

	"cartwheel/resp"
)

// Between what settings may be set.
const (
	maxClientsMax      = 1_000_000
	bulkBytesMaxLeast  = 1 << 20
	bulkBytesMaxMost   = 512 << 20
	slowlogEntriesMost = 16384
)

// settingRows are the settings that Redis has too. Those that cannot be changed
// say how it is here.
func (s *Server) settingRows() []setting {
	st := &s.settings
	return []setting{
		{name: "bind", value: func() string { host, _ := s.hostPort(); return host }},
		{name: "port", value: func() string { _, port := s.hostPort(); return port }},
		fixed("requirepass", ""), // whether there is one, and which, is not shown
		yesNo("protected-mode", &st.protected),
		integerIn("maxclients", &st.maxClients, 1, maxClientsMax),
		integerIn("timeout", &st.timeoutS, 0, math.MaxInt32),
		fixedInt("tcp-keepalive", int64(keepAlive/time.Second)),
		s.bulkBytesRow(),
		s.keyspaceEventsRow(),
		s.slowerThanRow(),
		integerIn("slowlog-max-len", &s.slowlog.entriesMax, 0, slowlogEntriesMost),
		yesNo("latency-tracking", &st.latencyTracking),
		fixedInt("latency-monitor-threshold", 0),
		fixedInt("databases", databases),
		fixed("save", ""),
		fixed("appendonly", "yes"),
		fixed("appendfsync", "everysec"),
		fixed("maxmemory", "0"),
		fixed("maxmemory-policy", "noeviction"),
		fixed("maxmemory-samples", "5"),
		fixed("lfu-log-factor", "10"),
		fixed("lfu-decay-time", "1"),
		fixed("replica-read-only", "yes"),
		fixed("slave-read-only", "yes"),
		fixed("cluster-enabled", "no"),
		fixed("hash-max-listpack-entries", "128"),
		fixed("lazyfree-lazy-user-del", "no"),
		fixed("lazyfree-lazy-user-flush", "no"),
	}
}

// limitRows are the bounds of everything that a client or a peer can make grow
// (design.md section 11). Bytes, unless the name says otherwise; times are in
// seconds, or as the name says.
func (s *Server) limitRows() []setting {
	limits := func(get func(*resp.Limits) int) func() string {
		return func() string { return strconv.Itoa(get(s.limits.Load())) }
	}
	rows := []setting{
		fixedInt("memory", s.opts.MemoryBytes),
		fixedInt("background-nice", int64(s.opts.BackgroundNice)),
		{name: "client-query-buffer-limit", value: limits(func(l *resp.Limits) int { return l.RequestBytesMax })},
		{name: "client-inline-bytes-max", value: limits(func(l *resp.Limits) int { return l.InlineBytesMax })},
		{name: "client-arguments-max", value: limits(func(l *resp.Limits) int { return l.ElementsMax })},
		{name: "client-reply-bytes-max", value: func() string { return strconv.Itoa(s.replyBytesMax) }},
		{name: "client-buffers-bytes-max", value: func() string { return strconv.FormatInt(s.clientBytesMax, 10) }},
		fixedInt("client-output-bytes-soft", outBytesSoft),
		fixedInt("client-name-bytes-max", clientNameBytesMax),
		fixedInt("write-timeout", int64(writeTimeout/time.Second)),
		fixedInt("write-timeout-stopping", int64(stopWriteTimeout/time.Second)),
		fixedInt("loop-arguments-max", loopArgsMax),
		fixedInt("tls-handshake-timeout", int64(handshakeTimeout/time.Second)),
		fixedInt("lcs-bytes-max", lcsBytesMax),
		fixedInt("lcs-pairs-max", lcsPairsMax),
		fixedInt("slowlog-arguments-max", slowlogArgsMax),
		fixedInt("slowlog-argument-bytes-max", slowlogArgBytesMax),
		fixedInt("siblings-max", siblingsMax),
	}
	for _, l := range s.keys.Limits() {
		rows = append(rows, fixed(l[0], l[1]))
	}
	return rows
}

func (s *Server) hostPort() (host, port string) {
	if s.listener == nil {
		return "", "0"
	}
	host, port, err := net.SplitHostPort(s.listener.Addr().String())
	if err != nil {
		return "", "0"
	}
	return host, port
}

func (s *Server) bulkBytesRow() setting {
	return setting{
		name:  "proto-max-bulk-len",
		value: func() string { return strconv.Itoa(s.limits.Load().BulkBytesMax) },
		parse: func(value string) (func(), error) {
			n, err := parseMemory(value, bulkBytesMaxLeast, bulkBytesMaxMost)
			return func() {
				s.setBulkBytesMax(int(n))
				s.settings.bulkBytesSet.Store(n)
			}, err
		},
	}
}

func (s *Server) slowerThanRow() setting {
	return setting{
		name:  "slowlog-log-slower-than",
		value: func() string { return strconv.FormatInt(s.slowlog.slowerThanUS(), 10) },
		parse: func(value string) (func(), error) {
			us, err := parseInteger(value, -1, math.MaxInt64/int64(time.Microsecond)-1)
			return func() { s.slowlog.setSlowerThanUS(us) }, err
		},
	}
}
