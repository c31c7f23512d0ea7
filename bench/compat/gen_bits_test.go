package compat

import (
	"slices"

	"pgregory.net/rapid"
)

var bitCommands = []generator{
	{"GETBIT", func(t *rapid.T) command { return send("GETBIT", aKey(t), aBitOffset(t)) }},
	{"SETBIT", func(t *rapid.T) command {
		return send("SETBIT", aKey(t), aBitOffset(t), pick(t, "0", "1", "1", "1", "2", "-1", "abc", ""))
	}},
	{"BITCOUNT", func(t *rapid.T) command {
		args := append([]string{"BITCOUNT", aKey(t)}, someOf(t, 0, 2, anIndex)...)
		return withOptions(t, args, 1, bare("BYTE"), bare("BIT"), bare("BITS"))
	}},
	{"BITPOS", func(t *rapid.T) command {
		args := append([]string{"BITPOS", aKey(t), pick(t, "0", "1", "0", "1", "2", "abc")}, someOf(t, 0, 2, anIndex)...)
		return withOptions(t, args, 1, bare("BYTE"), bare("BIT"), bare("BITS"))
	}},
	{"BITOP", func(t *rapid.T) command {
		operation := inAnyCase(t, pick(t, "AND", "OR", "XOR", "NOT", "NAND"))
		return send(slices.Insert(someOf(t, 0, 4, aKey), 0, "BITOP", operation, aKey(t))...)
	}},
	{"BITFIELD", func(t *rapid.T) command {
		return withOptions(t, []string{"BITFIELD", aKey(t)}, 4, bitfieldGet, bitfieldSet, bitfieldSet, bitfieldIncrement, bitfieldIncrement, overflow, bare("NOPE"))
	}},
	{"BITFIELD_RO", func(t *rapid.T) command {
		return withOptions(t, []string{"BITFIELD_RO", aKey(t)}, 3, bitfieldGet, bitfieldGet, bitfieldGet, bitfieldSet, overflow)
	}},
}

func bitfieldGet(t *rapid.T) option { return option{words: []string{"GET", bitType(t), bitOffset(t)}} }

func bitfieldSet(t *rapid.T) option {
	return option{words: []string{"SET", bitType(t), bitOffset(t), anInteger(t)}}
}

func bitfieldIncrement(t *rapid.T) option {
	return option{words: []string{"INCRBY", bitType(t), bitOffset(t), anInteger(t)}}
}

func overflow(t *rapid.T) option {
	return option{words: []string{"OVERFLOW", inAnyCase(t, pick(t, "WRAP", "SAT", "FAIL", "NOPE"))}}
}

func bitType(t *rapid.T) string {
	if chance(t, 10) {
		return pick(t, "u64", "i65", "u0", "i0", "x8", "8", "u", "", "U8", "u08", "u8x", "i-1")
	}
	return pick(t, "u8", "i8", "u1", "i1", "u4", "i5", "u16", "i32", "u63", "i64", "i63", "u7")
}

func bitOffset(t *rapid.T) string {
	switch between(t, 0, 11) {
	case 9, 10:
		return "#" + decimal(t, -1, 12)
	case 11:
		return pick(t, "-1", "abc", "", "#", "#abc", "8388607", "8388608", "#8388607", "4294967295", "9223372036854775807", "#9223372036854775807")
	default:
		return decimal(t, 0, 130)
	}
}

// aBitOffset draws a bit's position, now and then at the end of what proto-max-bulk-len allows.
func aBitOffset(t *rapid.T) string {
	switch between(t, 0, 19) {
	case 18:
		return pick(t, oddIntegers...)
	case 19:
		return pick(t, "8388607", "8388608", "4294967295", "4294967296")
	default:
		return decimal(t, -1, 200)
	}
}
