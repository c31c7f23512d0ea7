package compat

import (
	"slices"
	"strings"
	"testing"
)

// shopper is a client of the commands that show versions.
type shopper struct {
	*conn
	t *testing.T
}

func newShopper(t *testing.T, addr string) shopper { return shopper{connect(t, addr), t} }

// startVersioned starts a Cartwheel; Redis has nothing to stand in with.
func startVersioned(t *testing.T) shopper {
	t.Helper()
	if subjectIsRedis() {
		t.Skip("Redis has no versions to show")
	}
	return newShopper(t, startSubject(t, settings{}).Addr)
}

// get is VGET: a context and the values, newest first.
func (s shopper) get(key string) (context string, values []string) {
	s.t.Helper()
	r, err := s.do("VGET", key)
	if err != nil {
		s.t.Fatal(err)
	}
	if len(r.items) != 2 || r.items[0].kind != '$' || r.items[0].null || r.items[1].kind != '*' {
		s.t.Fatalf("VGET %s: %s", key, r)
	}
	return r.items[0].text, r.items[1].texts()
}

// put is VSET, and returns the new context.
func (s shopper) put(key, context, value string, options ...string) string {
	s.t.Helper()
	return s.write(append([]string{"VSET", key, context, value}, options...)...)
}

func (s shopper) write(args ...string) string {
	s.t.Helper()
	r, err := s.do(args...)
	if err != nil {
		s.t.Fatal(err)
	}
	if r.kind != '$' || r.text == "" {
		s.t.Fatalf("%s: %s, want a context", typed(args), r)
	}
	return r.text
}

// holds wants these siblings in this order, and returns their context.
func (s shopper) holds(key string, want ...string) string {
	s.t.Helper()
	context, values := s.get(key)
	if !slices.Equal(values, want) {
		s.t.Fatalf("VGET %s: %q, want %q", key, values, want)
	}
	return context
}

const invalidContext = "-ERR invalid context\r\n"

func TestShoppingCartKeepsBothAdditionsUntilTheyAreMerged(t *testing.T) {
	alice := startVersioned(t)
	bob := newShopper(t, alice.RemoteAddr().String())
	empty := alice.holds("cart")
	alice.put("cart", empty, "milk")
	aliceSaw, bobSaw := alice.holds("cart", "milk"), bob.holds("cart", "milk")
	alice.put("cart", aliceSaw, "milk,eggs")
	bob.put("cart", bobSaw, "milk,bread")
	both := alice.holds("cart", "milk,bread", "milk,eggs")
	alice.want(t, "$10\r\nmilk,bread\r\n", "GET", "cart")
	merged := alice.put("cart", both, "milk,eggs,bread")
	if bob.holds("cart", "milk,eggs,bread") != merged {
		t.Error("VGET's context is not the one that VSET gave")
	}
	// An old context covers what it has seen, and nothing of what came since.
	bob.put("cart", bobSaw, "late")
	bob.holds("cart", "late", "milk,eggs,bread")
	bob.want(t, ":1\r\n", "DEL", "cart")
	alice.holds("cart")
	alice.want(t, "$-1\r\n", "GET", "cart")
}

func TestBlindPutsBecomeSiblingsNewestFirst(t *testing.T) {
	s := startVersioned(t)
	s.put("key", "", "one")
	s.put("key", "", "two")
	s.put("key", "", "three")
	s.holds("key", "three", "two", "one")
	s.want(t, ":1\r\n", "EXISTS", "key")
	s.want(t, ":5\r\n", "STRLEN", "key")
	s.want(t, "+OK\r\n", "SET", "key", "plain")
	s.holds("key", "plain")
}

// TestContextOfABlindPutCoversNothingItsWriterHasNotSeen writes twice without reading in between: the
// other's value must outlive that.
func TestContextOfABlindPutCoversNothingItsWriterHasNotSeen(t *testing.T) {
	s := startVersioned(t)
	s.put("key", "", "of another")
	context := s.put("key", "", "mine")
	s.put("key", context, "mine again")
	if _, values := s.get("key"); values[0] != "mine again" || !slices.Contains(values, "of another") {
		t.Errorf("VGET key: %q", values)
	}
}

func TestVersionedDeleteRemovesOnlyWhatItsContextHasSeen(t *testing.T) {
	s := startVersioned(t)
	seen := s.put("key", "", "one")
	s.put("key", "", "two")
	s.write("VDEL", "key", seen)
	s.holds("key", "two")
	s.write("VDEL", "key", s.holds("key", "two"))
	s.holds("key")
	s.want(t, ":0\r\n", "EXISTS", "key")
}

