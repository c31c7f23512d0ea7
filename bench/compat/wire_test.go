package compat

import (
	"bufio"
	"bytes"
	"fmt"
	"io"
	"net"
	"strconv"
	"time"
)

// replyTimeout bounds the wait for one reply. It is generous because the machine may be busy: a
// server that needs longer is taken to hang.
const replyTimeout = 20 * time.Second

// reply is one reply of RESP2 or RESP3, with the exact bytes it came in.
type reply struct {
	raw   []byte
	kind  byte // the first byte: + - : $ * and RESP3's _ # , ( ! = ~ % > |
	text  string
	items []reply // of an aggregate; a map's keys and values alternate
	null  bool
}

func (r reply) String() string { return strconv.Quote(string(r.raw)) }

// integer is the value of an integer reply, and false for anything else.
func (r reply) integer() (int64, bool) {
	n, err := strconv.ParseInt(r.text, 10, 64)
	return n, r.kind == ':' && err == nil
}

// texts are the texts of an aggregate's items.
func (r reply) texts() []string {
	texts := make([]string, 0, len(r.items))
	for _, item := range r.items {
		texts = append(texts, item.text)
	}
	return texts
}

// conn is a client connection that sees replies byte for byte.
type conn struct {
	net.Conn
	in *bufio.Reader
}

func dial(addr string) (*conn, error) {
	c, err := net.DialTimeout("tcp", addr, replyTimeout)
	if err != nil {
		return nil, err
	}
	return newConn(c), nil
}

func newConn(c net.Conn) *conn { return &conn{Conn: c, in: bufio.NewReader(c)} }

// do sends one command and reads its reply.
func (c *conn) do(args ...string) (reply, error) {
	if err := c.send(args...); err != nil {
		return reply{}, err
	}
	return c.receive()
}

func (c *conn) send(args ...string) error {
	if err := c.SetWriteDeadline(time.Now().Add(replyTimeout)); err != nil {
		return err
	}
	_, err := c.Write(encode(args...))
	return err
}

func (c *conn) receive() (reply, error) {
	if err := c.SetReadDeadline(time.Now().Add(replyTimeout)); err != nil {
		return reply{}, err
	}
	return readReply(c.in)
}

// encode writes a command the way every client library does.
func encode(args ...string) []byte {
	b := fmt.Appendf(nil, "*%d\r\n", len(args))
	for _, arg := range args {
		b = fmt.Appendf(b, "$%d\r\n", len(arg))
		b = append(b, arg...)
		b = append(b, "\r\n"...)
	}
	return b
}

// readReply reads one whole reply, strictly: a line that does not end in \r\n or a length that is
// not a number is an error, not something to skip over.
func readReply(in *bufio.Reader) (reply, error) {
	line, err := in.ReadBytes('\n')
	if err != nil {
		return reply{raw: line}, err
	}
	if len(line) < 3 || line[len(line)-2] != '\r' {
		return reply{raw: line}, fmt.Errorf("reply line %q does not end in \\r\\n", line)
	}
	r := reply{raw: line, kind: line[0], text: string(line[1 : len(line)-2])}
	switch r.kind {
	case '+', '-', ':', '#', ',', '(':
		return r, nil
	case '_':
		r.null = true
		return r, nil
	case '$', '!', '=':
		return readBulk(in, r)
	case '*', '~', '>':
		return readItems(in, r, 1)
	case '%':
		return readItems(in, r, 2)
	default:
		return r, fmt.Errorf("reply %q begins with no RESP type", line)
	}
}

func readBulk(in *bufio.Reader, r reply) (reply, error) {
	size, err := strconv.Atoi(r.text)
	if err != nil || size < -1 {
		return r, fmt.Errorf("bulk length %q", r.text)
	}
	if size == -1 {
		r.null, r.text = true, ""
		return r, nil
	}
	body := make([]byte, size+2)
	if _, err := io.ReadFull(in, body); err != nil {
		return r, err
	}
	r.raw = append(r.raw, body...)
	if !bytes.HasSuffix(body, []byte("\r\n")) {
		return r, fmt.Errorf("bulk of %d bytes does not end in \\r\\n", size)
	}
	r.text = string(body[:size])
	return r, nil
}

func readItems(in *bufio.Reader, r reply, each int) (reply, error) {
	count, err := strconv.Atoi(r.text)
	if err != nil || count < -1 {
		return r, fmt.Errorf("aggregate length %q", r.text)
	}
	r.text = ""
	if count == -1 {
		r.null = true
		return r, nil
	}
	for range count * each {
		item, err := readReply(in)
		r.raw = append(r.raw, item.raw...)
		if err != nil {
			return r, err
		}
		r.items = append(r.items, item)
	}
	return r, nil
}
