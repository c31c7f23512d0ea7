package server

import "cartwheel/server/redisvalue"

// lcs is LCS key1 key2 [LEN] [IDX] [MINMATCHLEN n] [WITHMATCHLEN].
func lcs(c *call) {
	var onlyLen, idx, withLen bool
	var minLen int64
	for i := 3; i < len(c.args); i++ {
		switch arg := c.args[i]; {
		case is(arg, "len"):
			onlyLen = true
		case is(arg, "idx"):
			idx = true
		case is(arg, "withmatchlen"):
			withLen = true
		case is(arg, "minmatchlen") && i+1 < len(c.args):
			i++
			var ok bool
			if minLen, ok = c.integer(c.args[i]); !ok {
				return
			}
			minLen = max(minLen, 0)
		default:
			c.w.Error(errSyntax)
			return
		}
	}
	if onlyLen && idx {
		c.w.Error("ERR If you want both the length and indexes, please just use IDX.")
		return
	}
	a, err := c.readKey(c.db, c.args[1])
	if err == nil {
		var b view
		if b, err = c.readKey(c.db, c.args[2]); err == nil {
			c.lcsReply(a.value(), b.value(), onlyLen, idx, withLen, minLen)
			return
		}
	}
	c.w.Error(wireText(err))
}

func (c *call) lcsReply(a, b []byte, onlyLen, idx, withLen bool, minLen int64) {
	if int64(len(a)+1)*int64(len(b)+1) > c.srv.lcsPairsMax() {
		c.w.Error("ERR Insufficient memory, transient memory for LCS exceeds proto-max-bulk-len")
		return
	}
	if onlyLen {
		n, err := redisvalue.LCSLen(c.s.ctx, a, b, lcsBytesMax)
		if err != nil {
			c.w.Error("ERR " + err.Error())
			return
		}
		c.w.Int(int64(n))
		return
	}
	found, err := redisvalue.LCS(c.s.ctx, a, b, minLen, lcsBytesMax)
	switch {
	case err != nil:
		c.w.Error("ERR " + err.Error())
	case !idx:
		c.w.Bulk(found.Sequence)
	default:
		c.w.Map(2)
		c.w.BulkString("matches")
		c.w.Array(len(found.Matches))
		for _, m := range found.Matches {
			fields := 2
			if withLen {
				fields = 3
			}
			c.w.Array(fields)
			c.w.Array(2)
			c.w.Int(int64(m.AStart))
			c.w.Int(int64(m.AEnd))
			c.w.Array(2)
			c.w.Int(int64(m.BStart))
			c.w.Int(int64(m.BEnd))
			if withLen {
				c.w.Int(m.Len())
			}
		}
		c.w.BulkString("len")
		c.w.Int(int64(len(found.Sequence)))
	}
}
