package server

import (
	"math"
	"strings"

	"cartwheel/server/redisvalue"
)

// The errors that many commands share, in Redis's words.
const (
	errSyntax     = "ERR syntax error"
	errNotInteger = "ERR value is not an integer or out of range"
	errNotFloat   = "ERR value is not a valid float"
	errTooLong    = "ERR string exceeds maximum allowed size (proto-max-bulk-len)"
	errOffset     = "ERR offset is out of range"
	errNoSuchKey  = "ERR no such key"
	errDBIndex    = "ERR DB index is out of range"
)

// is reports that an argument is a word, in any letter case. The word is in
// lower case.
func is(arg []byte, word string) bool {
	if len(arg) != len(word) {
		return false
	}
	for i := range len(word) {
		b := arg[i]
		if 'A' <= b && b <= 'Z' {
			b += 'a' - 'A'
		}
		if b != word[i] {
			return false
		}
	}
	return true
}

// integer reads an argument as an integer, or replies why it is none.
func (c *call) integer(arg []byte) (n int64, ok bool) {
	if n, ok = redisvalue.ParseInt(arg); !ok {
		c.w.Error(errNotInteger)
	}
	return n, ok
}

// database reads an argument as the number of a database, or replies why it is
// none.
func (c *call) database(arg []byte) (db uint8, ok bool) {
	n, ok := c.integer(arg)
	switch {
	case !ok:
	case n < math.MinInt32 || n > math.MaxInt32:
		c.w.Error("ERR value is out of range, value must between -2147483648 and 2147483647")
	case n != 0 && c.s.atClusterPort():
		if c.cmd.Name == "copy" {
			c.w.Error("ERR Copying to another database is not allowed in cluster mode")
		} else {
			c.w.Error("ERR " + strings.ToUpper(c.cmd.Name) + " is not allowed in cluster mode")
		}
	case n < 0 || n >= databases:
		c.w.Error(errDBIndex)
	default:
		return uint8(n), true
	}
	return 0, false
}

// help replies as a container's HELP does.
func (c *call) help(name string, lines []string) {
	c.w.Array(len(lines) + 3)
	c.w.Simple(name + " <subcommand> [<arg> [value] [opt] ...]. Subcommands are:")
	for _, line := range lines {
		c.w.Simple(line)
	}
	c.w.Simple("HELP")
	c.w.Simple("    Print this help.")
}
