package server

import (
	"errors"
	"fmt"
	"strings"

	"cartwheel/server/command"
)

// A handler runs one command. Just one of local, read, write and slow is set.
type handler struct {
	// local neither blocks nor looks at keys.
	local func(c *call)
	// read replies from one key.
	read func(c *call, v *view)
	// write replies and may change one key. It runs under the key's lock.
	write func(c *call, v *view)
	// slow may do anything, and block. It runs beside the loop.
	slow func(c *call)

	// begin looks at the arguments before any key is; false: it has replied.
	begin func(c *call) bool
	// each says that read or write is called for every key, and finish after
	// them all.
	each   bool
	finish func(c *call)
	// lone returns the command for one key, where a command of several keys has
	// to run in pieces at several nodes. Its reply is an integer to be summed
	// up, or OK.
	lone func(c *call, key int) [][]byte
	// blind says that a write replaces what is there even if it is corrupt.
	blind func(c *call) bool
	// direct says that a write need not know what other owners have, and may be
	// coordinated by any of them: SET and VSET.
	direct func(c *call) bool
	// versioned says that the write makes siblings: VSET and VDEL.
	versioned bool
}

// What dispatch did with a command.
type dispatched uint8

const (
	dispatchRan   dispatched = iota // it has replied, or is in the session's group
	dispatchSlow                    // it is for runSlow
	dispatchLater                   // not yet: it must not overtake those in the group
)

// dispatch runs one command.
func (s *session) dispatch(args [][]byte) dispatched {
	c := s.call
	c.args, c.db, c.need = args, s.db, s.need
	c.cmd, c.h = nil, &unknownHandler
	grouped := len(s.group) > 0
	if refusal := c.find(); refusal != "" {
		if grouped {
			return dispatchLater
		}
		from := len(s.out.Buf)
		c.w = &s.out
		s.out.Error(refusal)
		s.shard.rejected(c.cmd, refusal)
		s.ran(from)
		return dispatchRan
	}
	if c.h.local != nil || c.h.slow != nil || len(args) > loopArgsMax || s.srv.pauses(c.cmd) {
		if grouped {
			return dispatchLater
		}
		if c.h.local == nil {
			return dispatchSlow
		}
	}
	if grouped {
		if s.conflicts(c) {
			return dispatchLater
		}
		c.own.RESP3 = s.out.RESP3
		c.w = &c.own
		c.run()
		s.join(c)
		return dispatchRan
	}
	from := len(s.out.Buf)
	c.w = &s.out
	if c.run(); c.isPending() {
		c.own.RESP3 = s.out.RESP3
		c.own.Buf = append(c.own.Buf[:0], s.out.Buf[from:]...)
		s.out.Buf = s.out.Buf[:from]
		c.w, c.from = &c.own, 0
		s.join(c)
		return dispatchRan
	}
	s.ran(from)
	return dispatchRan
}

// ran notes that a command has replied, from there on.
func (s *session) ran(from int) {
	s.held++
	if s.mute || s.muteNext > 0 {
		s.replied(from)
	}
}

// loopArgsMax is the longest command that runs in the loop: others would wait
// too long for a longer one.
const loopArgsMax = 512

var unknownHandler handler

// find finds the command's row and handler, and returns why it may not run.
func (c *call) find() (refusal string) {
	cmd := c.srv.table.Lookup(c.args[0])
	if cmd == nil {
		return unknownCommand(c.args)
	}
	if len(cmd.Subcommands) > 0 && len(c.args) > 1 {
		sub := cmd.Subcommand(c.args[1])
		if sub == nil {
			return fmt.Sprintf("ERR unknown subcommand '%.128s'. Try %s HELP.", c.args[1], strings.ToUpper(cmd.Name))
		}
		cmd = sub
	}
	c.cmd = cmd
	if !cmd.ArityOK(len(c.args)) {
		return "ERR wrong number of arguments for '" + cmd.FullName() + "' command"
	}
	if !c.s.authed && !cmd.Flags.Has(command.NoAuth) {
		return "NOAUTH Authentication required."
	}
	c.h = &c.srv.handlers[cmd.ID]
	return ""
}

// unknownCommand quotes what was sent as Redis does, within bounds.
func unknownCommand(args [][]byte) string {
	var b strings.Builder
	fmt.Fprintf(&b, "ERR unknown command '%.128s', with args beginning with: ", args[0])
	const quotedMax = 128
	quoted := 0
	for _, arg := range args[1:] {
		if quoted >= quotedMax {
			break
		}
		arg = arg[:min(len(arg), quotedMax-quoted)]
		fmt.Fprintf(&b, "'%s' ", arg)
		quoted += len(arg) + len("'' ")
	}
	return b.String()
}

var (
	errReplyTooLarge = errors.New("ERR the reply would be larger than client-reply-bytes-max")
	errEnding        = errors.New("ERR the connection is ending, the command was not finished")
)

func always(*call) bool { return true }
