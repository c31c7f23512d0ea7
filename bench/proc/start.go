package proc

import (
	"bufio"
	"cmp"
	"context"
	"crypto/tls"
	"errors"
	"fmt"
	"net"
	"os"
	"os/exec"
	"slices"
	"strconv"
	"strings"
	"time"
)

const (
	startTimeout = 30 * time.Second     // for a context without a deadline
	pingTimeout  = time.Second          // one attempt
	pingEvery    = 2 * time.Millisecond // between attempts
	binaryRedis  = "redis-server"
	envPrefix    = "CARTWHEEL_"
)

// Options says how a server is started. The zero value is a server on a free port, in a directory
// of its own that Close removes.
type Options struct {
	Args []string    // added to the command line
	Dir  string      // data directory, kept by Close; made if empty
	Port int         // of Host; a free one if 0
	TLS  *tls.Config // how to reach the port, where Args make it a TLS port
	Host string      // the address it listens at; 127.0.0.1 if empty
	Tag  string      // of cartwheel's build; none if empty
	Env  []string    // added to the environment, as NAME=value
	Wrap []string    // a command that runs the server in its own place by exec, as `ip netns exec NAME` does
}

// StartCartwheel starts `cartwheel serve` and returns when it answers PING. The context bounds the
// start (30 s if it has no deadline), not the life of the process. A failure carries its log.
func StartCartwheel(ctx context.Context, o Options) (*Server, error) {
	binary, err := "", error(nil)
	if o.Tag == "" {
		binary, err = Binary(ctx)
	} else {
		binary, err = Tagged(ctx, o.Tag)
	}
	if err != nil {
		return nil, err
	}
	return start(ctx, o, func(addr, dir string) []string {
		return append([]string{binary, "serve", "--listen", addr, "--data", dir}, o.Args...)
	})
}

// StartRedis starts redis-server without snapshots, as StartCartwheel does cartwheel.
func StartRedis(ctx context.Context, o Options) (*Server, error) {
	return start(ctx, o, func(addr, dir string) []string {
		host, port, _ := net.SplitHostPort(addr) // start joined it
		return append([]string{binaryRedis, "--bind", host, "--port", port, "--dir", dir, "--save", ""}, o.Args...)
	})
}

func start(ctx context.Context, o Options, command func(addr, dir string) []string) (_ *Server, err error) {
	s := &Server{Port: o.Port, Dir: o.Dir, log: &tail{}, exited: make(chan struct{})}
	if s.Port == 0 {
		if s.Port, err = FreePort(); err != nil {
			return nil, err
		}
	}
	if s.Dir == "" {
		if s.Dir, err = os.MkdirTemp("", "cartwheel-proc-"); err != nil {
			return nil, err
		}
		s.ownsDir = true
	}
	s.Addr = net.JoinHostPort(cmp.Or(o.Host, localhost), strconv.Itoa(s.Port))
	line := append(slices.Clone(o.Wrap), command(s.Addr, s.Dir)...)
	s.cmd = exec.Command(line[0], line[1:]...)
	s.cmd.Env = append(environment(), o.Env...)
	s.cmd.Stdout, s.cmd.Stderr, s.cmd.WaitDelay = s.log, s.log, waitDelay
	if err := spawn(s.cmd); err != nil {
		if s.ownsDir {
			err = errors.Join(err, os.RemoveAll(s.Dir))
		}
		return nil, fmt.Errorf("starting %s: %w", s.cmd.Path, err)
	}
	s.Pid = s.cmd.Process.Pid
	go func() {
		_ = s.cmd.Wait() // how it ended is in cmd.ProcessState
		close(s.exited)
	}()
	if err := s.waitReady(ctx, o.TLS); err != nil {
		return nil, errors.Join(fmt.Errorf("starting %s: %w\n%s", s.cmd.Path, err, s.Log()), s.Close())
	}
	return s, nil
}

// waitReady returns when the server answers PING, or an error when it ends or ctx does.
func (s *Server) waitReady(ctx context.Context, config *tls.Config) error {
	if _, has := ctx.Deadline(); !has {
		bounded, cancel := context.WithTimeout(ctx, startTimeout)
		defer cancel()
		ctx = bounded
	}
	again := time.NewTicker(pingEvery)
	defer again.Stop()
	for {
		last := ping(ctx, s.Addr, config)
		select {
		case <-s.exited:
			return fmt.Errorf("it ended before it answered PING: %v", s.cmd.ProcessState)
		default:
		}
		if last == nil {
			return nil
		}
		select {
		case <-ctx.Done():
			return fmt.Errorf("no answer to PING: %w (%w)", context.Cause(ctx), last)
		case <-s.exited:
		case <-again.C:
		}
	}
}

// ping asks once. A server that wants a password first is ready too; one that still loads is not.
func ping(ctx context.Context, addr string, config *tls.Config) error {
	ctx, cancel := context.WithTimeout(ctx, pingTimeout)
	defer cancel()
	conn, err := new(net.Dialer).DialContext(ctx, "tcp", addr)
	if err != nil {
		return err
	}
	if config != nil {
		conn = tls.Client(conn, config)
	}
	defer conn.Close()
	defer context.AfterFunc(ctx, func() { _ = conn.SetDeadline(time.Unix(1, 0)) })()
	if _, err := conn.Write([]byte("*1\r\n$4\r\nPING\r\n")); err != nil {
		return err
	}
	answer, err := bufio.NewReader(conn).ReadString('\n')
	if err != nil {
		return err
	}
	if strings.HasPrefix(answer, "+PONG") || strings.HasPrefix(answer, "-NOAUTH") {
		return nil
	}
	return fmt.Errorf("answer to PING: %q", answer)
}

// environment is ours without cartwheel's own settings, so that a server is what its options say.
func environment() []string {
	var kept []string
	for _, setting := range os.Environ() {
		if !strings.HasPrefix(setting, envPrefix) {
			kept = append(kept, setting)
		}
	}
	return kept
}
