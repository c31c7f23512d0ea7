package redisvalue_test

import (
	"bytes"
	"errors"
	"fmt"
	"math"
	"math/big"
	"testing"

	"cartwheel/server/redisvalue"
)

func TestParseBitfieldType(t *testing.T) {
	for text, want := range map[string]redisvalue.BitfieldType{
		"i1": {Signed: true, Bits: 1}, "i64": {Signed: true, Bits: 64}, "u1": {Bits: 1}, "u63": {Bits: 63},
	} {
		if got, err := redisvalue.ParseBitfieldType([]byte(text)); err != nil || got != want {
			t.Errorf("%q: %v, %v", text, got, err)
		}
	}
	for _, text := range []string{"", "i", "u", "i0", "u0", "i65", "u64", "I8", "i08", "i-1", "8", "i 8"} {
		if _, err := redisvalue.ParseBitfieldType([]byte(text)); !errors.Is(err, redisvalue.ErrBitfieldType) {
			t.Errorf("%q: %v", text, err)
		}
	}
}

func TestParseBitOffset(t *testing.T) {
	u8 := redisvalue.BitfieldType{Bits: 8}
	for _, c := range []struct {
		text string
		want uint64
		ok   bool
	}{
		{"0", 0, true},
		{"79", 79, true},
		{"80", 0, false},
		{"#9", 72, true},
		{"#10", 0, false},
		{"#9223372036854775807", 0, false},
		{"-1", 0, false},
		{"#-1", 0, false},
		{"", 0, false},
		{"#", 0, false},
		{"01", 0, false},
	} {
		got, err := u8.ParseOffset([]byte(c.text), 10)
		if got != c.want || (err == nil) != c.ok || err != nil && !errors.Is(err, redisvalue.ErrBitOffset) {
			t.Errorf("%q: %d, %v", c.text, got, err)
		}
	}
	if _, err := redisvalue.ParseBitOffset([]byte("#1"), 10); !errors.Is(err, redisvalue.ErrBitOffset) {
		t.Errorf("SETBIT knows no #: %v", err)
	}
}

func TestParseOverflow(t *testing.T) {
	for text, want := range map[string]redisvalue.Overflow{
		"WRAP": redisvalue.OverflowWrap, "sat": redisvalue.OverflowSat, "Fail": redisvalue.OverflowFail,
	} {
		if got, err := redisvalue.ParseOverflow([]byte(text)); err != nil || got != want {
			t.Errorf("%q: %v, %v", text, got, err)
		}
	}
	if _, err := redisvalue.ParseOverflow([]byte("wra")); !errors.Is(err, redisvalue.ErrOverflowType) {
		t.Errorf("wra: %v", err)
	}
}

func TestBitfieldAgreesWithRedis(t *testing.T) {
	client := startRedis(t)
	r := newRand(t)
	overflows := []string{redisvalue.OverflowWrap: "WRAP", redisvalue.OverflowSat: "SAT", redisvalue.OverflowFail: "FAIL"}
	for range 6000 {
		value := append([]byte{1}, randomBytes(r, 24, 256)...)
		typ := redisvalue.BitfieldType{Signed: r.IntN(2) == 0, Bits: 1 + r.UintN(63)}
		name := fmt.Sprintf("u%d", typ.Bits)
		if typ.Signed {
			typ.Bits += r.UintN(2)
			name = fmt.Sprintf("i%d", typ.Bits)
		}
		offset := r.Uint64N(220)
		overflow := redisvalue.Overflow(r.IntN(3))
		operand := int64(r.Uint64()) >> r.UintN(64)
		if r.IntN(8) == 0 {
			operand = []int64{math.MinInt64, math.MaxInt64, 0, -1, 1}[r.IntN(5)]
		}
		verb := []string{"SET", "INCRBY"}[r.IntN(2)]
		replies := askAll(t, client, [][]any{
			{"SET", "k", value},
			{"BITFIELD", "k", "GET", name, offset, "OVERFLOW", overflows[overflow], verb, name, offset, operand, "GET", name, offset},
			{"GET", "k"},
		})[1:]

		ours := append(bytes.Clone(value), make([]byte, max(0, typ.ByteLen(offset)-len(value)))...)
		before := typ.Get(value, offset)
		change := typ.Set
		if verb == "INCRBY" {
			change = typ.IncrBy
		}
		var result any
		if n, ok := change(ours, offset, operand, overflow); ok {
			result = n
		}
		got := []any{[]any{before, result, typ.Get(ours, offset)}, string(ours)}
		if fmt.Sprintf("%q", got) != fmt.Sprintf("%q", replies) {
			fail(t, got, replies, "%x %s %s %d %d %s", value, verb, name, offset, operand, overflows[overflow])
		}
	}
}

