package main

import (
	"context"
	"crypto/tls"
	"crypto/x509"
	"errors"
	"fmt"
	"io"
	"os"
	"os/signal"
	"strconv"
	"strings"
	"syscall"
	"time"

	"github.com/alecthomas/kong"
	"github.com/rs/zerolog"

	"cartwheel/cluster"
	"cartwheel/server"
)

type serveCommand struct {
	Listen            string        `help:"Address that clients connect to. Default ${default}." default:"127.0.0.1:6379" placeholder:"HOST:PORT"`
	Data              string        `help:"Data directory; it is made if it is not there. Default ${default}." default:"./cartwheel-data" placeholder:"DIR" type:"path"`
	Sync              string        `help:"When a write is acknowledged: always (it is on the disk), everysec (the operating system has it, and the disk within a second), one (as everysec, but on the disk of one of the replicas), no (the operating system has it). Default ${default}." default:"everysec" placeholder:"MODE"`
	Memory            byteSize      `help:"Memory for caches and memtables, at least 16MB. The process takes up to 300MB more. Default ${default}." default:"256MB" placeholder:"SIZE"`
	BackgroundNice    int           `help:"By how much niceness, at most 10, all else gives way to the threads that serve clients and other nodes, where processors are scarce. On Linux, where clients do not speak TLS. Default ${default}." default:"5" placeholder:"N"`
	PasswordFile      string        `help:"File whose first line is the password that clients must give." placeholder:"FILE" type:"path"`
	TLSCert           string        `help:"Certificate (PEM); makes clients speak TLS." placeholder:"FILE" type:"path"`
	TLSKey            string        `help:"Key of the certificate (PEM)." placeholder:"FILE" type:"path"`
	TLSCA             string        `help:"Certificates (PEM) of which clients must show a descendant." placeholder:"FILE" type:"path" name:"tls-ca"`
	MaxClients        int           `help:"How many clients may be connected. Default ${default}." default:"10000" placeholder:"N"`
	Protected         bool          `help:"Without a password, serve only clients on this machine. On by default." default:"true" negatable:"" name:"protected-mode"`
	PeerListen        string        `help:"Address that the other nodes of a cluster connect to. Without it the node stays alone." placeholder:"HOST:PORT"`
	PeerAnnounce      string        `help:"Address by which other nodes reach --peer-listen, where that is another." placeholder:"HOST:PORT"`
	Join              []string      `help:"Peer addresses of nodes of the cluster that a new node joins; without it, it creates one." placeholder:"HOST:PORT"`
	Replace           string        `help:"A dead node whose place the new node takes when it joins, its weight and zone too: its id, the beginning of that, or an address." placeholder:"NODE"`
	Zone              string        `help:"What fails together with this node, such as a rack: replicas are spread over zones. Of a node that joins; later: cartwheel cluster apply zone." placeholder:"NAME"`
	Weight            int           `help:"Share of the data, beside that of other nodes; of a node that joins, later: cartwheel cluster apply weight. Default ${default}." default:"1" placeholder:"N"`
	Replicas          int           `help:"How many nodes hold each key; of a new cluster. Default ${default}." default:"3" placeholder:"N"`
	Partitions        int           `help:"How many partitions the keys are divided into, a power of two; of a new data directory. Default 1024." placeholder:"N"`
	ClusterSecretFile string        `help:"File whose first line is the secret that nodes must share." placeholder:"FILE" type:"path"`
	PeerTLSCert       string        `help:"Certificate (PEM) that this node shows to others; makes nodes speak TLS." placeholder:"FILE" type:"path"`
	PeerTLSKey        string        `help:"Key of that certificate (PEM)." placeholder:"FILE" type:"path"`
	PeerTLSCA         string        `help:"Certificates (PEM) of which those of all nodes must descend." placeholder:"FILE" type:"path" name:"peer-tls-ca"`
	ClusterListen     string        `help:"Address of a second client port, which behaves as a Redis Cluster." placeholder:"HOST:PORT"`
	ClusterAnnounce   string        `help:"Address by which clients reach --cluster-listen, where that is another." placeholder:"HOST:PORT"`
	ClientAnnounce    string        `help:"Address by which clients reach --listen, where that is another." placeholder:"HOST:PORT"`
	DebugClockOffset  time.Duration `help:"How far this node's clock is wrong, for tests." hidden:""`
	DebugNoExchanges  bool          `help:"Leave replicas to hints and reads, for tests." hidden:""`
	DebugHintBytes    byteSize      `help:"What the hints that this node holds may come to, for tests; 0: by the disk." hidden:""`
	DebugHaste        time.Duration `help:"Compare, find out what is stable, purge and drop this often, for tests." hidden:""`
	Config            string        `help:"TOML file with any of these settings, by their names." placeholder:"FILE" type:"path"`
	LogLevel          string        `help:"Least level that is logged: debug, info, warn, error. Default ${default}." default:"info" enum:"debug,info,warn,error" placeholder:"LEVEL"`
	LogFormat         string        `help:"console for people, json for machines. Default ${default}." default:"console" enum:"console,json" placeholder:"FORMAT"`
}

