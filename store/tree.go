package store

import (
	"encoding/binary"
	"math/bits"
	"sync/atomic"

	"github.com/cespare/xxhash/v2"

	"cartwheel/cluster/ring"
)

// Leaves is how many leaves the hash tree of a partition has.
const Leaves = 64

const (
	leafBits = 6
	leafSize = 8
)

// trees hold the hash tree of each partition (design section 9): its leaves, by
// token, of which each is the XOR of what its objects contribute, and a root
// that is computed when it is asked for.
//
//  1. What an object contributes follows from what is stored of it and from
//     nothing else: not from the time, nor from the watermark. So a change adds
//     the contribution before it and the one after it, and whoever scans what is
//     stored comes to the same leaves.
//  2. They are kept by database, as the counts are, since a flush empties one
//     and knows nothing of the others. Most databases have none.
//  3. A dead object at or below the watermark counts as absent to an exchange:
//     ScanLeaf does not show it. The leaves have it until the sweeper, which
//     finds it soon, purges it.
//
// A partition's leaves are changed under its lock and read by anyone.
type trees struct {
	shift uint // of a token, to the number of its leaf among those of all partitions
	leaf  int  // how many there are
	byDB  [Databases]atomic.Pointer[[]atomic.Uint64]
}

func (t *trees) init(partitions int) {
	t.shift = 64 - leafBits - uint(bits.TrailingZeros(uint(partitions)))
	t.leaf = partitions * Leaves
}

// of returns the leaves of a database, making them where there are none.
func (t *trees) of(db uint8) []atomic.Uint64 {
	if leaves := t.byDB[db].Load(); leaves != nil {
		return *leaves
	}
	made := make([]atomic.Uint64, t.leaf)
	t.byDB[db].CompareAndSwap(nil, &made)
	return *t.byDB[db].Load()
}

// change takes note that the hash of the object under k became another one; that
// of an absent object is 0. The caller holds the partition's lock.
func (t *trees) change(k Key, before, after uint64) {
	if before == after {
		return
	}
	leaf := &t.of(k.DB)[uint64(k.Token)>>t.shift]
	leaf.Store(leaf.Load() ^ contribution(k, before) ^ contribution(k, after))
}

// touch reads the leaf that change will change.
func (t *trees) touch(db uint8, token ring.Token) uint64 {
	if leaves := t.byDB[db].Load(); leaves != nil {
		return (*leaves)[uint64(token)>>t.shift].Load()
	}
	return 0
}

// contribution is what an object adds to its leaf. The token stands for the key.
func contribution(k Key, hash uint64) uint64 {
	if hash == 0 {
		return 0
	}
	return mix(mix(uint64(k.Token), uint64(k.DB)), hash)
}

// mix folds two words into one; the other nodes' must be the same.
func mix(a, b uint64) uint64 {
	high, low := bits.Mul64(a^0xa0761d6478bd642f, b^0xe7037ed1a0b428db)
	return high ^ low
}

// span returns the leaves of one partition of a database, nil where there are
// none.
func (t *trees) span(db uint8, p ring.Partition) []atomic.Uint64 {
	leaves := t.byDB[db].Load()
	if leaves == nil {
		return nil
	}
	return (*leaves)[int(p)*Leaves:][:Leaves]
}

// reset empties the leaves of one partition of a database.
func (t *trees) reset(db uint8, p ring.Partition) {
	leaves := t.span(db, p)
	for i := range leaves {
		leaves[i].Store(0)
	}
}

// leafSums are the leaves of one partition by database, as a scan finds them.
type leafSums [Databases][Leaves]uint64

// add takes note of an object that the scan has found.
func (l *leafSums) add(t *trees, k Key, hash uint64) {
	l[k.DB][uint64(k.Token)>>t.shift%Leaves] ^= contribution(k, hash)
}

// join adds what a scan has found of one partition of a database. The caller
// holds the partition's lock.
func (t *trees) join(db uint8, p ring.Partition, found *[Leaves]uint64) {
	if *found == ([Leaves]uint64{}) {
		return
	}
	leaves := t.of(db)[int(p)*Leaves:][:Leaves]
	for i := range leaves {
		leaves[i].Store(leaves[i].Load() ^ found[i])
	}
}

// TreesReady is closed when the hash trees are right, which is when the counts
// are. What could not be read then is missing from them, too.
func (s *Store) TreesReady() <-chan struct{} { return s.counters.ready }

// Leaves returns the leaves of a partition's hash tree.
func (s *Store) Leaves(p ring.Partition) (leaves [Leaves]uint64) {
	for db := range s.trees.byDB {
		span := s.trees.span(uint8(db), p)
		for i := range span {
			leaves[i] ^= span[i].Load()
		}
	}
	return leaves
}

// Root returns the root of a partition's hash tree; 0 where nothing is stored.
func (s *Store) Root(p ring.Partition) (root uint64) {
	leaves := s.Leaves(p)
	for i, leaf := range leaves {
		if leaf != 0 {
			root ^= mix(uint64(i)+1, leaf)
		}
	}
	return root
}

// encode writes the leaves of a database that are not zero, each after its
// number, and a checksum; nothing where there are none.
func (t *trees) encode(db uint8) []byte {
	leaves := t.byDB[db].Load()
	if leaves == nil {
		return nil
	}
	var b []byte
	for i := range *leaves {
		if leaf := (*leaves)[i].Load(); leaf != 0 {
			b = binary.AppendUvarint(b, uint64(i))
			b = binary.BigEndian.AppendUint64(b, leaf)
		}
	}
	if b == nil {
		return nil
	}
	return binary.BigEndian.AppendUint64(b, xxhash.Sum64(b))
}

// decode sets the leaves of a database, or reports that b is not what encode
// wrote.
func (t *trees) decode(db uint8, b []byte) bool {
	if len(b) < leafSize {
		return false
	}
	body, sum := b[:len(b)-8], binary.BigEndian.Uint64(b[len(b)-8:])
	if xxhash.Sum64(body) != sum {
		return false
	}
	leaves := t.of(db)
	for len(body) > 0 {
		i, width := binary.Uvarint(body)
		if width <= 0 || i >= uint64(len(leaves)) || len(body) < width+leafSize {
			return false
		}
		leaves[i].Store(binary.BigEndian.Uint64(body[width:]))
		body = body[width+leafSize:]
	}
	return true
}
