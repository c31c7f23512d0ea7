package ring

import "slices"

// A fallback is a member that may be one of some partition, and where it stands in
// the partition's own order of all nodes.
type fallback struct {
	rank   uint64
	member int
}

func (f fallback) before(other fallback) bool {
	return f.rank < other.rank || f.rank == other.rank && f.member < other.member
}

// preferenceOf computes a preference list. It is computed of all partitions whenever
// the ring changes, so it does not sort the members: of each zone it keeps those
// that come first, as many as one list can need, and deals them out.
func (r *Ring) preferenceOf(p Partition) []NodeID {
	owners := r.Owners(p)
	zones := r.firstFallbacks(p, owners)
	inZone := make([]int, len(zones))
	for _, owner := range owners {
		inZone[r.zones[r.index[owner]]]++
	}
	list := make([]NodeID, len(owners), len(owners)+FallbacksMax)
	copy(list, owners)
	for len(list) < cap(list) {
		best := -1
		for z, of := range zones {
			if len(of) == 0 {
				continue
			}
			if best < 0 || inZone[z] < inZone[best] || inZone[z] == inZone[best] && of[0].before(zones[best][0]) {
				best = z
			}
		}
		if best < 0 {
			break
		}
		list = append(list, r.document.Members[zones[best][0].member].ID)
		zones[best] = zones[best][1:]
		inZone[best]++
	}
	return list
}

// firstFallbacks returns, of each zone, the first FallbacksMax active members that
// do not own the partition.
func (r *Ring) firstFallbacks(p Partition, owners []NodeID) [][]fallback {
	zones := make([][]fallback, len(r.zoneSizes))
	kept := 0
	for _, size := range r.zoneSizes {
		kept += min(size, FallbacksMax)
	}
	room := make([]fallback, kept)
	for z, size := range r.zoneSizes {
		size = min(size, FallbacksMax)
		zones[z], room = room[:0:size], room[size:]
	}
	for i := range r.document.Members {
		m := &r.document.Members[i]
		if m.State != Active {
			continue
		}
		z := r.zones[i]
		f := fallback{rank(r.hashes[i], p), i}
		full := len(zones[z]) == cap(zones[z])
		if full && !f.before(zones[z][len(zones[z])-1]) || slices.Contains(owners, m.ID) {
			continue
		}
		if !full {
			zones[z] = append(zones[z], fallback{})
		}
		at := len(zones[z]) - 1
		for ; at > 0 && f.before(zones[z][at-1]); at-- {
			zones[z][at] = zones[z][at-1]
		}
		zones[z][at] = f
	}
	return zones
}
