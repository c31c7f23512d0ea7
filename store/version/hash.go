package version

import (
	"encoding/binary"
	"math/bits"
)

// Hash is that of all that tells two objects of one key apart: type, clock and,
// of each sibling, everything but the payload, which its dot determines. It is 0
// where there are no siblings, and only there. Nodes compare hashes: it is the
// same on all of them, for ever.
func (o *Object) Hash() uint64 {
	if len(o.Siblings) == 0 {
		return 0
	}
	h := startHash(o.Type, len(o.Clock), len(o.Siblings))
	for _, entry := range o.Clock {
		h = h.dot(entry)
	}
	for i := range o.Siblings {
		h = h.sibling(&o.Siblings[i])
	}
	return h.sum()
}

// HashEncoded is the Hash of the object that b is the form of, without looking
// at the checksum or the payloads. Of bytes that AppendObject did not write it
// is 0 or anything else.
func HashEncoded(b []byte) uint64 {
	if len(b) < headerBytes+1 {
		return 0
	}
	f := fields{rest: b[headerBytes+1:]}
	entries := f.uvarint()
	if entries > uint64(len(f.rest)/entryBytes) {
		return 0
	}
	clock := f.take(entries * entryBytes)
	siblings := f.uvarint()
	if siblings == 0 || siblings > entries+uint64(len(f.rest)/olderSiblingBytesMin) {
		return 0
	}
	h := startHash(Type(b[headerBytes]), int(entries), int(siblings))
	for i := range entries {
		h = h.dot(entryAt(clock, i))
	}
	for range siblings {
		var s Sibling
		if !f.skimSibling(&s, clock) {
			return 0
		}
		h = h.sibling(&s)
	}
	return h.sum()
}

func entryAt(clock []byte, i uint64) Dot {
	b := clock[i*entryBytes:]
	return Dot{Incarnation(binary.BigEndian.Uint64(b)), HLC(binary.BigEndian.Uint64(b[8:]))}
}

// skimSibling reads all of a sibling but its payload, and checks only what could
// lead it out of bounds.
func (f *fields) skimSibling(s *Sibling, clock []byte) (ok bool) {
	flags := f.byte()
	index := f.uvarint()
	if f.cut || index >= uint64(len(clock)/entryBytes) {
		return false
	}
	s.Dot = entryAt(clock, index)
	if flags&flagOlder != 0 {
		s.Dot.HLC = HLC(f.uint64())
	}
	s.Written = s.Dot.HLC
	if flags&flagTouched != 0 {
		s.Written = HLC(f.uint64())
	}
	if flags&flagExpires != 0 {
		s.ExpireAtMS = int64(f.uvarint())
	}
	s.Tombstone = flags&flagTombstone != 0
	if !s.Tombstone {
		f.take(f.uvarint())
	}
	return !f.cut
}

// A hash folds pairs of words into one by the high and low half of a product, as
// wyhash does (Wang Yi, "Modern Non-Cryptographic Hash Function and Pseudorandom
// Number Generator").
type hash uint64

const (
	hashSeed   = 0xa0761d6478bd642f
	hashSecret = 0xe7037ed1a0b428db
	// hashTombstone stands for a tombstone where the expiry of a value would be.
	hashTombstone = 0x8ebc6af09c88c6e3
)

func (h hash) add(a, b uint64) hash {
	high, low := bits.Mul64(a^hashSecret, b^uint64(h))
	return hash(high ^ low)
}

func startHash(t Type, entries, siblings int) hash {
	return hash(hashSeed).add(uint64(t), uint64(entries)<<32|uint64(siblings))
}

func (h hash) dot(d Dot) hash { return h.add(uint64(d.Incarnation), uint64(d.HLC)) }

func (h hash) sibling(s *Sibling) hash {
	expiry := uint64(s.ExpireAtMS)
	if s.Tombstone { // which has none
		expiry = hashTombstone
	}
	return h.dot(s.Dot).add(uint64(s.Written), expiry)
}

func (h hash) sum() uint64 {
	if sum := uint64(h.add(hashSeed, hashSecret)); sum != 0 {
		return sum
	}
	return 1
}
