package server_test

import (
	"os"
	"path/filepath"
	"strings"
	"testing"

	"cartwheel/server"
)

func TestConfigGetTakesNamesAndPatterns(t *testing.T) {
	c := start(t, server.Options{Password: "secret", Static: [][2]string{{"sync", "always"}, {"data", "here"}}}).dial()
	c.talk(`
> AUTH secret
+OK
> CONFIG GET nope
*0
> CONFIG GET DATABASES appendfsync datab* data
*6
$9
DATABASES
$2
16
$11
appendfsync
$6
always
$4
data
$4
here
> CONFIG GET requirepass
*2
$11
requirepass
$0

> CONFIG SET requirepass other
-ERR CONFIG SET failed (possibly related to argument 'requirepass') - can't set immutable config
> CONFIG GET
-ERR wrong number of arguments for 'config|get' command`)
	all := c.do("CONFIG", "GET", "*")
	if strings.Contains(all, "secret") {
		t.Error("CONFIG GET * shows the password")
	}
	for _, name := range []string{
		"client-reply-bytes-max", "client-buffers-bytes-max", "write-timeout", "proto-max-bulk-len", "maxclients",
		"store-checkpoint-bytes-max", "store-log-bytes-max", "hint-bytes-max", "peer-small-frame-bytes-max", "agreement-bytes-max",
	} {
		if !strings.Contains(all, "\r\n"+name+"\r\n") {
			t.Errorf("CONFIG GET * does not show %s", name)
		}
	}
	c.do("HELLO", "3")
	c.talk("> CONFIG GET timeout\n%1\n$7\ntimeout\n$1\n0")
}

func TestConfigSetIsAllOrNothing(t *testing.T) {
	connect(t).talk(`
> CONFIG SET timeout 10 maxclients 77
+OK
> CONFIG SET timeout 20 databases 3
-ERR CONFIG SET failed (possibly related to argument 'databases') - can't set immutable config
> CONFIG SET timeout 20 maxclients 0
-ERR CONFIG SET failed (possibly related to argument 'maxclients') - argument must be between 1 and 1000000 inclusive
> CONFIG SET timeout 20 nope 1
-ERR Unknown option or number of arguments for CONFIG SET - 'nope'
> CONFIG SET timeout 20 TIMEOUT 30
-ERR CONFIG SET failed (possibly related to argument 'TIMEOUT') - duplicate parameter
> CONFIG SET timeout 20 maxclients
-ERR syntax error
> CONFIG SET timeout x
-ERR CONFIG SET failed (possibly related to argument 'timeout') - argument couldn't be parsed into an integer
> CONFIG SET timeout -1
-ERR CONFIG SET failed (possibly related to argument 'timeout') - argument must be between 0 and 2147483647 inclusive
> CONFIG SET latency-tracking maybe
-ERR CONFIG SET failed (possibly related to argument 'latency-tracking') - argument must be 'yes' or 'no'
> CONFIG GET timeout maxclients
*4
$10
maxclients
$2
77
$7
timeout
$2
10`)
}

func TestProtoMaxBulkLenBoundsArguments(t *testing.T) {
	c := connect(t)
	c.talk(`
> CONFIG SET proto-max-bulk-len 2mx
-ERR CONFIG SET failed (possibly related to argument 'proto-max-bulk-len') - argument must be a memory value
> CONFIG SET proto-max-bulk-len ""
-ERR CONFIG SET failed (possibly related to argument 'proto-max-bulk-len') - argument must be a memory value
> CONFIG SET proto-max-bulk-len 99999999999gb
-ERR CONFIG SET failed (possibly related to argument 'proto-max-bulk-len') - argument must be a memory value
> CONFIG SET proto-max-bulk-len 1
-ERR CONFIG SET failed (possibly related to argument 'proto-max-bulk-len') - argument must be between 1048576 and 536870912 inclusive
> CONFIG SET proto-max-bulk-len 1mb
+OK
> CONFIG GET proto-max-bulk-len
*2
$18
proto-max-bulk-len
$7
1048576`)
	c.write("*2\r\n$4\r\nECHO\r\n$1048577\r\n")
	if got := c.reply(); got != "-ERR Protocol error: invalid bulk length\r\n" {
		t.Errorf("an argument past the limit: %q", got)
	}
	c.ends()
}

