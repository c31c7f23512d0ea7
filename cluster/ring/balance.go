package ring

import "slices"

// balance moves partitions until every node holds its share, rounded down or
// up. A node above that gives, rather to one below it than to one between; what
// is then still below takes from those between.
func (a *assignment) balance() {
	over := func(n *node) bool { return n.held > n.most }
	under := func(n *node) bool { return n.held < n.least }
	hasRoom := func(n *node) bool { return n.held < n.most }
	canGive := func(n *node) bool { return n.held > n.least }

	for _, s := range []struct{ gives, takes func(*node) bool }{{over, under}, {canGive, under}, {over, hasRoom}} {
		a.sweep(s.gives, s.takes, true)
		a.sweep(s.gives, s.takes, false)
	}
	a.chains(over, hasRoom)
	a.chains(canGive, under)
}

// mayMove says whether p can go from one of its owners to another node and keep
// to the limits of the zones.
func (a *assignment) mayMove(p int, from, to int32) bool {
	if slices.Contains(a.rows[p], to) {
		return false
	}
	return a.nodes[from].zone == a.nodes[to].zone || a.mayLeave(p, a.nodes[from].zone) && a.admits(p, a.nodes[to].zone, false)
}

// mayLeave says whether a zone can lose one of the owners of p.
func (a *assignment) mayLeave(p int, z int32) bool { return a.inZone(p, z) > a.zones[z].least }

func (a *assignment) move(p int, from, to int32) {
	a.rows[p][slices.Index(a.rows[p], from)] = to
	a.nodes[from].add(-1)
	a.nodes[to].add(1)
}

// sweep goes over all partitions and moves them from nodes that give to nodes
// that take; with free, only where no more objects have to travel than before.
func (a *assignment) sweep(gives, takes func(*node) bool, free bool) {
	var takers []int32
	for i := range a.nodes {
		if takes(&a.nodes[i]) {
			takers = append(takers, int32(i))
		}
	}
	a.begin()
	for _, p := range a.order {
		for len(takers) > 0 {
			from, to := a.bestMove(p, gives, takers, free)
			if to < 0 {
				break
			}
			a.move(p, from, to)
			if !takes(&a.nodes[to]) {
				takers = slices.DeleteFunc(takers, func(at int32) bool { return at == to })
			}
		}
	}
}

// bestMove returns the move of p from the owner with most to give to the taker
// that misses most; to is negative where there is none.
func (a *assignment) bestMove(p int, gives func(*node) bool, takers []int32, free bool) (from, to int32) {
	from, to = -1, -1
	for _, giver := range a.rows[p] {
		if !gives(&a.nodes[giver]) || from >= 0 && a.nodes[giver].gives() >= a.nodes[from].gives() {
			continue
		}
		best := int32(-1)
		for _, taker := range takers {
			if free && a.atHome(p, giver) && !a.atHome(p, taker) {
				continue
			}
			if a.mayMove(p, giver, taker) {
				best = a.needier(p, taker, best)
			}
		}
		if best >= 0 {
			from, to = giver, best
		}
	}
	return from, to
}

// chains moves partitions along chains of nodes, from one that gives to one that
// takes, until there is no such pair left.
//
// The rows are a flow in a network: from each partition, over its zones, whose
// edges carry between their least and their most, to nodes, whose edges carry
// one. The shares divided by Q are a flow through the same network, and whole
// limits make whole flows, so there is one in which every node holds its share
// rounded down or up, and an augmenting path toward it from every node that
// holds another number (Ford and Fulkerson). Such a path is a chain of moves each of which is
// possible by itself; a shortest one stays possible as a whole, since two of its
// moves that were in each other's way could be made one.
func (a *assignment) chains(gives, takes func(*node) bool) {
	if !slices.ContainsFunc(a.nodes, func(n node) bool { return gives(&n) }) ||
		!slices.ContainsFunc(a.nodes, func(n node) bool { return takes(&n) }) {
		return
	}
	held := make([][]int32, len(a.nodes))
	for p, row := range a.rows {
		for _, at := range row {
			held[at] = append(held[at], int32(p))
		}
	}
	for {
		chain := a.findChain(held, gives, takes)
		if chain == nil {
			return
		}
		for _, hop := range chain {
			a.move(int(hop.p), hop.from, hop.to)
			at := slices.Index(held[hop.from], hop.p)
			held[hop.from] = slices.Delete(held[hop.from], at, at+1)
			held[hop.to] = append(held[hop.to], hop.p)
		}
	}
}

// findChain searches breadth first for a shortest chain.
func (a *assignment) findChain(held [][]int32, gives, takes func(*node) bool) []hop {
	s := newSearch(len(a.nodes))
	unseen := make([][]int32, len(a.zones)) // of each zone, its nodes
	for i := range a.nodes {
		if gives(&a.nodes[i]) {
			s.start(int32(i))
		} else {
			unseen[a.nodes[i].zone] = append(unseen[a.nodes[i].zone], int32(i))
		}
	}
	for from, more := s.next(); more; from, more = s.next() {
		for _, p := range held[from] {
			own := a.nodes[from].zone
			leaves := a.mayLeave(int(p), own)
			for z := range unseen {
				if len(unseen[z]) == 0 || int32(z) != own && !(leaves && a.admits(int(p), int32(z), false)) {
					continue
				}
				kept := unseen[z][:0]
				for _, to := range unseen[z] {
					if slices.Contains(a.rows[p], to) {
						kept = append(kept, to)
						continue
					}
					s.reach(hop{from, to, p})
					if takes(&a.nodes[to]) {
						return s.chain(to)
					}
				}
				unseen[z] = kept
			}
		}
	}
	return nil
}
