package compat

import (
	"fmt"
	"slices"
	"strconv"
	"strings"

	"pgregory.net/rapid"
)

// Commands about a whole database, and those whose replies have no fixed order or bytes.
var keyspaceCommands = []generator{
	{"SCAN", drawScan},
	{"SCAN errors", func(t *rapid.T) command {
		c := withOptions(t, []string{"SCAN", pick(t, "abc", "0x1", "18446744073709551616", "1.0", " 0")}, 1, bare("NOPE"))
		c.sound = true
		return c
	}},
	{"KEYS", func(t *rapid.T) command {
		return command{args: []string{"KEYS", pattern(t)}, play: sameAsSet, how: "in any order"}
	}},
	{"RANDOMKEY", func(*rapid.T) command {
		return command{args: []string{"RANDOMKEY"}, play: bothHaveRandomKey, how: "any key there is", sound: true}
	}},
	{"DBSIZE", func(*rapid.T) command {
		return command{args: []string{"DBSIZE"}, play: sameSize, how: "after EXISTS of every key", sound: true}
	}},
	{"FLUSHDB", func(t *rapid.T) command { return drawFlush(t, "FLUSHDB") }},
	{"FLUSHALL", func(t *rapid.T) command { return drawFlush(t, "FLUSHALL") }},
	{"DUMP", func(t *rapid.T) command {
		return command{args: []string{"DUMP", aKey(t)}, play: exchange, how: "and RESTORE on the other server", sound: true}
	}},
	{"RESTORE", drawRestore},
}

func drawFlush(t *rapid.T, name string) command {
	return withOptions(t, []string{name}, 1, bare("SYNC"), bare("ASYNC"), bare("NOPE"))
}

func drawScan(t *rapid.T) command {
	c := withOptions(t, []string{"SCAN", "0"}, 3,
		valued("COUNT", func(t *rapid.T) string { return pick(t, "1", "2", "3", "1000", "0", "-1", "abc") }),
		valued("MATCH", pattern),
		valued("TYPE", func(t *rapid.T) string { return pick(t, "string", "STRING", "list", "nosuch") }),
		bare("NOPE"))
	// What a cursor means that the server never gave out is its own affair: so it is not mangled.
	c.play, c.how, c.sound = sameScan, "to the end; the keys seen", true
	return c
}

// sameScan iterates to the end on both servers and compares the keys that were seen, as sets.
func sameScan(p *pair, args []string) error {
	redis, subject, err := p.both(args...)
	if err != nil {
		return err
	}
	if redis.kind == '-' || subject.kind == '-' {
		return compare(args, redis, subject)
	}
	redisKeys, err := scanRest(p.redis, args, redis)
	if err != nil {
		return fmt.Errorf("redis: %w", err)
	}
	subjectKeys, err := scanRest(p.subject, args, subject)
	if err != nil {
		return &mismatch{args, fmt.Sprintf("%q", redisKeys), err.Error()}
	}
	return sameSet(args, redisKeys, subjectKeys)
}

// scanRest follows a first page to the last. The database is small: a cursor that goes on for ever is an error.
func scanRest(c *conn, args []string, page reply) ([]string, error) {
	const pagesMax = 1000
	var keys []string
	for range pagesMax {
		if len(page.items) != 2 || page.items[0].kind != '$' || page.items[1].kind != '*' {
			return keys, fmt.Errorf("not a page of SCAN: %s", page)
		}
		keys = append(keys, page.items[1].texts()...)
		cursor := page.items[0].text
		if cursor == "0" {
			return keys, nil
		}
		if n, err := strconv.ParseUint(cursor, 10, 64); err != nil || strconv.FormatUint(n, 10) != cursor {
			return keys, fmt.Errorf("cursor %q is not a number in its shortest form", cursor)
		}
		var err error
		if page, err = c.do(slices.Concat(args[:1], []string{cursor}, args[2:])...); err != nil {
			return keys, err
		}
	}
	return keys, fmt.Errorf("%d pages and no end", pagesMax)
}

func sameAsSet(p *pair, args []string) error {
	redis, subject, err := p.both(args...)
	if err != nil {
		return err
	}
	if redis.kind != '*' || subject.kind != '*' {
		return compare(args, redis, subject)
	}
	return sameSet(args, redis.texts(), subject.texts())
}

// sameSet compares keys as sets: Redis too may show a key twice, or show it in another order.
func sameSet(args, redis, subject []string) error {
	redis, subject = slices.Compact(slices.Sorted(slices.Values(redis))), slices.Compact(slices.Sorted(slices.Values(subject)))
	if slices.Equal(redis, subject) {
		return nil
	}
	return &mismatch{args, fmt.Sprintf("%q", redis), fmt.Sprintf("%q", subject)}
}

