package redisvalue

import (
	"bytes"
	"errors"
	"math/big"
)

var (
	// ErrNotFloat says that a value or an increment is no number.
	ErrNotFloat = errors.New("value is not a valid float")
	// ErrNotFinite says that a sum is infinite or not a number.
	ErrNotFinite = errors.New("increment would produce NaN or Infinity")
)

// IncrByFloat is INCRBYFLOAT: the sum of two numbers in 80-bit long doubles, printed as Redis
// prints it. The empty string is no number: for a missing key the caller passes "0".
func IncrByFloat(old, incr []byte) ([]byte, error) {
	x, ok := ParseFloat(old)
	if !ok {
		return nil, ErrNotFloat
	}
	y, ok := ParseFloat(incr)
	if !ok {
		return nil, ErrNotFloat
	}
	if x.IsInf() || y.IsInf() {
		return nil, ErrNotFinite
	}
	sum := x.Add(x, y)
	if sum.MantExp(nil) > longDoubleMaxExp {
		return nil, ErrNotFinite
	}
	return appendFloat(nil, sum), nil
}

// fractionDigits is how many digits Redis prints behind the point before it cuts trailing zeros.
const fractionDigits = 17

// appendFloat prints f as Redis's ld2string does for people: "%.17Lf" without trailing zeros and
// without a negative zero.
func appendFloat(dst []byte, f *big.Float) []byte {
	// Below 2^-58, less than half a unit of the last digit: not worth the thousands of digits that
	// the exact conversion of the smallest numbers goes through.
	if f.Sign() == 0 || f.MantExp(nil) <= -58 {
		return append(dst, '0')
	}
	start := len(dst)
	dst = f.Append(dst, 'f', fractionDigits)
	text := bytes.TrimRight(dst[start:], "0")
	text = bytes.TrimSuffix(text, []byte("."))
	if string(text) == "-0" {
		return append(dst[:start], '0')
	}
	return dst[:start+len(text)]
}
