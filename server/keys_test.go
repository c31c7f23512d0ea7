package server_test

import (
	"fmt"
	"testing"
	"time"

	"cartwheel/server"
)

func TestDelAndExistsCountEachKey(t *testing.T) {
	connect(t).talk(`
> MSET a 1 b 2 c 3
+OK
> EXISTS a b none a
:3
> TOUCH a none b
:2
> DEL a none a b
:2
> UNLINK c c
:1
> EXISTS a b c
:0
> TYPE a
+none
> SET a 1
+OK
> TYPE a
+string`)
}

func TestRenameMovesValueAndExpiry(t *testing.T) {
	c, _ := connectAt(t)
	c.talk(`
> SET k v EX 100
+OK
> SET taken x EX 7
+OK
> RENAME k taken
+OK
> GET k
$-1
> GET taken
$1
v
> TTL taken
:100
> RENAME taken taken
+OK
> GET taken
$1
v
> RENAME none taken
-ERR no such key
> RENAME none none
-ERR no such key
> SET k w
+OK
> RENAMENX k taken
:0
> RENAMENX k k
:0
> RENAMENX k free
:1
> GET free
$1
w
> TTL free
:-1
> RENAMENX none free
-ERR no such key
> DBSIZE
:2`)
}

func TestCopyLeavesTheSource(t *testing.T) {
	c, _ := connectAt(t)
	c.talk(`
> SET k v EX 100
+OK
> COPY k l
:1
> TTL l
:100
> SET l other
+OK
> COPY k l
:0
> GET l
$5
other
> COPY k l REPLACE
:1
> GET l
$1
v
> COPY k k
-ERR source and destination objects are the same
> COPY k k DB 3
:1
> COPY none l REPLACE
:0
> COPY k l DB 16
-ERR DB index is out of range
> COPY k l DB x
-ERR value is not an integer or out of range
> COPY k l DB
-ERR syntax error
> COPY k l FOO
-ERR syntax error
> SELECT 3
+OK
> TTL k
:100`)
}

func TestMoveGoesToAFreePlaceOnly(t *testing.T) {
	c, _ := connectAt(t)
	c.talk(`
> SET k v EX 100
+OK
> MOVE k 1
:1
> GET k
$-1
> MOVE k 1
:0
> SET k w
+OK
> MOVE k 1
:0
> GET k
$1
w
> MOVE k 0
-ERR source and destination objects are the same
> MOVE k 16
-ERR DB index is out of range
> MOVE k x
-ERR value is not an integer or out of range
> SELECT 1
+OK
> GET k
$1
v
> TTL k
:100`)
}

func TestObjectDescribesAValue(t *testing.T) {
	c, clock := connectAt(t)
	c.talk(`
> OBJECT ENCODING none
$-1
> OBJECT REFCOUNT none
$-1
> OBJECT IDLETIME none
$-1
> OBJECT FREQ none
$-1
> MSET int -123 short 0123 k v
+OK
> OBJECT ENCODING int
$3
int
> OBJECT ENCODING short
$6
embstr
> SETRANGE edge 43 x
:44
> OBJECT ENCODING edge
$6
embstr
> SETRANGE long 44 x
:45
> OBJECT ENCODING long
$3
raw
> OBJECT REFCOUNT k
:1
> OBJECT IDLETIME k
:0
> OBJECT FREQ k
-ERR An LFU maxmemory policy is not selected, access frequency not tracked. Please note that when switching between policies at runtime LRU and LFU data will take some time to adjust.
> OBJECT FOO k
-ERR unknown subcommand 'FOO'. Try OBJECT HELP.`)
	clock.advance(90 * time.Second)
	c.talk("> OBJECT IDLETIME k\n:90")
}

func TestRandomKeyIsOneThatThereIs(t *testing.T) {
	c := connect(t)
	c.talk("> RANDOMKEY\n$-1")
	const keys = 20
	for i := range keys {
		c.do("SET", fmt.Sprint("key:", i), "v")
	}
	c.talk("> SELECT 1\n+OK\n> RANDOMKEY\n$-1\n> SET elsewhere v\n+OK\n> SELECT 0\n+OK")
	drawn := map[string]bool{}
	until(t, "each key is drawn", func() bool {
		key := c.text("RANDOMKEY")
		c.expect(":1\r\n", "EXISTS", key)
		drawn[key] = true
		return len(drawn) == keys
	})
}

// One client adds to a key while another moves it away again and again: what
// has been moved and what is left make up all that was added.
func TestRenameLosesNoWriteToTheSource(t *testing.T) {
	n := start(t, server.Options{})
	adder, mover := n.dial(), n.dial()
	const additions = 2000
	added := make(chan struct{})
	go func() {
		defer close(added)
		for range additions {
			adder.do("INCR", "source")
		}
	}()
	take := func(key string) (n int) {
		if reply := mover.do("GETDEL", key); reply != "$-1\r\n" {
			_, _ = fmt.Sscanf(reply, "$%d\r\n%d", new(int), &n)
		}
		return n
	}
	moved := 0
	for adding := true; adding; {
		select {
		case <-added:
			adding = false
		default:
		}
		// A TIMEOUT says that the source is still there, and a copy of it.
		if mover.do("RENAME", "source", "target") == "+OK\r\n" {
			moved += take("target")
		}
	}
	if left := take("source"); moved+left != additions {
		t.Errorf("of %d additions %d were moved and %d are left", additions, moved, left)
	}
}
