package server_test

import (
	"fmt"
	"io"
	"net"
	"regexp"
	"strconv"
	"strings"
	"testing"

	"cartwheel/server"
	"cartwheel/store"
)

// mixed is a pipeline of count commands, fast ones and such as leave the loop,
// and the replies that it must have.
func mixed(count int) (commands, replies string) {
	var c, r strings.Builder
	for i := range count {
		switch text := strconv.Itoa(i); i % 10 {
		case 0:
			fmt.Fprintf(&c, "SET k %d\r\n", i)
			r.WriteString("+OK\r\n")
		case 3:
			c.WriteString("RENAME k l\r\n")
			r.WriteString("+OK\r\n")
		case 5:
			c.WriteString("MGET k l\r\n")
			fmt.Fprintf(&r, "*2\r\n$-1\r\n$%d\r\n%d\r\n", len(strconv.Itoa(i-5)), i-5)
		case 6:
			c.WriteString("SCAN 9007199254740992\r\n")
			r.WriteString(emptyPage)
		case 7:
			c.WriteString("KEYS *\r\n")
			r.WriteString("*1\r\n$1\r\nl\r\n")
		case 8:
			c.WriteString("NOSUCH\r\n")
			r.WriteString("-ERR unknown command 'NOSUCH', with args beginning with: \r\n")
		default:
			fmt.Fprintf(&c, "ECHO %s\r\n", text)
			fmt.Fprintf(&r, "$%d\r\n%s\r\n", len(text), text)
		}
	}
	return c.String(), r.String()
}

func TestRepliesKeepTheOrderOfTheCommands(t *testing.T) {
	onBothTransports(t, func(t *testing.T, start func(server.Options) *node, dial func(*node) *client) {
		c := dial(start(server.Options{}))
		commands, want := mixed(10_000)
		c.write(commands + "QUIT\r\n")
		got, err := io.ReadAll(c.r)
		if err != nil {
			t.Fatal(err)
		}
		wantSame(t, string(got), want+"+OK\r\n")
	})
}

// wantSame compares long texts and shows where they part.
func wantSame(t *testing.T, got, want string) {
	t.Helper()
	if got == want {
		return
	}
	at := 0
	for at < min(len(got), len(want)) && got[at] == want[at] {
		at++
	}
	t.Errorf("%d bytes, want %d; from byte %d on %.80q, want %.80q", len(got), len(want), at, got[at:], want[at:])
}

// A client that sends and closes its side, as printf | nc does, is answered.
func TestAHalfClosedClientGetsItsReplies(t *testing.T) {
	onBothTransports(t, func(t *testing.T, start func(server.Options) *node, dial func(*node) *client) {
		n := start(server.Options{})
		for _, count := range []int{1, 5, 8, 500} {
			c := dial(n)
			commands, want := mixed(count)
			c.write(commands)
			if err := c.conn.(interface{ CloseWrite() error }).CloseWrite(); err != nil {
				t.Fatal(err)
			}
			got, err := io.ReadAll(c.r)
			if err != nil {
				t.Fatal(err)
			}
			wantSame(t, string(got), want)
			dial(n).do("FLUSHALL")
		}
	})
}

// A client that has closed its side and is slow to read gets all the same what
// it has asked for.
func TestAHalfClosedClientMayReadSlowly(t *testing.T) {
	n := start(t, server.Options{})
	slow, other := n.dial(), n.dial()
	id := strings.Trim(slow.do("CLIENT", "ID"), ":\r\n")
	value := strings.Repeat("x", 50_000)
	slow.expect("+OK\r\n", "SET", "k", value)
	const gets = 500
	slow.write(strings.Repeat("GET k\r\n", gets))
	if err := slow.conn.(*net.TCPConn).CloseWrite(); err != nil {
		t.Fatal(err)
	}
	until(t, "output waits", func() bool { return other.heldFor(id) > 1<<20 })
	got, err := io.ReadAll(slow.r)
	if err != nil {
		t.Fatal(err)
	}
	wantSame(t, string(got), strings.Repeat("$50000\r\n"+value+"\r\n", gets))
}

var outputMemory = regexp.MustCompile(` omem=(\d+) `)

// heldFor is how much output the server holds for a client.
func (c *client) heldFor(id string) int {
	c.t.Helper()
	line := c.text("CLIENT", "LIST", "ID", id)
	match := outputMemory.FindStringSubmatch(line)
	if match == nil {
		c.t.Fatalf("CLIENT LIST ID %s: %q", id, line)
	}
	held, _ := strconv.Atoi(match[1])
	return held
}

// A client that sends a thousand GETs and reads nothing makes the server hold
// not much more than a megabyte, others are served, and once it reads it gets
// everything.
func TestASlowReaderIsBounded(t *testing.T) {
	n := start(t, server.Options{})
	slow, other := n.dial(), n.dial()
	id := strings.Trim(slow.do("CLIENT", "ID"), ":\r\n")
	value := strings.Repeat("x", 50_000)
	slow.expect("+OK\r\n", "SET", "k", value)
	const gets, heldMax = 1000, 4 << 20
	slow.write(strings.Repeat("GET k\r\n", gets))
	held := func() int {
		held := other.heldFor(id)
		if held > heldMax {
			t.Fatalf("the server holds %d bytes for one who does not read", held)
		}
		return held
	}
	until(t, "output waits", func() bool { return held() > 1<<20 })
	for range 100 {
		held()
	}
	want := "$50000\r\n" + value + "\r\n"
	for i := range gets {
		if got := slow.reply(); got != want {
			t.Fatalf("reply %d is %.60q", i, got)
		}
		if i%100 == 0 {
			held()
		}
	}
	slow.talk("> PING\n+PONG")
	until(t, "nothing is held", func() bool { return held() == 0 })
}

// Whoever has turned replies off relies on the write all the same.
func TestWritesWithoutRepliesAreCommitted(t *testing.T) {
	onBothTransports(t, func(t *testing.T, start func(server.Options) *node, dial func(*node) *client) {
		keys := open(t, store.Options{SweepInterval: -1}) // which commits, too
		c := dial(start(server.Options{Keys: keys}))
		c.talk("> CLIENT REPLY OFF")
		before := keys.Committed()
		c.talk("> SET k v")
		until(t, "the write is committed", func() bool { return keys.Committed() > before })
	})
}
