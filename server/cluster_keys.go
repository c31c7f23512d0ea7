package server

import (
	"bytes"

	"cartwheel/cluster/ring"
	"cartwheel/store/version"
)

func clusterKeySlot(c *call) { c.w.Int(int64(ring.SlotOf(c.args[2]))) }

func clusterCountKeys(c *call) {
	slot, ok := c.integer(c.args[2])
	if !ok {
		return
	}
	if slot < 0 || slot >= ring.Slots {
		c.w.Error("ERR Invalid slot")
		return
	}
	count := int64(0)
	if err := c.eachInSlot(ring.Slot(slot), func([]byte) bool { count++; return true }); err != nil {
		c.w.Error(wireText(err))
		return
	}
	c.w.Int(count)
}

func clusterGetKeys(c *call) {
	slot, ok := c.integer(c.args[2])
	if !ok {
		return
	}
	most, ok := c.integer(c.args[3])
	if !ok {
		return
	}
	if slot < 0 || slot >= ring.Slots || most < 0 {
		c.w.Error("ERR Invalid slot or number of keys")
		return
	}
	var found [][]byte
	size, full := 0, false
	err := c.eachInSlot(ring.Slot(slot), func(key []byte) bool {
		if int64(len(found)) >= most {
			return false
		}
		found = append(found, bytes.Clone(key))
		size += len(key) + len("$00\r\n\r\n")
		full = size > c.srv.replyBytesMax
		return !full
	})
	if full {
		err = errReplyTooLarge
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

// eachInSlot visits the keys of a slot until visit returns false.
func (c *call) eachInSlot(slot ring.Slot, visit func(key []byte) bool) error {
	first, last := ring.Partition(slot).Span(ring.Slots)
	ending := false
	err := c.srv.keys.Scan(c.db, first, func(t ring.Token, key []byte, o *version.Object) bool {
		ending = c.s.ctx.Err() != nil
		if t > last || ending {
			return false
		}
		if o != nil && o.Alive(c.nowMS) == nil {
			return true
		}
		return visit(key)
	})
	if err == nil && ending {
		err = errEnding
	}
	return err
}