// The model counts in integers without a size and moves single bits.
func FuzzBitfieldAgainstModel(f *testing.F) {
	f.Add([]byte("\xff\x00\xff\x00\xff\x00\xff\x00\xff"), true, uint8(64), uint8(3), int64(math.MinInt64), uint8(0), true)
	f.Add([]byte("\xff\xff"), false, uint8(63), uint8(1), int64(math.MinInt64), uint8(1), true)
	f.Add([]byte("abcdefghijk"), false, uint8(7), uint8(13), int64(-1), uint8(2), false)
	f.Fuzz(func(t *testing.T, b []byte, signed bool, width, at uint8, operand int64, how uint8, incr bool) {
		typ := redisvalue.BitfieldType{Signed: signed, Bits: 1 + uint(width)%63}
		if signed && width == 64 {
			typ.Bits = 64
		}
		offset, overflow := uint64(at), redisvalue.Overflow(how%3)
		b = append(bytes.Clone(b), make([]byte, max(0, typ.ByteLen(offset)-len(b)))...)
		want := bytes.Clone(b)
		old := modelGet(b, typ, offset)
		if got := typ.Get(b, offset); big.NewInt(got).Cmp(old) != 0 {
			t.Fatalf("get %d, want %d", got, old)
		}

		target := big.NewInt(operand)
		if incr {
			target.Add(target, old)
		} else if !signed {
			target.SetUint64(uint64(operand)) // Redis takes SET's operand for unsigned
		}
		if !incr && signed && typ.Bits < 64 && operand < math.MinInt64+1<<(typ.Bits-1) {
			target.Add(target, new(big.Int).Lsh(big.NewInt(1), 64)) // Redis takes the lowest for too great
		}
		fitted, ok := modelFit(typ, target, overflow)
		reply := old
		if incr {
			reply = fitted
		}
		if ok {
			modelPut(want, typ, offset, fitted)
		}
		change := typ.Set
		if incr {
			change = typ.IncrBy
		}
		got, gotOK := change(b, offset, operand, overflow)
		if gotOK != ok || !bytes.Equal(b, want) || ok && big.NewInt(got).Cmp(reply) != 0 {
			t.Fatalf("%d, %v and %x, want %d, %v and %x", got, gotOK, b, reply, ok, want)
		}
	})
}

func modelGet(b []byte, typ redisvalue.BitfieldType, offset uint64) *big.Int {
	v := new(big.Int)
	for i := range uint64(typ.Bits) {
		v.Lsh(v, 1).Or(v, big.NewInt(int64(redisvalue.GetBit(b, offset+i))))
	}
	if typ.Signed && v.Bit(int(typ.Bits)-1) == 1 {
		v.Sub(v, new(big.Int).Lsh(big.NewInt(1), typ.Bits))
	}
	return v
}

func modelPut(b []byte, typ redisvalue.BitfieldType, offset uint64, v *big.Int) {
	for i := range int(typ.Bits) {
		redisvalue.SetBit(b, offset+uint64(i), int(v.Bit(int(typ.Bits)-1-i)))
	}
}

func modelFit(typ redisvalue.BitfieldType, v *big.Int, o redisvalue.Overflow) (*big.Int, bool) {
	modulus := new(big.Int).Lsh(big.NewInt(1), typ.Bits)
	least, beyond := new(big.Int), modulus
	if typ.Signed {
		beyond = new(big.Int).Rsh(modulus, 1)
		least = new(big.Int).Neg(beyond)
	}
	low, high := v.Cmp(least) < 0, v.Cmp(beyond) >= 0
	switch {
	case !low && !high:
		return v, true
	case o == redisvalue.OverflowFail:
		return nil, false
	case o == redisvalue.OverflowSat && low:
		return least, true
	case o == redisvalue.OverflowSat:
		return new(big.Int).Sub(beyond, big.NewInt(1)), true
	}
	wrapped := new(big.Int).Mod(new(big.Int).Sub(v, least), modulus)
	return wrapped.Add(wrapped, least), true
}
