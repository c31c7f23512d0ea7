package command

import (
	"encoding/binary"
	"fmt"
	"math/bits"
	"strings"
)

// maxName is the length of the longest name that has a slot in a nameIndex: two words.
const maxName = 16

// maxLongName bounds the names that a nameIndex holds at all.
const maxLongName = 32

// nameIndex finds a row by its name in any letter case. Every request goes through one, so it is
// written for the profile:
//
//  1. A name is at most 16 bytes: the few that are longer are in a map. It is loaded into two words,
//     zero-padded, and its A to Z are folded to lower case eight bytes at a time.
//  2. The words are hashed by multiplying into a table of slots, open addressing, linear probing, less
//     than half full.
//  3. A slot holds the folded words and the length, so that a comparison is three integers and
//     touches no string. The length tells "get" from "get\x00".
//
// It never changes once built, so a client can choose what it looks up but never how long that takes.
type nameIndex struct {
	slots []nameSlot // a power of two, or none
	shift uint       // 64 - log2(len(slots))
	long  map[string]*Command
}

type nameSlot struct {
	low, high uint64
	length    int
	command   *Command // nil: the slot is free
}

func newNameIndex(commands []*Command) (nameIndex, error) {
	if len(commands) == 0 {
		return nameIndex{}, nil
	}
	log2 := bits.Len(uint(2 * len(commands)))
	x := nameIndex{slots: make([]nameSlot, 1<<log2), shift: uint(64 - log2), long: make(map[string]*Command)}
	for _, c := range commands {
		if err := x.add(c); err != nil {
			return nameIndex{}, err
		}
	}
	return x, nil
}

func (x *nameIndex) add(c *Command) error {
	name := []byte(c.Name)
	switch {
	case len(name) == 0 || len(name) > maxLongName:
		return fmt.Errorf("command %q: a name has 1 to %d bytes", c.Name, maxLongName)
	case strings.ToLower(c.Name) != c.Name:
		return fmt.Errorf("command %q: a name is in lower case", c.Name)
	case x.find(name) != nil:
		return fmt.Errorf("command %q is there twice", c.Name)
	case len(name) > maxName:
		x.long[c.Name] = c
		return nil
	}
	low, high := fold(name)
	i := x.home(low, high)
	for x.slots[i].command != nil {
		i = (i + 1) & uint64(len(x.slots)-1)
	}
	x.slots[i] = nameSlot{low: low, high: high, length: len(name), command: c}
	return nil
}

func (x *nameIndex) find(name []byte) *Command {
	length := len(name)
	if length == 0 || length > maxName || len(x.slots) == 0 {
		return x.findLong(name)
	}
	low, high := fold(name)
	for i := x.home(low, high); ; i++ {
		slot := &x.slots[i&uint64(len(x.slots)-1)]
		if slot.command == nil {
			return nil
		}
		if slot.low == low && slot.high == high && slot.length == length {
			return slot.command
		}
	}
}

// findLong finds what has no slot.
func (x *nameIndex) findLong(name []byte) *Command {
	if len(x.long) == 0 || len(name) > maxLongName {
		return nil
	}
	var folded [maxLongName]byte
	for i, b := range name {
		if 'A' <= b && b <= 'Z' {
			b += 'a' - 'A'
		}
		folded[i] = b
	}
	return x.long[string(folded[:len(name)])]
}

// home is the slot at which the search for a name begins.
func (x *nameIndex) home(low, high uint64) uint64 {
	const odd1, odd2 = 0x9e3779b97f4a7c15, 0xc2b2ae3d27d4eb4f
	return (low ^ high*odd2) * odd1 >> x.shift
}

// fold loads a name of 1 to 16 bytes into two words, zero-padded and in lower case.
func fold(name []byte) (low, high uint64) {
	n := len(name)
	switch {
	case n >= 8:
		low = binary.LittleEndian.Uint64(name)
		// The last 8 bytes, without those that low has already. A shift by 64 leaves 0.
		high = binary.LittleEndian.Uint64(name[n-8:]) >> (8 * uint(16-n))
	case n >= 4:
		first := uint64(binary.LittleEndian.Uint32(name))
		last := uint64(binary.LittleEndian.Uint32(name[n-4:]))
		low = first | last<<(8*uint(n-4)) // the bytes they share are equal
	default:
		for i, b := range name {
			low |= uint64(b) << (8 * uint(i))
		}
	}
	return lower(low), lower(high)
}

// lower folds the eight bytes of a word: those from 'A' to 'Z' gain the bit 0x20, no others change.
func lower(word uint64) uint64 {
	const (
		ones = 0x0101010101010101
		high = 0x80 * ones
	)
	sevenBits := word &^ high
	atLeastA := sevenBits + (0x80-'A')*ones // sets a byte's high bit; no carry leaves a byte
	aboveZ := sevenBits + (0x7f-'Z')*ones
	upper := (atLeastA ^ aboveZ) & ^word & high
	return word | upper>>2
}
