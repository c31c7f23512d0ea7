package server_test

import (
	"fmt"
	"slices"
	"strconv"
	"strings"
	"testing"

	"cartwheel/server"
)

// page is one SCAN: the next cursor and the keys.
func (c *client) page(args ...string) (next string, keys []string) {
	c.t.Helper()
	reply := c.do(append([]string{"SCAN"}, args...)...)
	lines := strings.Split(strings.TrimSuffix(reply, "\r\n"), "\r\n")
	if len(lines) < 4 || lines[0] != "*2" {
		c.t.Fatalf("SCAN %q replies %q", args, reply)
	}
	for i := 5; i < len(lines); i += 2 {
		keys = append(keys, lines[i])
	}
	if lines[3] != fmt.Sprint("*", len(keys)) {
		c.t.Fatalf("SCAN %q replies %q", args, reply)
	}
	return lines[2], keys
}

// pages is a whole iteration. between runs after each page.
func (c *client) pages(between func(), options ...string) (keys []string, pages int) {
	c.t.Helper()
	const cursorMax = 1<<53 - 1 // what a double holds
	for cursor := "0"; ; {
		var some []string
		cursor, some = c.page(append([]string{cursor}, options...)...)
		keys = append(keys, some...)
		if pages++; cursor == "0" {
			return keys, pages
		}
		if n, err := strconv.ParseUint(cursor, 10, 64); err != nil || n > cursorMax {
			c.t.Fatalf("a cursor is %q", cursor)
		}
		if pages > 100_000 {
			c.t.Fatal("SCAN does not end")
		}
		between()
	}
}

func nothing() {}

// fill sets keys with a prefix and numbers, and returns them in order.
func (c *client) fill(prefix string, count int) (keys []string) {
	c.t.Helper()
	for i := range count {
		keys = append(keys, fmt.Sprintf("%s%d", prefix, i))
		c.send("SET", keys[i], "v")
	}
	for range count {
		c.reply()
	}
	slices.Sort(keys)
	return keys
}

func (c *client) wantKeys(got, want []string) {
	c.t.Helper()
	got = slices.Clone(got)
	slices.Sort(got)
	if !slices.Equal(got, want) {
		c.t.Errorf("%d keys: %.300q\nwant %d: %.300q", len(got), got, len(want), want)
	}
}

func TestScanReturnsEveryKeyOnce(t *testing.T) {
	c := connect(t)
	want := c.fill("k:", 300)
	for _, options := range [][]string{nil, {"COUNT", "1"}, {"COUNT", "7"}, {"COUNT", "1000"}, {"TYPE", "string"}} {
		got, _ := c.pages(nothing, options...)
		c.wantKeys(got, want)
	}
	got, pages := c.pages(nothing, "COUNT", "1")
	if pages < len(want) {
		t.Errorf("COUNT 1 has %d pages for %d keys", pages, len(got))
	}
	if _, pages = c.pages(nothing, "COUNT", "1000"); pages != 1 {
		t.Errorf("COUNT 1000 has %d pages", pages)
	}
}

func TestScanReturnsWhatStaysWhileOthersComeAndGo(t *testing.T) {
	n := start(t, server.Options{})
	c, other := n.dial(), n.dial()
	stay := c.fill("stay:", 200)
	c.fill("go:", 200)
	step := 0
	got, _ := c.pages(func() {
		other.do("DEL", fmt.Sprint("go:", step))
		other.do("SET", fmt.Sprint("come:", step), "v")
		step++
	}, "COUNT", "3")
	got = slices.DeleteFunc(got, func(key string) bool { return !strings.HasPrefix(key, "stay:") })
	c.wantKeys(got, stay)
}

func TestScanSeesItsDatabaseOnly(t *testing.T) {
	c := connect(t)
	var want [3][]string
	for db := range want {
		c.do("SELECT", strconv.Itoa(db))
		want[db] = c.fill(fmt.Sprint("db", db, ":"), 50)
	}
	for db := range want {
		c.do("SELECT", strconv.Itoa(db))
		got, _ := c.pages(nothing, "COUNT", "4")
		c.wantKeys(got, want[db])
	}
	c.do("SELECT", "9")
	got, _ := c.pages(nothing)
	c.wantKeys(got, nil)
}

func TestScanMatches(t *testing.T) {
	c := connect(t)
	c.fill("k:", 1000)
	tagged := c.fill("{user}:", 30)
	for _, pattern := range []string{"{user}:*", "{user}*", "?user}:*", "*user*", "[{]user}:*"} {
		got, _ := c.pages(nothing, "MATCH", pattern, "COUNT", "100")
		c.wantKeys(got, tagged)
		got, _ = c.pages(nothing, "MATCH", pattern, "COUNT", "1")
		c.wantKeys(got, tagged)
	}
	if _, pages := c.pages(nothing, "MATCH", "{user}:*", "COUNT", "100"); pages != 1 {
		t.Errorf("keys of one slot take %d pages: all slots are looked at", pages)
	}
	got, _ := c.pages(nothing, "MATCH", "k:99?")
	c.wantKeys(got, []string{"k:990", "k:991", "k:992", "k:993", "k:994", "k:995", "k:996", "k:997", "k:998", "k:999"})
	got, _ = c.pages(nothing, "MATCH", "k:7")
	c.wantKeys(got, []string{"k:7"})
	got, _ = c.pages(nothing, "MATCH", "{user}:*", "TYPE", "list")
	c.wantKeys(got, nil)
	c.do("SET", "{}{user}", "v") // an empty tag is none
	got, _ = c.pages(nothing, "MATCH", "{}{user}*", "COUNT", "10000")
	c.wantKeys(got, []string{"{}{user}"})
}

func TestScanRefusesWhatIsWrong(t *testing.T) {
	connect(t).talk(`
> SCAN x
-ERR invalid cursor
> SCAN 1.5
-ERR invalid cursor
> SCAN 18446744073709551616
-ERR invalid cursor
> SCAN 18446744073709551615
*2
$1
0
*0
> SCAN 9007199254740992
*2
$1
0
*0
> SCAN 0 COUNT 0
-ERR syntax error
> SCAN 0 COUNT -1
-ERR syntax error
> SCAN 0 COUNT x
-ERR value is not an integer or out of range
> SCAN 0 COUNT
-ERR syntax error
> SCAN 0 MATCH
-ERR syntax error
> SCAN 0 FOO bar
-ERR syntax error
> SCAN
-ERR wrong number of arguments for 'scan' command`)
}

func TestKeysTakesPatterns(t *testing.T) {
	c := connect(t)
	for _, key := range []string{"hello", "hallo", "hxllo", "hillo", "heello", `h*llo`} {
		c.do("SET", key, "v")
	}
	c.do("SELECT", "1")
	c.do("SET", "hullo", "v")
	c.do("SELECT", "0")
	for pattern, want := range map[string]int{
		"*": 6, "h?llo": 5, "h*llo": 6, "h[ae]llo": 2, "h[^e]llo": 4, "h[a-i]llo": 3, `h\*llo`: 1, "": 0, "H?llo": 0, "hello": 1,
	} {
		if reply := c.do("KEYS", pattern); !strings.HasPrefix(reply, fmt.Sprintf("*%d\r\n", want)) {
			t.Errorf("KEYS %q: %q, want %d of them", pattern, reply, want)
		}
	}
}
