package command

import (
	_ "embed"
	"encoding/json"
	"fmt"
	"slices"
	"strings"
	"sync"
)

//go:embed commands.json
var commandsJSON []byte

// Commands is the table. It is read only, and safe for concurrent use.
type Commands struct {
	top    []*Command
	all    []*Command
	byName nameIndex
}

// Table returns the one table, parsed when it is first asked for. It panics if the embedded
// commands.json is broken, which no run of the tests can miss.
var Table = sync.OnceValue(func() *Commands {
	table, err := parse(commandsJSON)
	if err != nil {
		panic(fmt.Errorf("command: commands.json: %w", err))
	}
	return table
})

// Lookup finds a command by its name in any letter case, or nil. It finds no subcommands: ask the
// container. It does not allocate.
func (t *Commands) Lookup(name []byte) *Command { return t.byName.find(name) }

// Len counts all commands and subcommands: the length of an array indexed by ID.
func (t *Commands) Len() int { return len(t.all) }

// All lists all commands and subcommands, each at the index that is its ID; a container comes
// before its subcommands. The caller must not change the slice.
func (t *Commands) All() []*Command { return t.all }

// TopLevel lists what COMMAND lists, sorted by name: commands and containers. The caller must not
// change the slice.
func (t *Commands) TopLevel() []*Command { return t.top }

func parse(text []byte) (*Commands, error) {
	var file struct {
		Commands []*Command `json:"commands"`
	}
	if err := json.Unmarshal(text, &file); err != nil {
		return nil, err
	}
	t := &Commands{top: file.Commands}
	if err := t.enlist(t.top, nil); err != nil {
		return nil, err
	}
	var err error
	t.byName, err = newNameIndex(t.top)
	return t, err
}

// enlist gives commands, and after each its subcommands, their IDs and what is derived.
func (t *Commands) enlist(commands []*Command, parent *Command) error {
	if !slices.IsSortedFunc(commands, func(a, b *Command) int { return strings.Compare(a.Name, b.Name) }) {
		return fmt.Errorf("commands from %q on are not sorted", commands[0].Name)
	}
	for _, c := range commands {
		c.fullName, c.Parent, c.ID = c.Name, parent, len(t.all)
		t.all = append(t.all, c)
		if parent != nil {
			prefix := parent.fullName + "|"
			if !strings.HasPrefix(c.fullName, prefix) {
				return fmt.Errorf("subcommand %q does not begin with %q", c.fullName, prefix)
			}
			c.Name = c.fullName[len(prefix):]
		}
		if err := c.check(); err != nil {
			return fmt.Errorf("command %q: %w", c.fullName, err)
		}
		c.variableFlags = variableFlags[c.fullName]
		if err := t.enlist(c.Subcommands, c); err != nil {
			return err
		}
		var err error
		if c.bySubcommand, err = newNameIndex(c.Subcommands); err != nil {
			return fmt.Errorf("subcommands of %q: %w", c.fullName, err)
		}
	}
	return nil
}

func (c *Command) check() error {
	if c.Arity == 0 {
		return fmt.Errorf("the arity is missing")
	}
	for _, spec := range c.KeySpecs {
		if err := spec.check(); err != nil {
			return err
		}
	}
	return nil
}
