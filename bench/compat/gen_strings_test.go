package compat

import (
	"slices"

	"pgregory.net/rapid"
)

var stringCommands = []generator{
	{"GET", func(t *rapid.T) command { return send("GET", aKey(t)) }},
	{"SET", drawSet},
	{"GETEX", func(t *rapid.T) command {
		return withOptions(t, []string{"GETEX", aKey(t)}, 2, append(expiryOptions, bare("PERSIST"))...)
	}},
	{"GETDEL", func(t *rapid.T) command { return send("GETDEL", aKey(t)) }},
	{"GETSET", func(t *rapid.T) command { return send("GETSET", aKey(t), aValue(t)) }},
	{"GETRANGE", func(t *rapid.T) command { return send("GETRANGE", aKey(t), anIndex(t), anIndex(t)) }},
	{"SUBSTR", func(t *rapid.T) command { return send("SUBSTR", aKey(t), anIndex(t), anIndex(t)) }},
	{"SETRANGE", func(t *rapid.T) command { return send("SETRANGE", aKey(t), anOffset(t), aValue(t)) }},
	{"APPEND", func(t *rapid.T) command { return send("APPEND", aKey(t), aValue(t)) }},
	{"STRLEN", func(t *rapid.T) command { return send("STRLEN", aKey(t)) }},
	{"MGET", func(t *rapid.T) command { return send(slices.Insert(someOf(t, 0, 5, aKey), 0, "MGET")...) }},
	{"MSET", func(t *rapid.T) command { return send(slices.Insert(keysAndValues(t, aKey), 0, "MSET")...) }},
	{"MSETNX", func(t *rapid.T) command {
		// Its keys must share a slot in Cartwheel, by design; what it does with others is in versions_test.go.
		c := send(slices.Insert(keysAndValues(t, aSlotKey), 0, "MSETNX")...)
		c.sound = true
		return c
	}},
	{"SETNX", func(t *rapid.T) command { return send("SETNX", aKey(t), aValue(t)) }},
	{"SETEX", func(t *rapid.T) command { return drawSetWithTime(t, "SETEX", secondsAhead) }},
	{"PSETEX", func(t *rapid.T) command { return drawSetWithTime(t, "PSETEX", millisecondsAhead) }},
	{"LCS", func(t *rapid.T) command {
		return withOptions(t, []string{"LCS", aKey(t), aKey(t)}, 3,
			bare("LEN"), bare("IDX"), bare("IDX"), bare("WITHMATCHLEN"), bare("NOPE"), valued("MINMATCHLEN", anInteger))
	}},
}

func drawSet(t *rapid.T) command {
	args := []string{"SET", aKey(t), aValue(t)}
	if chance(t, 40) {
		return send(args...)
	}
	return withOptions(t, args, 3, append(expiryOptions,
		bare("NX"), bare("XX"), bare("GET"), bare("KEEPTTL"), bare("NX"), bare("XX"), bare("GET"), bare("KEEPTTL"), bare("PERSIST"))...)
}

func drawSetWithTime(t *rapid.T, name string, when func(*rapid.T) moment) command {
	m := when(t)
	c := send(name, aKey(t), m.text, aValue(t))
	c.timed = timedArg{2, m.gap}
	return c
}

// keysAndValues draws pairs, now and then with a value missing.
func keysAndValues(t *rapid.T, key func(*rapid.T) string) []string {
	var args []string
	for range between(t, 0, 4) {
		args = append(args, key(t), aValue(t))
	}
	if len(args) > 0 && chance(t, 10) {
		args = args[:len(args)-1]
	}
	return args
}

// anIndex draws a position in a string, from either end and past both.
func anIndex(t *rapid.T) string {
	if chance(t, 20) {
		return pick(t, oddIntegers...)
	}
	return decimal(t, -30, 60)
}

// anOffset draws where to write, now and then at the limits of proto-max-bulk-len (1 MB in these tests).
func anOffset(t *rapid.T) string {
	switch between(t, 0, 19) {
	case 18:
		return pick(t, oddIntegers...)
	case 19:
		return pick(t, "1048575", "1048576", "1048577", "1048570", "536870911", "536870912")
	default:
		return decimal(t, -2, 80)
	}
}
