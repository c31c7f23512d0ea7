package server_test

import (
	"fmt"
	"slices"
	"testing"

	"pgregory.net/rapid"

	"cartwheel/server"
)

// A seenContext is a context and the values that its holder has seen. own is the
// value that it was the reply to, if it was: that may count as seen, too.
type seenContext struct {
	token string
	seen  map[string]bool
	own   string
}

// Random writes with fresh, stale and no contexts: the values are those that no
// write's context has covered, none missing and none that should have gone.
func TestSiblingsAreExactlyWhatNoWriterHasSeen(t *testing.T) {
	c := start(t, server.Options{}).dial()
	run := 0
	rapid.Check(t, func(t *rapid.T) {
		run++
		key := fmt.Sprint("key:", run)
		contexts := []seenContext{{}}
		var values []string // newest first
		writes := 0
		check := func() (token string) {
			token, got := c.vget(key)
			if !slices.Equal(got, values) {
				t.Fatalf("the values are %q, want %q", got, values)
			}
			return token
		}
		t.Repeat(map[string]func(*rapid.T){
			"": func(*rapid.T) { check() },
			"read": func(*rapid.T) {
				context := seenContext{token: check(), seen: map[string]bool{}}
				for _, value := range values {
					context.seen[value] = true
				}
				contexts = append(contexts, context)
			},
			"write": func(t *rapid.T) {
				with := rapid.SampledFrom(contexts).Draw(t, "context")
				deletes := rapid.IntRange(0, 3).Draw(t, "deletes") == 0
				writes++
				value := fmt.Sprint("value:", writes)
				var token string
				left := slices.DeleteFunc(slices.Clone(values), func(v string) bool { return with.seen[v] })
				if deletes {
					token, value = c.text("VDEL", key, with.token), ""
				} else {
					token = c.text("VSET", key, with.token, value)
					left = slices.Insert(left, 0, value)
				}
				_, got := c.vget(key)
				withoutOwn := slices.DeleteFunc(slices.Clone(left), func(v string) bool { return v == with.own })
				switch {
				case slices.Equal(got, left):
				case with.own != "" && slices.Equal(got, withoutOwn):
				default:
					t.Fatalf("after a write with the context of %v, its own %q, the values are %q, want %q", with.seen, with.own, got, left)
				}
				values = got
				contexts = append(contexts, seenContext{token: token, seen: with.seen, own: value})
			},
			"overwrite": func(t *rapid.T) {
				writes++
				values = []string{fmt.Sprint("value:", writes)}
				c.expect("+OK\r\n", "SET", key, values[0])
			},
			"delete": func(*rapid.T) {
				values = nil
				c.do("DEL", key)
			},
		})
	})
}
