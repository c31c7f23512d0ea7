package server

import (
	"cartwheel/server/redisvalue"
)

var expireHandlers = map[string]handler{
	"expire":      {write: expire},
	"pexpire":     {write: expire},
	"expireat":    {write: expire},
	"pexpireat":   {write: expire},
	"persist":     {write: persist},
	"ttl":         {read: func(c *call, v *view) { c.ttl(v, c.nowMS, 1000) }},
	"pttl":        {read: func(c *call, v *view) { c.ttl(v, c.nowMS, 1) }},
	"expiretime":  {read: func(c *call, v *view) { c.ttl(v, 0, 1000) }},
	"pexpiretime": {read: func(c *call, v *view) { c.ttl(v, 0, 1) }},
}

// ttl replies with the expiry as it is seen from a time.
func (c *call) ttl(v *view, fromMS, unitMS int64) {
	c.looked(v.exists())
	switch at := v.expireAtMS(); {
	case !v.exists():
		c.w.Int(-2)
	case at == 0:
		c.w.Int(-1)
	default:
		left := max(0, at-fromMS)
		c.w.Int(left/unitMS + (left%unitMS+unitMS/2)/unitMS) // rounded; the sum of all could overflow
	}
}

func persist(c *call, v *view) {
	if v.expireAtMS() == 0 {
		c.w.Int(0)
		return
	}
	v.touch(0)
	c.w.Int(1)
}

// expire is EXPIRE, PEXPIRE, EXPIREAT and PEXPIREAT.
func expire(c *call, v *view) {
	o, ok := c.expireOptions()
	if !ok {
		return
	}
	at, ok := c.expireTime()
	if !ok {
		return
	}
	switch old := v.expireAtMS(); { // 0: never, later than any other
	case !v.exists(),
		o.nx && old != 0,
		o.xx && old == 0,
		o.gt && (old == 0 || at <= old),
		o.lt && old != 0 && at >= old:
		c.w.Int(0)
		return
	}
	if at <= c.nowMS {
		v.remove()
	} else {
		v.touch(at)
	}
	c.w.Int(1)
}

// expireTime reads the time, which may be past, in Unix milliseconds.
func (c *call) expireTime() (atMS int64, ok bool) {
	n, ok := redisvalue.ParseInt(c.args[2])
	if !ok {
		c.w.Error(errNotInteger)
		return 0, false
	}
	const most, least = 1<<63 - 1, -1 << 63
	name := c.cmd.Name
	unit, from := int64(1000), c.nowMS
	if name[0] == 'p' {
		unit = 1
	}
	if name == "expireat" || name == "pexpireat" {
		from = 0
	}
	if n > most/unit || n < least/unit || n*unit > most-from {
		c.w.Error("ERR invalid expire time in '" + name + "' command")
		return 0, false
	}
	return n*unit + from, true
}

type expireOptions struct{ nx, xx, gt, lt bool }

func (c *call) expireOptions() (o expireOptions, ok bool) {
	for _, arg := range c.args[3:] {
		switch {
		case is(arg, "nx"):
			o.nx = true
		case is(arg, "xx"):
			o.xx = true
		case is(arg, "gt"):
			o.gt = true
		case is(arg, "lt"):
			o.lt = true
		default:
			c.w.Error("ERR Unsupported option " + string(arg[:min(len(arg), 128)]))
			return o, false
		}
	}
	switch {
	case o.nx && (o.xx || o.gt || o.lt):
		c.w.Error("ERR NX and XX, GT or LT options at the same time are not compatible")
		return o, false
	case o.gt && o.lt:
		c.w.Error("ERR GT and LT options at the same time are not compatible")
		return o, false
	}
	return o, true
}