func TestKeyspaceEventsAreShownAsRedisDoes(t *testing.T) {
	c := connect(t)
	for given, shown := range map[string]string{
		"": "", "KEA": "AKE", "AKExgnm": "AKEm", "mKd$": "$dKm", "g$lshzxetdK": "AK", "Kn": "nK",
	} {
		c.expect("+OK\r\n", "CONFIG", "SET", "notify-keyspace-events", given)
		if reply := c.do("CONFIG", "GET", "notify-keyspace-events"); !strings.HasSuffix(reply, "\r\n"+shown+"\r\n") {
			t.Errorf("%q is shown as %q", given, reply)
		}
	}
	c.talk(`
> CONFIG SET notify-keyspace-events Q
-ERR CONFIG SET failed (possibly related to argument 'notify-keyspace-events') - Invalid event class character. Use 'Ag$lshzxeKEtmdn'.`)
}

func TestTimeoutCutsIdleConnections(t *testing.T) {
	n := start(t, server.Options{})
	idle := n.dial()
	idle.talk("> PING\n+PONG")
	c := n.dial()
	c.talk("> CONFIG SET timeout 1\n+OK")
	idle.ends()
}

func TestMaxClientsTurnsAway(t *testing.T) {
	n := start(t, server.Options{})
	c := n.dial()
	c.talk("> CONFIG SET maxclients 1\n+OK")
	refused := n.dial()
	if got := refused.reply(); got != "-ERR max number of clients reached\r\n" {
		t.Errorf("one too many gets %q", got)
	}
	refused.ends()
}

func TestRewriteChangesItsTableAndNothingElse(t *testing.T) {
	for name, file := range map[string]struct{ before, after string }{
		"no table": {
			"# mine\nlisten = \"x\"\n",
			"# mine\nlisten = \"x\"\n\n[settings]\nmaxclients = \"50\"\ntimeout = \"7\"\n",
		},
		"empty": {"", "[settings]\nmaxclients = \"50\"\ntimeout = \"7\"\n"},
		"table in the middle": {
			"a = 1\n[settings] # ours\ntimeout = \"1\" # old\nother = \"x\"\n\n[more]\ntimeout = 3\n",
			"a = 1\n[settings] # ours\ntimeout = \"7\"\nother = \"x\"\nmaxclients = \"50\"\n\n[more]\ntimeout = 3\n",
		},
	} {
		t.Run(name, func(t *testing.T) {
			path := filepath.Join(t.TempDir(), "cartwheel.toml")
			if err := os.WriteFile(path, []byte(file.before), 0o640); err != nil {
				t.Fatal(err)
			}
			c := start(t, server.Options{ConfigFile: path}).dial()
			c.talk("> CONFIG REWRITE\n+OK")
			if text, _ := os.ReadFile(path); string(text) != file.before {
				t.Errorf("with nothing changed it became\n%s", text)
			}
			c.talk("> CONFIG SET timeout 7 MAXCLIENTS 50\n+OK\n> CONFIG REWRITE\n+OK")
			if text, _ := os.ReadFile(path); string(text) != file.after {
				t.Errorf("it became\n%s\nnot\n%s", text, file.after)
			}
			if st, err := os.Stat(path); err != nil || st.Mode().Perm() != 0o640 {
				t.Errorf("its mode became %v, %v", st.Mode(), err)
			}
			if left, _ := filepath.Glob(path + ".*"); len(left) > 0 {
				t.Errorf("files were left behind: %q", left)
			}
		})
	}
}

func TestRewriteRefusesWhatItWouldBreak(t *testing.T) {
	connect(t).talk("> CONFIG REWRITE\n-ERR The server is running without a config file")
	for _, before := range []string{
		"settings = { timeout = \"1\" }\n",
		"text = '''\n[settings]\n'''\n",
		"not TOML\n",
	} {
		path := filepath.Join(t.TempDir(), "cartwheel.toml")
		if err := os.WriteFile(path, []byte(before), 0o600); err != nil {
			t.Fatal(err)
		}
		c := start(t, server.Options{ConfigFile: path}).dial()
		c.talk("> CONFIG SET timeout 7\n+OK")
		if reply := c.do("CONFIG", "REWRITE"); !strings.HasPrefix(reply, "-ERR Rewriting config file: ") {
			t.Errorf("%q was rewritten: %q", before, reply)
		}
		if text, _ := os.ReadFile(path); string(text) != before {
			t.Errorf("%q became %q", before, text)
		}
	}
}

func TestConfigureIsConfigSet(t *testing.T) {
	n := start(t, server.Options{})
	if err := n.srv.Configure(map[string]string{"timeout": "9"}); err != nil {
		t.Fatal(err)
	}
	n.dial().talk("> CONFIG GET timeout\n*2\n$7\ntimeout\n$1\n9")
	for name, want := range map[string]string{
		"nope":      `there is no setting "nope"`,
		"databases": `setting "databases": can't set immutable config`,
	} {
		if err := n.srv.Configure(map[string]string{name: "1"}); err == nil || err.Error() != want {
			t.Errorf("%s: %v, want %s", name, err, want)
		}
	}
}
