package server

import (
	"fmt"
	"time"

	"cartwheel/server/redisvalue"
)

// A killFilter says which clients CLIENT KILL means: those that match all of
// what is set.
type killFilter struct {
	id          uint64 // 0: any
	addr, laddr string // "": any
	other       bool   // a type that no client has
	minAge      time.Duration
	sparesSelf  bool
}

func (f *killFilter) parse(options [][]byte) (refusal string) {
	if len(options)%2 != 0 {
		return errSyntax
	}
	for ; len(options) > 0; options = options[2:] {
		if refusal = f.option(options[0], options[1]); refusal != "" {
			return refusal
		}
	}
	return ""
}

func (f *killFilter) option(name, value []byte) (refusal string) {
	switch {
	case is(name, "id"):
		id, ok := redisvalue.ParseInt(value)
		if !ok || id < 1 {
			return "ERR client-id should be greater than 0"
		}
		f.id = uint64(id)
	case is(name, "addr"):
		f.addr = string(value)
	case is(name, "laddr"):
		f.laddr = string(value)
	case is(name, "type"):
		t, ok := parseClientType(value)
		if !ok {
			return fmt.Sprintf("ERR Unknown client type '%.128s'", value)
		}
		f.other = t != clientNormal
	case is(name, "user"):
		if string(value) != defaultUser {
			return fmt.Sprintf("ERR No such user '%.128s'", value)
		}
	case is(name, "skipme"):
		if f.sparesSelf = is(value, "yes"); !f.sparesSelf && !is(value, "no") {
			return errSyntax
		}
	case is(name, "maxage"):
		return f.maxAge(value)
	default:
		return errSyntax
	}
	return ""
}

func (f *killFilter) maxAge(value []byte) (refusal string) {
	const secondsMax = 1 << 33 // a Duration holds it
	age, ok := redisvalue.ParseInt(value)
	switch {
	case !ok:
		return "ERR maxage is not an integer or out of range"
	case age <= 0:
		return "ERR maxage should be greater than 0"
	}
	f.minAge = time.Duration(min(age, secondsMax)) * time.Second
	return ""
}

func (f *killFilter) matches(sess *session) bool {
	return !f.other &&
		(f.id == 0 || f.id == sess.id) &&
		(f.addr == "" || f.addr == sess.addr) &&
		(f.laddr == "" || f.laddr == sess.laddr) &&
		(f.minAge == 0 || time.Since(sess.created) >= f.minAge)
}

// clientKill has two forms: the old one, of just an address, replies OK or an
// error, the other one how many it killed.
func clientKill(c *call) {
	f := killFilter{sparesSelf: true}
	old := len(c.args) == 3
	if old {
		f = killFilter{addr: string(c.args[2])}
	} else if refusal := f.parse(c.args[2:]); refusal != "" {
		c.w.Error(refusal)
		return
	}
	killed := c.kill(&f)
	switch {
	case old && killed == 0:
		c.w.Error("ERR No such client")
	case old:
		c.w.OK()
	default:
		c.w.Int(killed)
	}
}

func (c *call) kill(f *killFilter) (killed int64) {
	for _, sess := range c.srv.clients.all() {
		if !f.matches(sess) {
			continue
		}
		switch {
		case sess != c.s:
			sess.cut()
		case f.sparesSelf:
			continue
		default:
			c.s.closing = true // after the reply
		}
		killed++
	}
	return killed
}
