package ring

import (
	"math"
	"slices"
	"testing"

	"pgregory.net/rapid"
)

// cheaper returns how many partitions fewer than to get to rows would have to
// move from before for another placement by the same rule.
func cheaper(members []Member, partitions, replicas int, before, rows [][]NodeID) (saved int) {
	a := assignmentOf(members, partitions, replicas, before, rows)
	for {
		more := a.improve()
		if more == 0 {
			return saved
		}
		saved += more
	}
}

func assignmentOf(members []Member, partitions, replicas int, before, rows [][]NodeID) *assignment {
	members = slices.Clone(members)
	slices.SortFunc(members, func(a, b Member) int { return compareIDs(a.ID, b.ID) })
	return newAssignment(members, partitions, replicas, before, rows)
}

// On rings that are so small that one per cent is nothing, nobody could move less: the least is computed in another way, as
// a flow from each partition over its zones to the nodes.
func TestPlaceMovesNoMoreThanItMust(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		next := joiners(t)
		members := drawMembers(t, rapid.IntRange(1, 9), next)
		partitions, replicas := rapid.SampledFrom([]int{4, 8, 16}).Draw(t, "partitions"), anyReplicas.Draw(t, "replicas")
		rows := Place(members, partitions, replicas, nil)
		for range rapid.IntRange(1, 8).Draw(t, "changes") {
			if i := rapid.IntRange(0, len(members)-1).Draw(t, "which"); len(members) > 1 && rapid.Bool().Draw(t, "one leaves") {
				members = slices.Delete(members, i, i+1)
			} else {
				members = append(members, next())
			}
			before := rows
			rows = Place(members, partitions, replicas, before)
			if got, least := moved(before, rows), leastMoves(members, partitions, replicas, before); got != least {
				t.Fatalf("%d partitions move where %d would do", got, least)
			}
		}
	})
}

// leastMoves finds the cheapest flow by cheapest paths, one unit at a time. What must flow at least is worth more than
// all else.
func leastMoves(members []Member, partitions, replicas int, before [][]NodeID) int {
	a := assignmentOf(members, partitions, replicas, before, nil)
	const must = 1 << 20
	source, sink := 0, 1
	node := func(i int) int { return 2 + i }
	partition := func(p int) int { return 2 + len(a.nodes) + p }
	inZone := func(p, z int) int { return 2 + len(a.nodes) + partitions + p*len(a.zones) + z }
	f := flow{next: make([][]int, inZone(partitions, 0))}
	for p := range partitions {
		f.add(source, partition(p), a.copies, 0)
		for z := range a.zones {
			f.add(partition(p), inZone(p, z), a.zones[z].least, -must)
			f.add(partition(p), inZone(p, z), a.zones[z].most-a.zones[z].least, 0)
			for _, at := range a.zones[z].nodes {
				cost := 1
				if a.atHome(p, at) {
					cost = 0
				}
				f.add(inZone(p, z), node(int(at)), 1, cost)
			}
		}
	}
	owed := 0
	for i := range a.nodes {
		f.add(node(i), sink, a.nodes[i].least, -must)
		f.add(node(i), sink, a.nodes[i].most-a.nodes[i].least, 0)
		owed += a.nodes[i].least
	}
	for z := range a.zones {
		owed += a.zones[z].least * partitions
	}
	return f.cheapest(source, sink) + owed*must
}

// A flow is a network with what flows in it; edge i^1 is the way back of edge i.
type flow struct {
	edges []flowEdge
	next  [][]int // the edges from a point
}

type flowEdge struct{ to, room, cost int }

func (f *flow) add(from, to, room, cost int) {
	f.next[from] = append(f.next[from], len(f.edges))
	f.next[to] = append(f.next[to], len(f.edges)+1)
	f.edges = append(f.edges, flowEdge{to, room, cost}, flowEdge{from, 0, -cost})
}

// cheapest sends as much as can flow, and returns its cost.
func (f *flow) cheapest(source, sink int) (cost int) {
	for {
		distance, via := make([]int, len(f.next)), make([]int, len(f.next))
		for i := range distance {
			distance[i] = math.MaxInt / 2
		}
		distance[source] = 0
		for queue := []int{source}; len(queue) > 0; queue = queue[1:] {
			at := queue[0]
			for _, i := range f.next[at] {
				if e := f.edges[i]; e.room > 0 && distance[at]+e.cost < distance[e.to] {
					distance[e.to], via[e.to] = distance[at]+e.cost, i
					queue = append(queue, e.to)
				}
			}
		}
		if distance[sink] == math.MaxInt/2 {
			return cost
		}
		cost += distance[sink]
		for at := sink; at != source; at = f.edges[via[at]^1].to {
			f.edges[via[at]].room--
			f.edges[via[at]^1].room++
		}
	}
}
