package server

import (
	"bytes"
	"strings"

	"cartwheel/server/command"
	"cartwheel/server/redisvalue"
)

var commandHandlers = map[string]handler{
	"command":                 {local: commandAll},
	"command|count":           {local: commandCount},
	"command|docs":            {local: commandDocs},
	"command|getkeys":         {local: commandGetKeys},
	"command|getkeysandflags": {local: commandGetKeysAndFlags},
	"command|info":            {local: commandInfo},
	"command|list":            {local: commandList},
	"command|help":            help(commandHelp),
}

const commandHelp = `(no subcommand)
    Return details about all commands.
COUNT
    Return the total number of commands in this server.
LIST
    Return a list of all commands in this server.
INFO [<command-name> ...]
    Return details about multiple commands.
    If no command names are given, documentation details for all
    commands are returned.
DOCS [<command-name> ...]
    Return documentation details about multiple commands.
    If no command names are given, documentation details for all
    commands are returned.
GETKEYS <full-command>
    Return the keys from a full command.
GETKEYSANDFLAGS <full-command>
    Return the keys and the access flags from a full command.`

// findCommand finds a command by its full name, such as client|kill, or nil.
func (s *Server) findCommand(name []byte) *command.Command {
	container, sub, isSub := bytes.Cut(name, []byte("|"))
	cmd := s.table.Lookup(container)
	if cmd == nil || !isSub {
		return cmd
	}
	return cmd.Subcommand(sub)
}

func commandAll(c *call) {
	all := c.srv.table.TopLevel()
	c.w.Array(len(all))
	for _, cmd := range all {
		cmd.WriteInfo(c.w)
	}
}

func commandCount(c *call) { c.w.Int(int64(len(c.srv.table.TopLevel()))) }

func commandInfo(c *call) {
	names := c.args[2:]
	if len(names) == 0 {
		commandAll(c)
		return
	}
	from := len(c.w.Buf)
	c.w.Array(len(names))
	for _, name := range names {
		if c.srv.findCommand(name).WriteInfo(c.w); c.tooLarge(from) {
			return
		}
	}
}

func commandDocs(c *call) {
	found := c.srv.table.TopLevel()
	if names := c.args[2:]; len(names) > 0 {
		found = nil
		for _, name := range names {
			if cmd := c.srv.findCommand(name); cmd != nil {
				found = append(found, cmd)
			}
		}
	}
	from := len(c.w.Buf)
	c.w.Map(len(found))
	for _, cmd := range found {
		c.w.BulkString(cmd.FullName())
		if cmd.WriteDocs(c.w); c.tooLarge(from) {
			return
		}
	}
}

// commandList lists subcommands too.
func commandList(c *call) {
	filter := func(*command.Command) bool { return true }
	switch args := c.args[2:]; {
	case len(args) == 0:
	case len(args) == 3 && is(args[0], "filterby"):
		if filter = commandFilter(args[1], args[2]); filter == nil {
			c.w.Error(errSyntax)
			return
		}
	default:
		c.w.Error(errSyntax)
		return
	}
	var names []string
	for _, cmd := range c.srv.table.All() {
		if filter(cmd) {
			names = append(names, cmd.FullName())
		}
	}
	c.w.Array(len(names))
	for _, name := range names {
		c.w.BulkString(name)
	}
}

func commandFilter(by, value []byte) func(*command.Command) bool {
	switch {
	case is(by, "module"):
		return func(*command.Command) bool { return false } // there are none
	case is(by, "aclcat"):
		return func(cmd *command.Command) bool {
			for _, category := range cmd.Categories {
				if strings.EqualFold(category, "@"+string(value)) {
					return true
				}
			}
			return false
		}
	case is(by, "pattern"):
		return func(cmd *command.Command) bool {
			return redisvalue.Glob(value, []byte(cmd.FullName()), true)
		}
	}
	return nil
}

// commandAsked finds the command that GETKEYS is asked about.
func (c *call) commandAsked() (cmd *command.Command, args [][]byte) {
	args = c.args[2:]
	cmd = c.srv.table.Lookup(args[0])
	if cmd != nil && len(cmd.Subcommands) > 0 && len(args) > 1 {
		cmd = cmd.Subcommand(args[1])
	}
	if cmd == nil {
		c.w.Error("ERR Invalid command specified")
	}
	return cmd, args
}

func commandGetKeys(c *call) {
	cmd, args := c.commandAsked()
	if cmd == nil {
		return
	}
	positions, err := cmd.Keys(args)
	if err != nil {
		c.w.Error("ERR " + err.Error())
		return
	}
	c.w.Array(len(positions))
	for _, position := range positions {
		c.w.Bulk(args[position])
	}
}

func commandGetKeysAndFlags(c *call) {
	cmd, args := c.commandAsked()
	if cmd == nil {
		return
	}
	uses, err := cmd.KeysAndFlags(args)
	if err != nil {
		c.w.Error("ERR " + err.Error())
		return
	}
	c.w.Array(len(uses))
	for _, use := range uses {
		c.w.Array(2)
		c.w.Bulk(args[use.Position])
		c.w.Set(len(use.Flags))
		for _, flag := range use.Flags {
			c.w.Simple(flag)
		}
	}
}
