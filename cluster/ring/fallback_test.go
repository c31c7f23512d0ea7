package ring

import (
	"cmp"
	"slices"
	"testing"

	"pgregory.net/rapid"
)

// preferenceBySorting is the rule of Preference, as plainly as it can be said.
func preferenceBySorting(r *Ring, p Partition) []NodeID {
	list := slices.Clone(r.Owners(p))
	inZone := map[string]int{}
	for _, owner := range list {
		m, _ := r.Member(owner)
		inZone[m.Zone]++
	}
	others := slices.DeleteFunc(slices.Clone(r.Members()), func(m Member) bool {
		return m.State != Active || slices.Contains(list, m.ID)
	})
	for owners := len(list); len(others) > 0 && len(list) < owners+FallbacksMax; {
		slices.SortFunc(others, func(a, b Member) int {
			return cmp.Or(inZone[a.Zone]-inZone[b.Zone], cmp.Compare(rank(hashOf(a.ID), p), rank(hashOf(b.ID), p)), compareIDs(a.ID, b.ID))
		})
		list = append(list, others[0].ID)
		inZone[others[0].Zone]++
		others = others[1:]
	}
	return list
}

// More members of one zone than a list has room for, and fewer.
func TestFallbacksAreTheFirstOfAllMembers(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		n, zones := rapid.IntRange(1, 80).Draw(t, "members"), rapid.SampledFrom([]int{1, 2, 3, 80}).Draw(t, "zones")
		d := &Document{Epoch: 1, Partitions: 16, Replicas: 3}
		for i := range n {
			d.Members = append(d.Members, testMember(i, rapid.IntRange(1, zones).Draw(t, "zone"), 1))
		}
		slices.SortFunc(d.Members, func(a, b Member) int { return compareIDs(a.ID, b.ID) })
		d.Owners = Place(d.Members, d.Partitions, d.Replicas, nil)
		for range n / 4 {
			d.Members[rapid.IntRange(0, n-1).Draw(t, "leaves")].State = Leaving
		}
		r := d.Ring()
		for p := range Partition(d.Partitions) {
			if want, got := preferenceBySorting(r, p), r.Preference(p); !slices.Equal(got, want) {
				t.Fatalf("partition %d: %v, not %v", p, got, want)
			}
		}
	})
}
