package server

import (
	"errors"
	"strconv"

	"cartwheel/cluster/quorum"
	"cartwheel/server/command"
	"cartwheel/store/version"
)

// A slow command that writes does so by commands on one key, which run wherever
// that key's owners are. Beside those that clients have there is one that only
// nodes send each other.
type inner struct {
	cmd *command.Command
	h   *handler
}

// removeIf is REMOVEIF key context: it deletes the key if its object is the one
// that the context stands for, and replies 1 or 0.
const removeIf = "cartwheel.removeif"

func newInner(table *command.Commands) map[string]inner {
	row := *table.Lookup([]byte("del")) // it counts as one
	row.Arity, row.LastKey = 3, 1
	return map[string]inner{removeIf: {&row, &handler{begin: beginRemoveIf, write: runRemoveIf}}}
}

func beginRemoveIf(c *call) bool {
	clock, err := version.ParseContext(c.args[2], c.db, c.args[1])
	if err != nil {
		c.w.Error(errContext)
		return false
	}
	c.version = versionOptions{context: clock}
	return true
}

func runRemoveIf(c *call, v *view) {
	if !v.o.Clock.Equal(c.version.context) {
		c.w.Int(0)
		return
	}
	v.remove()
	c.w.Int(1)
}

// setInner sets a key, and reports whether it did: onlyNew leaves one that
// exists.
func (c *call) setInner(db uint8, key, value []byte, expireAtMS int64, onlyNew bool) (bool, error) {
	args := [][]byte{[]byte("set"), key, value}
	if expireAtMS != 0 {
		args = append(args, []byte("pxat"), strconv.AppendInt(nil, expireAtMS, 10))
	}
	if onlyNew {
		args = append(args, []byte("nx"))
	}
	reply, err := c.runInner(db, args)
	return err == nil && reply[0] == '+', err
}

func (c *call) removeInner(db uint8, key []byte) error {
	_, err := c.runInner(db, [][]byte{[]byte("del"), key})
	return err
}

// removeIfInner deletes a key whose object still has that clock.
func (c *call) removeIfInner(db uint8, key []byte, clock version.Clock) (bool, error) {
	reply, err := c.runInner(db, [][]byte{[]byte(removeIf), key, version.AppendContext(nil, clock, db, key)})
	return err == nil && string(reply) == ":1\r\n", err
}

// runInner runs a command on one key for a slow one, and returns its reply, or
// the error that it replies. It blocks.
func (c *call) runInner(db uint8, args [][]byte) ([]byte, error) {
	sub := c.srv.newCall(c.s)
	sub.args, sub.db, sub.need, sub.nowMS, sub.w = args, db, c.need, c.nowMS, &sub.own
	sub.own.RESP3 = c.w.RESP3
	sub.wake = make(chan struct{}, 1)
	if refusal := sub.findAny(); refusal != "" {
		return nil, errors.New(refusal)
	}
	sub.runBlocking()
	reply := append([]byte(nil), sub.own.Buf...)
	if !sub.spoiled {
		c.srv.free(sub)
	}
	switch {
	case len(reply) == 0:
		return nil, errForwarded
	case reply[0] == '-':
		return nil, errors.New(string(reply[1 : len(reply)-len("\r\n")]))
	}
	return reply, nil
}

// findAny is find for commands that nodes send, too.
func (c *call) findAny() (refusal string) {
	if in, ok := c.srv.inner[string(c.args[0])]; ok {
		c.cmd, c.h = in.cmd, in.h
		if !c.cmd.ArityOK(len(c.args)) {
			return errForwarded.Error()
		}
		return ""
	}
	return c.find()
}

// runBlocking runs the call to its end.
func (c *call) runBlocking() {
	for c.run(); c.isPending(); c.advance() {
		c.srv.keys.Kick()
		<-c.wake
	}
}

// elsewhere forwards a slow command, as it is, to where its first key's owners are,
// and reports whether it has: then the reply is there.
func (c *call) elsewhere(key []byte) bool {
	to, place := c.srv.keys.Route(key, c.s.forwarded)
	if place != quorum.Away || c.s.forwarded {
		return false
	}
	p := &c.part
	p.c = c
	p.step = stepForward
	c.waiting.Store(1)
	defer c.waiting.Store(startGuard)
	wake := c.wake
	c.wake = make(chan struct{}, 1)
	defer func() { c.wake = wake }()
	err := c.srv.keys.Forward(to, &quorum.Forwarded{DB: c.db, RESP3: c.w.RESP3, Need: c.need, Args: c.args}, p)
	if err == nil {
		c.srv.keys.Kick()
		<-c.wake
	} else {
		p.err = err
	}
	if err := c.reply(p); err != nil {
		c.refuse(err)
	}
	return true
}
