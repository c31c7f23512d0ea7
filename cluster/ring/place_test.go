package ring

import (
	"fmt"
	"math"
	"math/rand/v2"
	"reflect"
	"slices"
	"testing"

	gocmp "github.com/google/go-cmp/cmp"
	"pgregory.net/rapid"
)

// testMember has an id that looks random, as real ones do.
func testMember(n, zone, weight int) Member {
	m := Member{Weight: weight, State: Active}
	random := rand.New(rand.NewPCG(uint64(n), 1))
	for i := range m.ID {
		m.ID[i] = byte(random.Uint32())
	}
	if zone > 0 {
		m.Zone = fmt.Sprintf("zone-%d", zone)
	}
	return m
}

// A wish is what share.go's rule comes to, computed in another way: by
// bisection, in floating point.
type wish struct {
	copies      int
	least, most map[string]int // by zone
	share       map[NodeID]float64
}

func wishFor(members []Member, partitions, replicas int) wish {
	w := wish{least: map[string]int{}, most: map[string]int{}, share: map[NodeID]float64{}}
	zones := map[string][]Member{}
	for _, m := range members {
		if m.State.stays() {
			zones[m.Zone] = append(zones[m.Zone], m)
			w.copies++
		}
	}
	w.copies = min(w.copies, replicas)
	for left := w.copies; left > 0; {
		var reached []string
		for z := range zones {
			if w.least[z] < len(zones[z]) {
				reached = append(reached, z)
			}
		}
		for _, z := range reached {
			w.most[z] = w.least[z] + 1
			if left >= len(reached) {
				w.least[z]++
			}
		}
		left = max(0, left-len(reached))
	}

	q := float64(partitions)
	atLevel := func(zone []Member, level float64) (sum float64) {
		for _, m := range zone {
			sum += min(q, level*float64(m.weight()))
		}
		return sum
	}
	bisect := func(target float64, held func(level float64) float64) float64 {
		low, high := 0.0, q
		for range 100 {
			if middle := (low + high) / 2; held(middle) < target {
				low = middle
			} else {
				high = middle
			}
		}
		return high
	}
	clamped := func(z string, level float64) float64 {
		return min(max(atLevel(zones[z], level), float64(w.least[z])*q), float64(w.most[z])*q)
	}
	names := make([]string, 0, len(zones))
	for z := range zones {
		names = append(names, z)
	}
	slices.Sort(names)
	common := bisect(float64(w.copies)*q, func(level float64) (sum float64) {
		for _, z := range names {
			sum += clamped(z, level)
		}
		return sum
	})
	for _, z := range names {
		level := bisect(clamped(z, common), func(level float64) float64 { return atLevel(zones[z], level) })
		for _, m := range zones[z] {
			w.share[m.ID] = min(q, level*float64(m.weight()))
		}
	}
	return w
}

func count(rows [][]NodeID) map[NodeID]int {
	held := map[NodeID]int{}
	for _, row := range rows {
		for _, id := range row {
			held[id]++
		}
	}
	return held
}

// moved counts the replicas that are in rows and were not before.
func moved(before, rows [][]NodeID) (n int) {
	for p, row := range rows {
		for _, id := range row {
			if before != nil && !slices.Contains(before[p], id) {
				n++
			}
		}
	}
	return n
}

type fataler interface {
	Helper()
	Fatalf(format string, args ...any)
}

// checkPlacement checks all that holds of any placement.
func checkPlacement(t fataler, members []Member, partitions, replicas int, rows [][]NodeID) {
	t.Helper()
	w := wishFor(members, partitions, replicas)
	zoneOf := map[NodeID]string{}
	for _, m := range members {
		zoneOf[m.ID] = m.Zone
	}
	for p, row := range rows {
		if len(row) != w.copies {
			t.Fatalf("partition %d has %d owners, want %d", p, len(row), w.copies)
		}
		zones := map[string]int{}
		for i, id := range row {
			if slices.Contains(row[:i], id) {
				t.Fatalf("partition %d is twice on %s", p, id)
			}
			zones[zoneOf[id]]++
		}
		for z := range w.most {
			if zones[z] < w.least[z] || zones[z] > w.most[z] {
				t.Fatalf("partition %d has %d owners in %s, want %d to %d", p, zones[z], z, w.least[z], w.most[z])
			}
		}
		if spread := min(w.copies, len(w.most)); len(zones) != spread {
			t.Fatalf("partition %d is in %d zones, want %d", p, len(zones), spread)
		}
	}
	held := count(rows)
	for _, m := range members {
		if off := math.Abs(float64(held[m.ID]) - w.share[m.ID]); off > 1 {
			t.Fatalf("%s of weight %d holds %d, its share is %f", m.ID, m.Weight, held[m.ID], w.share[m.ID])
		}
	}
	for id := range held {
		if _, wanted := w.share[id]; !wanted {
			t.Fatalf("%s owns something and is no member, or leaving", id)
		}
	}
	checkFirsts(t, rows)
}

