package server

import (
	"cartwheel/server/redisvalue"
)

var bitHandlers = map[string]handler{
	"getbit":      {read: getbit},
	"setbit":      {write: setbit},
	"bitcount":    {read: bitcount},
	"bitpos":      {read: bitpos},
	"bitop":       {slow: bitop},
	"bitfield":    {begin: beginBitfield, write: bitfield},
	"bitfield_ro": {begin: beginBitfield, read: bitfieldRO},
}

// bitOffset reads a bit's offset, or replies why it is none.
func (c *call) bitOffset(arg []byte) (uint64, bool) {
	offset, err := redisvalue.ParseBitOffset(arg, int64(c.srv.valueBytesMax()))
	if err != nil {
		c.w.Error("ERR " + err.Error())
		return 0, false
	}
	return offset, true
}

func getbit(c *call, v *view) {
	offset, ok := c.bitOffset(c.args[2])
	if !ok {
		return
	}
	c.looked(v.exists())
	c.w.Int(int64(redisvalue.GetBit(v.value(), offset)))
}

func setbit(c *call, v *view) {
	offset, ok := c.bitOffset(c.args[2])
	if !ok {
		return
	}
	bit, ok := redisvalue.ParseInt(c.args[3])
	if !ok || bit != 0 && bit != 1 {
		c.w.Error("ERR bit is not an integer or out of range")
		return
	}
	value := grown(v.value(), int(offset/8)+1)
	old := redisvalue.SetBit(value, offset, int(bit))
	v.set(value, v.expireAtMS())
	c.w.Int(int64(old))
}

// grown returns a copy of value of at least n bytes, with zeros behind it.
func grown(value []byte, n int) []byte {
	larger := make([]byte, max(len(value), n))
	copy(larger, value)
	return larger
}

func bitcount(c *call, v *view) {
	c.looked(v.exists())
	start, end, inBits := int64(0), int64(-1), false
	switch len(c.args) {
	case 2:
	case 4, 5:
		var ok bool
		if start, ok = c.integer(c.args[2]); !ok {
			return
		}
		if end, ok = c.integer(c.args[3]); !ok {
			return
		}
		if len(c.args) == 5 {
			if inBits, ok = c.bitUnit(c.args[4]); !ok {
				return
			}
		}
	default:
		c.w.Error(errSyntax)
		return
	}
	c.w.Int(redisvalue.BitCount(v.value(), start, end, inBits))
}

func (c *call) bitUnit(arg []byte) (inBits, ok bool) {
	switch {
	case is(arg, "bit"):
		return true, true
	case is(arg, "byte"):
		return false, true
	}
	c.w.Error(errSyntax)
	return false, false
}

func bitpos(c *call, v *view) {
	bit, ok := c.integer(c.args[2])
	if !ok {
		return
	}
	if bit != 0 && bit != 1 {
		c.w.Error("ERR The bit argument must be 1 or 0.")
		return
	}
	c.looked(v.exists())
	start, end, endGiven, inBits := int64(0), int64(-1), false, false
	if len(c.args) > 6 {
		c.w.Error(errSyntax)
		return
	}
	if len(c.args) >= 4 {
		if start, ok = c.integer(c.args[3]); !ok {
			return
		}
	}
	if len(c.args) == 6 {
		if inBits, ok = c.bitUnit(c.args[5]); !ok {
			return
		}
	}
	if len(c.args) >= 5 {
		if end, ok = c.integer(c.args[4]); !ok {
			return
		}
		endGiven = true
	}
	if !v.exists() {
		c.w.Int(-bit)
		return
	}
	c.w.Int(redisvalue.BitPos(v.value(), int(bit), start, end, endGiven, inBits))
}

// bitop reads its sources one by one and then sets the target: a write to a
// source in between may or may not be seen.
func bitop(c *call) {
	ops := map[string]redisvalue.BitOperation{
		"and": redisvalue.BitAnd, "or": redisvalue.BitOr, "xor": redisvalue.BitXor, "not": redisvalue.BitNot,
	}
	op, known := redisvalue.BitOperation(0), false
	for name, o := range ops {
		if is(c.args[1], name) {
			op, known = o, true
		}
	}
	sources := c.args[3:]
	switch {
	case !known:
		c.w.Error(errSyntax)
		return
	case op == redisvalue.BitNot && len(sources) != 1:
		c.w.Error("ERR BITOP NOT must be called with a single source key.")
		return
	}
	var result []byte // one source at a time: together they may be too much
	for i, key := range sources {
		v, err := c.readKey(c.db, key)
		if err == nil {
			err = c.ending()
		}
		if err != nil {
			c.w.Error(wireText(err))
			return
		}
		if i == 0 {
			result = redisvalue.BitOp(op, v.value())
		} else {
			result = redisvalue.BitOp(op, result, v.value())
		}
	}
	var err error
	if len(result) == 0 {
		err = c.removeInner(c.db, c.args[2])
	} else {
		_, err = c.setInner(c.db, c.args[2], result, 0, false)
	}
	if err != nil {
		c.w.Error(wireText(err))
		return
	}
	c.w.Int(int64(len(result)))
}
