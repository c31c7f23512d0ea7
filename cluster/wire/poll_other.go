//go:build !linux

package wire

import (
	"context"
	"io"
	"net"

	"cartwheel/cluster/quorum"
)

// Pollers are only there on Linux.

func newPolled(net.Conn, *frameReader) *polled { return nil }

func (w *polled) readNow(bool) (more bool, due uint64) { return false, 0 }

func (w *polled) watch(context.Context, net.Conn, *outbox, quorum.Poller) (io.Reader, error) {
	return nil, nil
}
