package server_test

import (
	"encoding/base64"
	"fmt"
	"regexp"
	"slices"
	"strconv"
	"strings"
	"testing"
	"time"

	"cartwheel/server"
	"cartwheel/store/version"
)

// vget is VGET: a context and the values.
func (c *client) vget(key string) (context string, values []string) {
	c.t.Helper()
	reply := c.do("VGET", key)
	lines := strings.Split(strings.TrimSuffix(reply, "\r\n"), "\r\n")
	if len(lines) < 4 || lines[0] != "*2" {
		c.t.Fatalf("VGET %s replies %q", key, reply)
	}
	for i := 5; i < len(lines); i += 2 {
		values = append(values, lines[i])
	}
	return lines[2], values
}

// wantValues reads a key's values, newest first, and returns their context.
func (c *client) wantValues(key string, want ...string) (context string) {
	c.t.Helper()
	context, got := c.vget(key)
	if !slices.Equal(got, want) {
		c.t.Errorf("%s has the values %q, want %q", key, got, want)
	}
	return context
}

const invalidContext = "-ERR invalid context\r\n"

// The example of the Dynamo paper, as two people type it.
func TestAShoppingCartKeepsWhatBothPutIn(t *testing.T) {
	n := start(t, server.Options{})
	alice, bob := n.dial(), n.dial()
	empty := alice.wantValues("cart")
	alice.text("VSET", "cart", empty, "book")
	bob.text("VSET", "cart", empty, "pen")
	both := alice.wantValues("cart", "pen", "book")
	merged := alice.text("VSET", "cart", both, "book,pen")
	bob.wantValues("cart", "book,pen")
	bob.talk("> GET cart\n$8\nbook,pen")
	// Bob has been away with what he saw before the merge.
	bob.text("VSET", "cart", both, "book,pen,ink")
	alice.wantValues("cart", "book,pen,ink", "book,pen")
	alice.text("VDEL", "cart", merged)
	alice.wantValues("cart", "book,pen,ink")
	alice.text("VDEL", "cart", alice.wantValues("cart", "book,pen,ink"))
	alice.wantValues("cart")
	alice.talk("> EXISTS cart\n:0\n> DBSIZE\n:0")
}

func TestPlainWritesCollapseSiblings(t *testing.T) {
	c := connect(t)
	for _, write := range []struct {
		command string
		left    []string
	}{
		{"SET k plain", []string{"plain"}},
		{"DEL k", nil},
		{"GETDEL k", nil},
		{"APPEND k !", []string{"b!"}},
		{"EXPIRE k 100", []string{"b"}},
		{"RENAME k k2", nil},
	} {
		c.text("VSET", "k", "", "a")
		c.text("VSET", "k", "", "b")
		before := c.wantValues("k", "b", "a")
		c.talk("> GET k\n$1\nb")
		c.do(strings.Fields(write.command)...)
		after := c.wantValues("k", write.left...)
		c.text("VSET", "k", before, "late")
		c.wantValues("k", append([]string{"late"}, write.left...)...)
		c.text("VDEL", "k", after)
		c.wantValues("k", "late")
		c.do("DEL", "k")
	}
}

func TestOwnContextsChainWritesWithoutReading(t *testing.T) {
	c := connect(t)
	context := c.text("VSET", "k", "", "1")
	for i := 2; i < 10; i++ {
		context = c.text("VSET", "k", context, strconv.Itoa(i))
		c.wantValues("k", strconv.Itoa(i))
	}
	c.text("VDEL", "k", context)
	c.wantValues("k")
}

func TestTheContextOfAWriteCoversNothingUnseen(t *testing.T) {
	c := connect(t)
	mine := c.text("VSET", "k", "", "mine")
	c.text("VSET", "k", "", "theirs")
	blind := c.text("VSET", "k", "", "blind")
	c.text("VSET", "k", blind, "after")
	if _, values := c.vget("k"); !slices.Contains(values, "mine") || !slices.Contains(values, "theirs") {
		t.Errorf("the context of a blind write has covered what its writer never saw: %q", values)
	}
	own := c.text("VSET", "k", mine, "mine again")
	c.text("VSET", "k", own, "and again")
	if _, values := c.vget("k"); !slices.Contains(values, "theirs") || slices.Contains(values, "mine") {
		t.Errorf("the context of a write covers not just what its writer saw: %q", values)
	}
}

