package server

import (
	"cartwheel/server/redisvalue"
)

// A bitfieldOp is one operation of BITFIELD.
type bitfieldOp struct {
	verb     byte // 'g'et, 's'et, 'i'ncrby
	field    redisvalue.BitfieldType
	offset   uint64
	number   int64
	overflow redisvalue.Overflow
}

// beginBitfield reads all operations before anything is looked up.
func beginBitfield(c *call) bool {
	c.bitfield = c.bitfield[:0]
	overflow := redisvalue.OverflowWrap
	writes := false
	args := c.args[2:]
	for len(args) > 0 {
		name := args[0]
		if is(name, "overflow") && len(args) > 1 {
			var err error
			if overflow, err = redisvalue.ParseOverflow(args[1]); err != nil {
				c.w.Error("ERR " + err.Error())
				return false
			}
			args = args[2:]
			continue
		}
		op, n := bitfieldOp{overflow: overflow}, 4
		switch {
		case is(name, "get"):
			op.verb, n = 'g', 3
		case is(name, "set"):
			op.verb = 's'
		case is(name, "incrby"):
			op.verb = 'i'
		default:
			n = len(args) + 1
		}
		if len(args) < n {
			c.w.Error(errSyntax)
			return false
		}
		if !c.parseBitfieldOp(&op, args[:n]) {
			return false
		}
		writes = writes || op.verb != 'g'
		c.bitfield = append(c.bitfield, op)
		args = args[n:]
	}
	if writes && c.cmd.Name == "bitfield_ro" {
		c.w.Error("ERR BITFIELD_RO only supports the GET subcommand")
		return false
	}
	return true
}

func (c *call) parseBitfieldOp(op *bitfieldOp, args [][]byte) bool {
	var err error
	if op.field, err = redisvalue.ParseBitfieldType(args[1]); err == nil {
		op.offset, err = op.field.ParseOffset(args[2], int64(c.srv.valueBytesMax()))
	}
	if err != nil {
		c.w.Error("ERR " + err.Error())
		return false
	}
	if op.verb == 'g' {
		return true
	}
	var ok bool
	op.number, ok = c.integer(args[3])
	return ok
}

func bitfieldRO(c *call, v *view) {
	c.looked(v.exists())
	c.w.Array(len(c.bitfield))
	for i := range c.bitfield {
		op := &c.bitfield[i]
		c.w.Int(op.field.Get(v.value(), op.offset))
	}
}

func bitfield(c *call, v *view) {
	length, writes := 0, false
	for i := range c.bitfield {
		if op := &c.bitfield[i]; op.verb != 'g' {
			writes = true
			length = max(length, op.field.ByteLen(op.offset))
		}
	}
	if !writes {
		bitfieldRO(c, v)
		return
	}
	value := grown(v.value(), length)
	c.w.Array(len(c.bitfield))
	changed := false
	for i := range c.bitfield {
		op := &c.bitfield[i]
		result, ok := int64(0), true
		switch op.verb {
		case 'g':
			result = op.field.Get(value, op.offset)
		case 's':
			result, ok = op.field.Set(value, op.offset, op.number, op.overflow)
			changed = changed || ok
		case 'i':
			result, ok = op.field.IncrBy(value, op.offset, op.number, op.overflow)
			changed = changed || ok
		}
		if ok {
			c.w.Int(result)
		} else {
			c.w.Null()
		}
	}
	if changed || len(value) > len(v.value()) {
		v.set(value, v.expireAtMS())
	}
}
