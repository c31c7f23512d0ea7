package ring

import (
	"slices"
	"sync"
	"testing"

	gocmp "github.com/google/go-cmp/cmp"
	"pgregory.net/rapid"
)

func TestRingSaysWhatItsDocumentDoes(t *testing.T) {
	d := goldenDocuments()[1].document
	r := d.Ring()
	a, b, c := d.Members[0].ID, d.Members[1].ID, d.Members[2].ID
	want := []struct {
		owners, next []NodeID
		incoming     []Move
	}{
		{[]NodeID{a, c}, []NodeID{a, b}, d.Moves[0:1]},
		{[]NodeID{c, a}, []NodeID{c, a}, nil},
		{[]NodeID{c}, []NodeID{c, b}, d.Moves[1:2]},
		{[]NodeID{a, c}, []NodeID{a}, d.Moves[2:3]},
	}
	for p, w := range want {
		p := Partition(p)
		if !slices.Equal(r.Owners(p), w.owners) || !slices.Equal(r.Next(p), w.next) || !slices.Equal(r.Incoming(p), w.incoming) {
			t.Errorf("partition %d: owners %v, next %v, incoming %v", p, r.Owners(p), r.Next(p), r.Incoming(p))
		}
	}
	if m, known := r.Member(b); !known || m != d.Members[1] {
		t.Errorf("Member: %v, %v", m, known)
	}
	if _, known := r.Member(NodeID{9}); known {
		t.Error("a stranger is a member")
	}
	if r.Document() != d || r.Epoch() != 300 || r.Partitions() != 4 || r.PartitionOf(Slots-1) != 3 || len(r.Members()) != 3 {
		t.Error("the ring is not its document's")
	}
	shares := []Share{{a, 2, 3, 3}, {b, 0, 0, 2}, {c, 2, 4, 2}}
	if diff := gocmp.Diff(shares, d.Shares()); diff != "" {
		t.Errorf("shares: %s", diff)
	}
	transfers := []Transfer{{NodeID{}, b, 1}, {c, NodeID{}, 1}, {c, b, 1}}
	if diff := gocmp.Diff(transfers, d.Moving()); diff != "" {
		t.Errorf("transfers: %s", diff)
	}
}

func TestRingOfOneOwnsEverything(t *testing.T) {
	r, err := One(NodeID{7}, 16)
	if err != nil {
		t.Fatal(err)
	}
	for p := range Partition(16) {
		for _, list := range [][]NodeID{r.Owners(p), r.Next(p), r.Preference(p)} {
			if !slices.Equal(list, []NodeID{{7}}) || r.Incoming(p) != nil {
				t.Fatalf("partition %d: %v", p, list)
			}
		}
	}
}

func TestPreferenceListSpreadsOverZones(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		next := joiners(t)
		members := drawMembers(t, rapid.IntRange(1, 40), next)
		slices.SortFunc(members, func(a, b Member) int { return compareIDs(a.ID, b.ID) })
		d := &Document{Epoch: 1, Partitions: 16, Replicas: 3, Members: members}
		d.Owners = Place(members, 16, 3, nil)
		for i := range members {
			members[i].State = rapid.SampledFrom([]State{Active, Active, Active, Joining, Leaving, Removed}).Draw(t, "state")
		}
		r := d.Ring()
		for p := range Partition(16) {
			checkPreference(t, r, p)
		}
	})
}

func checkPreference(t *rapid.T, r *Ring, p Partition) {
	list, owners := r.Preference(p), r.Owners(p)
	if !slices.Equal(list[:len(owners)], owners) {
		t.Fatalf("the preference list %v does not begin with the owners %v", list, owners)
	}
	left := map[string]int{} // fallbacks that there are, by zone
	for _, m := range r.Members() {
		if m.State == Active && !slices.Contains(owners, m.ID) {
			left[m.Zone]++
		}
	}
	total := 0
	for _, n := range left {
		total += n
	}
	if want := len(owners) + min(total, FallbacksMax); len(list) != want {
		t.Fatalf("a preference list of %d, want %d", len(list), want)
	}
	used := map[string]int{}
	for i, id := range list {
		m, _ := r.Member(id)
		if slices.Contains(list[:i], id) {
			t.Fatalf("%s is in the list twice", id)
		}
		if i >= len(owners) {
			if m.State != Active {
				t.Fatalf("a fallback is %v", m.State)
			}
			for zone, n := range left {
				if n > 0 && used[zone] < used[m.Zone] {
					t.Fatalf("fallback %d is in %q, used %d times, before %q, used %d times", i, m.Zone, used[m.Zone], zone, used[zone])
				}
			}
			left[m.Zone]--
		}
		used[m.Zone]++
	}
}

// When a node dies, its partitions fall to all others alike.
func TestFirstFallbacksAreMany(t *testing.T) {
	r := grown(t, 12, 0, 1024, 3).Ring()
	dead := r.Members()[5].ID
	partitions, first := 0, map[NodeID]int{}
	for p := range Partition(1024) {
		if owners := r.Owners(p); slices.Contains(owners, dead) {
			partitions++
			first[r.Preference(p)[len(owners)]]++
		}
	}
	if len(first) != 11 {
		t.Errorf("the dead node's partitions fall to %d nodes, not 11", len(first))
	}
	for id, n := range first {
		if n > 2*partitions/11 {
			t.Errorf("%d of %d partitions fall to %s", n, partitions, id)
		}
	}
}

func TestPreferenceListsAreTheSameForAllWhoAsk(t *testing.T) {
	d := grown(t, 30, 3, 64, 3)
	r, other := d.Ring(), d.Ring()
	var readers sync.WaitGroup
	for range 4 {
		readers.Go(func() {
			for p := range Partition(64) {
				if !slices.Equal(r.Preference(p), other.Preference(p)) {
					t.Errorf("partition %d: two preference lists", p)
				}
			}
		})
	}
	readers.Wait()
}
