package server_test

import "testing"

func TestSetTakesItsOptionsInAnyOrder(t *testing.T) {
	c, _ := connectAt(t)
	c.talk(`
> SET k v1 GET NX EX 100
$-1
> TTL k
:100
> SET k v2 nx get
$2
v1
> SET k v3 XX
+OK
> TTL k
:-1
> SET k v4 PX 100000 XX GET
$2
v3
> SET k v5 KEEPTTL
+OK
> TTL k
:100
> SET k v6 EX 1 ex 200
+OK
> TTL k
:200
> SET k v7 NX
$-1
> GET k
$2
v6
> SET none v XX
$-1
> SET none v GET XX
$-1
> EXISTS none
:0`)
}

func TestSetRefusesWhatContradicts(t *testing.T) {
	connect(t).talk(`
> SET k v NX XX
-ERR syntax error
> SET k v XX NX
-ERR syntax error
> SET k v EX 1 PX 1
-ERR syntax error
> SET k v EX 1 EXAT 1
-ERR syntax error
> SET k v KEEPTTL EX 1
-ERR syntax error
> SET k v PXAT 1 KEEPTTL
-ERR syntax error
> SET k v EX
-ERR syntax error
> SET k v PERSIST
-ERR syntax error
> SET k v EX x
-ERR value is not an integer or out of range
> SET k v EX 0
-ERR invalid expire time in 'set' command
> SET k v PX -1
-ERR invalid expire time in 'set' command
> SET k v EX 9223372036854775807
-ERR invalid expire time in 'set' command
> SET k v PX 9223372036854775807
-ERR invalid expire time in 'set' command
> SET k v EXAT -5
-ERR invalid expire time in 'set' command
> SETEX k 0 v
-ERR invalid expire time in 'setex' command
> PSETEX k 9223372036854775807 v
-ERR invalid expire time in 'psetex' command
> EXISTS k
:0`)
}

func TestOldStringCommandsDoAsSetDoes(t *testing.T) {
	c, _ := connectAt(t)
	c.talk(`
> SETNX k v
:1
> SETNX k w
:0
> SETEX k 100 x
+OK
> PTTL k
:100000
> PSETEX k 100 y
+OK
> PTTL k
:100
> GETSET k z
$1
y
> PTTL k
:-1
> GETSET new v
$-1
> GETDEL k
$1
z
> GETDEL k
$-1`)
}

func TestGetexJudgesExistenceFirst(t *testing.T) {
	c, _ := connectAt(t)
	c.talk(`
> GETEX none EX 0
$-1
> GETEX none EX x
$-1
> SET k v
+OK
> GETEX k EX 100
$1
v
> TTL k
:100
> GETEX k
$1
v
> TTL k
:100
> GETEX k PERSIST
$1
v
> TTL k
:-1
> GETEX k EX 0
-ERR invalid expire time in 'getex' command
> GETEX k EX 1 PERSIST
-ERR syntax error
> GETEX k KEEPTTL
-ERR syntax error
> GETEX k NX
-ERR syntax error
> GETEX k EXAT 1
$1
v
> EXISTS k
:0`)
}
