package server

import (
	"context"
	"errors"
	"fmt"
	"net"
	"net/netip"
	"time"
)

// Listen opens the address that clients connect to.
func (s *Server) Listen(ctx context.Context, address string) (err error) {
	config := net.ListenConfig{KeepAlive: keepAlive}
	if s.listener, err = config.Listen(ctx, "tcp", address); err != nil {
		return err
	}
	if err := s.startLoops(); err != nil {
		return errors.Join(err, s.listener.Close())
	}
	return nil
}

// Addr returns the address that clients connect to.
func (s *Server) Addr() net.Addr { return s.listener.Addr() }

// ListenCluster opens the address that cluster-aware clients connect to. Call it
// before Serve, or never.
func (s *Server) ListenCluster(ctx context.Context, address string) error {
	config := net.ListenConfig{KeepAlive: keepAlive}
	listener, err := config.Listen(ctx, "tcp", address)
	if err != nil {
		return err
	}
	at := listener.Addr().(*net.TCPAddr).AddrPort()
	s.clusterListener, s.clusterAt = listener, netip.AddrPortFrom(at.Addr().Unmap(), at.Port())
	return nil
}

// ClusterAddr returns the address that cluster-aware clients connect to, or nil.
func (s *Server) ClusterAddr() net.Addr {
	if s.clusterListener == nil {
		return nil
	}
	return s.clusterListener.Addr()
}

// Serve accepts connections until Shutdown. Call Listen before.
func (s *Server) Serve() error {
	if !s.begin() { // what it starts is waited for as well
		return nil
	}
	defer s.serving.Done()
	if s.clusterListener != nil {
		s.serving.Go(func() { s.accept(s.clusterListener) })
	}
	s.accept(s.listener)
	return nil
}

// begin has Shutdown wait for serving.Done, unless it has begun.
func (s *Server) begin() bool {
	s.stopping.Lock()
	defer s.stopping.Unlock()
	if s.ctx.Err() != nil {
		return false
	}
	s.serving.Add(1)
	return true
}

// ServeOn is Listen and Serve on a listener that is open already. Its connections
// are served by a goroutine each: they need not be the operating system's.
func (s *Server) ServeOn(listener net.Listener) error {
	s.listener = listener
	return s.Serve()
}

// accept admits what comes in at one port until Shutdown.
func (s *Server) accept(listener net.Listener) {
	pause := time.Duration(0)
	for {
		conn, err := listener.Accept()
		switch {
		case err == nil:
			pause = 0
			s.admit(conn)
		case s.ctx.Err() != nil, errors.Is(err, net.ErrClosed):
			return
		default:
			// Most likely there are no more file descriptors.
			if pause == 0 {
				s.log.Error().Err(err).Msg("cannot accept connections, trying on")
			}
			pause = min(max(2*pause, 5*time.Millisecond), time.Second)
			select {
			case <-time.After(pause):
			case <-s.ctx.Done():
			}
		}
	}
}

const protectedText = "-DENIED Cartwheel is running in protected mode: no password is set and " +
	"connections are only accepted from the loopback interface. To connect from elsewhere, start the " +
	"server with --password-file, or, if its network is trusted, with --protected-mode=no.\r\n"

// admit starts to serve one connection, or turns it away.
func (s *Server) admit(conn net.Conn) {
	if text := s.refusal(conn); text != "" {
		_ = conn.SetWriteDeadline(time.Now().Add(time.Second))
		_, _ = conn.Write([]byte(text))
		_ = conn.Close()
		return
	}
	if s.opts.TLS == nil && s.toLoop(conn) {
		return
	}
	s.serving.Go(func() { s.serveStream(conn) })
}

func (s *Server) refusal(conn net.Conn) string {
	if s.clients.count.Load() >= int64(s.settings.maxClients.Load()) {
		s.stats.rejectedConnections.Add(1)
		return "-ERR max number of clients reached\r\n"
	}
	if s.password.Load() == nil && s.settings.protected.Load() && !isLoopback(conn.RemoteAddr()) {
		s.stats.rejectedConnections.Add(1)
		return protectedText
	}
	return ""
}

func isLoopback(addr net.Addr) bool {
	tcp, ok := addr.(*net.TCPAddr)
	return ok && tcp.IP.IsLoopback()
}

// Shutdown stops accepting, lets running commands end until ctx does, sends
// their replies and closes all connections.
func (s *Server) Shutdown(ctx context.Context) error {
	err := s.listener.Close()
	if s.clusterListener != nil {
		err = errors.Join(err, s.clusterListener.Close())
	}
	s.endPause()
	s.stopping.Lock()
	s.cancel() // blocked commands give up, and there are no more sessions
	s.stopping.Unlock()
	sessions := s.clients.all()
	s.stopLoops()
	for _, sess := range sessions {
		sess.cut()
	}
	done := make(chan struct{})
	go func() {
		s.serving.Wait()
		close(done)
	}()
	select {
	case <-done:
	case <-ctx.Done():
		err = errors.Join(err, fmt.Errorf("commands are still running: %w", ctx.Err()))
	}
	return err
}
