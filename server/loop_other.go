//go:build !linux

package server

import (
	"net"

	"cartwheel/cluster/quorum"
)

// loop is only there on Linux: elsewhere each connection has a goroutine.
type loop struct{}

func (s *Server) startLoops() error        { return nil }
func (s *Server) stopLoops()               {}
func (s *Server) wakeLoops()               {}
func (s *Server) toLoop(net.Conn) bool     { return false }
func (s *Server) Pollers() []quorum.Poller { return nil }

// hungUp cannot be known here without reading.
func hungUp(int) bool { return false }
