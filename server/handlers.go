package server

import (
	"fmt"

	"cartwheel/server/command"
)

// newHandlers puts the handlers in the order of the commands' IDs. A command
// without a handler, or a handler without a command, is a mistake in the program.
func newHandlers(table *command.Commands) []handler {
	byName := allHandlers()
	handlers := make([]handler, table.Len())
	found := 0
	for _, cmd := range table.All() {
		h, ok := byName[cmd.FullName()]
		if !ok {
			if len(cmd.Subcommands) > 0 {
				h = handler{local: arityError}
			} else {
				panic(fmt.Sprintf("server: command %s has no handler", cmd.FullName()))
			}
		} else {
			found++
		}
		handlers[cmd.ID] = h
	}
	if found != len(byName) {
		panic("server: a handler has no command")
	}
	return handlers
}

// arityError answers a container that was sent without a subcommand.
func arityError(c *call) {
	c.w.Error("ERR wrong number of arguments for '" + c.cmd.FullName() + "' command")
}

func allHandlers() map[string]handler {
	all := make(map[string]handler)
	for _, family := range []map[string]handler{
		connectionHandlers, clientHandlers, serverHandlers, clusterHandlers, configHandlers, commandHandlers,
		introspectionHandlers, keyHandlers, expireHandlers, scanHandlers, stringHandlers,
		numberHandlers, bitHandlers, dumpHandlers, versionHandlers, ringHandlers,
	} {
		for name, h := range family {
			all[name] = h
		}
	}
	return all
}
