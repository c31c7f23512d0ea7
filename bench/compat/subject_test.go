package compat

import (
	"errors"
	"flag"
	"fmt"
	"hash/fnv"
	"math/rand/v2"
	"os"
	"path/filepath"
	"strconv"
	"strings"
	"testing"
	"time"

	"cartwheel/bench/proc"
)

var seed = flag.Uint64("seed", 0, "seed of all that is random in these tests, as an earlier run printed it; 0 for a new one")

func TestMain(m *testing.M) {
	flag.Parse()
	if *seed == 0 {
		*seed = rand.Uint64()
	}
	fmt.Printf("everything random here comes from -seed %d\n", *seed)
	code := m.Run()
	if err := errors.Join(proc.RemoveBinary(), removeNode()); err != nil {
		fmt.Fprintln(os.Stderr, err)
	}
	os.Exit(code)
}

// random is a source of its own for a test, so that the tests draw the same whichever of them run.
func random(t testing.TB) *rand.Rand {
	hash := fnv.New64a()
	_, _ = hash.Write([]byte(t.Name())) // never fails
	return rand.New(rand.NewPCG(*seed, hash.Sum64()))
}

// settings says how a server under test is started; the zero value is its defaults.
type settings struct {
	sync       string // always, everysec or no
	password   string
	memory     string
	clientsMax int
	dir        string // with port: where an earlier one of the test was, to restart it there
	port       int
}

// subjectIsRedis tells whether a second redis-server stands in for Cartwheel, to prove the tests.
func subjectIsRedis() bool { return os.Getenv("COMPAT_SUBJECT") == "redis" }

// startSubject starts the server under test, and ends it with the test.
func startSubject(t testing.TB, s settings) *proc.Server {
	t.Helper()
	if subjectIsRedis() {
		return startRedis(t, s)
	}
	var args []string
	if s.sync != "" {
		args = append(args, "--sync", s.sync)
	}
	if s.password != "" {
		args = append(args, "--password-file", passwordFile(t, s.password))
	}
	if s.memory != "" {
		args = append(args, "--memory", s.memory)
	}
	if s.clientsMax != 0 {
		args = append(args, "--max-clients", strconv.Itoa(s.clientsMax))
	}
	server, err := proc.StartCartwheel(t.Context(), proc.Options{Args: args, Dir: s.dir, Port: s.port})
	return owned(t, server, err)
}

// startRedis starts the redis-server that Cartwheel is compared with.
func startRedis(t testing.TB, s settings) *proc.Server {
	t.Helper()
	need(t, "redis-server")
	// Cartwheel cuts off a client that does not read; Redis does so only when told.
	args := []string{"--client-output-buffer-limit", "normal 64mb 0 0"}
	if s.sync != "" {
		args = append(args, "--appendonly", "yes", "--appendfsync", s.sync)
	}
	if s.password != "" {
		args = append(args, "--requirepass", s.password)
	}
	if s.clientsMax != 0 {
		args = append(args, "--maxclients", strconv.Itoa(s.clientsMax))
	}
	server, err := proc.StartRedis(t.Context(), proc.Options{Args: args, Dir: s.dir, Port: s.port})
	return owned(t, server, err)
}

func owned(t testing.TB, server *proc.Server, err error) *proc.Server {
	t.Helper()
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		if t.Failed() && server.Log() != "" {
			t.Logf("log of the server on %s:\n%s", server.Addr, lastLines(server.Log(), 30))
		}
		if err := server.Close(); err != nil {
			t.Error(err)
		}
	})
	return server
}

func passwordFile(t testing.TB, password string) string {
	t.Helper()
	path := filepath.Join(t.TempDir(), "password")
	if err := os.WriteFile(path, []byte(password+"\n"), 0o600); err != nil {
		t.Fatal(err)
	}
	return path
}

// connect opens a connection that closes with the test.
func connect(t testing.TB, addr string) *conn {
	t.Helper()
	c, err := dial(addr)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = c.Close() })
	return c
}

// want sends a command and fails the test unless the reply is as given, byte for byte.
func (c *conn) want(t testing.TB, raw string, args ...string) {
	t.Helper()
	got, err := c.do(args...)
	if err != nil {
		t.Fatalf("%s: %v", typed(args), err)
	}
	if string(got.raw) != raw {
		t.Fatalf("%s: %s, want %q", typed(args), shorten(got.String()), raw)
	}
}

// eventually waits for a condition, and fails the test when it does not come true in time. Errors of the
// last attempt are part of the report.
func eventually(t testing.TB, within time.Duration, what string, condition func() error) {
	t.Helper()
	deadline := time.Now().Add(within)
	again := time.NewTicker(10 * time.Millisecond)
	defer again.Stop()
	for {
		err := condition()
		if err == nil {
			return
		}
		if time.Now().After(deadline) {
			t.Fatalf("waited %v for %s: %v", within, what, err)
		}
		<-again.C
	}
}

func lastLines(text string, n int) string {
	lines := strings.Split(strings.TrimSpace(text), "\n")
	return strings.Join(lines[max(0, len(lines)-n):], "\n")
}
