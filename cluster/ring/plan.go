package ring

import (
	"cmp"
	"slices"
)

// A Transfer is all moves under way from one node to another.
type Transfer struct {
	From, To   NodeID // as in Move
	Partitions int
}

// Moving sums up the moves under way, by rising From and To.
func (d *Document) Moving() []Transfer {
	type ends struct{ from, to NodeID }
	count := map[ends]int{}
	for _, m := range d.Moves {
		count[ends{m.From, m.To}]++
	}
	var transfers []Transfer
	for e, n := range count {
		transfers = append(transfers, Transfer{e.from, e.to, n})
	}
	slices.SortFunc(transfers, func(a, b Transfer) int {
		return cmp.Or(compareIDs(a.From, b.From), compareIDs(a.To, b.To))
	})
	return transfers
}

// A Share is how many partitions a member owns.
type Share struct {
	Node    NodeID
	Primary int // is the first owner of
	Total   int // is an owner of
	Next    int // will be an owner of, when all moves are committed
}

// Shares returns the share of each member, in their order.
func (d *Document) Shares() []Share {
	shares := make([]Share, len(d.Members))
	index := make(map[NodeID]int, len(d.Members))
	for i, m := range d.Members {
		shares[i].Node, index[m.ID] = m.ID, i
	}
	for _, owners := range d.Owners {
		shares[index[owners[0]]].Primary++
		for _, owner := range owners {
			shares[index[owner]].Total++
			shares[index[owner]].Next++
		}
	}
	for _, m := range d.Moves {
		if !m.From.none() {
			shares[index[m.From]].Next--
		}
		if !m.To.none() {
			shares[index[m.To]].Next++
		}
	}
	return shares
}
