package server

import (
	"bytes"
	"math/rand/v2"

	"cartwheel/cluster/ring"
	"cartwheel/server/redisvalue"
	"cartwheel/store/version"
)

var scanHandlers = map[string]handler{
	"scan":      {slow: scan},
	"keys":      {slow: keys},
	"randomkey": {slow: randomKey},
}

// A SCAN cursor is a position on the ring: the first 53 bits of a token, since
// JavaScript clients hold cursors as doubles. A page ends between two such
// positions, so that no key is missed: all keys of one come on the same page.
const (
	cursorShift = 64 - 53
	cursorEnd   = uint64(1) << 53
)

// scanPageBytesMax bounds a page whatever its COUNT.
const scanPageBytesMax = 1 << 20

type scanOptions struct {
	pattern []byte // nil: all
	count   int64
	typed   []byte // nil: any
}

// scan is SCAN cursor [MATCH pattern] [COUNT n] [TYPE type].
func scan(c *call) {
	cursor, ok := redisvalue.ParseUint(c.args[1])
	if !ok {
		c.w.Error("ERR invalid cursor")
		return
	}
	o := scanOptions{count: 10}
	for i := 2; i < len(c.args); i += 2 {
		last := i+1 == len(c.args)
		switch arg := c.args[i]; {
		case is(arg, "count") && !last:
			if o.count, ok = c.integer(c.args[i+1]); !ok {
				return
			}
			if o.count < 1 {
				c.w.Error(errSyntax)
				return
			}
		case is(arg, "match") && !last:
			o.pattern = c.args[i+1]
		case is(arg, "type") && !last:
			o.typed = c.args[i+1]
		default:
			c.w.Error(errSyntax)
			return
		}
	}
	next, page, err := c.page(cursor, o)
	if err != nil {
		c.w.Error(wireText(err))
		return
	}
	c.w.Array(2)
	c.w.Bulk(redisvalue.AppendInt(nil, int64(next)))
	c.w.Array(len(page))
	for _, key := range page {
		c.w.Bulk(key)
	}
}

// page collects what one SCAN returns, and where the next one begins.
func (c *call) page(cursor uint64, o scanOptions) (next uint64, page [][]byte, err error) {
	first, last := slotsOf(o.pattern)
	cursor = max(cursor, uint64(first)>>cursorShift)
	if cursor >= cursorEnd {
		return 0, nil, nil
	}
	seen, size, at, ending := int64(0), 0, cursor, false
	err = c.eachKey(ring.Token(cursor<<cursorShift), func(t ring.Token, key []byte, obj *version.Object) bool {
		if t > last {
			return false
		}
		position := uint64(t) >> cursorShift
		if position != at && (seen >= o.count || size > scanPageBytesMax) {
			next = position
			return false
		}
		at = position
		seen++
		if c.listed(key, obj, &o) {
			page = append(page, bytes.Clone(key))
			size += len(key)
		}
		ending = c.s.ctx.Err() != nil
		return !ending
	})
	if err == nil && ending {
		err = errEnding // a cursor of 0 would say that there is no more
	}
	return next, page, err
}

// listed says whether a key is to be shown. One that cannot be read is: it is
// there.
func (c *call) listed(key []byte, obj *version.Object, o *scanOptions) bool {
	if obj != nil && obj.Alive(c.nowMS) == nil {
		return false
	}
	if o.typed != nil && !is(o.typed, "string") {
		return false
	}
	return matches(o.pattern, key)
}

func matches(pattern, key []byte) bool {
	return pattern == nil || len(pattern) == 1 && pattern[0] == '*' || redisvalue.Glob(pattern, key, false)
}

// slotsOf returns the tokens that keys of a pattern can have: all, or those of
// one slot where the pattern has a hash tag.
func slotsOf(pattern []byte) (first, last ring.Token) {
	tag, some := []byte(nil), false
	if pattern != nil {
		tag, some = redisvalue.HashTagOf(pattern)
	}
	if !some {
		return 0, ^ring.Token(0)
	}
	return ring.Partition(ring.SlotOf(tag)).Span(ring.Slots)
}

// keys is KEYS pattern.
func keys(c *call) {
	o := scanOptions{pattern: c.args[1]}
	first, last := slotsOf(o.pattern)
	var found [][]byte
	size := 0
	var refused error
	err := c.eachKey(first, func(t ring.Token, key []byte, obj *version.Object) bool {
		if t > last {
			return false
		}
		if c.listed(key, obj, &o) {
			found = append(found, bytes.Clone(key))
			size += len(key) + len("$00\r\n\r\n")
		}
		switch {
		case size > c.srv.replyBytesMax:
			refused = errReplyTooLarge
		case c.s.ctx.Err() != nil:
			refused = errEnding
		}
		return refused == nil
	})
	if err == nil {
		err = refused
	}
	if err != nil {
		c.w.Error(wireText(err))
		return
	}
	c.w.Array(len(found))
	for _, key := range found {
		c.w.Bulk(key)
	}
}

// eachKey visits the keys that this port shows, in the order of their tokens;
// at the cluster port, clients ask every node.
func (c *call) eachKey(from ring.Token, visit func(t ring.Token, key []byte, o *version.Object) bool) error {
	if c.s.atClusterPort() {
		return c.srv.keys.ScanOwned(c.db, from, visit)
	}
	return c.srv.keys.Scan(c.db, from, visit)
}

func randomKey(c *call) {
	draw := c.srv.keys.RandomKey
	if c.s.atClusterPort() {
		draw = c.randomOwned
	}
	key, err := draw(c.db)
	switch {
	case err != nil:
		c.w.Error(wireText(err))
	case key == nil:
		c.w.Null()
	default:
		c.w.Bulk(key)
	}
}

// randomOwned draws a key by the gap before it on this node's part of the ring.
func (c *call) randomOwned(db uint8) (key []byte, err error) {
	alive := func(_ ring.Token, k []byte, o *version.Object) bool {
		if o == nil || o.Alive(c.nowMS) == nil {
			return c.s.ctx.Err() == nil
		}
		key = bytes.Clone(k)
		return false
	}
	for _, from := range []ring.Token{ring.Token(rand.Uint64()), 0} {
		if err := c.srv.keys.ScanOwned(db, from, alive); err != nil || key != nil {
			return key, err
		}
	}
	return nil, c.ending()
}
