package server_test

import (
	"fmt"
	"regexp"
	"strings"
	"testing"

	"cartwheel/server"
)

func TestClientNamesAreWords(t *testing.T) {
	c := connect(t)
	c.talk(`
> CLIENT GETNAME
$-1
> CLIENT SETNAME "a b"
-ERR Client names cannot contain spaces, newlines or special characters.
> CLIENT SETNAME "a\nb"
-ERR Client names cannot contain spaces, newlines or special characters.
> CLIENT SETNAME me
+OK
> CLIENT GETNAME
$2
me
> CLIENT SETNAME ""
+OK
> CLIENT GETNAME
$-1
> CLIENT SETINFO LIB-NAME lettuce
+OK
> CLIENT SETINFO lib-ver 7.0
+OK
> CLIENT SETINFO lib-ver "7 0"
-ERR lib-ver cannot contain spaces, newlines or special characters.
> CLIENT SETINFO foo bar
-ERR Unrecognized option 'foo'
> CLIENT MAINT_NOTIFICATIONS ON
-ERR unknown subcommand 'MAINT_NOTIFICATIONS'. Try CLIENT HELP.
> CLIENT
-ERR wrong number of arguments for 'client' command`)
	if line := c.text("CLIENT", "INFO"); !strings.Contains(line, " lib-name=lettuce lib-ver=7.0\n") {
		t.Errorf("CLIENT INFO: %q", line)
	}
	if reply := c.do("CLIENT", "SETNAME", strings.Repeat("x", 1000)); reply[0] != '-' {
		t.Errorf("a name of 1000 bytes: %q", reply)
	}
}

var clientLine = regexp.MustCompile(`^id=\d+ addr=127\.0\.0\.1:\d+ laddr=127\.0\.0\.1:\d+ fd=\d+ name=\S* age=\d+ idle=\d+ flags=\w+ ` +
	`db=\d+ sub=0 psub=0 ssub=0 multi=-1 qbuf=\d+ qbuf-free=\d+ argv-mem=\d+ multi-mem=\d+ rbs=\d+ rbp=\d+ obl=\d+ oll=\d+ omem=\d+ ` +
	`tot-mem=\d+ events=r cmd=[\w|]+ user=default redir=-1 resp=[23] lib-name=\S* lib-ver=\S*\n$`)

func TestClientListShowsEveryConnection(t *testing.T) {
	n := start(t, server.Options{})
	a, b := n.dial(), n.dial()
	a.talk("> SELECT 7\n+OK\n> CLIENT SETNAME first\n+OK")
	aID := strings.Trim(a.do("CLIENT", "ID"), ":\r\n")
	b.talk("> PING\n+PONG")
	lines := strings.SplitAfter(b.text("CLIENT", "LIST"), "\n")
	if len(lines) != 3 {
		t.Fatalf("two connections make %q", lines)
	}
	for _, line := range lines[:2] {
		if !clientLine.MatchString(line) {
			t.Errorf("a line is not as Redis has it: %q", line)
		}
	}
	if !strings.Contains(lines[0], " name=first ") || !strings.Contains(lines[0], " db=7 ") || !strings.Contains(lines[0], " cmd=client|id ") {
		t.Errorf("the first connection: %q", lines[0])
	}
	if !strings.Contains(lines[1], " cmd=client|list ") {
		t.Errorf("one's own connection: %q", lines[1])
	}
	if one := b.text("CLIENT", "LIST", "ID", aID, "999"); !strings.HasPrefix(one, "id="+aID+" ") || strings.Count(one, "\n") != 1 {
		t.Errorf("LIST ID: %q", one)
	}
	if normal := b.text("CLIENT", "LIST", "TYPE", "normal"); strings.Count(normal, "\n") != 2 {
		t.Errorf("LIST TYPE normal: %q", normal)
	}
	b.do("HELLO", "3")
	b.talk(`
> CLIENT LIST TYPE replica
=4
txt:
> CLIENT LIST TYPE foo
-ERR Unknown client type 'foo'
> CLIENT LIST ID x
-ERR Invalid client ID
> CLIENT LIST foo
-ERR syntax error`)
}

func TestClientReplySkipsJustTheNext(t *testing.T) {
	connect(t).talk(`
> CLIENT REPLY ON
+OK
> CLIENT REPLY SKIP
> ECHO skipped
> ECHO 1
$1
1
> CLIENT REPLY SKIP
> CLIENT REPLY SKIP
> DBSIZE
> ECHO 2
$1
2
> CLIENT REPLY SKIP
> NOSUCH
> ECHO 3
$1
3
> CLIENT REPLY SKIP
> CLIENT REPLY ON
+OK
> CLIENT REPLY OFF
> ECHO muted
> DBSIZE
> CLIENT REPLY SKIP
> NOSUCH
> CLIENT REPLY ON
+OK
> ECHO 4
$1
4
> CLIENT REPLY foo
-ERR syntax error`)
}

