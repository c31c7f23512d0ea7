package faults

import (
	"bufio"
	"errors"
	"net"
	"os"
	"os/exec"
	"testing"
	"time"

	"cartwheel/bench/proc"
)

// needNetwork makes a network, or skips the test where it cannot; CI_FORBID_SKIP=1 forbids that.
func needNetwork(t *testing.T, nodes int) *network {
	t.Helper()
	n, err := newNetwork(t.Context(), nodes)
	if errors.Is(err, errNoNetwork) {
		skip(t, err)
	}
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		if err := n.Close(); err != nil {
			t.Error(err)
		}
	})
	return n
}

// skip leaves the test for want of something, or fails it where CI_FORBID_SKIP=1 forbids skipping.
func skip(t *testing.T, why error) {
	t.Helper()
	if os.Getenv("CI_FORBID_SKIP") == "1" {
		t.Fatal("CI_FORBID_SKIP=1, but this machine lacks something: ", why)
	}
	t.Skip("this machine lacks something: ", why)
}

// TestCutsStopOneDirectionOfAnOpenConnection uses two redis-servers in namespaces, of which one is the
// other's replica: what the primary cannot send does not arrive, though clients reach both.
func TestCutsStopOneDirectionOfAnOpenConnection(t *testing.T) {
	t.Parallel()
	n := needNetwork(t, 3)
	if _, err := exec.LookPath("redis-server"); err != nil {
		skip(t, err)
	}
	var servers [2]*proc.Server
	for i := range servers {
		server, err := proc.StartRedis(t.Context(), proc.Options{Host: n.Host(i), Wrap: n.Wrap(i), Args: []string{"--protected-mode", "no"}})
		if err != nil {
			t.Fatal(err)
		}
		defer server.Close()
		servers[i] = server
	}
	primary, replica := dial(t, servers[0].Addr), dial(t, servers[1].Addr)
	host, port, _ := net.SplitHostPort(servers[0].Addr)
	replica.want(t, "+OK", "REPLICAOF "+host+" "+port)
	primary.want(t, "+OK", "SET key before")
	replica.until(t, "$6", "GET key")
	_ = replica.line(t)

	if err := n.Cut(t.Context(), 0, 1); err != nil {
		t.Fatal(err)
	}
	primary.want(t, "+OK", "SET key between!")
	time.Sleep(300 * time.Millisecond) // nothing can be waited for: it must not arrive
	replica.want(t, "$6", "GET key")
	_ = replica.line(t)
	if err := n.Heal(t.Context()); err != nil {
		t.Fatal(err)
	}
	replica.until(t, "$8", "GET key")
	_ = replica.line(t)
}

type talk struct {
	net.Conn
	replies *bufio.Reader
}

func dial(t *testing.T, addr string) talk {
	t.Helper()
	conn, err := net.DialTimeout("tcp", addr, 5*time.Second)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = conn.Close() })
	_ = conn.SetDeadline(time.Now().Add(30 * time.Second))
	return talk{conn, bufio.NewReader(conn)}
}

func (c talk) ask(t *testing.T, line string) string {
	t.Helper()
	if _, err := c.Write([]byte(line + "\r\n")); err != nil {
		t.Fatal(err)
	}
	return c.line(t)
}

func (c talk) line(t *testing.T) string {
	t.Helper()
	reply, err := c.replies.ReadString('\n')
	if err != nil {
		t.Fatal(err)
	}
	return reply[:len(reply)-2]
}

func (c talk) want(t *testing.T, want, line string) {
	t.Helper()
	if got := c.ask(t, line); got != want {
		t.Fatalf("%s: %s, not %s", line, got, want)
	}
}

// until asks until the reply begins as wanted.
func (c talk) until(t *testing.T, want, line string) {
	t.Helper()
	for deadline := time.Now().Add(20 * time.Second); ; {
		got := c.ask(t, line)
		if got == want {
			return
		}
		if got != "$-1" && got[0] == '$' {
			_ = c.line(t)
		}
		if time.Now().After(deadline) {
			t.Fatalf("%s: still %s, not %s", line, got, want)
		}
		time.Sleep(20 * time.Millisecond)
	}
}