func TestContextsOfAnythingElseAreRefused(t *testing.T) {
	s := startVersioned(t)
	mine := s.put("key", "", "v")
	s.put("other", "", "v")
	changed := []byte(mine)
	changed[len(changed)/2] ^= 1
	for _, context := range []string{"garbage", "\x00\xff", mine + "A", mine[1:], mine[:len(mine)-1], string(changed), strings.Repeat(mine, 2), strings.Repeat("A", 1<<16)} {
		s.want(t, invalidContext, "VSET", "key", context, "w")
		s.want(t, invalidContext, "VDEL", "key", context)
	}
	s.want(t, invalidContext, "VSET", "other", mine, "w")
	s.want(t, "+OK\r\n", "SELECT", "1")
	s.want(t, invalidContext, "VSET", "key", mine, "w")
	s.want(t, "+OK\r\n", "SELECT", "0")
	s.holds("key", "v")
	s.holds("other", "v")

	elsewhere := startVersioned(t)
	elsewhere.want(t, invalidContext, "VSET", "key", mine, "w")
}

func TestContextIsPrintable(t *testing.T) {
	s := startVersioned(t)
	context := s.put("key", "", "v")
	if quoted(context) != strings.Trim(quoted(context), `"`) {
		t.Errorf("context %q has to be quoted to be pasted", context)
	}
}

func TestVersionsExpire(t *testing.T) {
	s := startVersioned(t)
	s.put("key", "", "mortal", "EX", "1000")
	if ttl, err := s.do("TTL", "key"); err != nil || (ttl.text != "1000" && ttl.text != "999") {
		t.Errorf("TTL after VSET EX: %s, %v", ttl, err)
	}
	s.put("key", "", "past", "PXAT", "1")
	s.holds("key", "mortal")
	s.want(t, "-ERR invalid expire time in 'vset' command\r\n", "VSET", "key", "", "v", "EX", "0")
	s.want(t, "-ERR syntax error\r\n", "VSET", "key", "", "v", "EX", "1", "PX", "1")
}

func TestVersionCommandsSurviveARestart(t *testing.T) {
	if subjectIsRedis() {
		t.Skip("Redis has no versions to show")
	}
	set := settings{dir: t.TempDir()}
	server := startSubject(t, set)
	set.port = server.Port
	s := newShopper(t, server.Addr)
	s.put("key", "", "one")
	s.put("key", "", "two")
	before := s.holds("key", "two", "one")
	if err := server.Kill(); err != nil {
		t.Fatal(err)
	}
	s = newShopper(t, startSubject(t, set).Addr)
	s.holds("key", "two", "one")
	s.put("key", before, "merged")
	s.holds("key", "merged")
}

func TestVersionExplainTellsWhereAKeyLives(t *testing.T) {
	s := startVersioned(t)
	s.put("key", "", "one")
	s.put("key", "", "two")
	r, err := s.do("VEXPLAIN", "key")
	if err != nil || r.kind == '-' {
		t.Fatalf("%s, %v", r, err)
	}
	for _, word := range []string{"slot", "partition", "epoch", "12539"} {
		if !strings.Contains(string(r.raw), word) {
			t.Errorf("VEXPLAIN does not show %q: %s", word, r)
		}
	}
}

func TestVersionCommandErrors(t *testing.T) {
	s := startVersioned(t)
	for _, name := range []string{"vget", "vset", "vdel", "vexplain"} {
		s.want(t, "-ERR wrong number of arguments for '"+name+"' command\r\n", strings.ToUpper(name))
	}
	s.want(t, "-ERR syntax error\r\n", "VGET", "key", "NOPE")
	s.want(t, "-ERR syntax error\r\n", "VSET", "key", "", "v", "NOPE")
}

// TestMSETNXNeedsOneSlot is here because Redis, with no slots to cross, has another answer.
func TestMSETNXNeedsOneSlot(t *testing.T) {
	s := startVersioned(t)
	r, err := s.do("MSETNX", "a", "1", "b", "2")
	if err != nil || !strings.HasPrefix(r.text, "CROSSSLOT ") {
		t.Fatalf("%s, %v", r, err)
	}
	s.want(t, ":0\r\n", "EXISTS", "a", "b")
}
