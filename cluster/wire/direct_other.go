//go:build !linux

package wire

import (
	"io"
	"net"
)

// A directWriter is for systems where a socket can be written to without waiting.
type directWriter struct{}

func newDirectWriter(net.Conn) *directWriter { return nil }

func (*directWriter) write([]byte) (int, error) { panic("unreachable") }

func newDirectReader(conn net.Conn) io.Reader { return conn }
