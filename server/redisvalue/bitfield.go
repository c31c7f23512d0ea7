package redisvalue

import (
	"bytes"
	"encoding/binary"
	"errors"
	"math"
)

var (
	// ErrBitfieldType says that a type of BITFIELD is none of i1..i64, u1..u63.
	ErrBitfieldType = errors.New("Invalid bitfield type. Use something like i16 u8. Note that u64 is not supported but i64 is.") //lint:ignore ST1005 Redis's words
	// ErrBitOffset says that a bit's offset is no number, negative, or beyond the longest string.
	ErrBitOffset = errors.New("bit offset is not an integer or out of range")
	// ErrOverflowType says that the word behind OVERFLOW is none of WRAP, SAT, FAIL.
	ErrOverflowType = errors.New("Invalid OVERFLOW type specified") //lint:ignore ST1005 Redis's words
)

// BitfieldType is an integer in a string of bits, such as i5 or u16. Get ParseBitfieldType to make
// one: the zero value has no bits.
type BitfieldType struct {
	Signed bool
	Bits   uint // 1..64, or 1..63 unsigned
}

// ParseBitfieldType reads "i1".."i64" or "u1".."u63", or returns ErrBitfieldType.
func ParseBitfieldType(b []byte) (BitfieldType, error) {
	if len(b) == 0 || b[0] != 'i' && b[0] != 'u' {
		return BitfieldType{}, ErrBitfieldType
	}
	signed := b[0] == 'i'
	limit := int64(63)
	if signed {
		limit = 64
	}
	width, ok := ParseInt(b[1:])
	if !ok || width < 1 || width > limit {
		return BitfieldType{}, ErrBitfieldType
	}
	return BitfieldType{Signed: signed, Bits: uint(width)}, nil
}

// ParseBitOffset reads the offset of GETBIT or SETBIT: that of a bit within the first maxBytes
// bytes. Anything else is ErrBitOffset.
func ParseBitOffset(b []byte, maxBytes int64) (uint64, error) {
	return parseOffset(b, 1, maxBytes)
}

// ParseOffset reads the offset of a field: of its first bit as in ParseBitOffset, or as '#' and a
// number of fields of this type. The field may reach over maxBytes by its own length, as in Redis.
func (t BitfieldType) ParseOffset(b []byte, maxBytes int64) (uint64, error) {
	if index, counted := bytes.CutPrefix(b, []byte("#")); counted {
		return parseOffset(index, int64(t.Bits), maxBytes)
	}
	return parseOffset(b, 1, maxBytes)
}

func parseOffset(b []byte, unit, maxBytes int64) (uint64, error) {
	offset, ok := ParseInt(b)
	if !ok || offset < 0 || offset > math.MaxInt64/unit || offset*unit>>3 >= maxBytes {
		return 0, ErrBitOffset
	}
	return uint64(offset * unit), nil
}

// Overflow is what a field does with a number that does not fit.
type Overflow uint8

// The behaviours of OVERFLOW; the default is to wrap around.
const (
	OverflowWrap Overflow = iota
	OverflowSat
	OverflowFail
)

// ParseOverflow reads the word behind OVERFLOW, in any case.
func ParseOverflow(b []byte) (Overflow, error) {
	for o, name := range []string{OverflowWrap: "wrap", OverflowSat: "sat", OverflowFail: "fail"} {
		if bytes.EqualFold(b, []byte(name)) {
			return Overflow(o), nil
		}
	}
	return OverflowWrap, ErrOverflowType
}

// ByteLen returns how many bytes a string must have to hold the field at offset.
func (t BitfieldType) ByteLen(offset uint64) int {
	return int((offset+uint64(t.Bits)-1)>>3) + 1
}

// Get returns the number in the field at offset; beyond the end of b all bits are 0.
func (t BitfieldType) Get(b []byte, offset uint64) int64 {
	high, low := loadWindow(b, offset)
	bit := offset & 7
	v := high<<bit | uint64(low)>>(8-bit)
	if t.Signed {
		return int64(v) >> (64 - t.Bits)
	}
	return int64(v >> (64 - t.Bits))
}

// Set is BITFIELD's SET: it writes value and returns what was there before. With OverflowFail and
// a value that does not fit it writes nothing and reports false. The caller has grown b, with
// zeros, to ByteLen(offset).
func (t BitfieldType) Set(b []byte, offset uint64, value int64, o Overflow) (old int64, ok bool) {
	old = t.Get(b, offset)
	least, greatest := t.limits()
	// To an unsigned field a negative value is one far too great, and saturates at the top. To a
	// signed one, so is a value so low that greatest-value passes the end of int64: Redis's
	// checkSignedBitfieldOverflow looks at that difference first.
	tooHigh := value > greatest || t.Bits < 64 && greatest-value < 0 || !t.Signed && value < 0
	tooLow := value < least && !tooHigh
	value, ok = t.fit(value, tooLow, tooHigh, o)
	if ok {
		t.put(b, offset, value)
	}
	return old, ok
}

// IncrBy is BITFIELD's INCRBY: it adds incr to the field and returns the sum, as it was made to
// fit. With OverflowFail and a sum that does not fit it writes nothing and reports false. The
// caller has grown b, with zeros, to ByteLen(offset).
func (t BitfieldType) IncrBy(b []byte, offset uint64, incr int64, o Overflow) (sum int64, ok bool) {
	old := t.Get(b, offset)
	least, greatest := t.limits()
	sum = old + incr // modulo 2^64, where it passes the end of int64
	tooHigh := incr > 0 && (sum < old || sum > greatest)
	tooLow := incr < 0 && (sum > old || sum < least)
	sum, ok = t.fit(sum, tooLow, tooHigh, o)
	if ok {
		t.put(b, offset, sum)
	}
	return sum, ok
}

// limits returns the least and the greatest number that fit.
func (t BitfieldType) limits() (least, greatest int64) {
	if !t.Signed {
		return 0, int64(uint64(1)<<t.Bits - 1)
	}
	least = math.MinInt64 >> (64 - t.Bits)
	return least, ^least
}

// fit makes v fit, where the caller has found that it does not.
func (t BitfieldType) fit(v int64, tooLow, tooHigh bool, o Overflow) (int64, bool) {
	if !tooLow && !tooHigh {
		return v, true
	}
	least, greatest := t.limits()
	switch {
	case o == OverflowFail:
		return 0, false
	case o == OverflowSat && tooLow:
		return least, true
	case o == OverflowSat:
		return greatest, true
	case t.Signed:
		return v << (64 - t.Bits) >> (64 - t.Bits), true
	}
	return v & greatest, true
}

// put writes the low bits of v.
func (t BitfieldType) put(b []byte, offset uint64, v int64) {
	window := b[offset>>3 : t.ByteLen(offset)]
	high, low := loadWindow(b, offset)
	bit := offset & 7
	value := uint64(v) << (64 - t.Bits)
	mask := ^uint64(0) << (64 - t.Bits)
	high = high&^(mask>>bit) | value>>bit
	low = low&^byte(mask<<(8-bit)) | byte(value<<(8-bit))

	var buf [9]byte
	binary.BigEndian.PutUint64(buf[:], high)
	buf[8] = low
	copy(window, buf[:])
}

// loadWindow returns the nine bytes from offset's on, which hold any field that begins there.
func loadWindow(b []byte, offset uint64) (high uint64, low byte) {
	var buf [9]byte
	if at := offset >> 3; at < uint64(len(b)) {
		copy(buf[:], b[at:])
	}
	return binary.BigEndian.Uint64(buf[:]), buf[8]
}
