package ring

import (
	"cmp"
	"slices"
)

// How many partitions each node should hold. With n owners a partition, n the
// smaller of N and the number of nodes:
//
//  1. Zones. Each holds about the same number of replicas of any one partition:
//     n is dealt out to the zones one by one in turn, none getting more than it
//     has nodes, and what the last, incomplete turn would give belongs to any of
//     the zones that it could reach. So each zone has a least and a most, which
//     differ by one or are equal. With at least n zones the most is 1: the
//     owners are in n distinct zones.
//  2. Nodes. A node's share is its weight times a level that is the same
//     everywhere, cut at one replica of every partition; except that the level
//     of a zone is raised or lowered where the zone would otherwise fall under
//     its least times Q, or exceed its most times Q. The level is such that the
//     shares add up to n times Q.
//
// So zones come first, then the shares are as even by weight as the zones let
// them be. A node then holds its share rounded down, or rounded up. All of it is
// exact: integers and fractions of integers.

// shareBits are the fractional bits of node.share.
const shareBits = 20

// A zone is its nodes and the limits of the first rule.
type zone struct {
	nodes       []int32
	least, most int // replicas of each partition
}

// limitZones sets the limits of zones that have at least n nodes in all.
func limitZones(zones []zone, n int) {
	dealt := func(turns int) (replicas int) {
		for i := range zones {
			replicas += min(turns, len(zones[i].nodes))
		}
		return replicas
	}
	turns := 0
	for turns < n && dealt(turns+1) <= n {
		turns++
	}
	last := turns
	if dealt(turns) < n {
		last++
	}
	for i := range zones {
		zones[i].least = min(turns, len(zones[i].nodes))
		zones[i].most = min(last, len(zones[i].nodes))
	}
}

// A level is how many partitions a unit of weight gets, as a fraction. The
// numerator is at most n times Q, below 2^19; the denominator a sum of weights,
// below 2^22.
type level struct{ num, den int64 }

func (l level) compare(other level) int { return cmp.Compare(l.num*other.den, other.num*l.den) }

// scaled returns the share of a weight, times l.den.
func (l level) scaled(weight, partitions int64) int64 {
	return min(partitions*l.den, l.num*weight)
}

// A basin is a zone as water-filling sees it.
type basin struct {
	weights   []int64 // falling
	low, high level   // where it holds its least, and its most
	least     int64   // partitions
	most      int64
}

// fill returns what the basin holds at a level, limits apart, times l.den.
func (b *basin) fill(l level, partitions int64) (scaled int64) {
	for _, w := range b.weights {
		scaled += l.scaled(w, partitions)
	}
	return scaled
}

// levelFor returns the level at which the basin holds so many partitions, at
// most all of every node.
func (b *basin) levelFor(held, partitions int64) level {
	var rest int64
	for _, w := range b.weights {
		rest += w
	}
	full := 0
	for held*b.weights[full] > partitions*rest { // the heavier a node, the sooner it is full
		held -= partitions
		rest -= b.weights[full]
		full++
	}
	return level{held, rest}
}

// clamped is fill within the limits.
func (b *basin) clamped(l level, partitions int64) (scaled int64) {
	return min(max(b.fill(l, partitions), b.least*l.den), b.most*l.den)
}

// commonLevel returns the level at which all basins together hold total.
func commonLevel(basins []basin, total, partitions int64) level {
	bends := []level{{0, 1}} // where what they hold stops being linear
	for i := range basins {
		bends = append(bends, basins[i].low, basins[i].high)
		for _, w := range slices.Compact(slices.Clone(basins[i].weights)) {
			bends = append(bends, level{partitions, w})
		}
	}
	slices.SortFunc(bends, level.compare)
	bends = slices.CompactFunc(bends, func(a, b level) bool { return a.compare(b) == 0 })

	above, exact := slices.BinarySearchFunc(bends, total, func(l level, total int64) int {
		var held int64
		for i := range basins {
			held += basins[i].clamped(l, partitions)
		}
		return cmp.Compare(held, total*l.den)
	})
	if exact {
		return bends[above]
	}
	below := bends[above-1]
	var weights int64 // of the nodes whose share still grows between the two bends
	for i := range basins {
		b := &basins[i]
		switch {
		case b.high.compare(below) <= 0:
			total -= b.most
		case b.low.compare(bends[above]) >= 0:
			total -= b.least
		default:
			for _, w := range b.weights {
				if partitions*below.den <= below.num*w {
					total -= partitions
				} else {
					weights += w
				}
			}
		}
	}
	return level{total, weights}
}

// setShares sets the shares of the nodes for n owners a partition.
func setShares(nodes []node, zones []zone, n, partitions int) {
	q := int64(partitions)
	basins := make([]basin, len(zones))
	for i, z := range zones {
		b := &basins[i]
		for _, at := range z.nodes {
			b.weights = append(b.weights, nodes[at].weight)
		}
		slices.SortFunc(b.weights, func(a, b int64) int { return cmp.Compare(b, a) })
		b.least, b.most = int64(z.least)*q, int64(z.most)*q
		b.low, b.high = b.levelFor(b.least, q), b.levelFor(b.most, q)
	}
	common := commonLevel(basins, int64(n)*q, q)
	for i, z := range zones {
		l := common
		switch held := basins[i].fill(l, q); {
		case held <= basins[i].least*l.den:
			l = basins[i].low
		case held >= basins[i].most*l.den:
			l = basins[i].high
		}
		for _, at := range z.nodes {
			nodes[at].setShare(l.scaled(nodes[at].weight, q), l.den)
		}
	}
}

func (n *node) setShare(scaled, den int64) {
	n.least = int(scaled / den)
	n.most = int((scaled + den - 1) / den)
	n.share = scaled << shareBits / den
}
