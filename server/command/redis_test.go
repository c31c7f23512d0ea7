package command

import (
	"bufio"
	"fmt"
	"io"
	"net"
	"os"
	"os/exec"
	"strconv"
	"strings"
	"testing"
	"time"
)

const redisDeadline = 10 * time.Second

// startRedis starts a redis-server 7.0 for the test and returns its address. Without one on PATH the
// test is skipped, or fails where CI forbids that.
func startRedis(t *testing.T) string {
	t.Helper()
	binary, err := exec.LookPath("redis-server")
	if err != nil {
		skip(t, "no redis-server on PATH")
	}
	version, err := exec.Command(binary, "--version").Output()
	if err != nil || !strings.Contains(string(version), "v=7.0.") {
		skip(t, fmt.Sprintf("redis-server is not 7.0 (%v): %s", err, version))
	}
	addr := freeAddr(t)
	host, port, _ := net.SplitHostPort(addr)
	server := exec.Command(binary, "--bind", host, "--port", port, "--save", "", "--dir", t.TempDir())
	if err := server.Start(); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		_ = server.Process.Kill()
		_ = server.Wait()
	})
	return addr
}

func skip(t *testing.T, reason string) {
	t.Helper()
	if os.Getenv("CI_FORBID_SKIP") == "1" {
		t.Fatal(reason)
	}
	t.Skip(reason)
}

func freeAddr(t *testing.T) string {
	t.Helper()
	listener, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	defer func() { _ = listener.Close() }()
	return listener.Addr().String()
}

// redisConn is a connection that shows replies as they are on the wire.
type redisConn struct {
	t *testing.T
	net.Conn
	replies *bufio.Reader
}

func dialRedis(t *testing.T, addr string) *redisConn {
	t.Helper()
	for start := time.Now(); ; time.Sleep(10 * time.Millisecond) {
		conn, err := net.Dial("tcp", addr)
		if err == nil {
			t.Cleanup(func() { _ = conn.Close() })
			return &redisConn{t: t, Conn: conn, replies: bufio.NewReader(conn)}
		}
		if time.Since(start) > redisDeadline {
			t.Fatal(err)
		}
	}
}

func (c *redisConn) do(words ...string) reply {
	c.t.Helper()
	request := fmt.Appendf(nil, "*%d\r\n", len(words))
	for _, word := range words {
		request = fmt.Appendf(request, "$%d\r\n%s\r\n", len(word), word)
	}
	_ = c.SetDeadline(time.Now().Add(redisDeadline))
	if _, err := c.Write(request); err != nil {
		c.t.Fatal(err)
	}
	return readReply(c.t, c.replies)
}

// reply is a reply as a tree. Written again it has the bytes it was read from.
type reply struct {
	kind  byte
	text  string  // of a bulk string its bytes, else what follows the kind
	parts []reply // elements; a map's keys and values in turn
}

func readReply(t *testing.T, r *bufio.Reader) reply {
	t.Helper()
	line, err := r.ReadString('\n')
	if err != nil {
		t.Fatalf("reply %q: %v", line, err)
	}
	it := reply{kind: line[0], text: strings.TrimSuffix(line[1:], "\r\n")}
	if !strings.ContainsRune("$*~%", rune(it.kind)) {
		return it
	}
	n, err := strconv.Atoi(it.text)
	if err != nil {
		t.Fatalf("reply %q: %v", line, err)
	}
	switch {
	case n < 0:
	case it.kind == '$':
		text := make([]byte, n+len("\r\n"))
		if _, err := io.ReadFull(r, text); err != nil {
			t.Fatal(err)
		}
		it.text = string(text[:n])
	default:
		if it.kind == '%' {
			n *= 2
		}
		it.text = ""
		for range n {
			it.parts = append(it.parts, readReply(t, r))
		}
	}
	return it
}

func (r reply) String() string {
	switch r.kind {
	case '$':
		if r.text == "-1" {
			return "$-1\r\n"
		}
		return fmt.Sprintf("$%d\r\n%s\r\n", len(r.text), r.text)
	case '*', '~', '%':
		n := len(r.parts)
		if r.kind == '%' {
			n /= 2
		}
		var out strings.Builder
		fmt.Fprintf(&out, "%c%d\r\n", r.kind, n)
		for _, part := range r.parts {
			out.WriteString(part.String())
		}
		return out.String()
	}
	return fmt.Sprintf("%c%s\r\n", r.kind, r.text)
}

// without is the reply with every field of that name gone from its maps, at any depth.
func (r reply) without(field string) reply {
	kept := r
	kept.parts = nil
	for i := 0; i < len(r.parts); i++ {
		if r.parts[i].kind == '$' && r.parts[i].text == field {
			i++
			continue
		}
		kept.parts = append(kept.parts, r.parts[i].without(field))
	}
	return kept
}

// words lists the texts of the reply's elements; those of elements of elements are joined by commas.
func (r reply) words() []string {
	var words []string
	for _, part := range r.parts {
		words = append(words, part.text+strings.Join(part.words(), ","))
	}
	return words
}
