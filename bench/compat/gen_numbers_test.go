package compat

import "pgregory.net/rapid"

var numberCommands = []generator{
	{"INCR", func(t *rapid.T) command { return send("INCR", aKey(t)) }},
	{"DECR", func(t *rapid.T) command { return send("DECR", aKey(t)) }},
	{"INCRBY", func(t *rapid.T) command { return send("INCRBY", aKey(t), anInteger(t)) }},
	{"DECRBY", func(t *rapid.T) command { return send("DECRBY", aKey(t), anInteger(t)) }},
	{"INCRBYFLOAT", func(t *rapid.T) command { return send("INCRBYFLOAT", aKey(t), aFloat(t)) }},
}

// numberSetting puts numbers and what looks like them under the keys.
var numberSetting = []generator{
	{"SET", func(t *rapid.T) command { return send("SET", aKey(t), anInteger(t)) }},
	{"SET", func(t *rapid.T) command { return send("SET", aKey(t), aFloat(t)) }},
	{"SET", func(t *rapid.T) command {
		return send("SET", aKey(t), pick(t, "9223372036854775800", "-9223372036854775800", "9223372036854775807", "0.30000000000000004"))
	}},
	{"SETEX", func(t *rapid.T) command { return drawSetWithTime(t, "SETEX", secondsAhead) }},
	{"TTL", func(t *rapid.T) command { return send("TTL", aKey(t)) }},
}
