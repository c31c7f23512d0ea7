package server

import (
	"math"

	"cartwheel/server/redisvalue"
)

var numberHandlers = map[string]handler{
	"incr":        {write: func(c *call, v *view) { c.increase(v, 1) }},
	"decr":        {write: func(c *call, v *view) { c.increase(v, -1) }},
	"incrby":      {write: incrby},
	"decrby":      {write: decrby},
	"incrbyfloat": {write: incrbyfloat},
}

func incrby(c *call, v *view) {
	if n, ok := c.integer(c.args[2]); ok {
		c.increase(v, n)
	}
}

func decrby(c *call, v *view) {
	n, ok := c.integer(c.args[2])
	switch {
	case !ok:
	case n == math.MinInt64:
		c.w.Error("ERR decrement would overflow")
	default:
		c.increase(v, -n)
	}
}

// increase adds to an integer. The expiry stays.
func (c *call) increase(v *view, by int64) {
	var old int64
	if v.exists() {
		var ok bool
		if old, ok = c.integer(v.value()); !ok {
			return
		}
	}
	if by < 0 && old < math.MinInt64-by || by > 0 && old > math.MaxInt64-by {
		c.w.Error("ERR increment or decrement would overflow")
		return
	}
	sum := old + by
	v.set(redisvalue.AppendInt(c.digits[:0], sum), v.expireAtMS())
	c.w.Int(sum)
}

func incrbyfloat(c *call, v *view) {
	old := []byte("0")
	if v.exists() {
		old = v.value()
	}
	sum, err := redisvalue.IncrByFloat(old, c.args[2])
	if err != nil {
		c.w.Error("ERR " + err.Error())
		return
	}
	v.set(sum, v.expireAtMS())
	c.w.Bulk(sum)
}
