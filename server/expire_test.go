package server_test

import (
	"testing"
	"time"
)

func TestTimeToLiveCountsDown(t *testing.T) {
	c, clock := connectAt(t)
	c.talk(`
> TTL none
:-2
> PTTL none
:-2
> EXPIRETIME none
:-2
> SET k v
+OK
> TTL k
:-1
> PEXPIRETIME k
:-1
> PEXPIRE k 10499
:1
> TTL k
:10
> PTTL k
:10499
> PEXPIRETIME k
:1800000010499
> EXPIRETIME k
:1800000010
> PEXPIRE k 10500
:1
> TTL k
:11
> EXPIRETIME k
:1800000011
> EXPIREAT k 1800000100
:1
> TTL k
:100
> PEXPIREAT k 1800000000001
:1
> TTL k
:0
> PTTL k
:1`)
	clock.advance(time.Millisecond)
	c.talk("> TTL k\n:-2\n> GET k\n$-1")
}

func TestAnExpiredKeyIsGoneForEveryCommand(t *testing.T) {
	c, clock := connectAt(t)
	c.talk("> SET k v PX 1000\n+OK\n> SET other v\n+OK")
	clock.advance(999 * time.Millisecond)
	c.talk("> GET k\n$1\nv")
	clock.advance(time.Millisecond)
	c.talk(`
> GET k
$-1
> EXISTS k
:0
> TYPE k
+none
> STRLEN k
:0
> DEL k
:0
> GETDEL k
$-1
> EXPIRE k 100
:0
> PERSIST k
:0
> TOUCH k
:0
> RENAME k l
-ERR no such key
> COPY k l
:0
> DUMP k
$-1
> OBJECT ENCODING k
$-1
> SET k v XX
$-1
> SCAN 0 MATCH k
*2
$1
0
*0
> KEYS *
*1
$5
other
> RANDOMKEY
$5
other
> APPEND k new
:3
> TTL k
:-1
> GET k
$3
new`)
}

func TestExpiredKeysAreNoLongerCounted(t *testing.T) {
	c, clock := connectAt(t)
	c.talk("> MSET a 1 b 2\n+OK\n> SET k v EX 10\n+OK\n> DBSIZE\n:3")
	clock.advance(10 * time.Second)
	until(t, "the sweeper finds the key", func() bool { return c.do("DBSIZE") == ":2\r\n" })
}

func TestAKeyStaysExpiredWhenTheClockIsSetBack(t *testing.T) {
	c, clock := connectAt(t)
	c.talk("> SET k v EX 10\n+OK\n> SET l v\n+OK")
	clock.advance(time.Hour)
	until(t, "the sweeper finds the key", func() bool { return c.do("DBSIZE") == ":1\r\n" })
	clock.advance(-time.Hour)
	c.talk(`
> GET k
$-1
> SET l w
+OK
> GET l
$1
w
> DEL l
:1
> GET l
$-1`)
}

func TestExpireOnlyWhereItsConditionHolds(t *testing.T) {
	c, _ := connectAt(t)
	c.talk(`
> SET k v
+OK
> EXPIRE k 10 XX
:0
> EXPIRE k 10 GT
:0
> TTL k
:-1
> EXPIRE k 10 LT
:1
> EXPIRE k 20 NX
:0
> EXPIRE k 10 GT
:0
> EXPIRE k 10 LT
:0
> EXPIRE k 20 GT
:1
> EXPIRE k 30 LT
:0
> EXPIRE k 15 lt XX
:1
> EXPIRE k 30 XX gt
:1
> TTL k
:30
> PERSIST k
:1
> PERSIST k
:0
> TTL k
:-1
> EXPIRE k 40 NX
:1
> TTL k
:40
> EXPIRE none 10
:0`)
}

func TestAPastExpiryDeletes(t *testing.T) {
	c, _ := connectAt(t)
	for _, command := range []string{
		"EXPIRE k 0", "EXPIRE k -1", "PEXPIRE k -5", "EXPIREAT k 1", "PEXPIREAT k 1800000000000",
		"PEXPIREAT k -9223372036854775808", "EXPIRE k -1 LT",
	} {
		c.talk("> SET k v\n+OK\n> " + command + "\n:1\n> EXISTS k\n:0")
	}
	c.talk("> SET k v\n+OK\n> EXPIRE k -1 GT\n:0\n> EXPIRE k -1 XX\n:0\n> EXISTS k\n:1")
	c.talk("> SET k w EXAT 1\n+OK\n> EXISTS k\n:0")
}

func TestExpireRefusesWhatIsWrongAlsoWithoutAKey(t *testing.T) {
	connect(t).talk(`
> EXPIRE none 10 NX XX
-ERR NX and XX, GT or LT options at the same time are not compatible
> EXPIRE none 10 NX GT
-ERR NX and XX, GT or LT options at the same time are not compatible
> EXPIRE none 10 NX LT
-ERR NX and XX, GT or LT options at the same time are not compatible
> EXPIRE none 10 GT LT
-ERR GT and LT options at the same time are not compatible
> EXPIRE none 10 FOO
-ERR Unsupported option FOO
> EXPIRE none x
-ERR value is not an integer or out of range
> EXPIRE none 9223372036854775807
-ERR invalid expire time in 'expire' command
> EXPIRE none -9223372036854775808
-ERR invalid expire time in 'expire' command
> EXPIRE none 9223372036854775
-ERR invalid expire time in 'expire' command
> PEXPIRE none 9223372036854775807
-ERR invalid expire time in 'pexpire' command
> EXPIREAT none 9223372036854776
-ERR invalid expire time in 'expireat' command
> PEXPIREAT none 9223372036854775807
:0`)
}

func TestTheFarthestExpiryIsKept(t *testing.T) {
	c, _ := connectAt(t)
	c.talk(`
> SET k v PXAT 9223372036854775807
+OK
> PEXPIRETIME k
:9223372036854775807
> EXPIRETIME k
:9223372036854776
> GET k
$1
v`)
}

func TestExpireKeepsTheValueThatIsThere(t *testing.T) {
	c, clock := connectAt(t)
	c.talk("> SET k v\n+OK\n> EXPIRE k 10\n:1")
	clock.advance(5 * time.Second)
	c.talk("> EXPIRE k 10\n:1") // a session that is touched
	clock.advance(9 * time.Second)
	c.talk("> GET k\n$1\nv\n> TTL k\n:1\n> SET k w\n+OK\n> TTL k\n:-1")
	clock.advance(time.Hour)
	c.talk("> GET k\n$1\nw")
}
