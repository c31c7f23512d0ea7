package server

import (
	"fmt"
	"strconv"

	"cartwheel/cluster/ring"
	"cartwheel/server/redisvalue"
	"cartwheel/store/version"
)

var versionHandlers = map[string]handler{
	"vget":     {begin: beginVget, read: vget},
	"vset":     {begin: beginVset, write: vset, direct: always, versioned: true},
	"vdel":     {begin: beginVset, write: vset, direct: always, versioned: true},
	"vexplain": {slow: vexplain},
	"quorum":   {local: setQuorum},
}

const (
	errContext    = "ERR invalid context"
	siblingsMax   = 100
	errSiblings   = "ERR the key has too many siblings, or too large ones: read them with VGET and write with their context"
	quorumMaximum = 1000
)

// versionOptions are what VSET and VDEL were called with, beside the expiry,
// which is in call.set.
type versionOptions struct {
	context version.Clock
	remove  bool
}

// quorumOption reads R n, W n, STRICT or SLOPPY at args[0:], and returns how
// many arguments that was; 0: it is none of them.
func (c *call) quorumOption(args [][]byte, which string) (n int, ok bool) {
	switch {
	case is(args[0], "strict"):
		c.need.Strict = true
		return 1, true
	case is(args[0], "sloppy"):
		c.need.Strict = false
		return 1, true
	case !is(args[0], which) || len(args) < 2:
		c.w.Error(errSyntax)
		return 0, false
	}
	count, ok := redisvalue.ParseInt(args[1])
	if !ok || count < 1 || count > quorumMaximum {
		c.w.Error(errNotInteger)
		return 0, false
	}
	if which == "r" {
		c.need.R = int(count)
	} else {
		c.need.W = int(count)
	}
	return 2, true
}

func beginVget(c *call) bool {
	for rest := c.args[2:]; len(rest) > 0; {
		n, ok := c.quorumOption(rest, "r")
		if !ok {
			return false
		}
		rest = rest[n:]
	}
	return true
}

// setQuorum is QUORUM [R n] [W n] [STRICT|SLOPPY]: it shows, and may set before,
// how many replicas answer this connection's commands.
func setQuorum(c *call) {
	for rest := c.args[1:]; len(rest) > 0; {
		which := "r"
		if is(rest[0], "w") {
			which = "w"
		}
		n, ok := c.quorumOption(rest, which)
		if !ok {
			return
		}
		rest = rest[n:]
	}
	c.s.need = c.need
	c.w.Map(3)
	for _, asked := range []struct {
		name string
		n    int
	}{{"r", c.need.R}, {"w", c.need.W}} {
		c.w.BulkString(asked.name)
		if asked.n == 0 {
			c.w.BulkString("quorum")
		} else {
			c.w.BulkString(strconv.Itoa(asked.n))
		}
	}
	if c.need.Strict {
		c.text("mode", "strict")
	} else {
		c.text("mode", "sloppy")
	}
}

// vget is VGET key [R n] [STRICT|SLOPPY].
func vget(c *call, v *view) {
	c.looked(v.exists())
	c.w.Array(2)
	c.context(v.o.Clock)
	alive := 0
	for i := range v.o.Siblings {
		if !v.o.Siblings[i].DeadAt(c.nowMS) {
			alive++
		}
	}
	c.w.Array(alive)
	for i := range v.o.Siblings {
		if s := &v.o.Siblings[i]; !s.DeadAt(c.nowMS) {
			c.w.Bulk(s.Payload)
		}
	}
}

// context replies with a clock as a context of the key.
func (c *call) context(clock version.Clock) {
	c.srv.keys.Saw(clock) // it will come back
	c.w.Bulk(version.AppendContext(nil, clock, c.db, c.args[1]))
}

// beginVset reads VSET key context value [EX s|PX ms|EXAT t|PXAT t] [W n]
// [STRICT|SLOPPY], and VDEL key context [W n] [STRICT|SLOPPY].
func beginVset(c *call) bool {
	c.version = versionOptions{remove: c.cmd.Name == "vdel"}
	c.set = setOptions{}
	rest := c.args[3:]
	if !c.version.remove {
		rest = rest[1:]
	}
	for len(rest) > 0 {
		if !c.version.remove && len(rest) > 1 && c.set.parseExpiry(rest[0], rest[1]) {
			rest = rest[2:]
			continue
		}
		n, ok := c.quorumOption(rest, "w")
		if !ok {
			return false
		}
		rest = rest[n:]
	}
	if len(c.args[2]) == 0 {
		return true
	}
	clock, err := version.ParseContext(c.args[2], c.db, c.args[1])
	if err != nil || !c.srv.keys.Knows(clock, c.nowMS) {
		c.w.Error(errContext)
		return false
	}
	c.version.context = clock
	return true
}

