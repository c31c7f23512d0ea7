package ring

import "slices"

// wholePartition is divisible by any number of owners, up to ReplicasMax.
const wholePartition = 720720

// inOrder returns rows with the owners of each partition in the order of its
// preference list, and leaves alone the rows that are so already.
//
// The first owner runs the key's read-modify-writes and blind writes, so each
// node is the first of its part of the partitions that it owns, 1 in n of them,
// rounded down or up; whoever is first stays so as long as that holds. The
// others follow in the partition's own order of all nodes, so that what a dead
// node was first of falls to many.
func inOrder(rows [][]NodeID) [][]NodeID {
	o := newOrdering(rows)
	o.shift(func(at int32) bool { return o.firsts(at) > o.most(at) }, func(at int32) bool { return o.firsts(at) < o.most(at) })
	o.shift(func(at int32) bool { return o.firsts(at) > o.least(at) }, func(at int32) bool { return o.firsts(at) < o.least(at) })

	ordered := make([][]NodeID, len(rows))
	for p := range rows {
		ordered[p] = o.row(Partition(p), rows[p])
	}
	return ordered
}

// An ordering chooses the first owners. Nodes are numbers.
type ordering struct {
	ids    []NodeID
	hashes []uint64
	shares []int64 // by node: what it should be first of, wholePartition each
	first  [][]int32
	rows   [][]int32 // by partition
}

func newOrdering(rows [][]NodeID) *ordering {
	o := &ordering{rows: make([][]int32, len(rows))}
	number := map[NodeID]int32{}
	for p, owners := range rows {
		row := make([]int32, len(owners))
		for i, id := range owners {
			at, known := number[id]
			if !known {
				at = int32(len(o.ids))
				number[id] = at
				o.ids = append(o.ids, id)
				o.hashes = append(o.hashes, hashOf(id))
				o.shares = append(o.shares, 0)
				o.first = append(o.first, nil)
			}
			row[i] = at
			o.shares[at] += wholePartition / int64(len(owners))
		}
		o.rows[p] = row
		if len(row) > 0 {
			o.first[row[0]] = append(o.first[row[0]], int32(p))
		}
	}
	return o
}

func (o *ordering) firsts(at int32) int { return len(o.first[at]) }
func (o *ordering) least(at int32) int  { return int(o.shares[at] / wholePartition) }
func (o *ordering) most(at int32) int {
	return int((o.shares[at] + wholePartition - 1) / wholePartition)
}

// shift makes others first, along shortest chains from a node that gives to one
// that takes, until there is no such pair. As in assignment.chains, there is a
// chain for as long as a node is first of too many or too few.
func (o *ordering) shift(gives, takes func(at int32) bool) {
	for {
		chain := o.findChain(gives, takes)
		if chain == nil {
			return
		}
		for _, hop := range chain {
			at := slices.Index(o.first[hop.from], hop.p)
			o.first[hop.from] = slices.Delete(o.first[hop.from], at, at+1)
			o.first[hop.to] = append(o.first[hop.to], hop.p)
			row := o.rows[hop.p]
			other := slices.Index(row, hop.to)
			row[0], row[other] = row[other], row[0]
		}
	}
}

func (o *ordering) findChain(gives, takes func(at int32) bool) []hop {
	s := newSearch(len(o.ids))
	for at := range o.ids {
		if gives(int32(at)) {
			s.start(int32(at))
		}
	}
	for from, more := s.next(); more; from, more = s.next() {
		for _, p := range o.first[from] {
			for _, to := range o.rows[p][1:] {
				if s.seen[to] {
					continue
				}
				s.reach(hop{from, to, p})
				if takes(to) {
					return s.chain(to)
				}
			}
		}
	}
	return nil
}

// row returns the owners of p in order: the same slice, if it is in order.
func (o *ordering) row(p Partition, owners []NodeID) []NodeID {
	row := o.rows[p]
	if len(row) > 1 {
		slices.SortFunc(row[1:], func(a, b int32) int { return o.compare(p, a, b) })
	}
	ordered := make([]NodeID, len(row))
	for i, at := range row {
		ordered[i] = o.ids[at]
	}
	if slices.Equal(ordered, owners) {
		return owners
	}
	return ordered
}

func (o *ordering) compare(p Partition, a, b int32) int {
	if x, y := rank(o.hashes[a], p), rank(o.hashes[b], p); x != y {
		if x < y {
			return -1
		}
		return 1
	}
	return compareIDs(o.ids[a], o.ids[b])
}
