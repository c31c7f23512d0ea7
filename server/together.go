package server

import (
	"cartwheel/cluster/ring"
	"cartwheel/store/version"
)

func sameSlot(keys [][]byte) bool {
	for _, key := range keys[1:] {
		if ring.SlotOf(key) != ring.SlotOf(keys[0]) {
			return false
		}
	}
	return true
}

// setTogether sets different keys of one slot if none of them exists, and
// replies 1 or 0.
func (c *call) setTogether(keys, values [][]byte) {
	if c.elsewhere(keys[0]) {
		return
	}
	var failed error
	set := false
	seq, err := c.srv.keys.UpdateTogether(c.db, keys, c.need, c.nowMS, func(objects []version.Object, changed []bool) {
		for i := range objects {
			if objects[i].Alive(c.nowMS) != nil {
				return
			}
		}
		for i := range objects {
			c.writingKey = keys[i]
			c.view.look(c, &objects[i])
			c.view.set(values[i], 0)
			if failed = c.view.err; failed != nil {
				clear(changed)
				return
			}
			changed[i] = true
		}
		set = true
	})
	if err == nil {
		err = failed
	}
	switch {
	case err != nil:
		c.w.Error(wireText(err))
	case set:
		c.depend(seq)
		c.w.Int(1)
	default:
		c.depend(seq)
		c.w.Int(0)
	}
}
