package server

import (
	"errors"

	"cartwheel/server/redisvalue"
)

var dumpHandlers = map[string]handler{
	"dump":    {read: dump},
	"restore": {begin: beginRestore, write: restore, blind: func(c *call) bool { return c.restore.replace }},
}

func dump(c *call, v *view) {
	c.looked(v.exists())
	if !v.exists() {
		c.w.Null()
		return
	}
	c.w.Bulk(redisvalue.AppendDump(nil, v.value()))
}

type restoreOptions struct{ replace, absolute bool }

// beginRestore reads RESTORE key ttl payload [REPLACE] [ABSTTL] [IDLETIME s]
// [FREQ f]. The last two say what a cache's eviction should know; there is none.
func beginRestore(c *call) bool {
	c.restore = restoreOptions{}
	idle, freq := false, false
	for i := 4; i < len(c.args); i++ {
		switch arg := c.args[i]; {
		case is(arg, "replace"):
			c.restore.replace = true
		case is(arg, "absttl"):
			c.restore.absolute = true
		case is(arg, "idletime") && i+1 < len(c.args) && !freq:
			i++
			idle = true
			if n, ok := c.integer(c.args[i]); !ok {
				return false
			} else if n < 0 {
				c.w.Error("ERR Invalid IDLETIME value, must be >= 0")
				return false
			}
		case is(arg, "freq") && i+1 < len(c.args) && !idle:
			i++
			freq = true
			if n, ok := c.integer(c.args[i]); !ok {
				return false
			} else if n < 0 || n > 255 {
				c.w.Error("ERR Invalid FREQ value, must be >= 0 and <= 255")
				return false
			}
		default:
			c.w.Error(errSyntax)
			return false
		}
	}
	return true
}

func restore(c *call, v *view) {
	if v.exists() && !c.restore.replace {
		c.w.Error("BUSYKEY Target key name already exists.")
		return
	}
	ttl, ok := c.integer(c.args[2])
	if !ok {
		return
	}
	if ttl < 0 {
		c.w.Error("ERR Invalid TTL value, must be >= 0")
		return
	}
	value, err := redisvalue.ParseDump(c.args[3], c.srv.valueBytesMax())
	switch {
	case errors.Is(err, redisvalue.ErrNotString):
		c.w.Error("ERR Cartwheel holds strings only: " + err.Error())
		return
	case err != nil:
		c.w.Error("ERR " + err.Error())
		return
	}
	if ttl != 0 && !c.restore.absolute {
		ttl += c.nowMS
		if ttl < 0 {
			c.w.Error("ERR Invalid TTL value, must be >= 0")
			return
		}
	}
	v.set(value, ttl)
	c.w.OK()
}
