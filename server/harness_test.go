package server_test

import (
	"bufio"
	"context"
	"errors"
	"fmt"
	"io"
	"net"
	"strconv"
	"strings"
	"sync"
	"syscall"
	"testing"
	"time"

	"github.com/cockroachdb/pebble/v2/vfs"

	"cartwheel/cluster"
	"cartwheel/server"
	"cartwheel/store"
)

// patience is how long a test waits for what must come.
const patience = 20 * time.Second

// A node is a server over a store in memory.
type node struct {
	t    *testing.T
	srv  *server.Server
	stop func() // once; the test's end does it, too
}

// open opens a store in memory, with what opts says beside that.
func open(t *testing.T, opts store.Options) *cluster.Coordinator {
	t.Helper()
	opts.Dir, opts.Partitions, opts.MemoryBytes = "data", 8, 16<<20
	if opts.FS == nil {
		opts.FS = vfs.NewMem()
	}
	keys, err := cluster.Open(opts)
	if err != nil {
		t.Fatalf("open the store: %v", err)
	}
	t.Cleanup(func() {
		if err := keys.Close(); err != nil {
			t.Errorf("close the store: %v", err)
		}
	})
	return keys
}

// start serves until the test ends, by default a store of its own.
func start(t *testing.T, opts server.Options) *node {
	t.Helper()
	if opts.Keys == nil {
		opts.Keys = open(t, store.Options{})
	}
	n := &node{t: t, srv: server.New(opts)}
	if err := n.srv.Listen(t.Context(), "127.0.0.1:0"); err != nil {
		t.Fatalf("listen: %v", err)
	}
	n.serve()
	return n
}

// serve serves what listens until the test ends.
func (n *node) serve() {
	served := make(chan error, 1)
	go func() { served <- n.srv.Serve() }()
	n.stop = sync.OnceFunc(func() {
		ctx, cancel := context.WithTimeout(context.Background(), patience)
		defer cancel()
		if err := errors.Join(n.srv.Shutdown(ctx), <-served); err != nil && !errors.Is(err, net.ErrClosed) { // a test has
			n.t.Errorf("stop: %v", err)
		}
	})
	n.t.Cleanup(n.stop)
}

// A client is one connection, which sees replies byte for byte.
type client struct {
	t    *testing.T
	conn net.Conn
	r    *bufio.Reader
}

func (n *node) dial() *client {
	n.t.Helper()
	return n.dialAt(n.srv.Addr().String())
}

func (n *node) dialAt(address string) *client {
	n.t.Helper()
	conn, err := net.Dial("tcp", address)
	if err != nil {
		n.t.Fatalf("connect: %v", err)
	}
	n.t.Cleanup(func() { _ = conn.Close() })
	return &client{t: n.t, conn: conn, r: bufio.NewReader(conn)}
}

// connect is start and dial, for tests of one connection.
func connect(t *testing.T) *client {
	t.Helper()
	return start(t, server.Options{}).dial()
}

// talk holds a conversation: a line that begins with "> " is sent as an inline
// command, the lines behind it are the reply that must come, with line ends for
// CRLFs. Where none are, no reply must come: that of the next command is next.
func (c *client) talk(script string) {
	c.t.Helper()
	for _, turn := range strings.Split("\n"+strings.TrimSpace(script), "\n> ")[1:] {
		command, want, _ := strings.Cut(turn, "\n")
		c.write(command + "\r\n")
		if want == "" {
			continue
		}
		if got := strings.TrimSuffix(strings.ReplaceAll(c.reply(), "\r\n", "\n"), "\n"); got != want {
			c.t.Errorf("%s\n got: %q\nwant: %q", command, got, want)
		}
	}
}

// do sends a command as an array and returns its reply as it came.
func (c *client) do(args ...string) string {
	c.t.Helper()
	c.send(args...)
	return c.reply()
}

// expect sends a command as an array and compares its reply.
func (c *client) expect(want string, args ...string) {
	c.t.Helper()
	if got := c.do(args...); got != want {
		c.t.Errorf("%.100q\n got: %.1000q\nwant: %.1000q", args, got, want)
	}
}

// text returns a bulk or verbatim string without its frame.
func (c *client) text(args ...string) string {
	c.t.Helper()
	reply := c.do(args...)
	if reply[0] != '$' && reply[0] != '=' {
		c.t.Fatalf("%q replies %q, not a string", args, reply)
	}
	_, text, _ := strings.Cut(reply, "\r\n")
	return strings.TrimSuffix(text, "\r\n")
}

// send sends a command as an array.
func (c *client) send(args ...string) {
	c.t.Helper()
	var b strings.Builder
	fmt.Fprintf(&b, "*%d\r\n", len(args))
	for _, arg := range args {
		fmt.Fprintf(&b, "$%d\r\n%s\r\n", len(arg), arg)
	}
	c.write(b.String())
}

func (c *client) write(raw string) {
	c.t.Helper()
	_ = c.conn.SetDeadline(time.Now().Add(patience))
	if _, err := io.WriteString(c.conn, raw); err != nil {
		c.t.Fatalf("send %.100q: %v", raw, err)
	}
}

// reply returns the next reply as it came.
func (c *client) reply() string {
	c.t.Helper()
	_ = c.conn.SetDeadline(time.Now().Add(patience))
	var b strings.Builder
	if err := c.readReply(&b); err != nil {
		c.t.Fatalf("read a reply: %v, after %q", err, b.String())
	}
	return b.String()
}

func (c *client) readReply(b *strings.Builder) error {
	line, err := c.r.ReadString('\n')
	b.WriteString(line)
	if err != nil {
		return err
	}
	n, _ := strconv.Atoi(strings.TrimSpace(line[1:]))
	switch line[0] {
	case '$', '=':
		if n < 0 {
			return nil
		}
		_, err = io.CopyN(b, c.r, int64(n+len("\r\n")))
		return err
	case '%':
		n *= 2
	case '*', '~', '>':
	default:
		n = 0
	}
	for range n {
		if err := c.readReply(b); err != nil {
			return err
		}
	}
	return nil
}

// ends waits for the server to close the connection.
func (c *client) ends() {
	c.t.Helper()
	_ = c.conn.SetDeadline(time.Now().Add(patience))
	rest, err := io.ReadAll(c.r)
	if errors.Is(err, syscall.ECONNRESET) {
		err = nil // the server had not read all
	}
	if err != nil || len(rest) > 0 {
		c.t.Errorf("the connection goes on with %q, error %v; it must be closed", rest, err)
	}
}

// until waits for a condition.
func until(t *testing.T, what string, holds func() bool) {
	t.Helper()
	for end := time.Now().Add(patience); !holds(); time.Sleep(time.Millisecond) {
		if time.Now().After(end) {
			t.Fatalf("waited in vain: %s", what)
		}
	}
}