// checkFirsts checks that each node is first of its part of what it owns.
func checkFirsts(t fataler, rows [][]NodeID) {
	t.Helper()
	share, firsts := map[NodeID]float64{}, map[NodeID]int{}
	for _, row := range rows {
		firsts[row[0]]++
		for _, id := range row {
			share[id] += 1 / float64(len(row))
		}
	}
	for id := range share {
		if math.Abs(float64(firsts[id])-share[id]) > 1 {
			t.Fatalf("%s is first of %d partitions, its part is %f", id, firsts[id], share[id])
		}
	}
}

// drawMembers draws members of a cluster, each with an id of its own.
func drawMembers(t *rapid.T, sizes *rapid.Generator[int], next func() Member) (members []Member) {
	for range sizes.Draw(t, "members") {
		members = append(members, next())
	}
	return members
}

// joiners draws the members to come, of few or many zones, light or heavy.
func joiners(t *rapid.T) (next func() Member) {
	seed := rapid.IntRange(0, 1<<30).Draw(t, "seed of ids") * 1000
	zones := rapid.IntRange(0, 8).Draw(t, "zones")
	weights := rapid.SampledFrom([]int{1, 2, 10}).Draw(t, "greatest weight")
	return func() Member {
		seed++
		zone := 0
		if zones > 0 {
			zone = rapid.IntRange(1, zones).Draw(t, "zone")
		}
		return testMember(seed, zone, rapid.IntRange(1, weights).Draw(t, "weight"))
	}
}

var (
	anyPartitions = rapid.SampledFrom([]int{1, 2, 64, 256, 1024, 4096})
	anyReplicas   = rapid.IntRange(1, 5)
	manyNodes     = rapid.Custom(func(t *rapid.T) int {
		return rapid.IntRange(1, rapid.SampledFrom([]int{5, 20, 200}).Draw(t, "most")).Draw(t, "nodes")
	})
)

func TestPlacementIsEvenAndSpreadOverZones(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		next := joiners(t)
		members := drawMembers(t, manyNodes, next)
		partitions, replicas := anyPartitions.Draw(t, "partitions"), anyReplicas.Draw(t, "replicas")
		rows := Place(members, partitions, replicas, nil)
		checkPlacement(t, members, partitions, replicas, rows)
		for range rapid.IntRange(0, 6).Draw(t, "changes") {
			switch i := rapid.IntRange(0, len(members)-1).Draw(t, "which"); rapid.IntRange(0, 3).Draw(t, "change") {
			case 0:
				members = append(members, next())
			case 1:
				if len(members) > 1 {
					members = slices.Delete(members, i, i+1)
				}
			case 2:
				id := members[i].ID
				members[i] = next()
				members[i].ID = id
			case 3: // a current placement that none of ours would be
				for p := range rows {
					if rapid.Bool().Draw(t, "spoilt") {
						rows[p] = []NodeID{members[i].ID, {1}, members[i].ID}
					}
				}
			}
			rows = Place(members, partitions, replicas, rows)
			checkPlacement(t, members, partitions, replicas, rows)
		}
	})
}

// A join moves no more than the joiner's share and one per cent. Which nodes own
// partitions together can make that impossible, but only with more zones than
// owners, or few partitions a node; then it moves at most one per cent more than any
// placement by the same rule would have to. Or with several zones and a node so heavy
// that it owns all partitions; then it moves no more than any would have to.
func TestJoinMovesItsShareAndOnePerCent(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		next := joiners(t)
		members := drawMembers(t, manyNodes, next)
		partitions, replicas := rapid.SampledFrom([]int{256, 1024, 4096}).Draw(t, "partitions"), anyReplicas.Draw(t, "replicas")
		rows := Place(members, partitions, replicas, nil)
		for range rapid.IntRange(1, 8).Draw(t, "changes") {
			if i := rapid.IntRange(0, len(members)-1).Draw(t, "which"); len(members) > 1 && rapid.IntRange(0, 2).Draw(t, "change") == 0 {
				members = slices.Delete(members, i, i+1)
				rows = Place(members, partitions, replicas, rows)
				continue
			}
			joiner := next()
			members = append(members, joiner)
			before := rows
			rows = Place(members, partitions, replicas, before)
			checkJoin(t, members, joiner.ID, partitions, replicas, before, rows)
		}
	})
}

