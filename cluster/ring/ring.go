// Package ring says where a key lives: its slot, its token, its partition and
// the nodes that own it, now and after the moves under way. It is pure: it does
// not agree on a document with other nodes, move any object or know who is up.
package ring

import (
	"crypto/md5"
	"encoding/binary"
	"encoding/hex"
	"errors"
	"fmt"
)

// Slots is how many slots there are, as in Redis Cluster.
const Slots = 16384

const slotBits = 14

// A Slot is Redis Cluster's hash slot of a key, 0..16383.
type Slot uint16

// A Token is a key's position on the ring: its slot in the high 14 bits, then
// the first 50 bits of the MD5 of the key. Storage order is token order.
type Token uint64

// A Partition is an equal, contiguous range of slots.
type Partition uint32

// SlotOf returns the slot of key. Where the key has a hash tag, a non-empty
// part between the first '{' and the next '}', only that part counts
// (Redis Cluster specification, "Hash tags").
func SlotOf(key []byte) Slot {
	return Slot(crc16(hashTag(key)) & (Slots - 1))
}

// TokenOf returns the token of key.
func TokenOf(key []byte) Token {
	sum := md5.Sum(key)
	return Token(uint64(SlotOf(key))<<(64-slotBits) | binary.BigEndian.Uint64(sum[:8])>>slotBits)
}

// Slot returns the slot that t lies in.
func (t Token) Slot() Slot { return Slot(t >> (64 - slotBits)) }

func hashTag(key []byte) []byte {
	for i, c := range key {
		if c != '{' {
			continue
		}
		for j := i + 1; j < len(key); j++ {
			if key[j] == '}' {
				if j == i+1 {
					return key
				}
				return key[i+1 : j]
			}
		}
		return key
	}
	return key
}

// A NodeID names a node for its whole life: 160 random bits, written as the 40
// hex digits that Redis Cluster clients expect.
type NodeID [20]byte

func (id NodeID) String() string { return hex.EncodeToString(id[:]) }

// MarshalText writes the 40 hex digits.
func (id NodeID) MarshalText() ([]byte, error) { return []byte(id.String()), nil }

// UnmarshalText reads 40 hex digits.
func (id *NodeID) UnmarshalText(text []byte) error {
	b, err := hex.DecodeString(string(text))
	if err != nil || len(b) != len(id) {
		return fmt.Errorf("node id %q is not 40 hex digits", text)
	}
	copy(id[:], b)
	return nil
}

// ErrPartitions is returned for a number of partitions that is not a power of
// two between 1 and Slots.
var ErrPartitions = errors.New("the number of partitions must be a power of two from 1 to 16384")

func partitionsValid(partitions int) bool {
	return partitions >= 1 && partitions <= Slots && partitions&(partitions-1) == 0
}

// PartitionOf returns the partition of s on a ring of that many partitions, a
// power of two.
func PartitionOf(s Slot, partitions int) Partition {
	return Partition(int(s) * partitions / Slots)
}

// Span returns the tokens of p on a ring of that many partitions: first to
// last, both included.
func (p Partition) Span(partitions int) (first, last Token) {
	width := uint64(Slots/partitions) << (64 - slotBits)
	first = Token(uint64(p) * width)
	return first, first + Token(width-1)
}