// bothHaveRandomKey wants a key from both or from neither, and the other server to have it as well.
func bothHaveRandomKey(p *pair, args []string) error {
	redis, subject, err := p.both(args...)
	if err != nil {
		return err
	}
	if redis.null || subject.null || subject.kind != '$' {
		return compare(args, redis, subject)
	}
	exists, err := p.redis.do("EXISTS", subject.text)
	if err != nil {
		return err
	}
	if exists.text != "1" {
		return &mismatch{args, "has no such key", subject.String()}
	}
	return nil
}

// sameSize compares DBSIZE once every key has been looked at: Redis counts an expired key until then.
func sameSize(p *pair, args []string) error {
	if err := p.same(append([]string{"EXISTS"}, allKeys...)...); err != nil {
		return err
	}
	// A word that is left out makes another one the key: SCAN has Redis look at those, too.
	if _, err := p.redis.do("SCAN", "0", "COUNT", "1000"); err != nil {
		return err
	}
	return p.same(args...)
}

// exchange dumps a key on each server and restores it on the other, over the key itself.
func exchange(p *pair, args []string) error {
	redis, subject, err := p.both(args...)
	if err != nil {
		return err
	}
	if redis.kind != '$' || subject.kind != '$' || redis.null || subject.null {
		return compare(args, redis, subject)
	}
	key := args[1]
	restored, err := p.redis.do("RESTORE", key, "0", subject.text, "REPLACE")
	if err != nil {
		return err
	}
	if restored.text != "OK" {
		return &mismatch{args, "RESTORE of Cartwheel's dump: " + restored.String(), subject.String()}
	}
	restore := []string{"RESTORE", key, "0", redis.text, "REPLACE"}
	restored, err = p.subject.do(restore...)
	if err != nil {
		return err
	}
	if restored.text != "OK" {
		return &mismatch{restore, "+OK", restored.String()}
	}
	return p.same("GET", key)
}

// dumps are what DUMP of Redis 7.0 gave for strings in each of its encodings, and spoiled ones.
var dumps = []string{
	"\x00\x05hello\x0a\x00cr\xdfve4 \x0a",
	"\x00\x00\x0a\x00]\x9b\x5c@\x0f\x7f\xa2\xda",                                                    // empty
	"\x00\xc0{\x0a\x00H\xe2S\xe1\x00zg\xb9",                                                         // 123, 8 bits
	"\x00\xc0\xf9\x0a\x00^&\xd10\xd7\xa2B\xab",                                                      // -7
	"\x00\xc1\xd4\xfe\x0a\x00\xc6\xc4\x86#\xfe\xbe\xde.",                                            // -300, 16 bits
	"\x00\xc2p\x11\x01\x00\x0a\x00\x01\xa4\x08\xfe\x950\x95\xa5",                                    // 70000, 32 bits
	"\x00\x0a5000000000\x0a\x00i\xa9\x0f\xd5~\x0f\xf4%",                                             // more bits are text
	"\x00\xc3\x09@d\x01aa\xe0W\x00\x01aa\x0a\x00\xe8\xa3\xb5\x07\xb0m\xf2q",                         // LZF: 100 times a
	"\x00\xc3\x15A,\x0a01234567890\xe0\xff\x09\xe1\x0e\x0d\x0189\x0a\x00\xf1\xe9\x82|\x1eU\xe4\x9a", // LZF: 30 times 0123456789
	"\x00\x05hdllo\x0a\x00cr\xdfve4 \x0a",                                                           // a wrong checksum
	"\x00\x05hello\x0a\x00cr\xdfve4",                                                                // cut short
	"\x00", "", "abc", "\x00\x05hello\xff\x7fcr\xdfve4 \x0a",                                        // no dumps
}

func drawRestore(t *rapid.T) command {
	ttl := moment{text: "0"}
	absolute := chance(t, 30)
	switch {
	case absolute && chance(t, 60):
		ttl = millisecondsAt(t)
	case chance(t, 40):
		ttl = millisecondsAhead(t)
	}
	// Redis lets a relative time to live overflow here, and only here; Cartwheel refuses it.
	if !absolute && len(strings.TrimPrefix(ttl.text, "-")) > 15 {
		ttl = moment{text: "-1"}
	}
	args := []string{"RESTORE", aKey(t), ttl.text, rapid.SampledFrom(dumps).Draw(t, "dump")}
	c := withOptions(t, args, 2, bare("REPLACE"), bare("REPLACE"), bare("NOPE"),
		valued("IDLETIME", func(t *rapid.T) string { return pick(t, "1000", "-1", "abc") }),
		valued("FREQ", func(t *rapid.T) string { return pick(t, "10", "256", "-1", "abc") }))
	if absolute {
		c.args = append(c.args, inAnyCase(t, "ABSTTL"))
	} else {
		c.timed = timedArg{2, ttl.gap}
	}
	if strings.EqualFold(c.args[len(c.args)-1], "IDLETIME") {
		c.args = append(c.args, "5")
	}
	c.sound = true
	return c
}
