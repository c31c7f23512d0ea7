// Package preload fills a server with the keys that `redis-benchmark -r` asks for, each with a
// value that follows from the key, and checks them. It does not measure.
package preload

import (
	"bufio"
	"bytes"
	"context"
	"fmt"
	"net"
	"strconv"
	"sync/atomic"
	"time"

	"golang.org/x/sync/errgroup"
)

// Data says which keys a server is given: Key(0) to Key(Keys-1).
type Data struct {
	Keys       int
	ValueBytes int
}

const (
	connections  = 4
	depth        = 256              // SETs on the way at once on each connection
	replyTimeout = 60 * time.Second // for the replies to one batch
)

var accepted = []byte("+OK\r\n")

// Fill writes all keys. It calls progress, if not nil, with the number of keys written so far,
// from several goroutines. Any answer but OK ends it with an error.
func Fill(ctx context.Context, addr string, d Data, progress func(written int)) error {
	group, ctx := errgroup.WithContext(ctx)
	var claimed, written atomic.Int64
	for range connections {
		group.Go(func() error {
			conn, err := new(net.Dialer).DialContext(ctx, "tcp", addr)
			if err != nil {
				return err
			}
			defer conn.Close()
			defer context.AfterFunc(ctx, func() { _ = conn.Close() })()
			w := writer{conn: conn, replies: bufio.NewReader(conn), valueBytes: d.ValueBytes}
			for {
				first := int(claimed.Add(depth)) - depth
				last := min(first+depth, d.Keys)
				if first >= last {
					return nil
				}
				if err := w.write(first, last); err != nil {
					if ctx.Err() != nil {
						return context.Cause(ctx)
					}
					return fmt.Errorf("writing keys %d to %d: %w", first, last-1, err)
				}
				if n := written.Add(int64(last - first)); progress != nil {
					progress(int(n))
				}
			}
		})
	}
	return group.Wait()
}

// writer is one connection. It sends a batch and reads its replies before the next one, so that
// what is on the way stays bounded.
type writer struct {
	conn       net.Conn
	replies    *bufio.Reader
	valueBytes int
	batch      []byte
}

// write sets the keys from first up to, not including, last.
func (w *writer) write(first, last int) error {
	w.batch = w.batch[:0]
	for i := first; i < last; i++ {
		w.batch = append(w.batch, "*3\r\n$3\r\nSET\r\n$16\r\n"...)
		w.batch = AppendKey(w.batch, i)
		w.batch = append(w.batch, "\r\n$"...)
		w.batch = strconv.AppendInt(w.batch, int64(w.valueBytes), 10)
		w.batch = append(w.batch, "\r\n"...)
		w.batch = AppendValue(w.batch, i, w.valueBytes)
		w.batch = append(w.batch, "\r\n"...)
	}
	if err := w.conn.SetDeadline(time.Now().Add(replyTimeout)); err != nil {
		return err
	}
	if _, err := w.conn.Write(w.batch); err != nil {
		return err
	}
	for range last - first {
		reply, err := w.replies.ReadSlice('\n')
		if err != nil {
			return err
		}
		if !bytes.Equal(reply, accepted) {
			return fmt.Errorf("answer to SET: %q", reply)
		}
	}
	return nil
}
