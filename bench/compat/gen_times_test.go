package compat

import (
	"strconv"

	"pgregory.net/rapid"
)

// moment is an argument that says when a key ends. Apart from what is refused, it is either long
// past or so far ahead that no run reaches it.
type moment struct {
	text string
	gap  int64 // of a timedArg; 0 for an absolute time
}

// secondsAhead and millisecondsAhead draw relative times, secondsAt and millisecondsAt absolute ones.
func secondsAhead(t *rapid.T) moment      { return ahead(t, 1) }
func millisecondsAhead(t *rapid.T) moment { return ahead(t, 1000) }
func secondsAt(t *rapid.T) moment         { return at(t, 1) }
func millisecondsAt(t *rapid.T) moment    { return at(t, 1000) }

func ahead(t *rapid.T, unitsASecond int64) moment {
	gap := 10 * unitsASecond
	if chance(t, 30) {
		return moment{oddTime(t), gap}
	}
	seconds := rapid.SampledFrom([]int64{1_000, 50_000, 7_000_000}).Draw(t, "ttl")
	return moment{strconv.FormatInt(seconds*unitsASecond, 10), gap}
}

func at(t *rapid.T, unitsASecond int64) moment {
	switch between(t, 0, 9) {
	case 8:
		return moment{text: oddTime(t)}
	case 9:
		return moment{text: pick(t, "1", "1000", "1500000000")}
	default:
		units := rapid.SampledFrom([]int64{0, 1, 2, 3_000_000_001}).Draw(t, "at")
		return moment{text: strconv.FormatInt(farAheadSeconds*unitsASecond+units, 10)}
	}
}

func oddTime(t *rapid.T) string {
	return pick(t, "0", "-1", "-1000", "", "abc", "1.5", " 1000", "1000 ", "+1000", "01000",
		"9223370000000000", "9223372036854775", "9223372036854776", "9223370000000000000",
		"9223372036854775807", "9223372036854775808", "-9223372036854775808", "-9223372036854775", "-9223372036854776")
}

// option is one option of a command with its arguments.
type option struct {
	words []string
	gap   int64 // of the last word, if that is a relative time
}

// withOptions draws up to most of the options, in any order and repeated, and appends them.
func withOptions(t *rapid.T, args []string, most int, options ...func(*rapid.T) option) command {
	c := command{args: args}
	for range between(t, 0, most) {
		o := rapid.SampledFrom(options).Draw(t, "option")(t)
		o.words[0] = inAnyCase(t, o.words[0])
		c.args = append(c.args, o.words...)
		if o.gap != 0 {
			c.timed = timedArg{len(c.args) - 1, o.gap}
		}
	}
	return c
}

// bare is an option of one word.
func bare(word string) func(*rapid.T) option {
	return func(*rapid.T) option { return option{words: []string{word}} }
}

// valued is an option that is followed by a value.
func valued(word string, value func(*rapid.T) string) func(*rapid.T) option {
	return func(t *rapid.T) option { return option{words: []string{word, value(t)}} }
}

// timed is an option that is followed by a time.
func timed(word string, when func(*rapid.T) moment) func(*rapid.T) option {
	return func(t *rapid.T) option {
		m := when(t)
		return option{words: []string{word, m.text}, gap: m.gap}
	}
}

// expiryOptions are those that SET and GETEX share.
var expiryOptions = []func(*rapid.T) option{
	timed("EX", secondsAhead), timed("PX", millisecondsAhead), timed("EXAT", secondsAt), timed("PXAT", millisecondsAt),
}
