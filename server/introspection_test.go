package server_test

import (
	"regexp"
	"strings"
	"testing"

	"cartwheel/server"
)

func TestInfoHasWhatClientsReadInIt(t *testing.T) {
	n := start(t, server.Options{Password: "secret"})
	c := n.dial()
	c.talk("> AUTH secret\n+OK\n> SET k v EX 100\n+OK\n> GET k\n$1\nv\n> GET none\n$-1")
	c.expect("-ERR unknown command 'NOSUCH', with args beginning with: \r\n", "NOSUCH")
	text := c.text("INFO")
	for _, line := range []string{
		"# Server", "redis_version:7.2.4", "redis_mode:standalone", `run_id:[0-9a-f]{40}`, `tcp_port:\d+`, `arch_bits:\d+`,
		"# Clients", "connected_clients:1", "# Memory", `used_memory:\d+`, "maxmemory_policy:noeviction",
		"# Persistence", "loading:0", "# Stats", "keyspace_hits:1", "keyspace_misses:1", `total_commands_processed:\d+`,
		"# Replication", "role:master", "master_repl_offset:0", "# CPU", "# Errorstats", "errorstat_ERR:count=1",
		"# Cluster", "cluster_enabled:0", "# Keyspace", `db0:keys=1,expires=1,avg_ttl=\d+`,
		"# Cartwheel", "cartwheel_version:" + regexp.QuoteMeta(server.Version), `node_id:\S+`,
	} {
		if !regexp.MustCompile("(?m)^" + line + "\r$").MatchString(text) {
			t.Errorf("INFO has no line %s", line)
		}
	}
	if strings.Contains(text, "cmdstat_") || strings.Contains(text, "secret") {
		t.Errorf("INFO has too much:\n%s", text)
	}
	if !strings.Contains(c.text("INFO", "everything"), "cmdstat_set:calls=1,") {
		t.Error("INFO everything has no cmdstat_set")
	}
}

func TestInfoShowsTheSectionsAskedFor(t *testing.T) {
	c := connect(t)
	c.expect("$0\r\n\r\n", "INFO", "foo")
	if got := c.text("INFO", "cluster", "foo", "MODULES"); got != "# Modules\r\n\r\n# Cluster\r\ncluster_enabled:0\r\n" {
		t.Errorf("INFO cluster foo MODULES: %q", got)
	}
	if got := c.text("INFO", "default", "commandstats"); !strings.Contains(got, "# Server") || !strings.Contains(got, "# Commandstats") {
		t.Errorf("INFO default commandstats: %q", got)
	}
	c.do("HELLO", "3")
	if got := c.do("INFO", "cluster"); got != "=34\r\ntxt:# Cluster\r\ncluster_enabled:0\r\n\r\n" {
		t.Errorf("in RESP3: %q", got)
	}
}

func TestResetStatForgets(t *testing.T) {
	c := connect(t)
	c.talk("> GET none\n$-1\n> CONFIG RESETSTAT\n+OK")
	text := c.text("INFO", "all")
	for _, gone := range []string{"keyspace_misses:1", "cmdstat_get"} {
		if strings.Contains(text, gone) {
			t.Errorf("after RESETSTAT there still is %s", gone)
		}
	}
}

func TestSlowlogKeepsCommandsAndNoSecrets(t *testing.T) {
	n := start(t, server.Options{Password: "secret"})
	c := n.dial()
	c.talk("> AUTH secret\n+OK\n> CLIENT SETNAME me\n+OK\n> CONFIG SET slowlog-log-slower-than 0\n+OK\n> SLOWLOG RESET\n+OK")
	c.do("AUTH", "default", "secret")
	c.do("AUTH", "secret")
	c.do("HELLO", "2", "AUTH", "default", "secret", "SETNAME", "me")
	c.do("CONFIG", "SET", "requirepass", "secret")
	c.do("ECHO", strings.Repeat("x", 130))
	c.do(append([]string{"MGET"}, strings.Split(strings.Repeat("k", 40), "")...)...)
	reply := c.do("SLOWLOG", "GET", "-1")
	if strings.Contains(reply, "secret") {
		t.Errorf("the slow log shows the password: %q", reply)
	}
	for _, want := range []string{
		"(redacted)", strings.Repeat("x", 128) + "... (2 more bytes)\r\n", "*32\r\n$4\r\nMGET\r\n", "... (10 more arguments)\r\n",
		"\r\n" + c.conn.LocalAddr().String() + "\r\n$2\r\nme\r\n",
	} {
		if !strings.Contains(reply, want) {
			t.Errorf("the slow log does not have %q: %q", want, reply)
		}
	}
}

