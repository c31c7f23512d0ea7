package repair

import (
	"bytes"
	"cmp"
	"encoding/binary"

	"cartwheel/cluster/ring"
	"cartwheel/store"
)

// An extent is a part of a partition: the keys of some leaves, from one key on
// and before another, in storage order.
type extent struct {
	partition ring.Partition
	mask      leafMask
	from, to  *store.Key // nil: the partition's beginning and end
}

// compareKeys orders keys as the store does: by token, database, and then by the
// encoded length and the bytes.
func compareKeys(a, b store.Key) int {
	if c := cmp.Or(cmp.Compare(a.Token, b.Token), cmp.Compare(a.DB, b.DB)); c != 0 {
		return c
	}
	if len(a.User) != len(b.User) {
		var x, y [binary.MaxVarintLen64]byte
		return bytes.Compare(
			x[:binary.PutUvarint(x[:], uint64(len(a.User)))],
			y[:binary.PutUvarint(y[:], uint64(len(b.User)))])
	}
	return bytes.Compare(a.User, b.User)
}

// leafOf returns the leaf that a token of the partition is in.
func leafOf(t ring.Token, p ring.Partition, partitions int) int {
	first, last := p.Span(partitions)
	return int(uint64(t-first) / (uint64(last-first)/store.Leaves + 1))
}

// has says whether the key is in the extent.
func (e *extent) has(k store.Key, partitions int) bool {
	return ring.PartitionOf(k.Token.Slot(), partitions) == e.partition &&
		e.mask.has(leafOf(k.Token, e.partition, partitions)) &&
		(e.from == nil || compareKeys(*e.from, k) <= 0) &&
		(e.to == nil || compareKeys(k, *e.to) < 0)
}

// tokenRanges calls visit with the runs of tokens that the extent touches, in
// order, until visit returns false.
func (e *extent) tokenRanges(partitions int, visit func(first, last ring.Token) bool) {
	begin, end := e.partition.Span(partitions)
	width := ring.Token(uint64(end-begin)/store.Leaves + 1)
	low, high := begin, end
	if e.from != nil {
		low = max(low, e.from.Token)
	}
	if e.to != nil {
		high = min(high, e.to.Token)
	}
	for leaf := 0; leaf < store.Leaves; leaf++ {
		if !e.mask.has(leaf) {
			continue
		}
		first := begin + ring.Token(leaf)*width
		for leaf+1 < store.Leaves && e.mask.has(leaf+1) {
			leaf++
		}
		last := begin + ring.Token(leaf)*width + (width - 1)
		if first, last = max(first, low), min(last, high); first <= last && !visit(first, last) {
			return
		}
	}
}
