package redisvalue

import (
	"bytes"
	"math/big"
)

// Redis counts INCRBYFLOAT in x87 long doubles: 64 bits of mantissa, exponents of 15 bits.
const (
	longDoubleBits = 64

	// Exponents as big.Float.MantExp has them, the mantissa being in [0.5, 1).
	longDoubleMaxExp = 16384  // at 2^16384 and above, infinity
	longDoubleMinExp = -16445 // at 2^-16446 and below, a nonzero number rounds to zero

	// Outside 10^-4951 .. 10^4933 no rounding brings a number back into range. Checked on the
	// text, these keep "1e4000000" from ever being computed.
	maxDecimalPoint = 4933
	minDecimalPoint = -4950

	// Redis reads numbers into a buffer of 5 KiB, its NUL included.
	maxFloatText = 5*1024 - 1

	// Written exponents are cut to this: far enough out that the digits, at most maxFloatText of
	// them, cannot bring the number back into range.
	exponentCap = 1_000_000
)

// ParseFloat reads a number as Redis reads a long double (string2ld, C's strtold): decimal or
// hexadecimal, an optional exponent, "inf" and "infinity" in any case; no spaces, no NaN, nothing
// behind the number. What overflows, or is not zero but would round to it, is no number. The
// result has a 64-bit mantissa, rounded to nearest even; below 2^-16382 it is more precise than a
// long double is, which no sum that Redis prints can show.
//
// The cost is bounded by the 5 KiB that Redis bounds the text to, whatever the exponent says.
func ParseFloat(b []byte) (*big.Float, bool) {
	if len(b) == 0 || len(b) > maxFloatText {
		return nil, false
	}
	negative := b[0] == '-'
	if negative || b[0] == '+' {
		b = b[1:]
	}
	f, ok := parseMagnitude(b)
	if ok && negative {
		f.Neg(f)
	}
	return f, ok
}

// parseMagnitude reads what follows the sign.
func parseMagnitude(b []byte) (*big.Float, bool) {
	if bytes.EqualFold(b, []byte("inf")) || bytes.EqualFold(b, []byte("infinity")) {
		return new(big.Float).SetPrec(longDoubleBits).SetInf(false), true
	}
	if len(b) > 2 && b[0] == '0' && lower(b[1]) == 'x' {
		n, ok := scanNumber(b[2:], 16, 'p')
		if !ok {
			return nil, false
		}
		return n.hexadecimal()
	}
	n, ok := scanNumber(b, 10, 'e')
	if !ok {
		return nil, false
	}
	return n.decimal()
}

// number is the text of a number taken apart: its digits without leading zeros, how many of them
// stand behind the point, and the written exponent, cut to exponentCap.
type number struct {
	digits   []byte
	fraction int
	exponent int
}

// scanNumber takes b apart, all of it: digits with at most one point, then perhaps an exponent.
func scanNumber(b []byte, base byte, exponentMark byte) (number, bool) {
	n := number{digits: make([]byte, 0, min(len(b), 64))}
	anyDigit, point := false, false
	for ; len(b) > 0; b = b[1:] {
		c := b[0]
		if c == '.' && !point {
			point = true
			continue
		}
		if !isDigit(c, base) {
			break
		}
		anyDigit = true
		if point {
			n.fraction++
		}
		if len(n.digits) > 0 || c != '0' {
			n.digits = append(n.digits, c)
		}
	}
	if !anyDigit {
		return n, false
	}
	if len(b) == 0 {
		return n, true
	}
	if lower(b[0]) != exponentMark {
		return n, false
	}
	var ok bool
	n.exponent, ok = scanExponent(b[1:])
	return n, ok
}

func scanExponent(b []byte) (int, bool) {
	negative := len(b) > 0 && b[0] == '-'
	if negative || len(b) > 0 && b[0] == '+' {
		b = b[1:]
	}
	exponent := 0
	for _, c := range b {
		if !isDigit(c, 10) {
			return 0, false
		}
		exponent = min(exponent*10+int(c-'0'), exponentCap)
	}
	if negative {
		exponent = -exponent
	}
	return exponent, len(b) > 0
}

// decimal rounds the number once, from its exact value. big.Float's own Parse goes through a
// rounded power of five and can miss a tie.
func (n number) decimal() (*big.Float, bool) {
	f := new(big.Float).SetPrec(longDoubleBits)
	if len(n.digits) == 0 {
		return f, true
	}
	digits := bytes.TrimRight(n.digits, "0")
	exponent := n.exponent - n.fraction + len(n.digits) - len(digits)
	if point := len(digits) + exponent; point > maxDecimalPoint || point < minDecimalPoint {
		return nil, false
	}
	mantissa, _ := new(big.Int).SetString(string(digits), 10)
	power := new(big.Int).Exp(big.NewInt(10), big.NewInt(int64(max(exponent, -exponent))), nil)
	if exponent >= 0 {
		f.SetInt(mantissa.Mul(mantissa, power))
	} else {
		// The operands are exact, so the quotient is correctly rounded.
		f.Quo(new(big.Float).SetInt(mantissa), new(big.Float).SetInt(power))
	}
	return f, inLongDoubleRange(f, 0, f.Acc())
}

func (n number) hexadecimal() (*big.Float, bool) {
	f := new(big.Float).SetPrec(longDoubleBits)
	if len(n.digits) == 0 {
		return f, true
	}
	mantissa, _ := new(big.Int).SetString(string(n.digits), 16)
	f.SetInt(mantissa)
	exponent := n.exponent - 4*n.fraction
	if !inLongDoubleRange(f, exponent, f.Acc()) {
		return nil, false
	}
	return f.SetMantExp(f, exponent), true
}

// inLongDoubleRange reports whether the positive number f*2^exponent, which rounding put where acc
// says, is neither infinite nor zero as a long double.
func inLongDoubleRange(f *big.Float, exponent int, acc big.Accuracy) bool {
	var mantissa big.Float
	exponent += f.MantExp(&mantissa)
	if exponent == longDoubleMinExp {
		// Exactly half of the least long double goes to zero, anything more does not.
		return mantissa.Cmp(big.NewFloat(0.5)) > 0 || acc == big.Below
	}
	return exponent > longDoubleMinExp && exponent <= longDoubleMaxExp
}

func isDigit(c, base byte) bool {
	return c >= '0' && c <= '9' || base == 16 && lower(c) >= 'a' && lower(c) <= 'f'
}

// lower is C's tolower in the C locale.
func lower(c byte) byte {
	if c >= 'A' && c <= 'Z' {
		return c + 'a' - 'A'
	}
	return c
}
