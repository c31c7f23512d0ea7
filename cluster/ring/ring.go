// Package ring says where a key lives: its slot, its token, its partition and
// the nodes that own it. It is pure: it knows nothing of who is up, of sockets
// or of time.
package ring

import (
	"crypto/md5"
	"encoding/binary"
	"encoding/hex"
	"errors"
	"fmt"
	"math/bits"
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

// A Ring is the table partition -> owners, with an epoch. It is immutable.
type Ring struct {
	epoch      uint64
	partitions int
	shift      uint // slots a partition, as a power of two
	owners     [][]NodeID
}

// ErrPartitions is returned for a number of partitions that is not a power of
// two between 1 and Slots.
var ErrPartitions = errors.New("the number of partitions must be a power of two from 1 to 16384")

// One returns the ring, of epoch 1, in which one node owns all partitions.
func One(node NodeID, partitions int) (*Ring, error) {
	if partitions < 1 || partitions > Slots || partitions&(partitions-1) != 0 {
		return nil, ErrPartitions
	}
	r := &Ring{
		epoch:      1,
		partitions: partitions,
		shift:      uint(slotBits - bits.TrailingZeros(uint(partitions))),
		owners:     make([][]NodeID, partitions),
	}
	alone := []NodeID{node}
	for p := range r.owners {
		r.owners[p] = alone
	}
	return r, nil
}

// Epoch returns the ring's epoch; a newer ring has a higher one.
func (r *Ring) Epoch() uint64 { return r.epoch }

// Partitions returns Q, the number of partitions.
func (r *Ring) Partitions() int { return r.partitions }

// PartitionOf returns the partition that s lies in.
func (r *Ring) PartitionOf(s Slot) Partition { return Partition(uint(s) >> r.shift) }

// Owners returns the owners of p, the head of its preference list. The caller
// must not change it.
func (r *Ring) Owners(p Partition) []NodeID { return r.owners[p] }

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
