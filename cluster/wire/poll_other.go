//go:build !linux

package wire

import (
	"context"
	"net"
)

// poll is only there on Linux.
func (r *receiving) poll(context.Context, net.Conn, *outbox, Poller) error { return nil }
