package ring

import (
	"fmt"
	"strings"
	"testing"

	"github.com/cespare/xxhash/v2"
)

// goldenMember has weight and zone by its number.
func goldenMember(n, zones, weights int) Member {
	m := Member{ID: NodeID{byte(n >> 8), byte(n), 19: 1}, Weight: 1 + n%weights, State: Active}
	if zones > 0 {
		m.Zone = fmt.Sprintf("zone-%d", n*n%zones)
	}
	return m
}

func hashOfRows(rows [][]NodeID) string {
	digest := xxhash.New()
	for _, row := range rows {
		for _, id := range row {
			_, _ = digest.Write(id[:])
		}
		_, _ = digest.Write([]byte{0})
	}
	return fmt.Sprintf("%016x", digest.Sum64())
}

// All nodes of a cluster, whatever they are built for, must place alike. A
// change of this file means that clusters of mixed versions plan differently:
// whose plan is agreed on counts, so that is allowed, but nobody should do it
// unawares.
func TestPlacementsHaveTheirGoldenForm(t *testing.T) {
	var names, forms []string
	add := func(name, form string) { names, forms = append(names, name), append(forms, form) }
	for _, c := range []struct{ nodes, zones, weights, partitions, replicas int }{
		{1, 0, 1, 1024, 3},
		{3, 0, 1, 1024, 3},
		{10, 0, 1, 1024, 3},
		{10, 3, 1, 1024, 3},
		{10, 2, 10, 1024, 3},
		{40, 5, 7, 4096, 5},
		{200, 8, 10, 16384, 2},
	} {
		var members []Member
		for n := range c.nodes {
			members = append(members, goldenMember(n, c.zones, c.weights))
		}
		fresh := Place(members, c.partitions, c.replicas, nil)
		joined := Place(append(members, goldenMember(c.nodes, c.zones, c.weights)), c.partitions, c.replicas, fresh)
		left := Place(members[:max(1, c.nodes-1)], c.partitions, c.replicas, fresh)
		name := fmt.Sprintf("nodes-%d-zones-%d-weights-%d-partitions-%d-replicas-%d", c.nodes, c.zones, c.weights, c.partitions, c.replicas)
		add(name, fmt.Sprintf("fresh %s joined %s left %s", hashOfRows(fresh), hashOfRows(joined), hashOfRows(left)))
	}

	// One in full: five nodes, the second of twice the weight, in two zones.
	var members []Member
	for n := range 5 {
		members = append(members, goldenMember(n, 2, 2))
	}
	for p, row := range Place(members, 16, 3, nil) {
		var owners []string
		for _, id := range row {
			owners = append(owners, fmt.Sprintf("%s/%d", members[id[1]].Zone, id[1]))
		}
		add(fmt.Sprintf("partition-%d", p), strings.Join(owners, " "))
	}
	goldenLines(t, "placements.golden", names, forms)
}

func TestStatesAndIDsAreTheirText(t *testing.T) {
	for _, state := range []State{Joining, Active, Leaving, Removed} {
		var read State
		if text, err := state.MarshalText(); err != nil || read.UnmarshalText(text) != nil || read != state {
			t.Errorf("%v is read as %v", state, read)
		}
	}
	id, read := ClusterID{1, 15: 0xab}, ClusterID{}
	if text, err := id.MarshalText(); err != nil || string(text) != "010000000000000000000000000000ab" || read.UnmarshalText(text) != nil || read != id {
		t.Errorf("%v is read as %v", id, read)
	}
	if new(State).UnmarshalText([]byte("gone")) == nil || read.UnmarshalText([]byte("01")) == nil || State(9).String() != "State(9)" {
		t.Error("what is neither is read")
	}
}