func TestSlowlogIsBounded(t *testing.T) {
	c := connect(t)
	c.talk(`
> CONFIG SET slowlog-log-slower-than 0 slowlog-max-len 3
+OK`)
	for range 10 {
		c.do("PING")
	}
	c.talk(`
> SLOWLOG LEN
:3
> CONFIG SET slowlog-log-slower-than -1
+OK
> SLOWLOG RESET
+OK
> SLOWLOG GET
*0
> SLOWLOG LEN
:0
> SLOWLOG GET x
-ERR count should be greater than or equal to -1
> SLOWLOG GET 1 2
-ERR unknown subcommand or wrong number of arguments for 'GET'. Try SLOWLOG HELP.`)
}

func TestBeingBlockedIsNotSlow(t *testing.T) {
	c := connect(t)
	c.talk("> CONFIG SET slowlog-log-slower-than 100000\n+OK\n> WAIT 1 200\n:0\n> SLOWLOG LEN\n:0")
}

func TestLatencyHistogramCountsCalls(t *testing.T) {
	c := connect(t)
	for range 3 {
		c.do("GET", "k")
	}
	c.do("CLIENT", "ID")
	c.do("HELLO", "3")
	reply := c.do("LATENCY", "HISTOGRAM", "get", "nope", "client", "set")
	pattern := `^%2\r\n\$3\r\nget\r\n%2\r\n\$5\r\ncalls\r\n:3\r\n\$14\r\nhistogram_usec\r\n%[1-3]\r\n(:\d+\r\n:[1-3]\r\n)+` +
		`\$9\r\nclient\|id\r\n%2\r\n\$5\r\ncalls\r\n:1\r\n\$14\r\nhistogram_usec\r\n%1\r\n:\d+\r\n:1\r\n$`
	if !regexp.MustCompile(pattern).MatchString(reply) {
		t.Errorf("LATENCY HISTOGRAM: %q", reply)
	}
	c.talk(`
> LATENCY RESET foo
:0
> LATENCY LATEST
*0
> LATENCY HISTORY foo
*0
> LATENCY GRAPH foo
-ERR No samples available for event 'foo'`)
}

func TestCommandTellsOfCommands(t *testing.T) {
	c := connect(t)
	count := strings.Trim(c.do("COMMAND", "COUNT"), ":\r\n")
	if reply := c.do("COMMAND"); !strings.HasPrefix(reply, "*"+count+"\r\n*10\r\n") {
		t.Errorf("COMMAND has another count than COMMAND COUNT's %s: %.40q", count, reply)
	}
	c.talk(`
> COMMAND INFO nope ping
*2
$-1
*10
$4
ping
:-1
*1
+fast
:0
:0
:0
*2
+@fast
+@connection
*2
$25
request_policy:all_shards
$29
response_policy:all_succeeded
*0
*0
> COMMAND DOCS nope
*0
> COMMAND LIST FILTERBY PATTERN client|g*
*1
$14
client|getname
> COMMAND LIST FILTERBY MODULE x
*0
> COMMAND LIST FILTERBY ACLCAT @read
*0
> COMMAND LIST FILTERBY FOO x
-ERR syntax error
> COMMAND LIST FILTERBY PATTERN
-ERR syntax error
> COMMAND GETKEYS mset a b c d
*2
$1
a
$1
c
> COMMAND GETKEYS nope a
-ERR Invalid command specified
> COMMAND GETKEYS client nope
-ERR Invalid command specified
> COMMAND GETKEYS client kill
-ERR The command has no key arguments
> COMMAND GETKEYS get a b
-ERR Invalid number of arguments specified for command
> COMMAND GETKEYSANDFLAGS set a b
*1
*2
$1
a
*2
+OW
+update`)
	if reply := c.do("COMMAND", "LIST", "FILTERBY", "ACLCAT", "read"); !strings.Contains(reply, "\r\nget\r\n") || strings.Contains(reply, "\r\nset\r\n") {
		t.Errorf("the readers: %q", reply)
	}
	c.do("HELLO", "3")
	if reply := c.do("COMMAND", "DOCS", "get", "client|id"); !strings.HasPrefix(reply, "%2\r\n$3\r\nget\r\n%") {
		t.Errorf("COMMAND DOCS: %.60q", reply)
	}
}