// How rare the exception is: of these joins, made as in the test above but from
// seeds that stay the same, not 1 in 500.
func TestJoinRarelyMovesMore(t *testing.T) {
	joins, beyond := 0, 0
	for seed := range uint64(200) {
		random := rand.New(rand.NewPCG(seed, 0))
		partitions, replicas, zones := 256<<random.IntN(4), 1+random.IntN(5), random.IntN(9)
		weights := 1 + random.IntN(10)
		var members []Member
		for range 1 + random.IntN(1+random.IntN(60)) {
			members = append(members, testMember(random.IntN(1<<40), random.IntN(zones+1), 1+random.IntN(weights)))
		}
		rows := Place(members, partitions, replicas, nil)
		for range 12 {
			if i := random.IntN(len(members)); len(members) > 1 && random.IntN(2) == 0 {
				members = slices.Delete(members, i, i+1)
				rows = Place(members, partitions, replicas, rows)
				continue
			}
			joiner := testMember(random.IntN(1<<40), random.IntN(zones+1), 1+random.IntN(weights))
			members = append(members, joiner)
			before := rows
			rows = Place(members, partitions, replicas, before)
			joins++
			if extra := moved(before, rows) - count(rows)[joiner.ID]; extra > partitions*replicas/100 {
				beyond++
				t.Logf("seed %d: %d nodes, %d replicas: %d of %d more than the joiner's share", seed, len(members), replicas, extra, partitions*replicas)
			}
		}
	}
	if joins < 1000 || beyond*500 > joins {
		t.Errorf("%d of %d joins moved more than the share and one per cent", beyond, joins)
	}
}

func checkJoin(t fataler, members []Member, joiner NodeID, partitions, replicas int, before, rows [][]NodeID) {
	t.Helper()
	onePerCent := partitions * replicas / 100
	extra := moved(before, rows) - count(rows)[joiner]
	if extra <= onePerCent {
		return
	}
	saved := cheaper(members, partitions, replicas, before, rows)
	zones, nodes := len(wishFor(members, partitions, replicas).most), len(members)
	excused := zones > replicas || partitions*replicas/nodes < 32
	heavy := zones > 1 && (hasAll(before, partitions) || hasAll(rows, partitions))
	if saved > onePerCent || !excused && (!heavy || saved > 0) {
		t.Fatalf("a join moved %d partitions more than the joiner's %d, one per cent is %d; %d would be saved by another placement",
			extra, count(rows)[joiner], onePerCent, saved)
	}
}

// hasAll says whether a node owns all partitions.
func hasAll(rows [][]NodeID, partitions int) bool {
	for _, held := range count(rows) {
		if held == partitions {
			return true
		}
	}
	return false
}

// Three nodes own all partitions, and leave two places that three zones share. The
// first joiner comes to own nearly all partitions that are not in zone 1 beside
// theirs, without any other moves; just these the second, in zone 1, could get
// without other moves, but it must take from all.
func TestAJoinThatMustMoveMore(t *testing.T) {
	var members []Member
	for i, m := range []struct{ zone, weight int }{{1, 1}, {1, 1}, {1, 1}, {2, 1}, {2, 1}, {3, 1}, {1, 4}, {2, 4}, {3, 4}} {
		members = append(members, testMember(i, m.zone, m.weight))
	}
	rows := Place(members, 256, 5, nil)
	for i, join := range []struct{ zone, extra int }{{2, 0}, {1, 17}} {
		joiner := testMember(100+i, join.zone, 1)
		members = append(members, joiner)
		before := rows
		rows = Place(members, 256, 5, before)
		checkJoin(t, members, joiner.ID, 256, 5, before, rows)
		if extra := moved(before, rows) - count(rows)[joiner.ID]; extra != join.extra {
			t.Errorf("the joiner in zone %d moved %d more than its share, not %d", join.zone, extra, join.extra)
		}
	}
}

// With equal weights and no zones, what a chain of operators does first: nodes
// join one by one.
func TestGrowingMovesNothingBetweenTheOldNodes(t *testing.T) {
	var members []Member
	var rows [][]NodeID
	for n := range 40 {
		members = append(members, testMember(n, 0, 1))
		before := rows
		rows = Place(members, 1024, 3, before)
		checkPlacement(t, members, 1024, 3, rows)
		if extra := moved(before, rows) - count(rows)[members[n].ID]; before != nil && extra != 0 {
			t.Errorf("when node %d joined, %d partitions moved between others", n, extra)
		}
	}
	// What a node owns it owns together with all others, not with a few.
	together := map[NodeID]int{}
	for _, row := range rows {
		if slices.Contains(row, members[0].ID) {
			for _, id := range row {
				together[id]++
			}
		}
	}
	if len(together) < 36 {
		t.Errorf("a node of 40 shares its partitions with only %d", len(together)-1)
	}
}

