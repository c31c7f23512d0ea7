package sim

import (
	"bufio"
	"context"
	"errors"
	"fmt"
	"io"
	"net"
	"strconv"
	"strings"
	"time"
)

// A client speaks RESP to one node after the other, over a connection of its own.
type client struct {
	host *host
	conn net.Conn
	in   *bufio.Reader
	to   string
}

// An errorReply is one that a server has sent.
type errorReply string

func (e errorReply) Error() string { return string(e) }

// patience is how long a client waits for a reply.
const patience = 8 * time.Second

// do sends a command and returns the reply: nil, a string, an int64 or a []any. The
// error is an errorReply if the server has sent it, errUnsent if the command did not
// reach it.
func (c *client) do(to string, args ...string) (any, error) {
	if c.conn == nil || c.to != to {
		c.close()
		ctx, cancel := context.WithTimeout(context.Background(), time.Second)
		defer cancel()
		conn, err := c.host.Dial(ctx, to)
		if err != nil {
			return nil, errUnsent
		}
		c.conn, c.in, c.to = conn, bufio.NewReader(conn), to
	}
	_ = c.conn.SetDeadline(time.Now().Add(patience))
	var b strings.Builder
	fmt.Fprintf(&b, "*%d\r\n", len(args))
	for _, arg := range args {
		fmt.Fprintf(&b, "$%d\r\n%s\r\n", len(arg), arg)
	}
	_, err := c.conn.Write([]byte(b.String()))
	if err != nil {
		c.close()
		return nil, err
	}
	reply, err := c.reply()
	var sent errorReply
	if err != nil && !errors.As(err, &sent) {
		c.close()
	}
	return reply, err
}

var errUnsent = errors.New("nobody answers")

func (c *client) close() {
	if c.conn != nil {
		_ = c.conn.Close()
		c.conn = nil
	}
}

func (c *client) reply() (any, error) {
	line, err := c.in.ReadString('\n')
	if err != nil {
		return nil, err
	}
	kind, text := line[0], strings.TrimSuffix(line[1:], "\r\n")
	switch kind {
	case '+':
		return text, nil
	case '-':
		return nil, errorReply(text)
	case ':':
		return strconv.ParseInt(text, 10, 64)
	case '$':
		return c.bulk(text)
	case '*':
		n, err := strconv.Atoi(text)
		if err != nil || n < 0 {
			return nil, err
		}
		all := make([]any, n)
		for i := range all {
			if all[i], err = c.reply(); err != nil {
				return nil, err
			}
		}
		return all, nil
	}
	return nil, fmt.Errorf("a reply begins with %q", line)
}

func (c *client) bulk(length string) (any, error) {
	n, err := strconv.Atoi(length)
	if err != nil || n < 0 {
		return nil, err
	}
	b := make([]byte, n+2)
	if _, err := io.ReadFull(c.in, b); err != nil {
		return nil, err
	}
	return string(b[:n]), nil
}
