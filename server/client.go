package server

import (
	"fmt"
	"math"
	"time"

	"cartwheel/server/redisvalue"
)

var clientHandlers = map[string]handler{
	"client|id":       {local: clientID},
	"client|getname":  {local: clientGetName},
	"client|setname":  {local: clientSetName},
	"client|setinfo":  {local: clientSetInfo},
	"client|reply":    {local: clientReply},
	"client|no-evict": {local: clientNoEvict},
	"client|no-touch": {local: clientNoTouch},
	"client|pause":    {local: clientPause},
	"client|unpause":  {local: clientUnpause},
	"client|unblock":  {local: clientUnblock},
	"client|info":     {local: clientInfo},
	"client|list":     {slow: clientList},
	"client|kill":     {slow: clientKill},
	"client|help":     help(clientHelp),
}

func clientID(c *call) { c.w.Int(int64(c.s.id)) }

func clientGetName(c *call) {
	c.s.mu.Lock()
	name := c.s.name
	c.s.mu.Unlock()
	if name == "" {
		c.w.Null()
		return
	}
	c.w.BulkString(name)
}

func clientSetName(c *call) {
	if refusal := refuseName(c.args[2]); refusal != "" {
		c.w.Error(refusal)
		return
	}
	c.s.setName(c.args[2])
	c.w.OK()
}

func (s *session) setName(name []byte) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.name = string(name)
}

// refuseName says why a connection cannot have a name.
func refuseName(name []byte) string {
	if !isWord(name) {
		return "ERR Client names cannot contain spaces, newlines or special characters."
	}
	if len(name) > clientNameBytesMax {
		return fmt.Sprintf("ERR Client names cannot be longer than %d bytes.", clientNameBytesMax)
	}
	return ""
}

// isWord reports that all bytes are printable and none is a space, so that a
// line of CLIENT LIST stays one.
func isWord(b []byte) bool {
	for _, c := range b {
		if c < '!' || c > '~' {
			return false
		}
	}
	return true
}

func clientSetInfo(c *call) {
	attribute, value := c.args[2], c.args[3]
	var field *string
	switch {
	case is(attribute, "lib-name"):
		field = &c.s.libName
	case is(attribute, "lib-ver"):
		field = &c.s.libVer
	default:
		c.w.Error(fmt.Sprintf("ERR Unrecognized option '%.128s'", attribute))
		return
	}
	if !isWord(value) {
		c.w.Error(fmt.Sprintf("ERR %s cannot contain spaces, newlines or special characters.", attribute))
		return
	}
	if len(value) > clientNameBytesMax {
		c.w.Error(fmt.Sprintf("ERR %s cannot be longer than %d bytes.", attribute, clientNameBytesMax))
		return
	}
	c.s.mu.Lock()
	*field = string(value)
	c.s.mu.Unlock()
	c.w.OK()
}

// clientReply has no reply of its own where it turns replies off.
func clientReply(c *call) {
	switch mode := c.args[2]; {
	case is(mode, "on"):
		c.s.mute, c.s.muteNext = false, 0
		c.w.OK()
	case is(mode, "off"):
		c.s.mute = true
	case is(mode, "skip"):
		c.s.muteNext = 2 // this one and the next
	default:
		c.w.Error(errSyntax)
	}
}

func clientNoEvict(c *call) { c.onOff(c.s.noEvict.Store) }
func clientNoTouch(c *call) { c.onOff(c.s.noTouch.Store) }

func (c *call) onOff(set func(bool)) {
	switch {
	case is(c.args[2], "on"):
		set(true)
	case is(c.args[2], "off"):
		set(false)
	default:
		c.w.Error(errSyntax)
		return
	}
	c.w.OK()
}

func clientPause(c *call) {
	timeout, ok := c.timeout(c.args[2])
	if !ok {
		return
	}
	all := true
	switch {
	case len(c.args) == 3 || len(c.args) == 4 && is(c.args[3], "all"):
	case len(c.args) == 4 && is(c.args[3], "write"):
		all = false
	case len(c.args) == 4:
		c.w.Error("ERR CLIENT PAUSE mode must be WRITE or ALL")
		return
	default:
		c.w.Error(errSyntax)
		return
	}
	c.srv.beginPause(timeout, all)
	c.w.OK()
}

// timeout reads a number of milliseconds, or replies why it is none.
func (c *call) timeout(arg []byte) (d time.Duration, ok bool) {
	ms, ok := redisvalue.ParseInt(arg)
	switch most := int64(math.MaxInt64) / int64(time.Millisecond) / 2; {
	case !ok:
		c.w.Error("ERR timeout is not an integer or out of range")
	case ms < 0:
		c.w.Error("ERR timeout is negative")
	case ms > most:
		c.w.Error("ERR timeout is out of range")
	default:
		return time.Duration(ms) * time.Millisecond, true
	}
	return 0, false
}

func clientUnpause(c *call) {
	c.srv.endPause()
	c.w.OK()
}

func clientUnblock(c *call) {
	id, ok := c.integer(c.args[2])
	if !ok {
		return
	}
	withError := false
	switch {
	case len(c.args) == 3 || is(c.args[3], "timeout"):
	case is(c.args[3], "error"):
		withError = true
	default:
		c.w.Error("ERR CLIENT UNBLOCK reason should be TIMEOUT or ERROR")
		return
	}
	sess := c.srv.clients.get(uint64(id))
	if sess == nil || !sess.blocked.CompareAndSwap(true, false) {
		c.w.Int(0)
		return
	}
	sess.unblock <- withError // there is room: it was this call that ended the wait
	c.w.Int(1)
}

// goneCheck is how often a command that waits looks whether its client is there.
const goneCheck = time.Second

// await waits for the timeout (0: for ever), for a client that goes away or the
// connection's end, or for CLIENT UNBLOCK where that is listened to.
func (s *session) await(timeout time.Duration, unblock <-chan bool) (unblocked, withError bool) {
	var expired <-chan time.Time
	if timeout > 0 {
		timer := time.NewTimer(timeout)
		defer timer.Stop()
		expired = timer.C
	}
	look := time.NewTicker(goneCheck)
	defer look.Stop()
	for {
		select {
		case withError = <-unblock:
			return true, withError
		case <-expired:
			return false, false
		case <-s.ctx.Done():
			return false, false
		case <-look.C:
			if s.gone() {
				return false, false
			}
		}
	}
}

// block waits for the timeout (0: for ever), CLIENT UNBLOCK or the connection's
// end. It reports whether CLIENT UNBLOCK asks for an error.
func (s *session) block(timeout time.Duration) (withError bool) {
	began := s.srv.uptime()
	defer func() { s.waited = s.srv.uptime() - began }()
	s.blocked.Store(true)
	unblocked, withError := s.await(timeout, s.unblock)
	if unblocked {
		return withError
	}
	if !s.blocked.CompareAndSwap(true, false) {
		return <-s.unblock // CLIENT UNBLOCK was first, and has said that it worked
	}
	return false
}
