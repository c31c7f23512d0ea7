package redisvalue_test

import (
	"bytes"
	"fmt"
	"testing"

	"cartwheel/server/redisvalue"
)

func TestBitCountAndBitPosOfTheManual(t *testing.T) {
	foobar := []byte("foobar")
	for _, c := range []struct {
		start, end, want int64
		bitUnit          bool
	}{{0, -1, 26, false}, {0, 0, 4, false}, {1, 1, 6, false}, {1, 1, 6, false}, {5, 30, 17, true}, {-1, -2, 0, false}} {
		if got := redisvalue.BitCount(foobar, c.start, c.end, c.bitUnit); got != c.want {
			t.Errorf("BITCOUNT %+v: %d", c, got)
		}
	}
	ones := []byte{0xff, 0xff}
	for _, c := range []struct {
		value    []byte
		bit      int
		start    int64
		endGiven bool
		want     int64
	}{
		{ones, 0, 0, false, 16},
		{ones, 0, 0, true, -1},
		{ones, 1, 0, true, 0},
		{ones, 1, 2, false, -1},
		{ones, 0, 2, false, -1},
		{[]byte{0, 0}, 1, 0, false, -1},
		{[]byte{0xff, 0xf0, 0}, 0, 0, false, 12},
		{nil, 0, 0, false, -1},
	} {
		if got := redisvalue.BitPos(c.value, c.bit, c.start, -1, c.endGiven, false); got != c.want {
			t.Errorf("BITPOS %+v: %d", c, got)
		}
	}
}

func TestSetBitGivesTheBitBefore(t *testing.T) {
	b := make([]byte, 2)
	for _, want := range []int{0, 1} {
		if old := redisvalue.SetBit(b, 9, 1); old != want {
			t.Errorf("old bit %d, want %d", old, want)
		}
	}
	if !bytes.Equal(b, []byte{0, 0x40}) || redisvalue.GetBit(b, 9) != 1 || redisvalue.GetBit(b, 1<<40) != 0 {
		t.Errorf("%x", b)
	}
	if old := redisvalue.SetBit(b, 9, 0); old != 1 || b[1] != 0 {
		t.Errorf("cleared: %d, %x", old, b)
	}
}

func TestBitRangesAgreeWithRedis(t *testing.T) {
	client := startRedis(t)
	r := newRand(t)
	for range 4000 {
		value := randomBytes(r, 40, 256)
		if r.IntN(2) == 0 { // long runs of one bit
			value = bytes.Repeat([]byte{byte(-r.IntN(2))}, r.IntN(40))
			if len(value) > 0 && r.IntN(2) == 0 {
				value[r.IntN(len(value))] ^= 1 << r.IntN(8)
			}
		}
		unit, bitUnit, most := "BYTE", false, 45
		if r.IntN(2) == 0 {
			unit, bitUnit, most = "BIT", true, 360
		}
		start, end := int64(r.IntN(2*most)-most), int64(r.IntN(2*most)-most)
		bit := r.IntN(2)
		byteStart := int64(r.IntN(90) - 45)
		replies := askAll(t, client, [][]any{
			{"SET", "k", value},
			{"BITCOUNT", "k", start, end, unit},
			{"BITPOS", "k", bit, start, end, unit},
			{"BITPOS", "k", bit, byteStart},
			{"BITPOS", "k", bit},
		})[1:]
		ours := []any{
			redisvalue.BitCount(value, start, end, bitUnit),
			redisvalue.BitPos(value, bit, start, end, true, bitUnit),
			redisvalue.BitPos(value, bit, byteStart, 0, false, false),
			redisvalue.BitPos(value, bit, 0, 0, false, false),
		}
		if fmt.Sprint(ours) != fmt.Sprint(replies) {
			fail(t, ours, replies, "%x, bit %d, %d %d %s, from byte %d", value, bit, start, end, unit, byteStart)
		}
	}
}

func TestBitOpAgreesWithRedis(t *testing.T) {
	client := startRedis(t)
	r := newRand(t)
	names := []string{redisvalue.BitAnd: "AND", redisvalue.BitOr: "OR", redisvalue.BitXor: "XOR", redisvalue.BitNot: "NOT"}
	for range 2000 {
		op := redisvalue.BitOperation(r.IntN(len(names)))
		count := 1 + r.IntN(4)
		if op == redisvalue.BitNot {
			count = 1
		}
		command := []any{"BITOP", names[op], "target"}
		commands := [][]any{}
		var srcs [][]byte
		for i := range count {
			src := randomBytes(r, 50, 256)
			srcs = append(srcs, src)
			commands = append(commands, []any{"SET", i, src})
			command = append(command, i)
		}
		replies := askAll(t, client, append(commands, command, []any{"GET", "target"}))
		want, _ := replies[len(replies)-1].(string)
		if got := redisvalue.BitOp(op, srcs...); string(got) != want {
			fail(t, got, []byte(want), "BITOP %s %x", names[op], srcs)
		}
	}
}
