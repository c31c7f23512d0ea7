package server_test

import (
	"regexp"
	"strings"
	"testing"
	"time"

	"cartwheel/server"
)

func TestFlushEmptiesWhatItNames(t *testing.T) {
	connect(t).talk(`
> MSET a 1 b 2
+OK
> DBSIZE
:2
> SELECT 1
+OK
> SET c 3
+OK
> FLUSHDB foo
-ERR syntax error
> FLUSHDB ASYNC
+OK
> DBSIZE
:0
> SELECT 0
+OK
> DBSIZE
:2
> FLUSHALL ASYNC SYNC
-ERR syntax error
> FLUSHALL SYNC
+OK
> GET a
$-1
> DBSIZE
:0`)
}

func TestShutdownAsksOnceAndDoesNotReply(t *testing.T) {
	n := start(t, server.Options{})
	c := n.dial()
	c.talk(`
> SHUTDOWN FOO
-ERR syntax error
> SHUTDOWN SAVE NOSAVE
-ERR syntax error
> SHUTDOWN ABORT
-ERR No shutdown in progress.`)
	select {
	case <-n.srv.ShutdownRequested():
		t.Fatal("a refused SHUTDOWN was taken for one")
	default:
	}
	for range 2 {
		c = n.dial()
		c.send("SHUTDOWN", "NOSAVE", "NOW")
		c.ends()
	}
	select {
	case <-n.srv.ShutdownRequested():
	case <-time.After(patience):
		t.Fatal("SHUTDOWN was not heard")
	}
}

func TestSavesSync(t *testing.T) {
	c := connect(t)
	c.talk(`
> SAVE
+OK
> BGSAVE FOO
-ERR syntax error
> BGSAVE SCHEDULE
+Background saving started`)
	if reply := c.do("LASTSAVE"); !regexp.MustCompile(`^:\d{9,}\r\n$`).MatchString(reply) {
		t.Errorf("LASTSAVE: %q", reply)
	}
	until(t, "BGSAVE ends", func() bool { return strings.Contains(c.text("INFO", "persistence"), "rdb_bgsave_in_progress:0") })
}

func TestAdministrationInRedissWords(t *testing.T) {
	connect(t).talk(`
> ROLE
*3
$6
master
:0
*0
> WAIT x 1
-ERR value is not an integer or out of range
> WAIT 0 x
-ERR timeout is not an integer or out of range
> WAIT 0 -1
-ERR timeout is negative
> SWAPDB x 1
-ERR invalid first DB index
> SWAPDB 1 x
-ERR invalid second DB index
> SWAPDB 1 99
-ERR DB index is out of range
> SWAPDB 0 1
-ERR SWAPDB is not supported: the number of its database is a part of where a key is stored, so every key of both would have to move
> DEBUG SLEEP 0
+OK
> DEBUG SLEEP x
-ERR value is not a valid float
> DEBUG SEGFAULT
-ERR unknown subcommand or wrong number of arguments for 'SEGFAULT'. DEBUG has only SLEEP <seconds>.
> CLUSTER SLOTS
-ERR This instance has cluster support disabled
> READONLY
-ERR This instance has cluster support disabled
> READWRITE
-ERR This instance has cluster support disabled
> ASKING
-ERR This instance has cluster support disabled`)
}

func TestTimeIsSecondsAndMicroseconds(t *testing.T) {
	reply := connect(t).do("TIME")
	if !regexp.MustCompile(`^\*2\r\n\$10\r\n\d{10}\r\n\$\d\r\n\d{1,6}\r\n$`).MatchString(reply) {
		t.Errorf("TIME: %q", reply)
	}
}

func TestLolwutNamesBothVersions(t *testing.T) {
	text := connect(t).text("LOLWUT", "VERSION", "5")
	if !strings.HasSuffix(text, "Cartwheel "+server.Version+", Redis ver. "+server.RedisVersion+"\n") {
		t.Errorf("LOLWUT: %q", text)
	}
}

func TestMemoryUsageGrowsWithTheValue(t *testing.T) {
	c := connect(t)
	c.talk(`
> MEMORY USAGE k
$-1
> SET k ""
+OK
> MEMORY USAGE k FOO 1
-ERR syntax error
> MEMORY USAGE k SAMPLES
-ERR syntax error
> MEMORY USAGE k SAMPLES -1
-ERR syntax error
> MEMORY USAGE k SAMPLES x
-ERR value is not an integer or out of range`)
	small := c.do("MEMORY", "USAGE", "k", "SAMPLES", "0")
	c.do("SET", "k", strings.Repeat("x", 1_000_000))
	if large := c.do("MEMORY", "USAGE", "k"); small[0] != ':' || len(large) <= len(small) {
		t.Errorf("an empty value takes %q, a megabyte %q", small, large)
	}
}

func TestEveryContainerHasHelp(t *testing.T) {
	c := connect(t)
	for _, container := range []string{"CLIENT", "COMMAND", "CONFIG", "LATENCY", "MEMORY", "OBJECT", "SLOWLOG"} {
		reply := c.do(container, "help")
		first := "+" + container + " <subcommand> [<arg> [value] [opt] ...]. Subcommands are:\r\n"
		if !strings.Contains(reply, first) || !strings.HasSuffix(reply, "+HELP\r\n+    Print this help.\r\n") {
			t.Errorf("%s HELP: %q", container, reply)
		}
	}
}
