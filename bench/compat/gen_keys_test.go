package compat

import (
	"slices"

	"pgregory.net/rapid"
)

var keyCommands = []generator{
	{"DEL", func(t *rapid.T) command { return manyKeys(t, "DEL") }},
	{"UNLINK", func(t *rapid.T) command { return manyKeys(t, "UNLINK") }},
	{"EXISTS", func(t *rapid.T) command { return manyKeys(t, "EXISTS") }},
	{"TOUCH", func(t *rapid.T) command { return manyKeys(t, "TOUCH") }},
	{"TYPE", func(t *rapid.T) command { return send("TYPE", aKey(t)) }},
	{"RENAME", func(t *rapid.T) command { return send("RENAME", aKey(t), aKey(t)) }},
	{"RENAMENX", func(t *rapid.T) command { return send("RENAMENX", aKey(t), aKey(t)) }},
	{"COPY", func(t *rapid.T) command {
		return withOptions(t, []string{"COPY", aKey(t), aKey(t)}, 2, valued("DB", aDatabase), bare("REPLACE"), bare("NX"))
	}},
	{"MOVE", func(t *rapid.T) command { return send("MOVE", aKey(t), aDatabase(t)) }},
	{"SELECT", func(t *rapid.T) command { return send("SELECT", aDatabase(t)) }},
	{"OBJECT", func(t *rapid.T) command {
		subcommand := pick(t, "ENCODING", "ENCODING", "REFCOUNT", "IDLETIME", "FREQ", "NOPE", "")
		return send("OBJECT", inAnyCase(t, subcommand), aKey(t))
	}},
	{"PING", func(t *rapid.T) command { return send(slices.Insert(someOf(t, 0, 2, aValue), 0, "PING")...) }},
	{"ECHO", func(t *rapid.T) command { return send("ECHO", aValue(t)) }},
	{"NOSUCH", func(t *rapid.T) command {
		name := pick(t, "NOSUCH", "", "GETT", "getx\r\ny", "\x00", "very"+longName)
		return send(slices.Insert(someOf(t, 0, 5, aValue), 0, name)...)
	}},
}

var expiryCommands = []generator{
	{"EXPIRE", func(t *rapid.T) command { return drawExpire(t, "EXPIRE", secondsAhead) }},
	{"PEXPIRE", func(t *rapid.T) command { return drawExpire(t, "PEXPIRE", millisecondsAhead) }},
	{"EXPIREAT", func(t *rapid.T) command { return drawExpire(t, "EXPIREAT", secondsAt) }},
	{"PEXPIREAT", func(t *rapid.T) command { return drawExpire(t, "PEXPIREAT", millisecondsAt) }},
	{"TTL", func(t *rapid.T) command { return send("TTL", aKey(t)) }},
	{"PTTL", func(t *rapid.T) command { return send("PTTL", aKey(t)) }},
	{"EXPIRETIME", func(t *rapid.T) command { return send("EXPIRETIME", aKey(t)) }},
	{"PEXPIRETIME", func(t *rapid.T) command { return send("PEXPIRETIME", aKey(t)) }},
	{"PERSIST", func(t *rapid.T) command { return send("PERSIST", aKey(t)) }},
}

// setting gives the commands under test something to work on: keys with and without a time to live, and few deletes.
var setting = []generator{
	{"SET", func(t *rapid.T) command { return send("SET", aKey(t), aValue(t)) }},
	{"SET", func(t *rapid.T) command { return send("SET", aKey(t), aValue(t)) }},
	{"SET", func(t *rapid.T) command {
		return withOptions(t, []string{"SET", aKey(t), aValue(t)}, 1, expiryOptions...)
	}},
	{"PEXPIREAT", func(t *rapid.T) command { return send("PEXPIREAT", aKey(t), millisecondsAt(t).text) }},
	{"DEL", func(t *rapid.T) command { return send("DEL", aKey(t)) }},
	{"GET", func(t *rapid.T) command { return send("GET", aKey(t)) }},
}

const longName = "long0123456789long0123456789long0123456789long0123456789long0123456789long0123456789long0123456789long0123456789long0123456789long0123456789"

func manyKeys(t *rapid.T, name string) command {
	return send(slices.Insert(someOf(t, 0, 5, aKey), 0, name)...)
}

func drawExpire(t *rapid.T, name string, when func(*rapid.T) moment) command {
	m := when(t)
	c := withOptions(t, []string{name, aKey(t), m.text}, 3,
		bare("NX"), bare("XX"), bare("GT"), bare("LT"), bare("XX"), bare("GT"), bare("LT"), bare("NOPE"))
	c.timed = timedArg{2, m.gap}
	return c
}

// aDatabase draws a database's number: mostly one of three, else the last, or none.
func aDatabase(t *rapid.T) string {
	if chance(t, 15) {
		return pick(t, "16", "-1", "abc", "", "99999999999", "1.0", " 1", "9223372036854775808", "15")
	}
	return pick(t, "0", "1", "0", "1", "15")
}
