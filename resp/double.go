package resp

import (
	"math"
	"strconv"
)

// doubleBytesMax holds the longest double: a sign, 17 digits and up to 7 zeros,
// or a point and an exponent.
const doubleBytesMax = 32

// appendDouble appends f as Redis 7.2's d2string prints it: a whole number that
// an int64 holds in full, anything else in the shortest digits that read back
// as f (deps/fpconv), laid out as layOut says.
//
// fpconv's Grisu2 misses the shortest digits for about one double in a
// thousand, and prints one digit more; we do not copy that.
func appendDouble(b []byte, f float64) []byte {
	switch {
	case math.IsNaN(f):
		return append(b, "nan"...)
	case math.IsInf(f, 1):
		return append(b, "inf"...)
	case math.IsInf(f, -1):
		return append(b, "-inf"...)
	case f == 0 && math.Signbit(f):
		return append(b, "-0"...)
	case math.Abs(f) <= math.MaxInt64/2 && f == math.Trunc(f):
		return strconv.AppendInt(b, int64(f), 10)
	}
	if f < 0 {
		b = append(b, '-')
	}
	// d.ddde±xx, from which digits and exponent are taken apart again.
	var text [doubleBytesMax]byte
	scientific := strconv.AppendFloat(text[:0], math.Abs(f), 'e', -1, 64)
	return layOut(b, scientific)
}

// layOut appends a number given as d.ddde±xx in fpconv's layout (emit_digits):
// plain when the zeros to add are few, with an exponent of as many digits as it
// needs otherwise.
func layOut(b, scientific []byte) []byte {
	e := len(scientific) - 1
	for scientific[e] != 'e' {
		e--
	}
	exponent, _ := strconv.Atoi(string(scientific[e+1:]))
	digits := scientific[:e]
	if len(digits) > 1 {
		digits[1] = digits[0] // over the point
		digits = digits[1:]
	}
	scale := exponent - (len(digits) - 1) // f is digits * 10^scale
	distance := max(exponent, -exponent)
	switch {
	case scale >= 0 && distance < len(digits)+7:
		b = append(b, digits...)
		for range scale {
			b = append(b, '0')
		}
		return b
	case scale < 0 && (scale > -7 || distance < 4):
		if exponent >= 0 {
			b = append(b, digits[:exponent+1]...)
			b = append(b, '.')
			return append(b, digits[exponent+1:]...)
		}
		b = append(b, "0."...)
		for range -exponent - 1 {
			b = append(b, '0')
		}
		return append(b, digits...)
	}
	b = append(b, digits[0])
	if len(digits) > 1 {
		b = append(b, '.')
		b = append(b, digits[1:]...)
	}
	b = append(b, 'e')
	if exponent >= 0 {
		b = append(b, '+')
	}
	return strconv.AppendInt(b, int64(exponent), 10)
}