// From the odd places that an operator, or another version, may have left few
// nodes and partitions in. The seeds stay the same: some of these placements
// need chains of moves, of either kind, and few others do.
func TestPlacementIsEvenFromAnywhere(t *testing.T) {
	for seed := range uint64(4000) {
		random := rand.New(rand.NewPCG(seed, 3))
		partitions, replicas, zones := 1<<random.IntN(5), 1+random.IntN(4), random.IntN(5)
		var members []Member
		for i := range 2 + random.IntN(6) {
			members = append(members, testMember(i, random.IntN(zones+1), 1+random.IntN(5)))
		}
		rows := make([][]NodeID, partitions)
		for p := range rows {
			for range random.IntN(replicas + 2) {
				rows[p] = append(rows[p], members[min(random.IntN(len(members)), random.IntN(len(members)))].ID)
			}
		}
		checkPlacement(t, members, partitions, replicas, Place(members, partitions, replicas, rows))
	}
}

func TestPlacementIsAFunctionOfItsArguments(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		next := joiners(t)
		members := drawMembers(t, rapid.IntRange(1, 30), next)
		rows := Place(members, 256, 3, nil)
		joined := append(slices.Clone(members), next())
		want := Place(joined, 256, 3, rows)
		shuffled := rapid.Permutation(joined).Draw(t, "order of members")
		if got := Place(shuffled, 256, 3, rows); !reflect.DeepEqual(got, want) {
			t.Fatalf("other order of members, other placement: %s", gocmp.Diff(want, got))
		}
		if got := Place(joined, 256, 3, want); !reflect.DeepEqual(got, want) {
			t.Fatalf("a placement that is as it should be is changed: %s", gocmp.Diff(want, got))
		}
	})
}

func TestShareFollowsTheRule(t *testing.T) {
	const q = 1024
	type node struct{ zone, weight int }
	for name, c := range map[string]struct {
		replicas int
		nodes    []node
		want     []float64 // of q
	}{
		"by weight":                      {1, []node{{0, 1}, {0, 3}}, []float64{0.25, 0.75}},
		"weight 0 is 1":                  {1, []node{{0, 0}, {0, 1}}, []float64{0.5, 0.5}},
		"at most all":                    {2, []node{{0, 1}, {0, 1}, {0, 10}}, []float64{0.5, 0.5, 1}},
		"fewer nodes than N":             {3, []node{{0, 1}, {0, 7}}, []float64{1, 1}},
		"zones as many as N":             {2, []node{{1, 1}, {2, 1}, {2, 3}}, []float64{1, 0.25, 0.75}},
		"a light zone beside two":        {2, []node{{1, 1}, {2, 2}, {3, 2}}, []float64{0.4, 0.8, 0.8}},
		"a heavy zone of more than N":    {2, []node{{1, 10}, {1, 10}, {2, 1}, {3, 1}}, []float64{0.5, 0.5, 0.5, 0.5}},
		"two zones, N=3, light one":      {3, []node{{1, 1}, {1, 1}, {2, 10}, {2, 10}}, []float64{0.5, 0.5, 1, 1}},
		"two zones, N=3, alike":          {3, []node{{1, 1}, {1, 1}, {2, 1}, {2, 1}}, []float64{0.75, 0.75, 0.75, 0.75}},
		"a zone with too few nodes":      {3, []node{{1, 9}, {2, 1}, {2, 1}, {2, 2}}, []float64{1, 0.5, 0.5, 1}},
		"no zone is a zone among others": {2, []node{{0, 1}, {0, 1}, {1, 1}}, []float64{0.5, 0.5, 1}},
	} {
		t.Run(name, func(t *testing.T) {
			var members []Member
			for i, n := range c.nodes {
				members = append(members, testMember(i, n.zone, n.weight))
			}
			held := count(Place(members, q, c.replicas, nil))
			for i, m := range members {
				if off := math.Abs(float64(held[m.ID]) - c.want[i]*q); off >= 1 {
					t.Errorf("node %d holds %d, want %.1f", i, held[m.ID], c.want[i]*q)
				}
			}
		})
	}
}

func TestNobodyIsPlacedWhereAllLeave(t *testing.T) {
	leaving := testMember(1, 0, 1)
	leaving.State = Leaving
	for _, members := range [][]Member{nil, {leaving}} {
		rows := Place(members, 4, 3, [][]NodeID{{leaving.ID}, {leaving.ID}, {leaving.ID}, {leaving.ID}})
		for p, row := range rows {
			if len(row) != 0 {
				t.Errorf("partition %d is placed on %v", p, row)
			}
		}
	}
}

// limits of the weights and of the number of members at once: no overflow.
func TestPlacementOfTheGreatestCluster(t *testing.T) {
	var members []Member
	for i := range MembersMax {
		members = append(members, testMember(i, i%7, 1+(i*i)%WeightMax))
	}
	checkPlacement(t, members, Slots, 5, Place(members, Slots, 5, nil))
}
