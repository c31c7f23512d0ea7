package server_test

import (
	"fmt"
	"strings"
	"testing"

	"cartwheel/server"
)

func TestHelloSpeaksBothProtocols(t *testing.T) {
	c := connect(t)
	id := strings.TrimSpace(c.do("CLIENT", "ID"))
	const fields = `$6
server
$5
redis
$7
version
$5
7.2.4
$5
proto
:%d
$2
id
%s
$4
mode
$10
standalone
$4
role
$6
master
$7
modules
*0`
	c.talk("> HELLO\n*14\n" + fmt.Sprintf(fields, 2, id))
	c.talk("> HELLO 3\n%7\n" + fmt.Sprintf(fields, 3, id))
	c.talk("> CLIENT GETNAME\n_")
	c.talk("> HELLO 2 SETNAME me\n*14\n" + fmt.Sprintf(fields, 2, id))
	c.talk("> CLIENT GETNAME\n$2\nme")
}

func TestHelloRefusesWhatIsWrong(t *testing.T) {
	connect(t).talk(`
> HELLO x
-ERR Protocol version is not an integer or out of range
> HELLO 4
-NOPROTO unsupported protocol version
> HELLO 3 FOO
-ERR Syntax error in HELLO option 'FOO'
> HELLO 3 AUTH a
-ERR Syntax error in HELLO option 'AUTH'
> HELLO 3 SETNAME "a b"
-ERR Client names cannot contain spaces, newlines or special characters.
> HELLO 3 AUTH nobody x
-WRONGPASS invalid username-password pair or user is disabled.
> CLIENT GETNAME
$-1`)
}

const helloUnauthenticated = "-NOAUTH HELLO must be called with the client already authenticated, otherwise the " +
	"HELLO <proto> AUTH <user> <pass> option can be used to authenticate the client and select the RESP protocol " +
	"version at the same time"

func TestNothingRunsBeforeThePassword(t *testing.T) {
	n := start(t, server.Options{Password: "secret"})
	c := n.dial()
	c.talk(`
> PING
-NOAUTH Authentication required.
> CONFIG GET *
-NOAUTH Authentication required.
> HELLO 3
` + helloUnauthenticated + `
> AUTH wrong
-WRONGPASS invalid username-password pair or user is disabled.
> AUTH nobody secret
-WRONGPASS invalid username-password pair or user is disabled.
> AUTH a b c
-ERR syntax error
> PING
-NOAUTH Authentication required.
> AUTH secret
+OK
> PING
+PONG
> RESET
+RESET
> PING
-NOAUTH Authentication required.
> AUTH default secret
+OK
> PING
+PONG`)

	hello := n.dial()
	hello.expect("-WRONGPASS invalid username-password pair or user is disabled.\r\n", "HELLO", "3", "AUTH", "default", "x")
	if reply := hello.do("HELLO", "3", "AUTH", "default", "secret"); !strings.HasPrefix(reply, "%7\r\n") {
		t.Errorf("HELLO with the password replies %q", reply)
	}
	hello.talk("> PING\n+PONG")
}

func TestLargeRequestsAreForTheAuthenticated(t *testing.T) {
	n := start(t, server.Options{Password: "secret"})
	c := n.dial()
	large := strings.Repeat("x", 20_000)
	c.expect("-ERR Protocol error: unauthenticated bulk length\r\n", "ECHO", large)
	c.ends()
	// In one pipeline the limits change behind AUTH, and again behind RESET.
	c = n.dial()
	c.send("AUTH", "secret")
	c.send("ECHO", large)
	c.send("RESET")
	c.send("ECHO", large)
	for _, want := range []string{"+OK\r\n", "$20000\r\n" + large + "\r\n", "+RESET\r\n", "-ERR Protocol error: unauthenticated bulk length\r\n"} {
		if got := c.reply(); got != want {
			t.Errorf("got %.60q, want %.60q", got, want)
		}
	}
	c.ends()
}

func TestAuthWithoutAPasswordSaysSo(t *testing.T) {
	connect(t).talk(`
> AUTH x
-ERR AUTH <password> called without any password configured for the default user. Are you sure your configuration is correct?
> AUTH default anything
+OK`)
}

func TestPingEchoQuit(t *testing.T) {
	c := connect(t)
	c.talk(`
> PING
+PONG
> PING hi
$2
hi
> PING a b
-ERR wrong number of arguments for 'ping' command
> ECHO ""
$0

> QUIT
+OK`)
	c.ends()
}

func TestSelectKnowsSixteenDatabases(t *testing.T) {
	connect(t).talk(`
> SELECT 15
+OK
> SET k fifteen
+OK
> SELECT 0
+OK
> GET k
$-1
> SELECT 16
-ERR DB index is out of range
> SELECT -1
-ERR DB index is out of range
> SELECT x
-ERR value is not an integer or out of range
> SELECT 15
+OK
> GET k
$7
fifteen`)
}

func TestResetMakesAConnectionNew(t *testing.T) {
	c := connect(t)
	c.do("HELLO", "3", "SETNAME", "me")
	c.talk(`
> SELECT 5
+OK
> CLIENT NO-EVICT ON
+OK
> CLIENT NO-TOUCH ON
+OK
> CLIENT REPLY OFF
> RESET
+RESET
> CLIENT GETNAME
$-1`)
	if line := c.text("CLIENT", "INFO"); !strings.Contains(line, " db=0 ") || !strings.Contains(line, " flags=N ") || !strings.Contains(line, " resp=2 ") {
		t.Errorf("after RESET: %q", line)
	}
}
