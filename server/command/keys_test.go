package command

import (
	"bytes"
	"errors"
	"slices"
	"strings"
	"testing"
)

// keySamples are commands, their keys, and what is done to each: its flags joined by commas.
var keySamples = []struct{ line, keys, flags string }{
	{"GET k", "k", "RO,access"},
	{"MGET a b a", "a b a", "RO,access RO,access RO,access"},
	{"MSET a 1 b 2", "a b", "OW,update OW,update"},
	{"MSET a 1 b", "a b", "OW,update OW,update"},
	{"MSETNX a 1 b 2 c 3", "a b c", "OW,insert OW,insert OW,insert"},
	{"BITOP AND dst a b", "dst a b", "OW,update RO,access RO,access"},
	{"LCS a b IDX", "a b", "RO,access RO,access"},
	{"COPY a b DB 3", "a b", "RO,access OW,update"},
	{"RENAME a b", "a b", "RW,access,delete OW,update"},
	{"OBJECT encoding k", "k", "RO"},
	{"MEMORY USAGE k SAMPLES 5", "k", "RO"},
	{"DEL a b", "a b", "RM,delete RM,delete"},
	{"EXPIRE k 10 NX", "k", "RW,update"},
	{"SET k v", "k", "OW,update"},
	{"SET k GET", "k", "OW,update"},
	{"SET k v EX 10 get", "k", "RW,access,update"},
	{"SET get get GET", "get", "RW,access,update"},
	{"BITFIELD k", "k", "RO,access"},
	{"BITFIELD k GET u8 0 overflow SAT get u4 0", "k", "RO,access"},
	{"BITFIELD k GET u8", "k", "RW,access,update"},
	{"BITFIELD k GET u8 0 SET u8 0 1", "k", "RW,access,update"},
	{"BITFIELD k OVERFLOW", "k", "RW,access,update"},
	{"VGET k R 2", "k", "RO,access"},
	{"VSET k context v EX 10", "k", "RW,update"},
}

// keyErrors are commands that have no keys to tell, and why.
var keyErrors = []struct {
	line string
	want error
}{
	{"PING too many words", ErrNoKeys},
	{"CLIENT LIST", ErrNoKeys},
	{"GET a b", ErrArity},
	{"SET k", ErrArity},
	{"BITOP NOT dst", ErrArity},
	{"OBJECT ENCODING", ErrArity},
}

// parseLine splits a sample and finds its command or subcommand.
func parseLine(line string) (*Command, [][]byte) {
	args := bytes.Fields([]byte(line))
	c := Table().Lookup(args[0])
	if len(args) > 1 && len(c.Subcommands) > 0 {
		c = c.Subcommand(args[1])
	}
	return c, args
}

func TestKeysAreFound(t *testing.T) {
	for _, sample := range keySamples {
		c, args := parseLine(sample.line)
		positions, err := c.Keys(args)
		if err != nil {
			t.Errorf("%s: %v", sample.line, err)
			continue
		}
		var keys []string
		for _, position := range positions {
			keys = append(keys, string(args[position]))
		}
		if got := strings.Join(keys, " "); got != sample.keys {
			t.Errorf("%s: keys %q, want %q", sample.line, got, sample.keys)
		}
	}
}

func TestKeyFlagsSayWhatIsDone(t *testing.T) {
	for _, sample := range keySamples {
		c, args := parseLine(sample.line)
		positions, _ := c.Keys(args)
		uses, err := c.KeysAndFlags(args)
		if err != nil {
			t.Errorf("%s: %v", sample.line, err)
			continue
		}
		var usePositions []int
		var flags []string
		for _, use := range uses {
			usePositions = append(usePositions, use.Position)
			flags = append(flags, strings.Join(use.Flags, ","))
		}
		if got := strings.Join(flags, " "); got != sample.flags {
			t.Errorf("%s: flags %q, want %q", sample.line, got, sample.flags)
		}
		if !slices.Equal(usePositions, positions) {
			t.Errorf("%s: positions %v, but Keys says %v", sample.line, usePositions, positions)
		}
	}
}

func TestKeysThatCannotBeTold(t *testing.T) {
	for _, sample := range keyErrors {
		c, args := parseLine(sample.line)
		if _, err := c.Keys(args); !errors.Is(err, sample.want) {
			t.Errorf("%s: Keys: %v, want %v", sample.line, err, sample.want)
		}
		if _, err := c.KeysAndFlags(args); !errors.Is(err, sample.want) {
			t.Errorf("%s: KeysAndFlags: %v, want %v", sample.line, err, sample.want)
		}
	}
}

// TestKeysStayInsideTheArguments tries every command with every number of arguments, right or wrong.
func TestKeysStayInsideTheArguments(t *testing.T) {
	for _, c := range Table().All() {
		for n := range 12 {
			args := make([][]byte, n)
			for _, position := range c.AppendKeys(nil, args) {
				if position < 1 || position >= n {
					t.Errorf("%s with %d arguments: a key at %d", c.FullName(), n, position)
				}
			}
			if _, err := c.KeysAndFlags(args); err == nil && !c.ArityOK(n) {
				t.Errorf("%s takes %d arguments", c.FullName(), n)
			}
		}
	}
}

func TestAppendKeysDoesNotAllocate(t *testing.T) {
	c, args := parseLine("MSET a 1 b 2 c 3")
	keys := make([]int, 0, 8)
	if n := testing.AllocsPerRun(100, func() { keys = c.AppendKeys(keys[:0], args) }); n != 0 {
		t.Errorf("%v allocations", n)
	}
}
