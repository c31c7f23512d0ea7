package server

import (
	"context"
	"crypto/sha256"
	"crypto/tls"
	"net"
	"net/netip"
	"sync"
	"sync/atomic"
	"time"

	"github.com/rs/zerolog"

	"cartwheel/resp"
	"cartwheel/server/command"
)

// Version is Cartwheel's own; RedisVersion is the one whose behaviour clients
// may expect.
const (
	Version      = "0.1.0"
	RedisVersion = "7.2.4"
)

// databases is how many SELECT knows.
const databases = 16

// Options configures a Server. The zero value of a field means its default.
type Options struct {
	// Keys is what commands run against. Required.
	Keys Keyspace
	// Password must be given by clients before anything else. Default: none.
	Password string
	// TLS makes clients speak TLS. Default: they do not.
	TLS *tls.Config
	// MaxClients is how many may be connected. Default: 10000.
	MaxClients int
	// Open turns protected mode off, in which a server without a password
	// serves loopback addresses only.
	Open bool
	// MemoryBytes is the budget of the store; limits follow from it. Default:
	// 256 MiB.
	MemoryBytes int64
	// ClusterAnnounce is the host:port by which clients reach the cluster port.
	// Default: the address that it listens at.
	ClusterAnnounce string
	// Static are settings that CONFIG GET shows beside the server's own.
	Static [][2]string
	// BackgroundNice is by how much niceness all other threads of the process give way to
	// those of the event loops, which serve connections; on Linux, without TLS. Default: they do not.
	BackgroundNice int
	// ConfigFile is the file that CONFIG REWRITE writes to. Default: none.
	ConfigFile string
	// Log receives what the server has to say. Default: nothing.
	Log zerolog.Logger
}

// A Server serves clients. Its methods are safe for concurrent use.
type Server struct {
	opts     Options
	keys     Keyspace
	log      zerolog.Logger
	table    *command.Commands
	handlers []handler // by command ID
	inner    map[string]inner
	started  time.Time
	runID    string
	password atomic.Pointer[[sha256.Size]byte] // nil: none

	settings              settings
	limits                atomic.Pointer[resp.Limits]
	limitsUnauthenticated atomic.Pointer[resp.Limits]
	replyBytesMax         int
	clientBytesMax        int64

	clients  registry
	calls    sync.Pool // of *call that are not in use
	executor executor
	stats    stats
	shards   []*shard // one a loop, the first for all else
	slowlog  slowlog
	pause    pause
	paused   atomic.Bool // there may be a pause
	saves    saves

	listener        net.Listener
	clusterListener net.Listener   // nil: there is no cluster port
	clusterAt       netip.AddrPort // its address, or not valid
	advertised      atomic.Pointer[advertised]

	loops    []*loop
	stopping sync.Mutex // held while ctx is cancelled, and by what must not begin after that
	serving  sync.WaitGroup
	ctx      context.Context
	cancel   context.CancelFunc
	shutdown chan struct{} // closed when a client asks for an end
	askOnce  sync.Once
}

// New returns a server that has yet to Serve.
func New(opts Options) *Server {
	if opts.MaxClients == 0 {
		opts.MaxClients = 10000
	}
	if opts.MemoryBytes == 0 {
		opts.MemoryBytes = 256 << 20
	}
	s := &Server{
		opts:     opts,
		keys:     opts.Keys,
		log:      opts.Log,
		table:    command.Table(),
		started:  time.Now(),
		runID:    newRunID(),
		shutdown: make(chan struct{}),
	}
	s.ctx, s.cancel = context.WithCancel(context.Background())
	s.saves.lastS.Store(s.started.Unix())
	if opts.Password != "" {
		sum := sha256.Sum256([]byte(opts.Password))
		s.password.Store(&sum)
	}
	s.handlers = newHandlers(s.table)
	s.inner = newInner(s.table)
	s.clients.byID = make(map[uint64]*session)
	s.shards = []*shard{newShard(s.table)}
	s.executor.srv, s.executor.shard = s, s.shards[0]
	s.initLimits()
	s.initSettings()
	return s
}

// uptime is the time since the server's start; one reading of the monotonic
// clock.
func (s *Server) uptime() time.Duration { return time.Since(s.started) }

// ShutdownRequested is closed when a client has sent SHUTDOWN.
func (s *Server) ShutdownRequested() <-chan struct{} { return s.shutdown }

func (s *Server) requestShutdown() { s.askOnce.Do(func() { close(s.shutdown) }) }
