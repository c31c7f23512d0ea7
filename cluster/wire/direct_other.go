//go:build !linux

package wire

import "io"

// A directWriter is for systems where a socket can be written to without waiting.
type directWriter struct{}

func newDirectWriter(sink) *directWriter { return nil }

func (*directWriter) write([]byte) (int, error) { panic("unreachable") }

func newDirectReader(conn io.Reader) io.Reader { return conn }
