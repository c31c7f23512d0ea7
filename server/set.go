package server

import "cartwheel/server/redisvalue"

// setOptions are the options of SET and GETEX.
type setOptions struct {
	nx, xx, get, keepTTL, persist bool

	// expiry is the argument of EX, PX, EXAT or PXAT, nil where there is none.
	// The same option may come again, and counts again.
	expiry   []byte
	unitMS   int64 // what it counts
	relative bool  // to now
}

// parse reads the options, which may come in any order.
func (o *setOptions) parse(args [][]byte, isSet bool) bool {
	*o = setOptions{}
	for i := 0; i < len(args); i++ {
		arg := args[i]
		switch {
		case isSet && is(arg, "nx") && !o.xx:
			o.nx = true
		case isSet && is(arg, "xx") && !o.nx:
			o.xx = true
		case isSet && is(arg, "get"):
			o.get = true
		case isSet && is(arg, "keepttl") && o.expiry == nil:
			o.keepTTL = true
		case !isSet && is(arg, "persist") && o.expiry == nil:
			o.persist = true
		case !o.keepTTL && !o.persist && i+1 < len(args) && o.parseExpiry(arg, args[i+1]):
			i++
		default:
			return false
		}
	}
	return true
}

// parseExpiry reads EX, PX, EXAT or PXAT, unless another of them came before.
func (o *setOptions) parseExpiry(name, value []byte) bool {
	var unitMS int64
	var relative bool
	switch {
	case is(name, "ex"):
		unitMS, relative = 1000, true
	case is(name, "px"):
		unitMS, relative = 1, true
	case is(name, "exat"):
		unitMS, relative = 1000, false
	case is(name, "pxat"):
		unitMS, relative = 1, false
	default:
		return false
	}
	if o.expiry != nil && (o.unitMS != unitMS || o.relative != relative) {
		return false
	}
	o.expiry, o.unitMS, o.relative = value, unitMS, relative
	return true
}

// beginSet reads SET's options before anything is looked up.
func beginSet(c *call) bool {
	if len(c.args) == 3 {
		c.set = setOptions{}
		return true
	}
	if !c.set.parse(c.args[3:], true) {
		c.w.Error(errSyntax)
		return false
	}
	return true
}

// blindSet says that SET does not ask for what is there.
func blindSet(c *call) bool {
	o := &c.set
	return !o.nx && !o.xx && !o.get && !o.keepTTL
}

func set(c *call, v *view) {
	o := &c.set
	expireAtMS := int64(0)
	if o.expiry != nil {
		var ok bool
		if expireAtMS, ok = c.expiry(o.expiry, o.unitMS, o.relative); !ok {
			return
		}
	}
	if o.keepTTL {
		expireAtMS = v.expireAtMS()
	}
	refused := o.nx && v.exists() || o.xx && !v.exists()
	switch {
	case o.get:
		c.value(v)
	case refused:
		c.w.Null()
	default:
		c.w.OK()
	}
	if !refused {
		v.set(c.args[2], expireAtMS)
	}
}

// getex reads a value and changes its expiry.
func getex(c *call, v *view) {
	o := &c.set
	if !o.parse(c.args[2:], false) {
		c.w.Error(errSyntax)
		return
	}
	c.looked(v.exists())
	if !v.exists() {
		c.w.Null()
		return
	}
	switch {
	case o.expiry != nil:
		expireAtMS, ok := c.expiry(o.expiry, o.unitMS, o.relative)
		if !ok {
			return
		}
		c.value(v)
		v.touch(expireAtMS)
	case o.persist && v.expireAtMS() != 0:
		c.value(v)
		v.touch(0)
	default:
		c.value(v)
	}
}

// expiry reads a time to live or a time as SET has them, or replies why it is
// none. The result is in Unix milliseconds and never 0.
func (c *call) expiry(arg []byte, unitMS int64, relative bool) (expireAtMS int64, ok bool) {
	n, ok := redisvalue.ParseInt(arg)
	if !ok {
		c.w.Error(errNotInteger)
		return 0, false
	}
	const most = 1<<63 - 1
	if n <= 0 || n > most/unitMS || relative && n*unitMS > most-c.nowMS {
		c.w.Error("ERR invalid expire time in '" + c.cmd.FullName() + "' command")
		return 0, false
	}
	n *= unitMS
	if relative {
		n += c.nowMS
	}
	return n, true
}
