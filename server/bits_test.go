package server_test

import (
	"testing"
)

func TestSingleBits(t *testing.T) {
	c, _ := connectAt(t)
	c.talk(`
> SETBIT k 7 1
:0
> EXPIRE k 100
:1
> GETBIT k 7
:1
> GETBIT k 100
:0
> GETBIT none 0
:0
> SETBIT k 7 0
:1
> SETBIT k 23 0
:0
> STRLEN k
:3
> TTL k
:100
> SETBIT k 4294967296 1
-ERR bit offset is not an integer or out of range
> SETBIT k -1 1
-ERR bit offset is not an integer or out of range
> GETBIT k x
-ERR bit offset is not an integer or out of range
> SETBIT k 0 2
-ERR bit is not an integer or out of range
> SETBIT k 0 x
-ERR bit is not an integer or out of range`)
	c.expect("$3\r\n\x00\x00\x00\r\n", "GET", "k")
}

func TestBitsAreCountedInBytesAndInBits(t *testing.T) {
	connect(t).talk(`
> SET k foobar
+OK
> BITCOUNT k
:26
> BITCOUNT k 0 0
:4
> BITCOUNT k 1 1
:6
> BITCOUNT k 1 1 BYTE
:6
> BITCOUNT k 5 30 BIT
:17
> BITCOUNT k -2 -1
:7
> BITCOUNT k 4 2
:0
> BITCOUNT none
:0
> BITCOUNT k 0
-ERR syntax error
> BITCOUNT k 0 1 FOO
-ERR syntax error
> BITCOUNT k x 1
-ERR value is not an integer or out of range`)
}

func TestBitposFindsTheFirstBit(t *testing.T) {
	connect(t).talk(`
> SET k "\xff\xf0\x00"
+OK
> BITPOS k 0
:12
> SET k "\x00\xff\xf0"
+OK
> BITPOS k 1 0
:8
> BITPOS k 1 2
:16
> BITPOS k 1 2 -1 BYTE
:16
> BITPOS k 1 7 15 BIT
:8
> SET k "\x00\x00\x00"
+OK
> BITPOS k 1
:-1
> BITPOS k 1 7 -3 BIT
:-1
> SET k "\xff\xff"
+OK
> BITPOS k 0
:16
> BITPOS k 0 0 -1
:-1
> BITPOS none 1
:-1
> BITPOS none 0
:0
> BITPOS k 2
-ERR The bit argument must be 1 or 0.
> BITPOS k x
-ERR value is not an integer or out of range
> BITPOS k 1 0 1 FOO
-ERR syntax error`)
}

func TestBitopCombinesStrings(t *testing.T) {
	c := connect(t)
	c.talk(`
> MSET a foobar b abcdef short x
+OK
> BITOP AND to a b
:6
> GET to
$6
` + "`bc`ab" + `
> BITOP or to a b
:6
> GET to
$6
goofev
> BITOP XOR to a a
:6
> BITCOUNT to
:0
> BITOP AND to a short
:6
> BITOP NOT to a
:6
> BITOP NOT to to
:6
> GET to
$6
foobar
> BITOP OR to none nothing
:0
> EXISTS to
:0
> BITOP NOT to a b
-ERR BITOP NOT must be called with a single source key.
> BITOP NAND to a b
-ERR syntax error`)
}

func TestBitfieldsAreReadSetAndAddedTo(t *testing.T) {
	c, _ := connectAt(t)
	c.talk(`
> BITFIELD k INCRBY i5 100 1 GET u4 0
*2
:1
:0
> BITFIELD k SET u8 #1 200 GET u8 8 SET i8 8 -1
*3
:0
:200
:-56
> EXPIRE k 100
:1
> BITFIELD k SET u8 0 255 INCRBY u8 0 1
*2
:0
:0
> TTL k
:100
> BITFIELD k GET u8 #1 GET i64 0
*2
:255
:71776119061217280
> BITFIELD_RO k GET u8 8
*1
:255
> BITFIELD_RO none GET u8 8
*1
:0
> BITFIELD none
*0
> EXISTS none
:0`)
}

func TestBitfieldOverflowsAsAsked(t *testing.T) {
	connect(t).talk(`
> BITFIELD k INCRBY u2 100 1 OVERFLOW SAT INCRBY u2 102 1
*2
:1
:1
> BITFIELD k INCRBY u2 100 1 OVERFLOW SAT INCRBY u2 102 1
*2
:2
:2
> BITFIELD k INCRBY u2 100 1 OVERFLOW SAT INCRBY u2 102 1
*2
:3
:3
> BITFIELD k INCRBY u2 100 1 OVERFLOW SAT INCRBY u2 102 1
*2
:0
:3
> BITFIELD k OVERFLOW FAIL INCRBY u2 102 1 SET u2 102 9 GET u2 102
*3
$-1
$-1
:3
> BITFIELD k OVERFLOW SAT INCRBY i8 0 1000 INCRBY i8 0 -1000
*2
:127
:-128`)
}

func TestBitfieldRefusesWhatIsWrongBeforeItWrites(t *testing.T) {
	connect(t).talk(`
> BITFIELD k SET u8 0 1 GET u64 0
-ERR Invalid bitfield type. Use something like i16 u8. Note that u64 is not supported but i64 is.
> BITFIELD k SET u8 0 1 GET i65 0
-ERR Invalid bitfield type. Use something like i16 u8. Note that u64 is not supported but i64 is.
> BITFIELD k SET u8 0 1 GET u8 -1
-ERR bit offset is not an integer or out of range
> BITFIELD k SET u8 0 1 GET u8 #x
-ERR bit offset is not an integer or out of range
> BITFIELD k SET u8 0 1 SET u8 0 x
-ERR value is not an integer or out of range
> BITFIELD k SET u8 0 1 OVERFLOW FOO
-ERR Invalid OVERFLOW type specified
> BITFIELD k SET u8 0 1 GET u8
-ERR syntax error
> BITFIELD k SET u8 0 1 FOO u8 0
-ERR syntax error
> BITFIELD_RO k SET u8 0 1
-ERR BITFIELD_RO only supports the GET subcommand
> EXISTS k
:0`)
}
