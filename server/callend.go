package server

import (
	"bytes"
	"errors"
	"strings"

	"cartwheel/cluster/quorum"
	"cartwheel/server/redisvalue"
)

// How a call goes on when what it waited for has ended, and how it ends.

// settle ends the start of parts of which some are pending. It is the last thing
// that whoever starts them does with the call, unless all have ended meanwhile.
func (c *call) settle() {
	if c.waiting.Add(int32(len(c.asked))-startGuard) == 0 {
		c.allEnded()
	}
}

// advance takes the call on after all that it waited for has ended. It reports
// whether the call has ended; else it is pending again.
func (c *call) advance() (ended bool) {
	defer func() {
		if fault := recover(); fault != nil {
			c.s.fault(c, fault)
			c.w.Buf = c.w.Buf[:c.from]
			c.asked, c.spoiled = nil, true
			ended = true
		}
	}()
	c.waiting.Store(startGuard)
	ready := c.asked
	c.asked = c.asked[:0] // what is appended is behind what is looked at
	again := 0
	for _, p := range ready {
		switch {
		case p.step == stepLook && p.err == nil:
			if c.update(p) {
				again++
			}
		case p.step == stepForward && errors.Is(p.err, quorum.ErrMoved) && p.moved < movesMax:
			p.moved++
			p.err = nil
			if c.start(p) {
				again++
			}
		}
	}
	if again > 0 {
		c.settle()
		return false
	}
	if !c.h.each {
		if err := c.reply(&c.part); err != nil {
			c.refuse(err)
		}
		c.finish()
		return true
	}
	for ; c.replied < len(c.parts); c.replied++ {
		if err := c.reply(&c.parts[c.replied]); err != nil {
			c.refuse(err)
			c.finish()
			return true
		}
	}
	c.finishEach()
	return true
}

// reply replies for a part that has ended. The handler of a write has replied
// already.
func (c *call) reply(p *part) error {
	if p.err != nil {
		return p.err
	}
	c.depend(p.seq)
	switch p.step {
	case stepRead:
		c.key = p.key
		c.view.look(c, &p.object)
		c.h.read(c, &c.view)
		if c.h.each && len(c.w.Buf)-c.from > c.srv.replyBytesMax {
			return errReplyTooLarge
		}
	case stepForward:
		return c.pass(p)
	}
	return nil
}

// pass takes over the reply of another node: an error, the whole reply or, of a
// command of several keys, the count of one or OK.
func (c *call) pass(p *part) error {
	line, whole := bytes.CutSuffix(p.reply, []byte("\r\n"))
	switch {
	case !whole:
		return errForwarded
	case line[0] == '-':
		return errors.New(string(line[1:]))
	case !c.h.each:
		c.w.Buf = append(c.w.Buf, p.reply...)
	case line[0] == ':':
		n, ok := redisvalue.ParseInt(line[1:])
		if !ok {
			return errForwarded
		}
		c.count += n
	}
	return nil
}

var errForwarded = errors.New("ERR another node's reply makes no sense")

// finishEach ends a call of several keys.
func (c *call) finishEach() {
	if c.h.finish != nil {
		c.h.finish(c)
	}
	c.finish()
}

// refuse makes an error the reply. Clients repeat by themselves what was refused
// for want of replicas: not where a part of it was done.
func (c *call) refuse(err error) {
	if c.h.each && c.h.write != nil && c.partlyDone() {
		if text := wireText(err); strings.HasPrefix(text, "NOREPLICAS") || strings.HasPrefix(text, "OVERLOADED") {
			err = errPartly
		}
	}
	c.w.Buf = c.w.Buf[:c.from]
	c.w.Error(wireText(err))
}

var errPartly = errors.New("TIMEOUT some of the keys are written, others are not: not enough replicas can answer for them")

func (c *call) partlyDone() bool {
	for i := range c.parts {
		if p := &c.parts[i]; p.err == nil && (p.step == stepWrite || p.step == stepForward) {
			return true
		}
	}
	return false
}

// finish looks at the reply that is complete.
func (c *call) finish() {
	if len(c.w.Buf) > c.from && c.w.Buf[c.from] == '-' {
		c.s.shard.failed(c.cmd, c.w.Buf[c.from+1:])
	}
}