// backgroundNiceMax leaves a tenth of the weight: what gives way also holds locks, and probes other nodes.
const backgroundNiceMax = 10

// stopTimeout is how long commands that run may take to end.
const stopTimeout = 10 * time.Second

// Run serves until a signal or SHUTDOWN, and stops cleanly.
func (s *serveCommand) Run(file *configFile, app *kong.Kong) error {
	if file.err != nil {
		return file.err
	}
	if err := checkEnvironment(app.Model, os.Environ()); err != nil {
		return err
	}
	opts, err := s.serverOptions()
	if err != nil {
		return err
	}
	opts.ConfigFile = file.path
	s.limitMemory()

	ctx, stop := signal.NotifyContext(context.Background(), os.Interrupt, syscall.SIGTERM)
	defer stop()
	context.AfterFunc(ctx, stop) // a second signal ends the process at once
	node, err := s.nodeOptions(opts.Log)
	if err != nil {
		return err
	}
	keys, err := cluster.Start(ctx, node)
	if err != nil {
		if ctx.Err() != nil {
			return nil
		}
		return s.startError(err)
	}
	if ctx.Err() != nil {
		return keys.Close()
	}
	opts.Keys = keys
	srv := server.New(opts)
	keys.Serve(srv.Executor())
	keys.AwaitOwners(ctx)
	if err := srv.Configure(file.settings); err != nil {
		return errors.Join(fmt.Errorf("--config: %s: %w", file.path, err), keys.Close())
	}
	if err := srv.Listen(ctx, s.Listen); err != nil {
		return errors.Join(listenError("--listen", s.Listen, err), keys.Close())
	}
	keys.Poll(srv.Pollers())
	if s.ClusterListen != "" {
		if err := srv.ListenCluster(ctx, s.ClusterListen); err != nil {
			return errors.Join(listenError("--cluster-listen", s.ClusterListen, err), keys.Close())
		}
	}
	opts.Log.Info().Msgf("cartwheel %s is ready: clients connect to %v, data is in %s, sync %s",
		server.Version, srv.Addr(), s.Data, s.Sync)
	return s.serve(ctx, srv, keys, opts.Log)
}

// serve serves until ctx ends or a client asks for it, then stops.
func (s *serveCommand) serve(ctx context.Context, srv *server.Server, keys *cluster.Coordinator, log zerolog.Logger) error {
	served := make(chan error, 1)
	go func() { served <- srv.Serve() }()
	var err error
	select {
	case <-ctx.Done():
		log.Info().Msg("stopping: got a signal")
	case <-srv.ShutdownRequested():
		log.Info().Msg("stopping: got SHUTDOWN")
	case err = <-served:
		served <- nil
	}
	stopCtx, cancel := context.WithTimeout(context.Background(), stopTimeout)
	defer cancel()
	stopErr := srv.Shutdown(stopCtx)
	err = errors.Join(err, <-served)
	if stopErr != nil {
		// Commands still run: closing the store under them would be worse than
		// to end as if killed, which loses nothing that was acknowledged.
		return errors.Join(err, stopErr, keys.Sync())
	}
	if err := errors.Join(err, keys.Close()); err != nil {
		return err
	}
	log.Info().Msg("stopped, all data is on the disk")
	return nil
}

func (s *serveCommand) serverOptions() (opts server.Options, err error) {
	opts = server.Options{
		MaxClients:     s.MaxClients,
		Open:           !s.Protected,
		MemoryBytes:    int64(s.Memory),
		BackgroundNice: s.BackgroundNice,
		Log:            s.logger(),
		Static:         [][2]string{{"sync", s.Sync}, {"data", s.Data}, {"listen", s.Listen}},
	}
	if s.MaxClients < 1 {
		return opts, fmt.Errorf("--max-clients: must be at least 1, but is %d", s.MaxClients)
	}
	if s.Memory < 16<<20 {
		return opts, errors.New("--memory: must be at least 16MB")
	}
	if s.Memory > 1<<40 {
		return opts, errors.New("--memory: must be at most 1024GB")
	}
	if s.BackgroundNice < 0 || s.BackgroundNice > backgroundNiceMax {
		return opts, fmt.Errorf("--background-nice: must be from 0 to %d, but is %d", backgroundNiceMax, s.BackgroundNice)
	}
	if s.Listen == "" {
		return opts, errors.New("--listen: must be an address such as 127.0.0.1:6379, but is empty")
	}
	if s.Data == "" {
		return opts, errors.New("--data: must be a directory, but is empty")
	}
	if opts.Password, err = s.password(); err != nil {
		return opts, err
	}
	opts.TLS, err = s.tls()
	return opts, err
}

