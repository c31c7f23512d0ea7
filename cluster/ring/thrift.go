package ring

import "slices"

// What bounds the work of save: how many edges of the network it looks at, which takes some nanoseconds each, and of how many
// nodes the network may be.
const (
	savingMax      = 1 << 30
	savingNodesMax = 1024
)

// save has fewer partitions travel, where it is more than one per cent of all above what the shares ask for: the moves that
// balance made may each be needed, and others have done with fewer. It improves the rows until it is so, or until no
// cycle of moves that saves anything is left in the network that chains describes (Klein's algorithm,
// with Bellman and Ford's).
func (a *assignment) save() {
	allowed := len(a.rows) * a.copies / 100
	for len(a.nodes) <= savingNodesMax && a.looks < savingMax && a.extra() > allowed {
		if a.improve() == 0 {
			return
		}
	}
}

// extra returns how many partitions travel beyond those without which no node could get its share.
func (a *assignment) extra() (extra int) {
	homes := make([]int, len(a.nodes))
	for p, row := range a.rows {
		for _, at := range a.homes[p] {
			homes[at]++
		}
		for _, at := range row {
			if !a.atHome(p, at) {
				extra++
			}
		}
	}
	for i := range a.nodes {
		extra -= max(0, a.nodes[i].least-homes[i])
	}
	return extra
}

// improve makes a cycle of moves, if there is one, that saves something, and returns how much that is.
func (a *assignment) improve() (saved int) {
	for _, m := range a.savingCycle() {
		saved -= m.cost
		if m.p >= 0 && m.from != m.to {
			a.move(m.p, int32(m.from), int32(m.to))
		}
	}
	return saved
}

type costedMove struct{ from, to, p, cost int }

const impossible = 1 << 30

// savingCycle returns moves that save something, each possible with the others.
// One more node stands for the freedom of shares to be rounded up or down.
func (a *assignment) savingCycle() []costedMove {
	edges := a.cheapestMoves()
	n := len(edges)
	distance, via := make([]int, n), slices.Repeat([]int{-1}, n)
	last := -1
	for range n + 1 {
		a.looks += n * n
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
		at := last
		for range n {
			if at >= 0 {
				at = via[at]
			}
		}
		if at >= 0 { // on a cycle
			last = at
			break
		}
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
	a.looks += len(a.rows) * a.copies * n
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

// split makes two cycles of one with two moves of a partition that meet, and keeps one that
// saves, until there are none: both may not be possible together.
func (a *assignment) split(cycle []costedMove) []costedMove {
	for x := range cycle {
		for y := x + 1; y < len(cycle); y++ {
			p := cycle[x].p
			if p < 0 || cycle[y].p != p || !a.meet(cycle[x], cycle[y]) {
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

// meet says whether two moves of a partition have a point of the network in common: the partition, if both are from one zone
// to another, or its place in one of their zones.
func (a *assignment) meet(one, other costedMove) bool {
	zone := func(at int) int32 { return a.nodes[at].zone }
	from, to, otherFrom, otherTo := zone(one.from), zone(one.to), zone(other.from), zone(other.to)
	return from != to && otherFrom != otherTo || from == otherFrom || from == otherTo || to == otherFrom || to == otherTo
}
