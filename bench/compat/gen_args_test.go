package compat

import (
	"strconv"
	"strings"

	"pgregory.net/rapid"
)

// Absolute expiry times are drawn from [farAheadSeconds, 2*farAheadSeconds): no run reaches them, and
// no relative time does either.
const farAheadSeconds = 10_000_000_000

// The keys are few, so that commands meet. Those with {t} share a slot, and {t}a and {t}b are
// the likeliest.
var (
	slotKeys = []string{"{t}a", "{t}b", "{t}c"}
	allKeys  = []string{"{t}a", "{t}b", "{t}c", "{t}a", "{t}b", "key", "10", "", "\x00\xff{t}\r\n", "long" + strings.Repeat("k", 300)}
)

// oddIntegers are texts that some parser takes for an integer and Redis does not, or does at the edge.
var oddIntegers = []string{
	"9223372036854775807", "-9223372036854775808", "9223372036854775808", "-9223372036854775809",
	"99999999999999999999", "18446744073709551615", "2147483647", "2147483648", "-2147483648", "4294967296",
	"", "abc", "1.0", " 1", "1 ", "+1", "-0", "00", "01", "0x1", "1e2", "-", "1\x00", "\xff", "٣",
}

var oddFloats = []string{
	"", "abc", " 1", "1 ", "inf", "-inf", "+inf", "infinity", "nan", "-nan", "+1", "0x10", "0x1p-3", "1e", ".5", "5.", "-.5e-1",
	"1e308", "1e309", "1e-320", "1e4000", "1e4932", "1e5000", "-1e5000", "1e-5000", "1.0000000000000000000000001",
	"0.1000000000000000055", "123456789012345678", "3.0e3", "1\x00", "1,5", "9007199254740993", "00012.50",
}

// pick draws one of the texts.
func pick(t *rapid.T, texts ...string) string { return rapid.SampledFrom(texts).Draw(t, "pick") }

// chance is true about percent times in a hundred; a shrinking test prefers false.
func chance(t *rapid.T, percent int) bool {
	return rapid.IntRange(0, 99).Draw(t, "chance") >= 100-percent
}

func between(t *rapid.T, low, high int) int { return rapid.IntRange(low, high).Draw(t, "between") }

func decimal(t *rapid.T, low, high int) string { return strconv.Itoa(between(t, low, high)) }

func aKey(t *rapid.T) string { return pick(t, allKeys...) }

func aSlotKey(t *rapid.T) string { return pick(t, slotKeys...) }

// someOf draws between low and high items.
func someOf(t *rapid.T, low, high int, item func(*rapid.T) string) []string {
	items := make([]string, between(t, low, high))
	for i := range items {
		items[i] = item(t)
	}
	return items
}

// aValue draws what a key may hold: words, numbers, near-numbers, binary and lengths at which encodings change.
func aValue(t *rapid.T) string {
	switch between(t, 0, 9) {
	case 0, 1:
		return pick(t, "v", "hello world", "ohmytext", "mynewtext", "foobar", "\x00\xff\r\n\x7f", "\"quoted\" \\ 'text'", "")
	case 2, 3:
		return decimal(t, -1000, 1000)
	case 4:
		return pick(t, oddIntegers...)
	case 5:
		return pick(t, "1.5", "0.1", "-3.25", "5.0e3", "1e20")
	case 6:
		return pick(t, oddFloats...)
	case 7:
		length := rapid.SampledFrom([]int{44, 45, 63, 64, 255, 256, 4096, 16384, 20000}).Draw(t, "length")
		return strings.Repeat(pick(t, "x", "xyz", "\x00", "\xff", "7"), length)[:length]
	default:
		return string(rapid.SliceOfN(rapid.Byte(), 0, 40).Draw(t, "bytes"))
	}
}

// anInteger draws mostly small numbers, else the edges of what parses.
func anInteger(t *rapid.T) string {
	if chance(t, 25) {
		return pick(t, oddIntegers...)
	}
	return decimal(t, -20, 300)
}

func aFloat(t *rapid.T) string {
	if chance(t, 30) {
		return pick(t, oddFloats...)
	}
	return pick(t, "1", "-1", "1.5", "0.1", "-0.1", "0.2", "2.5e2", "1e17", "-200.0001", "3.14159265358979", "0", "10000000")
}

// inAnyCase draws a spelling of a word, mostly as it is.
func inAnyCase(t *rapid.T, word string) string {
	switch between(t, 0, 9) {
	case 8:
		return strings.ToLower(word)
	case 9:
		mixed := []byte(strings.ToLower(word))
		for i := range mixed {
			if i%2 == 0 {
				mixed[i] = word[i]
			}
		}
		return string(mixed)
	default:
		return word
	}
}

// pattern draws a glob, malformed ones included.
func pattern(t *rapid.T) string {
	return pick(t, "*", "{t}*", "k*", "*k", "?", "[k-l]ey", "[^k]*", "[!k]*", "key", "\\key", "k[", "k[e", "[]", "[z-a]*", "", "**e*y", "*\xff*", "????", "1[0-9]", "{t}[a-b]", "\\", "nothing")
}

// mangle spoils a command now and then: an argument less, one too many, one that is odd.
// None of what it puts in is a time to live that would pass while the test runs.
func mangle(t *rapid.T, args []string) []string {
	odd := []string{"", "abc", "-1", "0", "1.5", " 10", "9223372036854775807", "9223372036854775808", "NX", "XX", "GT", "EX", "GET", "\x00\r\n"}
	switch between(t, 0, 15) {
	case 13:
		return args[:max(1, len(args)-1)]
	case 14:
		return append(args, pick(t, odd...))
	case 15:
		if len(args) > 1 {
			args[between(t, 1, len(args)-1)] = pick(t, odd...)
		}
		return args
	default:
		return args
	}
}