// vset is VSET and VDEL: it puts a sibling in the place of those that the
// context covers.
func vset(c *call, v *view) {
	o := &c.version
	s := version.Sibling{Tombstone: o.remove}
	if !o.remove {
		s.Payload = c.args[3]
	}
	if c.set.expiry != nil {
		var ok bool
		if s.ExpireAtMS, ok = c.expiry(c.set.expiry, c.set.unitMS, c.set.relative); !ok {
			return
		}
	}
	unseen, bytes := 0, len(s.Payload)
	for i := range v.o.Siblings {
		if !o.context.Covers(v.o.Siblings[i].Dot) {
			unseen++
			bytes += len(v.o.Siblings[i].Payload)
		}
	}
	// VGET has to reply with all of them.
	if unseen >= siblingsMax || unseen > 0 && bytes > c.srv.replyBytesMax {
		c.w.Error(errSiblings)
		return
	}
	// Put takes the memory of neither, but the context is needed once more.
	v.put(o.context, s)
	if v.err == nil {
		c.context(newContext(v.o, o.context, c.nowMS))
	}
}

// newContext returns what the writer of the newest sibling has seen: the context
// that it wrote with and its own write. A vector clock cannot say that where it
// left siblings of the same incarnation unseen, whose dots are lower; it then
// leaves the own write out, for a context that covered a value its holder never
// saw would let the next write destroy it.
func newContext(o *version.Object, seen version.Clock, nowMS int64) version.Clock {
	newest := o.Siblings[0].Dot
	for i := range o.Siblings {
		if o.Siblings[i].Dot.Compare(newest) > 0 {
			newest = o.Siblings[i].Dot
		}
	}
	own := version.Join(seen, version.Clock{newest})
	for i := range o.Siblings {
		s := &o.Siblings[i]
		if s.Dot != newest && !s.DeadAt(nowMS) && own.Covers(s.Dot) {
			return seen
		}
	}
	return own
}

// vexplain is VEXPLAIN key.
func vexplain(c *call) {
	type replica struct {
		node  ring.NodeID
		alive bool
		o     version.Object
		err   error
	}
	var replicas []replica
	key := c.args[1]
	seq, epoch, partition := c.srv.keys.Explain(c.db, key, func(node ring.NodeID, alive bool, o *version.Object, err error) {
		replicas = append(replicas, replica{node, alive, *o, err})
	})
	c.depend(seq)
	c.w.Map(6)
	c.field("slot", int64(ring.SlotOf(key)))
	c.w.BulkString("token")
	c.w.BulkString(fmt.Sprintf("%016x", uint64(ring.TokenOf(key))))
	c.field("partition", int64(partition))
	c.field("epoch", int64(epoch))
	c.preference(key)
	c.w.BulkString("replicas")
	c.w.Array(len(replicas))
	for i := range replicas {
		r := &replicas[i]
		state := "up"
		if !r.alive {
			state = "down"
		}
		if r.err != nil {
			c.w.Map(3)
			c.text("node", r.node.String())
			c.text("state", state)
			c.text("error", r.err.Error())
			continue
		}
		c.w.Map(4)
		c.text("node", r.node.String())
		c.text("state", state)
		c.w.BulkString("clock")
		c.w.Array(len(r.o.Clock))
		for _, d := range r.o.Clock {
			c.w.BulkString(dotText(d))
		}
		c.w.BulkString("siblings")
		c.w.Array(len(r.o.Siblings))
		for j := range r.o.Siblings {
			c.explainSibling(&r.o.Siblings[j])
		}
	}
}

// preference replies with the preference list of a key: owners, then fallbacks.
func (c *call) preference(key []byte) {
	up := make(map[ring.NodeID]bool)
	for _, n := range c.srv.keys.Topology().Nodes {
		up[n.ID] = n.Up
	}
	list := c.srv.keys.Preference(key)
	c.w.BulkString("preference")
	c.w.Array(len(list))
	for _, id := range list {
		state := "up"
		if !up[id] {
			state = "down"
		}
		c.w.BulkString(id.String() + " " + state)
	}
}

func (c *call) explainSibling(s *version.Sibling) {
	state := "value"
	switch {
	case s.Tombstone:
		state = "deleted"
	case s.DeadAt(c.nowMS):
		state = "expired"
	}
	c.w.Map(6)
	c.text("dot", dotText(s.Dot))
	c.text("written", s.Written.String())
	c.field("age_ms", max(0, c.nowMS-s.Written.Milliseconds()))
	c.field("bytes", int64(len(s.Payload)))
	c.text("state", state)
	ttl := int64(-1)
	if s.ExpireAtMS != 0 {
		ttl = max(0, s.ExpireAtMS-c.nowMS)
	}
	c.field("ttl_ms", ttl)
}

func (c *call) field(name string, n int64) {
	c.w.BulkString(name)
	c.w.Int(n)
}

func (c *call) text(name, value string) {
	c.w.BulkString(name)
	c.w.BulkString(value)
}

func dotText(d version.Dot) string { return fmt.Sprintf("%016x@%s", uint64(d.Incarnation), d.HLC) }
