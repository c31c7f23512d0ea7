package server

var stringHandlers = map[string]handler{
	"get":      {read: get},
	"strlen":   {read: strlen},
	"getrange": {begin: rangeArgs, read: getrange},
	"substr":   {begin: rangeArgs, read: getrange},
	"mget":     {begin: beginArray, read: get, each: true},
	"set":      {begin: beginSet, write: set, blind: blindSet, direct: blindSet},
	"setnx":    {write: setnx},
	"setex":    {write: setex, blind: always, direct: always},
	"psetex":   {write: setex, blind: always, direct: always},
	"getset":   {write: getset},
	"getdel":   {write: getdel},
	"getex":    {write: getex},
	"append":   {write: appendTo},
	"setrange": {write: setrange},
	"mset":     {begin: lastPairs, write: mset, blind: always, direct: always, each: true, lone: lonePair, finish: replyOK},
	"msetnx":   {slow: msetnx},
	"lcs":      {slow: lcs},
}

func get(c *call, v *view) {
	c.looked(v.exists())
	c.value(v)
}

// value replies with the value, or with null.
func (c *call) value(v *view) {
	if !v.exists() {
		c.w.Null()
		return
	}
	c.w.Bulk(v.value())
}

// beginArray begins the array that the replies for every key are in.
func beginArray(c *call) bool {
	c.w.Array(len(c.args) - c.cmd.FirstKey)
	return true
}

func replyOK(c *call) { c.w.OK() }

func replyCount(c *call) { c.w.Int(c.count) }

// lonePair is the MSET of one of its keys.
func lonePair(c *call, key int) [][]byte { return [][]byte{c.args[0], c.args[key], c.args[key+1]} }

func strlen(c *call, v *view) {
	c.looked(v.exists())
	c.w.Int(int64(len(v.value())))
}

func rangeArgs(c *call) bool {
	_, ok := c.integer(c.args[2])
	if ok {
		_, ok = c.integer(c.args[3])
	}
	return ok
}

func getrange(c *call, v *view) {
	c.looked(v.exists())
	start, _ := c.integer(c.args[2])
	end, _ := c.integer(c.args[3])
	value := v.value()
	n := int64(len(value))
	if start < 0 && end < 0 && start > end {
		c.w.Bulk(nil)
		return
	}
	if start < 0 {
		start = max(0, start+n)
	}
	if end < 0 {
		end = max(0, end+n)
	}
	end = min(end, n-1)
	if start > end || n == 0 {
		c.w.Bulk(nil)
		return
	}
	c.w.Bulk(value[start : end+1])
}

func setnx(c *call, v *view) {
	if v.exists() {
		c.w.Int(0)
		return
	}
	v.set(c.args[2], 0)
	c.w.Int(1)
}

// setex is SETEX and PSETEX.
func setex(c *call, v *view) {
	unit := int64(1)
	if c.cmd.Name == "setex" {
		unit = 1000
	}
	expireAtMS, ok := c.expiry(c.args[2], unit, true)
	if !ok {
		return
	}
	v.set(c.args[3], expireAtMS)
	c.w.OK()
}

func getset(c *call, v *view) {
	c.value(v)
	v.set(c.args[2], 0)
}

func getdel(c *call, v *view) {
	c.looked(v.exists())
	c.value(v)
	if v.exists() {
		v.remove()
	}
}

func appendTo(c *call, v *view) {
	suffix := c.args[2]
	n := len(v.value()) + len(suffix)
	switch {
	case v.exists() && len(suffix) == 0:
	case n > c.srv.valueBytesMax():
		c.w.Error(errTooLong)
		return
	default:
		value := append(append(make([]byte, 0, n), v.value()...), suffix...)
		v.set(value, v.expireAtMS())
	}
	c.w.Int(int64(n))
}

func setrange(c *call, v *view) {
	offset, ok := c.integer(c.args[2])
	if !ok {
		return
	}
	patch := c.args[3]
	old := v.value()
	switch {
	case offset < 0:
		c.w.Error(errOffset)
		return
	case len(patch) == 0:
		c.w.Int(int64(len(old)))
		return
	case offset > int64(c.srv.valueBytesMax()-len(patch)):
		c.w.Error(errTooLong)
		return
	}
	value := make([]byte, max(len(old), int(offset)+len(patch)))
	copy(value, old)
	copy(value[offset:], patch)
	v.set(value, v.expireAtMS())
	c.w.Int(int64(len(value)))
}

// pairs refuses a key without a value.
func pairs(c *call) bool {
	if len(c.args)%2 == 0 {
		c.w.Error("ERR wrong number of arguments for '" + c.cmd.FullName() + "' command")
		return false
	}
	return true
}

// lastPairs is pairs, and leaves out the values that others for the same key follow: keys are written
// in any order, and perhaps once more where a node does not answer.
func lastPairs(c *call) bool {
	if !pairs(c) {
		return false
	}
	if len(c.args) == 3 {
		return true
	}
	last := make(map[string]int, len(c.args)/2)
	for i := 1; i < len(c.args); i += 2 {
		last[string(c.args[i])] = i
	}
	if len(last) == len(c.args)/2 {
		return true
	}
	args := [][]byte{c.args[0]}
	for i := 1; i < len(c.args); i += 2 {
		if last[string(c.args[i])] == i {
			args = append(args, c.args[i], c.args[i+1])
		}
	}
	c.args = args
	return true
}

func mset(c *call, v *view) { v.set(c.args[c.key+1], 0) }

// msetnx sets all of its keys or, if one exists, none. They must share a slot.
func msetnx(c *call) {
	if !pairs(c) {
		return
	}
	var keys, values [][]byte
	places := make(map[string]int)
	for i := 1; i < len(c.args); i += 2 {
		// The last of several values for one key counts.
		at, again := places[string(c.args[i])]
		if again {
			values[at] = c.args[i+1]
			continue
		}
		places[string(c.args[i])] = len(keys)
		keys, values = append(keys, c.args[i]), append(values, c.args[i+1])
	}
	if !sameSlot(keys) {
		c.w.Error("CROSSSLOT Keys in request don't hash to the same slot")
		return
	}
	c.setTogether(keys, values)
}
