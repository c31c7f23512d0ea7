package ring

import "slices"

// cheaper returns how many partitions fewer than to get to rows would have to
// move from before for another placement by the same rule: it improves rows
// until no cycle of moves that saves anything is left in the network that
// balance.go describes (Klein's algorithm, with Bellman and Ford's).
func cheaper(members []Member, partitions, replicas int, before, rows [][]NodeID) (saved int) {
	members = slices.Clone(members)
	slices.SortFunc(members, func(a, b Member) int { return compareIDs(a.ID, b.ID) })
	a := newAssignment(members, partitions, replicas, before, rows)
	for {
		cycle := a.savingCycle()
		if cycle == nil {
			return saved
		}
		for _, m := range cycle {
			saved -= m.cost
			if m.p >= 0 && m.from != m.to {
				a.move(m.p, int32(m.from), int32(m.to))
			}
		}
	}
}

type costedMove struct{ from, to, p, cost int }

const impossible = 1 << 30

// savingCycle returns moves that save something, each possible with the others.
// One more node stands for the freedom of shares to be rounded up or down.
func (a *assignment) savingCycle() []costedMove {
	edges := a.cheapestMoves()
	n := len(edges)
	distance, via := make([]int, n), make([]int, n)
	last := -1
	for range n + 1 {
		last = -1
		for i := range edges {
			for j, e := range edges[i] {
				if e.cost != impossible && distance[i]+e.cost < distance[j] {
					distance[j], via[j], last = distance[i]+e.cost, i, j
				}
			}
		}
		if last < 0 {
			return nil
		}
	}
	for range n {
		last = via[last]
	}
	cycle := []costedMove{edges[via[last]][last]}
	for at := via[last]; at != last; at = via[at] {
		cycle = append(cycle, edges[via[at]][at])
	}
	slices.Reverse(cycle)
	return a.split(cycle)
}

func (a *assignment) cheapestMoves() [][]costedMove {
	n := len(a.nodes)
	edges := make([][]costedMove, n+1)
	for i := range edges {
		edges[i] = make([]costedMove, n+1)
		for j := range edges[i] {
			edges[i][j].cost = impossible
		}
	}
	for p, row := range a.rows {
		for _, from := range row {
			for to := range n {
				if c := a.cost(p, int(from), to); c < edges[from][to].cost && a.mayMove(p, from, int32(to)) {
					edges[from][to] = costedMove{int(from), to, p, c}
				}
			}
		}
	}
	for i := range a.nodes {
		if a.nodes[i].held < a.nodes[i].most {
			edges[i][n] = costedMove{i, n, -1, 0}
		}
		if a.nodes[i].held > a.nodes[i].least {
			edges[n][i] = costedMove{n, i, -1, 0}
		}
	}
	return edges
}

func (a *assignment) cost(p, from, to int) (c int) {
	if a.atHome(p, int32(from)) {
		c++
	}
	if a.atHome(p, int32(to)) {
		c--
	}
	return c
}

// split makes two cycles of one that moves a partition twice, and keeps one that
// saves, until there is no such partition.
func (a *assignment) split(cycle []costedMove) []costedMove {
	for x := range cycle {
		for y := x + 1; y < len(cycle); y++ {
			p := cycle[x].p
			if p < 0 || cycle[y].p != p {
				continue
			}
			outer := slices.Concat(cycle[:x], []costedMove{{cycle[x].from, cycle[y].to, p, a.cost(p, cycle[x].from, cycle[y].to)}}, cycle[y+1:])
			inner := append(slices.Clone(cycle[x+1:y]), costedMove{cycle[y].from, cycle[x].to, p, a.cost(p, cycle[y].from, cycle[x].to)})
			total := 0
			for _, m := range outer {
				total += m.cost
			}
			if total < 0 {
				return a.split(outer)
			}
			return a.split(inner)
		}
	}
	return cycle
}