func TestForeignContextsAreRefused(t *testing.T) {
	c := connect(t)
	good := c.text("VSET", "k", "", "v")
	c.text("VSET", "other", "", "v")
	_, incarnationText, _ := strings.Cut(c.text("INFO"), "\nincarnation:")
	var incarnation version.Incarnation
	if _, err := fmt.Sscanf(incarnationText, "%016x", &incarnation); err != nil {
		t.Fatalf("INFO has no incarnation: %v", err)
	}
	contextOf := func(i version.Incarnation, at time.Time) string {
		return string(version.AppendContext(nil, version.Clock{{Incarnation: i, HLC: version.MakeHLC(at.UnixMilli(), 0)}}, 0, []byte("k")))
	}
	raw, _ := base64.RawURLEncoding.DecodeString(good)
	raw[5]++
	for name, context := range map[string]string{
		"of another key":             c.wantValues("other", "v"),
		"garbage":                    "garbage",
		"not base64":                 "%%%",
		"cut short":                  good[:len(good)-1],
		"with more behind it":        good + "A",
		"damaged":                    base64.RawURLEncoding.EncodeToString(raw),
		"from the future":            contextOf(incarnation, time.Now().Add(time.Hour)),
		"of an unknown incarnation":  contextOf(incarnation+1, time.Now()),
		"a megabyte":                 strings.Repeat("A", 1<<20),
		"of an empty key's in db 1 ": string(version.AppendContext(nil, nil, 1, []byte("k"))),
	} {
		if reply := c.do("VSET", "k", context, "new"); reply != invalidContext {
			t.Errorf("VSET with a context %s replies %q", name, reply)
		}
		if reply := c.do("VDEL", "k", context); reply != invalidContext {
			t.Errorf("VDEL with a context %s replies %q", name, reply)
		}
	}
	c.do("SELECT", "1")
	c.expect(invalidContext, "VSET", "k", good, "new")
	c.do("SELECT", "0")
	c.wantValues("k", "v")
	c.text("VSET", "k", contextOf(incarnation, time.Now().Add(-time.Hour)), "an old context is none")
	c.wantValues("k", "an old context is none", "v")
}

func TestAHundredSiblingsAreTheLimit(t *testing.T) {
	c := connect(t)
	for i := range 100 {
		c.text("VSET", "k", "", strconv.Itoa(i))
	}
	if reply := c.do("VSET", "k", "", "more"); !strings.HasPrefix(reply, "-ERR the key has too many siblings") {
		t.Errorf("one more is answered with %q", reply)
	}
	context, values := c.vget("k")
	if len(values) != 100 || values[0] != "99" || values[99] != "0" {
		t.Errorf("the siblings are %q", values)
	}
	c.text("VSET", "k", context, "merged")
	c.wantValues("k", "merged")
	c.text("VSET", "k", "", "and more")
	c.wantValues("k", "and more", "merged")
}

var (
	writtenField = regexp.MustCompile(`written\r\n\$\d+\r\n([\d.]+)\r\n`)
	dotField     = regexp.MustCompile(`dot\r\n\$\d+\r\n(\w+@[\d.]+)\r\n`)
)

func TestATouchKeepsTheTimeOfTheWrite(t *testing.T) {
	c, clock := connectAt(t)
	explained := func() (written, dot string) {
		reply := c.do("VEXPLAIN", "k")
		if w, d := writtenField.FindStringSubmatch(reply), dotField.FindStringSubmatch(reply); w != nil && d != nil {
			return w[1], d[1]
		}
		t.Fatalf("VEXPLAIN replies %q", reply)
		return "", ""
	}
	c.do("SET", "k", "v")
	wasWritten, wasDot := explained()
	for _, touch := range []string{"EXPIRE k 100", "PERSIST k", "PEXPIREAT k 1900000000000", "GETEX k PERSIST", "GETEX k EX 50"} {
		clock.advance(time.Second)
		c.do(strings.Fields(touch)...)
		written, dot := explained()
		if written != wasWritten {
			t.Errorf("%s makes a value written at %s one of %s", touch, wasWritten, written)
		}
		if dot == wasDot {
			t.Errorf("%s has no dot of its own", touch)
		}
		wasDot = dot
	}
	c.do("APPEND", "k", "w")
	if written, _ := explained(); written == wasWritten {
		t.Error("APPEND does not count as a write")
	}
}

func TestAnExpiredSiblingIsNotShown(t *testing.T) {
	c, clock := connectAt(t)
	c.text("VSET", "k", "", "forever")
	c.text("VSET", "k", "", "brief", "PX", "1000")
	c.text("VSET", "past", "", "v", "EXAT", "1")
	c.wantValues("past")
	c.wantValues("k", "brief", "forever")
	c.talk("> GET k\n$5\nbrief")
	clock.advance(time.Second)
	context := c.wantValues("k", "forever")
	c.talk("> GET k\n$-1") // the winner has expired, and that is as if it were deleted
	c.text("VSET", "k", context, "merged", "EX", "10")
	c.talk("> GET k\n$6\nmerged\n> TTL k\n:10")
}

func TestARingOfOneHasOneReplica(t *testing.T) {
	c := connect(t)
	c.text("VSET", "k", "", "v", "W", "1", "STRICT")
	c.do("VGET", "k", "R", "1", "SLOPPY")
	c.talk(`
> VGET k R 2
-NOREPLICAS Not enough replicas can answer
> VSET k "" w W 2
-NOREPLICAS Not enough replicas can answer
> VDEL k "" W 2 STRICT
-NOREPLICAS Not enough replicas can answer
> VGET k R 0
-ERR value is not an integer or out of range
> VGET k W 1
-ERR syntax error
> VSET k "" w R 1
-ERR syntax error
> VSET k "" w EX 0
-ERR invalid expire time in 'vset' command
> VSET k "" w EX 1 PX 1
-ERR syntax error
> VDEL k "" EX 1
-ERR syntax error
> GET k
$1
v`)
	c.wantValues("k", "v")
}
