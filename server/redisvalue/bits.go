package redisvalue

import (
	"encoding/binary"
	"math/bits"
)

// Bit 0 is the most significant bit of the first byte, as in all of Redis's bit commands.

// GetBit returns the bit at offset; beyond the end all bits are 0.
func GetBit(b []byte, offset uint64) int {
	at := offset >> 3
	if at >= uint64(len(b)) {
		return 0
	}
	return int(b[at]>>(7-offset&7)) & 1
}

// SetBit sets the bit at offset to 0 or 1 and returns what it was. The caller has grown b, with
// zeros, to hold that bit: to offset/8+1 bytes at least.
func SetBit(b []byte, offset uint64, bit int) (old int) {
	old = GetBit(b, offset)
	mask := byte(1) << (7 - offset&7)
	if bit == 0 {
		b[offset>>3] &^= mask
	} else {
		b[offset>>3] |= mask
	}
	return old
}

// BitCount is BITCOUNT: how many bits are set from start to end, both counted. They number bytes,
// or bits with bitUnit, and negative ones count from the end: 0 and -1 are all of b. It does not
// allocate.
func BitCount(b []byte, start, end int64, bitUnit bool) int64 {
	if start < 0 && end < 0 && start > end {
		return 0
	}
	r, ok := clampRange(b, start, end, bitUnit)
	if !ok {
		return 0
	}
	count := popcount(b[r.first : r.last+1])
	// The edge bytes were counted whole.
	count -= bits.OnesCount8(b[r.first] &^ r.firstMask)
	count -= bits.OnesCount8(b[r.last] &^ r.lastMask)
	return int64(count)
}

// BitPos is BITPOS of a key that exists: the position of the first 0 or 1, from start to end, both
// counted as in BitCount, or -1. Without endGiven the string counts as followed by zeros for ever,
// so that a search for 0 in a range of ones finds the first bit behind the string. For a missing
// key Redis answers 0 or -1 by the bit alone.
func BitPos(b []byte, bit int, start, end int64, endGiven, bitUnit bool) int64 {
	if !endGiven {
		end = -1
	}
	r, ok := clampRange(b, start, end, bitUnit)
	if !ok {
		return -1
	}
	if pos := firstBit(b, bit, r); pos >= 0 {
		return pos
	}
	if bit == 0 && !endGiven {
		return int64(len(b)) * 8
	}
	return -1
}

// bitRange is a range of bits, not empty: from the bytes first to last, and of these two the bits
// in the masks.
type bitRange struct {
	first, last         int64
	firstMask, lastMask byte
}

// clampRange resolves negative positions and cuts the range to what b has.
func clampRange(b []byte, start, end int64, bitUnit bool) (bitRange, bool) {
	total := int64(len(b))
	if bitUnit {
		total *= 8
	}
	if start < 0 {
		start = max(start+total, 0)
	}
	if end < 0 {
		end = max(end+total, 0)
	}
	end = min(end, total-1)
	if start > end {
		return bitRange{}, false
	}
	if !bitUnit {
		return bitRange{first: start, last: end, firstMask: 0xff, lastMask: 0xff}, true
	}
	return bitRange{
		first: start >> 3, firstMask: 0xff >> (start & 7),
		last: end >> 3, lastMask: 0xff << (7 - end&7),
	}, true
}

// firstBit finds the first bit of the given value in r, or -1.
func firstBit(b []byte, bit int, r bitRange) int64 {
	var flip uint64 // turns a search for 0 into one for 1
	if bit == 0 {
		flip = ^uint64(0)
	}
	at := r.first
	head := (b[at] ^ byte(flip)) & r.firstMask
	if r.first == r.last {
		head &= r.lastMask
	}
	if head != 0 {
		return at*8 + int64(bits.LeadingZeros8(head))
	}
	at++
	for ; at+8 <= r.last; at += 8 {
		if word := binary.BigEndian.Uint64(b[at:]) ^ flip; word != 0 {
			return at*8 + int64(bits.LeadingZeros64(word))
		}
	}
	for ; at <= r.last; at++ {
		tail := b[at] ^ byte(flip)
		if at == r.last {
			tail &= r.lastMask
		}
		if tail != 0 {
			return at*8 + int64(bits.LeadingZeros8(tail))
		}
	}
	return -1
}

func popcount(b []byte) int {
	n := 0
	for ; len(b) >= 8; b = b[8:] {
		n += bits.OnesCount64(binary.LittleEndian.Uint64(b))
	}
	for _, c := range b {
		n += bits.OnesCount8(c)
	}
	return n
}
