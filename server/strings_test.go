package server_test

import (
	"fmt"
	"strings"
	"sync"
	"testing"

	"cartwheel/server"
)

func TestRangesAreClamped(t *testing.T) {
	c := connect(t)
	c.talk(`
> SET k "Hello World"
+OK
> GETRANGE k 0 4
$5
Hello
> GETRANGE k -5 -1
$5
World
> GETRANGE k 5 3
$0

> GETRANGE k -1 -5
$0

> GETRANGE k 11 20
$0

> GETRANGE k 0 999
$11
Hello World
> SUBSTR k -100 0
$1
H
> GETRANGE none 0 -1
$0

> GETRANGE k x 1
-ERR value is not an integer or out of range
> SETRANGE k 6 Redis
:11
> GET k
$11
Hello Redis
> STRLEN k
:11
> STRLEN none
:0
> SETRANGE none 5 ""
:0
> EXISTS none
:0
> SETRANGE k 99 ""
:11
> SETRANGE k -1 x
-ERR offset is out of range
> SETRANGE p 3 x
:4`)
	c.expect("$4\r\n\x00\x00\x00x\r\n", "GET", "p")
}

func TestValuesGrowUpToTheLimit(t *testing.T) {
	c, _ := connectAt(t)
	c.talk(`
> APPEND k ab
:2
> EXPIRE k 100
:1
> APPEND k cd
:4
> APPEND k ""
:4
> SETRANGE k 4 e
:5
> GET k
$5
abcde
> TTL k
:100
> CONFIG SET proto-max-bulk-len 1mb
+OK
> SETRANGE k 1048575 x
:1048576
> APPEND k x
-ERR string exceeds maximum allowed size (proto-max-bulk-len)
> SETRANGE k 1048576 x
-ERR string exceeds maximum allowed size (proto-max-bulk-len)
> SETRANGE k 9223372036854775807 x
-ERR string exceeds maximum allowed size (proto-max-bulk-len)
> STRLEN k
:1048576`)
}

func TestManyKeysAtOnce(t *testing.T) {
	connect(t).talk(`
> MSET a 1 b 2 a 3
+OK
> MGET a none b a
*4
$1
3
$-1
$1
2
$1
3
> MSET a
-ERR wrong number of arguments for 'mset' command
> MSET a 1 b
-ERR wrong number of arguments for 'mset' command
> MSETNX {t}1 a {t}2 b
:1
> MSETNX {t}2 c {t}3 d
:0
> MGET {t}2 {t}3
*2
$1
b
$-1
> MSETNX {u}1 first {u}1 last
:1
> GET {u}1
$4
last
> MSETNX {u}2 1 {u}3
-ERR wrong number of arguments for 'msetnx' command
> MSETNX a 1 c 2
-CROSSSLOT Keys in request don't hash to the same slot`)
}

func TestLongestCommonSubsequenceComparesNoMorePairsThanRedis(t *testing.T) {
	c := connect(t)
	const most = 11584 // (most+1)² pairs are fewer than lcsPairsMax, and (most+2)² are more
	c.talk(fmt.Sprintf(`
> SETRANGE a %[1]d x
:%[2]d
> SETRANGE b %[1]d x
:%[2]d
> LCS a b LEN
:%[2]d
> APPEND a x
:%[3]d
> APPEND b x
:%[3]d
> LCS a b LEN
-ERR Insufficient memory, transient memory for LCS exceeds proto-max-bulk-len
> LCS a b
-ERR Insufficient memory, transient memory for LCS exceeds proto-max-bulk-len`, most-1, most, most+1))
}

func TestLongestCommonSubsequenceIsBoundedByTheSetting(t *testing.T) {
	c := connect(t)
	c.talk(`
> CONFIG SET proto-max-bulk-len 1mb
+OK
> SETRANGE a 510 x
:511
> LCS a a LEN
:511
> APPEND a x
:512
> LCS a a LEN
-ERR Insufficient memory, transient memory for LCS exceeds proto-max-bulk-len`)
}

func TestLongestCommonSubsequence(t *testing.T) {
	c := connect(t)
	c.talk(`
> MSET a ohmytext b mynewtext
+OK
> LCS a b
$6
mytext
> LCS a b LEN
:6
> LCS a b IDX
*4
$7
matches
*2
*2
*2
:4
:7
*2
:5
:8
*2
*2
:2
:3
*2
:0
:1
$3
len
:6
> LCS a none
$0

> LCS a b LEN IDX
-ERR If you want both the length and indexes, please just use IDX.
> LCS a b FOO
-ERR syntax error`)
	c.do("HELLO", "3")
	c.talk(`
> LCS a b IDX MINMATCHLEN 4 WITHMATCHLEN
%2
$7
matches
*1
*3
*2
:4
:7
*2
:5
:8
:4
$3
len
:6`)
}

// Each of many clients adds to one counter: no addition may be lost.
func TestIncrementsOfManyClientsAllCount(t *testing.T) {
	n := start(t, server.Options{})
	const clients, each = 8, 250
	var done sync.WaitGroup
	for range clients {
		c := n.dial()
		done.Go(func() {
			c.write(strings.Repeat("INCR n\r\n", each))
			last := 0
			for range each {
				var sum int
				if _, err := fmt.Sscanf(c.reply(), ":%d", &sum); err != nil || sum <= last {
					t.Errorf("a counter went from %d to %d, error %v", last, sum, err)
				}
				last = sum
			}
		})
	}
	done.Wait()
	n.dial().talk(fmt.Sprintf("> GET n\n$4\n%d", clients*each))
}
