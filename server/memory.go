package server

const memoryHelp = `USAGE <key> [SAMPLES <count>]
    Return the bytes that <key> and its values take in memory, estimated.
    Values are not nested: <count> changes nothing.`

// What an object takes beside the bytes of its key and its payloads.
const (
	objectBytes     = 96 // with its place in the cache
	siblingBytes    = 72
	clockEntryBytes = 16
)

func beginMemoryUsage(c *call) bool {
	options := c.args[3:]
	for ; len(options) >= 2 && is(options[0], "samples"); options = options[2:] {
		samples, ok := c.integer(options[1])
		if !ok {
			return false
		}
		if samples < 0 {
			c.w.Error(errSyntax)
			return false
		}
	}
	if len(options) > 0 {
		c.w.Error(errSyntax)
		return false
	}
	return true
}

func memoryUsage(c *call, v *view) {
	if !v.exists() {
		c.w.Null()
		return
	}
	n := objectBytes + len(c.args[c.key]) + clockEntryBytes*len(v.o.Clock)
	for i := range v.o.Siblings {
		n += siblingBytes + len(v.o.Siblings[i].Payload)
	}
	c.w.Int(int64(n))
}
