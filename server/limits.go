package server

import (
	"time"

	"cartwheel/resp"
)

// Bounds that are not settings. Those that are stand in config.go.
const (
	// clientNameBytesMax is for CLIENT SETNAME and SETINFO.
	clientNameBytesMax = 512
	// writeTimeout is how long a client may take nothing of what waits for it.
	writeTimeout = 30 * time.Second
	// stopWriteTimeout is the same once the server stops.
	stopWriteTimeout = 2 * time.Second
	// handshakeTimeout is for TLS.
	handshakeTimeout = 10 * time.Second
	// keepAlive is the interval of TCP's probes.
	keepAlive = 300 * time.Second
	// lcsBytesMax is the memory of one LCS.
	lcsBytesMax = 64 << 20
	// lcsPairsMax is how many pairs of bytes one LCS compares at most; here it bounds the time. A
	// smaller proto-max-bulk-len bounds it further, as in Redis, whose table of four bytes a pair has to be within that.
	lcsPairsMax = 512 << 20 / 4
)

// initLimits derives from the memory budget what one client, and all together,
// may take of it.
func (s *Server) initLimits() {
	bulk := min(512<<20, s.opts.MemoryBytes/4)
	s.setBulkBytesMax(int(bulk))
	s.replyBytesMax = int(bulk) + 1<<20
	s.clientBytesMax = max(128<<20, s.opts.MemoryBytes/2)
}

// setBulkBytesMax changes proto-max-bulk-len.
func (s *Server) setBulkBytesMax(n int) {
	lim := resp.DefaultLimits()
	lim.BulkBytesMax = n
	lim.RequestBytesMax = min(lim.RequestBytesMax, max(n+n/8, 64<<20))
	s.limits.Store(&lim)
	unauthenticated := lim
	unauthenticated.Unauthenticated = true
	s.limitsUnauthenticated.Store(&unauthenticated)
}

// valueBytesMax is the longest value that a command may make.
// lcsPairsMax is how many pairs of bytes one LCS compares now.
func (s *Server) lcsPairsMax() int64 {
	if set := s.settings.bulkBytesSet.Load(); set > 0 {
		return min(lcsPairsMax, set/4)
	}
	return lcsPairsMax
}

func (s *Server) valueBytesMax() int { return s.limits.Load().BulkBytesMax }