func TestClientKillEndsConnections(t *testing.T) {
	n := start(t, server.Options{})
	me := n.dial()
	me.talk("> PING\n+PONG")
	victim := func() (c *client, id, addr string) {
		c = n.dial()
		id = strings.Trim(c.do("CLIENT", "ID"), ":\r\n")
		return c, id, c.conn.LocalAddr().String()
	}

	c, id, addr := victim()
	me.expect(":1\r\n", "CLIENT", "KILL", "ID", id, "ADDR", addr)
	c.ends()
	c, _, addr = victim()
	me.expect("+OK\r\n", "CLIENT", "KILL", addr)
	c.ends()
	me.expect("-ERR No such client\r\n", "CLIENT", "KILL", addr)
	c, _, _ = victim()
	me.expect(":1\r\n", "CLIENT", "KILL", "LADDR", n.srv.Addr().String(), "TYPE", "normal", "USER", "default")
	c.ends()
	c, _, _ = victim()
	me.expect(":0\r\n", "CLIENT", "KILL", "MAXAGE", "1000")
	me.expect(":0\r\n", "CLIENT", "KILL", "TYPE", "pubsub")
	me.expect(":2\r\n", "CLIENT", "KILL", "TYPE", "normal", "SKIPME", "no")
	c.ends()
	me.ends()
}

func TestClientKillRefusesWhatIsWrong(t *testing.T) {
	connect(t).talk(`
> CLIENT KILL ID x
-ERR client-id should be greater than 0
> CLIENT KILL ID 0
-ERR client-id should be greater than 0
> CLIENT KILL TYPE x
-ERR Unknown client type 'x'
> CLIENT KILL USER x
-ERR No such user 'x'
> CLIENT KILL SKIPME maybe
-ERR syntax error
> CLIENT KILL ID 1 ADDR
-ERR syntax error
> CLIENT KILL FOO 1
-ERR syntax error
> CLIENT KILL MAXAGE 0
-ERR maxage should be greater than 0`)
}

func TestKillingWhileConnectingHarmsNobody(t *testing.T) {
	n := start(t, server.Options{})
	me := n.dial()
	done := make(chan struct{})
	go func() {
		defer close(done)
		for range 200 {
			c := n.dial()
			_ = c.conn.Close()
		}
	}()
	for killing := true; killing; {
		select {
		case <-done:
			killing = false
		default:
			me.do("CLIENT", "KILL", "TYPE", "normal")
		}
	}
	me.talk("> PING\n+PONG")
}

func TestPauseHoldsCommandsBackUntilUnpause(t *testing.T) {
	n := start(t, server.Options{})
	me, other := n.dial(), n.dial()
	me.talk("> CLIENT PAUSE 100000 WRITE\n+OK")
	other.talk("> GET k\n$-1")
	other.send("SET", "k", "v")
	me.talk("> GET k\n$-1\n> CLIENT PAUSE 100000 ALL\n+OK")
	reader := n.dial()
	reader.send("GET", "k")
	me.talk("> CLIENT UNPAUSE\n+OK")
	if got := other.reply(); got != "+OK\r\n" {
		t.Errorf("the SET that was held back replies %q", got)
	}
	reader.reply()
	me.talk(`
> GET k
$1
v
> CLIENT PAUSE x
-ERR timeout is not an integer or out of range
> CLIENT PAUSE -1
-ERR timeout is negative
> CLIENT PAUSE 10 foo
-ERR CLIENT PAUSE mode must be WRITE or ALL`)
}

func TestWaitIsUnblocked(t *testing.T) {
	n := start(t, server.Options{})
	me, waiting := n.dial(), n.dial()
	waiting.talk("> WAIT 0 0\n:0\n> WAIT 1 1\n:0")
	id := strings.Trim(waiting.do("CLIENT", "ID"), ":\r\n")
	for _, how := range []struct{ reason, want string }{
		{"TIMEOUT", ":0\r\n"},
		{"ERROR", "-UNBLOCKED client unblocked via CLIENT UNBLOCK\r\n"},
	} {
		waiting.send("WAIT", "1", "0")
		until(t, "the client is unblocked", func() bool { return me.do("CLIENT", "UNBLOCK", id, how.reason) == ":1\r\n" })
		if got := waiting.reply(); got != how.want {
			t.Errorf("unblocked by %s it replies %q, want %q", how.reason, got, how.want)
		}
	}
	me.talk(fmt.Sprintf(`
> CLIENT UNBLOCK %s
:0
> CLIENT UNBLOCK 9999
:0
> CLIENT UNBLOCK x
-ERR value is not an integer or out of range
> CLIENT UNBLOCK 1 foo
-ERR CLIENT UNBLOCK reason should be TIMEOUT or ERROR`, id))
}

func TestABlockedClientCanBeKilled(t *testing.T) {
	n := start(t, server.Options{})
	me, waiting := n.dial(), n.dial()
	id := strings.Trim(waiting.do("CLIENT", "ID"), ":\r\n")
	waiting.send("WAIT", "1", "0")
	until(t, "the client is blocked", func() bool { return strings.Contains(me.text("CLIENT", "LIST", "ID", id), " flags=b ") })
	me.expect(":1\r\n", "CLIENT", "KILL", "ID", id)
	until(t, "the client is gone", func() bool { return me.text("CLIENT", "LIST", "ID", id) == "" })
}
