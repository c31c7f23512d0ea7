package command

import (
	"bytes"
	"errors"
	"fmt"
	"slices"
)

// What COMMAND GETKEYS says, after "ERR ", of arguments whose keys it cannot tell.
//
//lint:file-ignore ST1005 The words are Redis's.
var (
	ErrNoKeys = errors.New("The command has no key arguments")
	ErrArity  = errors.New("Invalid number of arguments specified for command")
)

// KeySpec tells where some of a command's keys are and what it does with them. Of Redis's kinds only
// the one that all our commands use is understood: an index to begin at, and a range from there.
type KeySpec struct {
	Notes string `json:"notes"`
	// Flags begin with RO, RW, OW (overwritten unread) or RM (removed unread), and go on with what
	// is done to the value: "access", "update", "insert", "delete"; and "variable_flags" where
	// that depends on the other arguments.
	Flags       []string `json:"flags"`
	BeginSearch struct {
		Type string `json:"type"`
		Spec struct {
			Index int `json:"index"`
		} `json:"spec"`
	} `json:"begin_search"`
	FindKeys struct {
		Type string `json:"type"`
		Spec struct {
			// LastKey is relative to the first key or, below zero, to the end of the arguments.
			LastKey int `json:"lastkey"`
			KeyStep int `json:"keystep"`
			Limit   int `json:"limit"`
		} `json:"spec"`
	} `json:"find_keys"`
}

// KeyUse is the position of a key in the arguments, and the flags of what is done with it.
type KeyUse struct {
	Position int
	Flags    []string
}

// Keys returns the positions of the keys in args, whose first is the command's name (and second the
// subcommand's, for a subcommand). It fails with ErrNoKeys or ErrArity.
func (c *Command) Keys(args [][]byte) ([]int, error) {
	if err := c.haveKeys(args); err != nil {
		return nil, err
	}
	return c.AppendKeys(nil, args), nil
}

// AppendKeys appends what Keys returns to dst, and allocates only to grow it. It takes arguments
// whose number is right: in others it may find fewer keys.
func (c *Command) AppendKeys(dst []int, args [][]byte) []int {
	for i := range c.KeySpecs {
		first, last, step := c.KeySpecs[i].span(len(args))
		for position := first; position <= last; position += step {
			dst = append(dst, position)
		}
	}
	return dst
}

// KeysAndFlags is Keys with what is done to each key, as COMMAND GETKEYSANDFLAGS replies.
func (c *Command) KeysAndFlags(args [][]byte) ([]KeyUse, error) {
	if err := c.haveKeys(args); err != nil {
		return nil, err
	}
	var uses []KeyUse
	for i := range c.KeySpecs {
		flags := c.KeySpecs[i].Flags
		if c.variableFlags != nil {
			flags = c.variableFlags(args)
		}
		first, last, step := c.KeySpecs[i].span(len(args))
		for position := first; position <= last; position += step {
			uses = append(uses, KeyUse{Position: position, Flags: flags})
		}
	}
	return uses, nil
}

func (c *Command) haveKeys(args [][]byte) error {
	switch {
	case len(c.KeySpecs) == 0:
		return ErrNoKeys
	case !c.ArityOK(len(args)):
		return ErrArity
	}
	return nil
}

// span is the range of positions that the spec means in n arguments, within them.
func (s *KeySpec) span(n int) (first, last, step int) {
	first = s.BeginSearch.Spec.Index
	last = s.FindKeys.Spec.LastKey
	if last >= 0 {
		last += first
	} else {
		last += n
	}
	return first, min(last, n-1), s.FindKeys.Spec.KeyStep
}

func (s *KeySpec) check() error {
	index, find := s.BeginSearch, s.FindKeys
	switch {
	case index.Type != "index" || find.Type != "range" || find.Spec.Limit != 0:
		return fmt.Errorf("a key spec of kind %s, %s, limit %d is not understood yet",
			index.Type, find.Type, find.Spec.Limit)
	case index.Spec.Index < 1 || find.Spec.KeyStep < 1:
		return fmt.Errorf("a key spec begins at %d and steps by %d", index.Spec.Index, find.Spec.KeyStep)
	}
	return nil
}

// variableFlags tells, for the commands whose specs say "variable_flags", what is done to the key.
var variableFlags = map[string]func(args [][]byte) []string{
	"set":      setKeyFlags,
	"bitfield": bitfieldKeyFlags,
}

// setKeyFlags: only the option GET reads the old value.
func setKeyFlags(args [][]byte) []string {
	isGet := func(arg []byte) bool { return bytes.EqualFold(arg, []byte("GET")) }
	if slices.ContainsFunc(args[3:], isGet) {
		return []string{"RW", "access", "update"}
	}
	return []string{"OW", "update"}
}

// bitfieldKeyFlags: the command only reads if all its operations are GETs; what is no operation
// might write, as in Redis.
func bitfieldKeyFlags(args [][]byte) []string {
	for rest := args[2:]; len(rest) > 0; {
		switch {
		case bytes.EqualFold(rest[0], []byte("GET")) && len(rest) > 2:
			rest = rest[3:]
		case bytes.EqualFold(rest[0], []byte("OVERFLOW")) && len(rest) > 1:
			rest = rest[2:]
		default:
			return []string{"RW", "access", "update"}
		}
	}
	return []string{"RO", "access"}
}
