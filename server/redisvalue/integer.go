package redisvalue

import (
	"math"
	"strconv"
)

// maxIntLen is the length of the longest 64-bit integer in decimal, "-9223372036854775808".
const maxIntLen = 20

// ParseInt reads the one canonical decimal form of a 64-bit integer, as Redis's string2ll does:
// no spaces, no plus sign, no leading zeros, no "-0". What it accepts, AppendInt prints back byte
// for byte. It does not allocate.
func ParseInt(b []byte) (int64, bool) {
	if len(b) == 0 || len(b) > maxIntLen {
		return 0, false
	}
	if len(b) == 1 && b[0] == '0' {
		return 0, true
	}
	negative := b[0] == '-'
	if negative {
		b = b[1:]
	}
	if len(b) == 0 || b[0] < '1' || b[0] > '9' {
		return 0, false
	}
	magnitude, ok := parseDigits(b)
	switch {
	case !ok:
		return 0, false
	case negative && magnitude <= -math.MinInt64:
		return int64(-magnitude), true
	case !negative && magnitude <= math.MaxInt64:
		return int64(magnitude), true
	}
	return 0, false
}

// ParseUint reads an unsigned integer as Redis reads a SCAN cursor, which is C's strtoul without
// leading space: signs and leading zeros are accepted, a minus negates modulo 2^64, and the empty
// string is 0. Unlike C it does not stop at a NUL byte. It does not allocate.
func ParseUint(b []byte) (uint64, bool) {
	if len(b) == 0 {
		return 0, true
	}
	negative := b[0] == '-'
	if negative || b[0] == '+' {
		b = b[1:]
	}
	if len(b) == 0 {
		return 0, false
	}
	magnitude, ok := parseDigits(b)
	if negative {
		magnitude = -magnitude
	}
	return magnitude, ok
}

// parseDigits reads decimal digits and nothing else, refusing what exceeds 64 bits.
func parseDigits(b []byte) (uint64, bool) {
	var v uint64
	for _, c := range b {
		digit := uint64(c - '0')
		if digit > 9 || v > (math.MaxUint64-digit)/10 {
			return 0, false
		}
		v = v*10 + digit
	}
	return v, true
}

// AppendInt appends the canonical decimal form of v to dst.
func AppendInt(dst []byte, v int64) []byte {
	return strconv.AppendInt(dst, v, 10)
}

// IsCanonicalInt reports whether Redis would hold b as an integer: OBJECT ENCODING says "int".
func IsCanonicalInt(b []byte) bool {
	_, ok := ParseInt(b)
	return ok
}