func (s *serveCommand) password() (string, error) {
	return firstLine("--password-file", s.PasswordFile)
}

// firstLine reads a secret from a file that a flag names, if it names one.
func firstLine(flag, file string) (string, error) {
	if file == "" {
		return "", nil
	}
	text, err := os.ReadFile(file)
	if err != nil {
		return "", fmt.Errorf("%s: %w", flag, err)
	}
	line, _, _ := strings.Cut(string(text), "\n")
	line = strings.TrimSuffix(line, "\r")
	if line == "" {
		return "", fmt.Errorf("%s: the first line of %s is empty", flag, file)
	}
	return line, nil
}

func (s *serveCommand) tls() (*tls.Config, error) {
	if s.TLSCert == "" && s.TLSKey == "" && s.TLSCA == "" {
		return nil, nil
	}
	if s.TLSCert == "" && s.TLSKey == "" {
		return nil, errors.New("--tls-ca: needs --tls-cert and --tls-key too")
	}
	cert, err := keyPair(s.TLSCert, s.TLSKey)
	if err != nil {
		return nil, err
	}
	config := &tls.Config{Certificates: []tls.Certificate{cert}, MinVersion: tls.VersionTLS12}
	if s.TLSCA != "" {
		if config.ClientCAs, err = certificates("--tls-ca", s.TLSCA); err != nil {
			return nil, err
		}
		config.ClientAuth = tls.RequireAndVerifyClientCert
	}
	return config, nil
}

// keyPair reads what --tls-cert and --tls-key name.
func keyPair(certFile, keyFile string) (cert tls.Certificate, err error) {
	if certFile == "" || keyFile == "" {
		return cert, errors.New("--tls-cert and --tls-key: one needs the other")
	}
	if cert, err = tls.LoadX509KeyPair(certFile, keyFile); err != nil {
		return cert, fmt.Errorf("--tls-cert, --tls-key: %w", err)
	}
	return cert, nil
}

func certificates(flag, file string) (*x509.CertPool, error) {
	text, err := os.ReadFile(file)
	if err != nil {
		return nil, fmt.Errorf("%s: %w", flag, err)
	}
	pool := x509.NewCertPool()
	if !pool.AppendCertsFromPEM(text) {
		return nil, fmt.Errorf("%s: %s has no certificate", flag, file)
	}
	return pool, nil
}

// peerTLS is TLS between nodes, nil without.
func (s *serveCommand) peerTLS() (*tls.Config, error) {
	if s.PeerTLSCert == "" && s.PeerTLSKey == "" && s.PeerTLSCA == "" {
		return nil, nil
	}
	if s.PeerTLSCert == "" || s.PeerTLSKey == "" || s.PeerTLSCA == "" {
		return nil, errors.New("--peer-tls-cert, --peer-tls-key and --peer-tls-ca: one needs the others")
	}
	cert, err := tls.LoadX509KeyPair(s.PeerTLSCert, s.PeerTLSKey)
	if err != nil {
		return nil, fmt.Errorf("--peer-tls-cert, --peer-tls-key: %w", err)
	}
	roots, err := certificates("--peer-tls-ca", s.PeerTLSCA)
	if err != nil {
		return nil, err
	}
	return &tls.Config{Certificates: []tls.Certificate{cert}, RootCAs: roots, MinVersion: tls.VersionTLS13}, nil
}

func (s *serveCommand) logger() zerolog.Logger {
	var out io.Writer = os.Stderr
	if s.LogFormat == "console" {
		out = zerolog.ConsoleWriter{Out: os.Stderr, TimeFormat: time.DateTime, NoColor: !isTerminal(os.Stderr)}
	}
	level, _ := zerolog.ParseLevel(s.LogLevel) // kong has checked it
	return zerolog.New(out).Level(level).With().Timestamp().Logger()
}

func isTerminal(f *os.File) bool {
	stat, err := f.Stat()
	return err == nil && stat.Mode()&os.ModeCharDevice != 0
}

func listenError(flag, address string, err error) error {
	switch {
	case errors.Is(err, syscall.EADDRINUSE):
		return fmt.Errorf("%s: %s is taken by another process", flag, address)
	case errors.Is(err, syscall.EACCES):
		return fmt.Errorf("%s: no permission to listen on %s", flag, address)
	}
	return fmt.Errorf("%s: %s: %w", flag, strconv.Quote(address), err)
}
