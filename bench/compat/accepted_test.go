package compat

import (
	"strings"
)

// difference is a way in which Cartwheel's reply may differ from Redis's, and why.
type difference struct {
	reason string
	allows func(args []string, redis, subject reply) bool
}

// acceptedDifferences is the whole list. Each entry is as narrow as its reason.
var acceptedDifferences = []difference{
	{
		reason: "a relative time to live is counted from two moments, one a server: 2 s are allowed",
		allows: func(args []string, redis, subject reply) bool {
			switch strings.ToUpper(args[0]) {
			case "TTL":
				return near(redis, subject, 2)
			case "PTTL":
				return near(redis, subject, 2000)
			case "EXPIRETIME":
				return !farAhead(redis, 1) && near(redis, subject, 2)
			case "PEXPIRETIME":
				return !farAhead(redis, 1000) && near(redis, subject, 2000)
			}
			return false
		},
	},
	{
		reason: "Redis shares small numbers between keys, and shows the idle time of the shared one, since it started",
		allows: func(args []string, redis, subject reply) bool {
			return isCommand(args, "OBJECT", "IDLETIME") && near(redis, subject, 3600)
		},
	},
	{
		reason: "CLIENT SETINFO came with Redis 7.2; the one compared with is 7.0",
		allows: func(args []string, redis, subject reply) bool {
			return isCommand(args, "CLIENT", "SETINFO") && isUnknown(redis) && subject.text == "OK"
		},
	},
	{
		reason: "BITCOUNT and BITPOS look at their arguments before the key since Redis 7.2; 7.0 answers for a missing key first",
		allows: func(args []string, redis, subject reply) bool {
			missing := redis.kind == ':' && (redis.text == "0" || redis.text == "-1")
			return (isCommand(args, "BITCOUNT") || isCommand(args, "BITPOS")) && missing &&
				(subject.text == "ERR syntax error" || subject.text == "ERR value is not an integer or out of range")
		},
	},
	{
		reason: "the HELP of a command ends in other words since Redis 7.2",
		allows: func(args []string, redis, subject reply) bool {
			return len(args) == 2 && isCommand(args[1:], "HELP") &&
				strings.ReplaceAll(string(redis.raw), "Prints this help.", "Print this help.") == string(subject.raw)
		},
	},
	{
		reason: "nothing is ever evicted here: maxmemory-policy cannot be set at all, not even wrongly",
		allows: func(args []string, redis, subject reply) bool {
			return isCommand(args, "CONFIG", "SET", "maxmemory-policy") && redis.kind == '-' && subject.kind == '-'
		},
	},
	{
		reason: "Redis's error texts are C strings: what they quote of an argument ends at its first NUL",
		allows: func(_ []string, redis, subject reply) bool {
			same, _, found := strings.Cut(subject.text, "\x00")
			return found && redis.kind == '-' && subject.kind == '-' && strings.HasPrefix(redis.text, same)
		},
	},
	{
		reason: "Redis shares small numbers between keys and shows so as a greatest REFCOUNT; here each value has one reference",
		allows: func(args []string, redis, subject reply) bool {
			return isCommand(args, "OBJECT", "REFCOUNT") && redis.text == "2147483647" && subject.kind == ':' && subject.text == "1"
		},
	},
	{
		reason: "Redis remembers that a string was changed in its place, and calls it raw however short it is; here the encoding is that of the value",
		allows: func(args []string, redis, subject reply) bool {
			return isCommand(args, "OBJECT", "ENCODING") && redis.text == "raw" && (subject.text == "embstr" || subject.text == "int")
		},
	},
	{
		reason: "DEBUG is off in Redis by default; Cartwheel has only DEBUG SLEEP, and says its own words of the rest",
		allows: func(args []string, redis, subject reply) bool {
			return isCommand(args, "DEBUG") && redis.kind == '-' && subject.kind == '-'
		},
	},
	{
		reason: "there is no save to schedule: BGSAVE is a sync, and its words for a mistake are its own",
		allows: func(args []string, redis, subject reply) bool {
			return isCommand(args, "BGSAVE") && redis.kind == '-' && subject.kind == '-'
		},
	},
}

// isUnknown tells whether Redis says that it has no such command or subcommand.
func isUnknown(r reply) bool { return strings.HasPrefix(r.text, "ERR unknown ") }

func accepted(args []string, redis, subject reply) bool {
	for _, d := range acceptedDifferences {
		if d.allows(args, redis, subject) {
			return true
		}
	}
	return false
}

// isCommand tells whether args begin with these words, in any case.
func isCommand(args []string, words ...string) bool {
	if len(args) < len(words) {
		return false
	}
	for i, word := range words {
		if !strings.EqualFold(args[i], word) {
			return false
		}
	}
	return true
}

// near tells whether both replies are times, neither of them "none" or "missing", not further apart than most.
func near(redis, subject reply, most int64) bool {
	r, ok := redis.integer()
	s, ok2 := subject.integer()
	return ok && ok2 && r >= 0 && s >= 0 && r-s <= most && s-r <= most
}

// farAhead tells whether a reply is one of the absolute times that the generators use. Those must be
// the same on both servers to the last digit.
func farAhead(r reply, unitsASecond int64) bool {
	n, _ := r.integer()
	return n >= farAheadSeconds*unitsASecond && n < 2*farAheadSeconds*unitsASecond
}
