package redisvalue_test

import (
	"fmt"
	"sort"
	"strings"
	"testing"

	"cartwheel/server/redisvalue"
)

func TestGlob(t *testing.T) {
	for _, c := range []struct {
		pattern, s   string
		nocase, want bool
	}{
		{"h?llo", "hallo", false, true},
		{"h?llo", "hllo", false, false},
		{"h*llo", "heeeello", false, true},
		{"h[ae]llo", "hillo", false, false},
		{"h[^e]llo", "hallo", false, true},
		{"h[^e]llo", "hello", false, false},
		{"h[a-b]llo", "hbllo", false, true},
		{"h[b-a]llo", "hbllo", false, true},
		{`h\*llo`, "h*llo", false, true},
		{`h\*llo`, "hello", false, false},
		{`[\]]`, "]", false, true},
		{"[abc", "c", false, true},
		{"[^", "c", false, true},
		{"[", "c", false, false},
		{`a\`, `a\`, false, true},
		{"HELLO", "hello", true, true},
		{"[A-C]", "b", true, true},
		{"HELLO", "hello", false, false},
		{"a**b**", "ab", false, true},
		{"*", "", false, false},
		{"", "", false, true},
		{"", "a", false, false},
		{"a", "", false, false},
	} {
		if got := redisvalue.Glob([]byte(c.pattern), []byte(c.s), c.nocase); got != c.want {
			t.Errorf("%+v: %v", c, got)
		}
	}
}

func TestGlobAgreesWithRedis(t *testing.T) {
	client := startRedis(t)
	r := newRand(t)
	const alphabet = "aaabbC*?[]^-\\\x80\xff"
	random := func(most int) string {
		var b strings.Builder
		for range r.IntN(most + 1) {
			b.WriteByte(alphabet[r.IntN(len(alphabet))])
		}
		return b.String()
	}
	var set, keys []any
	for range 300 {
		key := random(8)
		keys = append(keys, key)
		set = append(set, key, "")
	}
	askAll(t, client, [][]any{append([]any{"MSET"}, set...)})
	for range 3000 {
		pattern := random(9)
		if pattern == "*" {
			continue // all keys, without a look at them
		}
		got := []string{}
		seen := map[any]bool{}
		for _, key := range keys {
			if !seen[key] && redisvalue.Glob([]byte(pattern), []byte(key.(string)), false) {
				got = append(got, key.(string))
			}
			seen[key] = true
		}
		want := []string{}
		for _, key := range askAll(t, client, [][]any{{"KEYS", pattern}})[0].([]any) {
			want = append(want, key.(string))
		}
		sort.Strings(got)
		sort.Strings(want)
		if fmt.Sprintf("%q", got) != fmt.Sprintf("%q", want) {
			fail(t, fmt.Sprintf("%q", got), fmt.Sprintf("%q", want), "KEYS %q", pattern)
		}
	}
}

// An exponential matcher would not come back from these.
func TestGlobDoesNotBlowUp(t *testing.T) {
	s := []byte(strings.Repeat("a", 5000))
	for _, pattern := range []string{strings.Repeat("a*", 2000) + "b", strings.Repeat("*?", 2000) + "b", strings.Repeat("*[a-c]", 2000) + "[^a]"} {
		if redisvalue.Glob([]byte(pattern), s, false) {
			t.Errorf("%.10s matches", pattern)
		}
	}
}

func FuzzGlob(f *testing.F) {
	f.Add("a*a*a*a*b", strings.Repeat("a", 200), false)
	f.Add(`[^a-\]b]*\*?[`, "xy*z[", true)
	f.Fuzz(func(t *testing.T, pattern, s string, nocase bool) {
		if len(pattern) > 300 || len(s) > 300 {
			return
		}
		got := redisvalue.Glob([]byte(pattern), []byte(s), nocase)
		if want := referenceGlob([]byte(pattern), []byte(s), nocase); got != want {
			t.Fatalf("%q %q %v: %v, want %v", pattern, s, nocase, got, want)
		}
	})
}

// referenceGlob fills a table: reach[i] says whether the elements so far can take s[:i]. Its
// elements are those of a pattern taken apart, each a set of the 256 bytes.
func referenceGlob(pattern, s []byte, nocase bool) bool {
	if len(s) == 0 {
		return len(pattern) == 0
	}
	reach := make([]bool, len(s)+1)
	reach[0] = true
	for len(pattern) > 0 {
		if pattern[0] == '*' {
			for i := range s {
				reach[i+1] = reach[i+1] || reach[i]
			}
			pattern = pattern[1:]
			continue
		}
		set, rest := referenceElement(pattern, nocase)
		for i := len(s); i > 0; i-- {
			reach[i] = reach[i-1] && set[s[i-1]]
		}
		reach[0] = false
		pattern = rest
	}
	return reach[len(s)]
}

func referenceElement(pattern []byte, nocase bool) (set [256]bool, rest []byte) {
	add := func(lo, hi byte, fold bool) {
		if int8(lo) > int8(hi) {
			lo, hi = hi, lo
		}
		if fold {
			lo, hi = asciiLower(lo), asciiLower(hi)
		}
		for c := range 256 {
			folded := byte(c)
			if fold {
				folded = asciiLower(folded)
			}
			if int8(lo) <= int8(folded) && int8(folded) <= int8(hi) {
				set[c] = true
			}
		}
	}
	c, rest := pattern[0], pattern[1:]
	switch {
	case c == '?':
		for i := range set {
			set[i] = true
		}
		return set, rest
	case c == '\\' && len(rest) > 0:
		add(rest[0], rest[0], nocase)
		return set, rest[1:]
	case c != '[':
		add(c, c, nocase)
		return set, rest
	}
	not := len(rest) > 0 && rest[0] == '^'
	if not {
		rest = rest[1:]
	}
	for len(rest) > 0 && rest[0] != ']' {
		switch {
		case rest[0] == '\\' && len(rest) > 1:
			add(rest[1], rest[1], false)
			rest = rest[2:]
		case len(rest) > 2 && rest[1] == '-':
			add(rest[0], rest[2], nocase)
			rest = rest[3:]
		default:
			add(rest[0], rest[0], nocase)
			rest = rest[1:]
		}
	}
	if len(rest) > 0 {
		rest = rest[1:]
	}
	for i := range set {
		set[i] = set[i] != not
	}
	return set, rest
}

func asciiLower(c byte) byte {
	if 'A' <= c && c <= 'Z' {
		return c + 32
	}
	return c
}

func TestHashTagOf(t *testing.T) {
	for pattern, want := range map[string]string{
		"key": "key", "{tag}key*": "tag", "a{tag}": "tag", "{}key": "{}key", "{a}{b}": "a", "{a": "{a", "{a}[": "a",
	} {
		if got, ok := redisvalue.HashTagOf([]byte(pattern)); !ok || string(got) != want {
			t.Errorf("%q: %q, %v", pattern, got, ok)
		}
	}
	for _, pattern := range []string{"*", "*{a}", "{a*}", "{}*", "a?", "[a]", `\a`} {
		if got, ok := redisvalue.HashTagOf([]byte(pattern)); ok {
			t.Errorf("%q: %q", pattern, got)
		}
	}
}
