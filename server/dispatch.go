package server

import (
	"errors"
	"fmt"
	"runtime/debug"
	"strings"

	"cartwheel/cluster/quorum"
	"cartwheel/resp"
	"cartwheel/server/command"
	"cartwheel/store/version"
)

// A call is one command on its way.
type call struct {
	s     *session
	srv   *Server
	w     *resp.Writer
	cmd   *command.Command // nil: unknown
	h     *handler
	args  [][]byte // the name first
	nowMS int64
	need  quorum.Need

	key      int // the position of the key that the handler is called for
	view     view
	count    int64 // for commands of several keys to sum up in
	set      setOptions
	bitfield []bitfieldOp
	digits   [20]byte
	restore  restoreOptions
	version  versionOptions

	writing func(c *call, v *view) // the handler under way in update
	blind   bool
	lost    bool           // what is under the key cannot be read
	fault   any            // its panic
	object  version.Object // memory for the view
}

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
	// blind says that a write replaces what is there even if it is corrupt.
	blind func(c *call) bool
}

// dispatch runs one command, or reports that it is for runSlow.
func (s *session) dispatch(args [][]byte) (done bool) {
	c := &s.call
	c.args, c.w = args, &s.out
	c.cmd, c.h = nil, &unknownHandler
	from := len(s.out.Buf)
	if text := c.find(); text != "" {
		s.out.Error(text)
		s.shard.rejected(c.cmd, text)
	} else if c.h.slow != nil || len(args) > loopArgsMax || s.srv.pauses(c.cmd) {
		return false
	} else {
		c.run()
	}
	s.held++
	if s.mute || s.muteNext > 0 {
		s.replied(from)
	}
	return true
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

// run runs the handler and leaves one reply in c.w.
func (c *call) run() {
	from := len(c.w.Buf)
	var err error
	switch h := c.h; {
	case h.local != nil:
		h.local(c)
	case h.slow != nil:
		h.slow(c)
	case h.begin != nil && !h.begin(c):
	case h.each:
		err = c.every(from)
	default:
		c.key = c.cmd.FirstKey
		err = c.one()
	}
	if err != nil {
		c.w.Buf = c.w.Buf[:from]
		c.w.Error(wireText(err))
	}
	if len(c.w.Buf) > from && c.w.Buf[from] == '-' {
		c.s.shard.failed(c.cmd, c.w.Buf[from+1:])
	}
	c.need = quorum.Need{}
}

// every calls the handler for every key.
func (c *call) every(from int) error {
	last := c.cmd.LastKey
	if last < 0 {
		last += len(c.args)
	}
	c.count = 0
	for c.key = c.cmd.FirstKey; c.key <= last; c.key += c.cmd.KeyStep {
		if err := c.one(); err != nil {
			return err
		}
		if len(c.w.Buf)-from > c.srv.replyBytesMax {
			return errReplyTooLarge
		}
	}
	if c.h.finish != nil {
		c.h.finish(c)
	}
	return nil
}

var (
	errReplyTooLarge = errors.New("ERR the reply would be larger than client-reply-bytes-max")
	errEnding        = errors.New("ERR the connection is ending, the command was not finished")
)

// ending returns an error if the connection is to end.
func (c *call) ending() error {
	if c.s.ctx.Err() != nil {
		return errEnding
	}
	return nil
}

// tooLarge reports that the reply that begins at from is larger than it may be,
// and then has put an error in its place.
func (c *call) tooLarge(from int) bool {
	if len(c.w.Buf)-from <= c.srv.replyBytesMax {
		return false
	}
	c.w.Buf = c.w.Buf[:from]
	c.w.Error(errReplyTooLarge.Error())
	return true
}

// one calls the handler for the key at c.key.
func (c *call) one() error {
	key := c.args[c.key]
	if c.h.read != nil {
		seq, err := c.srv.keys.Read(c.s.db, key, c.need, &c.object)
		if err != nil {
			return err
		}
		c.depend(seq)
		c.view.look(c, &c.object)
		c.h.read(c, &c.view)
		return nil
	}
	return c.update(c.s.db, key, c.h.write, c.h.blind != nil && c.h.blind(c))
}

// update runs a write handler on one key.
func (c *call) update(db uint8, key []byte, write func(c *call, v *view), blind bool) error {
	c.writing, c.blind, c.lost = write, blind, false
	seq, err := c.srv.keys.Update(db, key, c.need, c.nowMS, &c.object, c)
	if c.fault != nil {
		fault := c.fault
		c.fault = nil
		panic(fault)
	}
	if err == nil {
		err = c.view.err
	}
	c.depend(seq)
	return err
}

// Apply runs the write handler. A panic must not leave the store's locks held:
// it goes on once they are not.
func (c *call) Apply(o *version.Object) (changed bool) {
	defer func() {
		if fault := recover(); fault != nil {
			c.fault = fmt.Sprintf("%v\n%s", fault, debug.Stack())
			changed = false
		}
	}()
	c.view.look(c, o)
	c.view.lost = c.lost
	c.writing(c, &c.view)
	return c.view.changed && c.view.err == nil
}

// Blind says that a write handler can go ahead without what is stored. It is
// asked where that cannot be read, and only there.
func (c *call) Blind() bool {
	c.lost = true
	return c.blind
}

func always(*call) bool { return true }

// depend makes the reply wait for the commit of seq.
func (c *call) depend(seq uint64) {
	if seq > c.s.seq {
		c.s.seq = seq
	}
}
