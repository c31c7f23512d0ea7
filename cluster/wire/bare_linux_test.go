package wire

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"io"
	"net"
	"os"
	"path/filepath"
	"strings"
	"sync"
	"syscall"
	"testing"
	"time"

	"golang.org/x/sys/unix"

	"cartwheel/cluster/quorum"
)

// inode returns the number by which the system knows a socket.
func inode(t *testing.T, conn net.Conn) uint64 {
	t.Helper()
	var stat syscall.Stat_t
	if err := rawConn(conn).Control(func(fd uintptr) { _ = syscall.Fstat(int(fd), &stat) }); err != nil {
		t.Fatal(err)
	}
	return stat.Ino
}

// registrations counts how often a socket is in the epoll instances of this process, of
// which Go's poller has one.
func registrations(t *testing.T, inode uint64) (n int) {
	t.Helper()
	files, err := filepath.Glob("/proc/self/fdinfo/*")
	if err != nil {
		t.Fatal(err)
	}
	for _, file := range files {
		text, err := os.ReadFile(file)
		if err != nil {
			continue // it is closed by now
		}
		for line := range strings.Lines(string(text)) {
			if strings.HasPrefix(line, "tfd:") && strings.Contains(line, fmt.Sprintf("ino:%x ", inode)) {
				n++
			}
		}
	}
	return n
}

// Go's poller would wake a thread for each message, for nothing.
func TestGoDoesNotPollWhatAPollerWatches(t *testing.T) {
	asks, answers := newFakePoller(), newFakePoller()
	var mu sync.Mutex
	var sockets []uint64
	connect := tcpPair(t)
	opts := rigOptions{
		link:  LinkOptions{Poller: func() quorum.Poller { return answers }},
		serve: ServeOptions{Poller: func() quorum.Poller { return asks }},
		connect: func() (net.Conn, net.Conn) {
			dialed, accepted := connect()
			mu.Lock()
			defer mu.Unlock()
			sockets = append(sockets, inode(t, dialed), inode(t, accepted))
			return dialed, accepted
		},
	}
	r := newRig(t, opts)
	polledByGo := func(want int) {
		t.Helper()
		eventually(t, func() error {
			n := 0
			for _, socket := range sockets {
				n += registrations(t, socket)
			}
			if n != want {
				return fmt.Errorf("Go polls %d of %d sockets, not %d", n, len(sockets), want)
			}
			return nil
		})
	}
	polledByGo(len(sockets) / 2) // those of the lane for bulk
	r.ask(t, 0, 300)
	polledByGo(len(sockets) / 2)
	asks.end()
	answers.end()
	polledByGo(len(sockets)) // goroutines read them again
	r.ask(t, 300, 300)
	if len(r.downs) > 0 {
		t.Error("a connection broke")
	}

	// Who reads does not wait on when the connection is given up.
	r.lanes[Small].mu.Lock()
	box := r.lanes[Small].box
	r.lanes[Small].mu.Unlock()
	_ = box.fail(errSilent)
	if err := <-r.downs; !errors.Is(err, errSilent) {
		t.Errorf("it ended: %v", err)
	}
}

// barePair returns two ends of a connection.
func barePair(t *testing.T, ctx context.Context) (*bareConn, *net.TCPConn) {
	t.Helper()
	left, right := tcpPair(t)()
	b := newBareConn(ctx, left)
	if err := left.Close(); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		_ = b.Close()
		_ = right.Close()
	})
	return b, right.(*net.TCPConn)
}

func TestABareConnectionWaitsUntilAllIsWritten(t *testing.T) {
	b, other := barePair(t, t.Context())
	sent := bytes.Repeat([]byte("0123456789"), 1<<20)
	var writing sync.WaitGroup
	writing.Go(func() {
		for range 2 {
			if n, err := b.Write(sent); n != len(sent) || err != nil {
				t.Errorf("%d bytes are written: %v", n, err)
			}
		}
	})
	got := make([]byte, 2*len(sent))
	if _, err := io.ReadFull(other, got); err != nil || !bytes.Equal(got[:len(sent)], sent) || !bytes.Equal(got[len(sent):], sent) {
		t.Errorf("other bytes came: %v", err)
	}
	writing.Wait()
}

func TestNobodyWaitsForABareConnectionPastTheEnd(t *testing.T) {
	sent := make([]byte, 32<<20) // which nobody reads
	for _, c := range []struct {
		what  string
		limit time.Duration
		end   func(b *bareConn, cancel func())
		want  error
	}{
		{"a deadline from before", 100 * time.Millisecond, func(*bareConn, func()) {}, os.ErrDeadlineExceeded},
		{"a deadline that is set meanwhile", time.Hour, func(b *bareConn, _ func()) { _ = b.SetDeadline(past) }, os.ErrDeadlineExceeded},
		{"the end of the context", time.Hour, func(_ *bareConn, cancel func()) { cancel() }, net.ErrClosed},
		{"its end", time.Hour, func(b *bareConn, _ func()) { _ = b.Close() }, net.ErrClosed},
	} {
		ctx, cancel := context.WithCancel(t.Context())
		b, _ := barePair(t, ctx)
		if err := b.SetWriteDeadline(time.Now().Add(c.limit)); err != nil {
			t.Fatal(err)
		}
		ended := make(chan error)
		go func() {
			_, err := b.Write(sent)
			ended <- err
		}()
		eventually(t, func() error {
			b.mu.Lock()
			defer b.mu.Unlock()
			if n, err := unix.Poll([]unix.PollFd{{Fd: int32(b.fd), Events: unix.POLLOUT}}, 0); n > 0 || err != nil {
				return fmt.Errorf("it does not wait yet: %w", err)
			}
			return nil
		})
		c.end(b, cancel)
		if err := <-ended; !errors.Is(err, c.want) {
			t.Errorf("%s: %v, want %v", c.what, err, c.want)
		}
		cancel()
	}
}

func TestABareConnectionThatIsClosedIsNotWrittenTo(t *testing.T) {
	ctx, cancel := context.WithCancel(t.Context())
	b, other := barePair(t, ctx)
	cancel()
	eventually(t, func() error {
		if _, err := b.Write([]byte("x")); !errors.Is(err, net.ErrClosed) {
			return fmt.Errorf("after the end of its context: %w", err)
		}
		return nil
	})
	if err := b.Close(); err != nil {
		t.Error(err)
	}
	if _, err := newDirectWriter(b).write([]byte("y")); !errors.Is(err, net.ErrClosed) {
		t.Errorf("after it was closed: %v", err)
	}
	if err := b.Close(); !errors.Is(err, net.ErrClosed) {
		t.Errorf("closed twice: %v", err)
	}
	if text, err := io.ReadAll(other); err != nil || strings.Trim(string(text), "x") != "" {
		t.Errorf("%q came: %v", text, err)
	}
}
