package ring

import "sync/atomic"

// FallbacksMax is how many fallbacks a preference list has at most.
const FallbacksMax = 16

// A Ring is the table partition -> owners, with an epoch, made of a document for
// looking up. It is immutable and safe for concurrent use; the caller must not
// change what it returns.
type Ring struct {
	document   *Document
	incoming   [][]Move   // by partition; nil without any moves
	next       [][]NodeID // by partition
	index      map[NodeID]int
	zones      []int // by member: its zone's number
	zoneSizes  []int // by zone: its members
	hashes     []uint64
	preference []atomic.Pointer[[]NodeID] // by partition; nil until asked for
}

// One returns the ring, of epoch 1, in which one node owns all partitions.
func One(node NodeID, partitions int) (*Ring, error) {
	d, err := NewDocument(ClusterID{}, Member{ID: node}, partitions, 1)
	if err != nil {
		return nil, err
	}
	return d.Ring(), nil
}

// Ring builds the table of a document, which must not change any more.
func (d *Document) Ring() *Ring {
	r := &Ring{
		document:   d,
		next:       d.Owners,
		index:      make(map[NodeID]int, len(d.Members)),
		zones:      make([]int, len(d.Members)),
		hashes:     make([]uint64, len(d.Members)),
		preference: make([]atomic.Pointer[[]NodeID], d.Partitions),
	}
	zoneNumber := map[string]int{}
	for i, m := range d.Members {
		if _, known := zoneNumber[m.Zone]; !known {
			zoneNumber[m.Zone] = len(zoneNumber)
			r.zoneSizes = append(r.zoneSizes, 0)
		}
		r.zoneSizes[zoneNumber[m.Zone]]++
		r.index[m.ID], r.zones[i], r.hashes[i] = i, zoneNumber[m.Zone], hashOf(m.ID)
	}
	if len(d.Moves) > 0 {
		r.incoming = make([][]Move, d.Partitions)
		r.next = make([][]NodeID, d.Partitions)
		d.movesOf(func(p Partition, moves []Move) {
			if len(moves) > 0 {
				r.incoming[p] = moves
			}
			r.next[p] = after(d.Owners[p], moves)
		})
	}
	return r
}

// Document returns what the ring was made of.
func (r *Ring) Document() *Document { return r.document }

// Epoch returns the ring's epoch; a newer ring has a higher one.
func (r *Ring) Epoch() uint64 { return r.document.Epoch }

// Partitions returns Q, the number of partitions.
func (r *Ring) Partitions() int { return r.document.Partitions }

// PartitionOf returns the partition that s lies in.
func (r *Ring) PartitionOf(s Slot) Partition { return PartitionOf(s, r.document.Partitions) }

// Members returns all members, by rising ID.
func (r *Ring) Members() []Member { return r.document.Members }

// Member returns the member of that id.
func (r *Ring) Member(id NodeID) (Member, bool) {
	at, known := r.index[id]
	if !known {
		return Member{}, false
	}
	return r.document.Members[at], true
}

// Owners returns the owners of p, the head of its preference list.
func (r *Ring) Owners(p Partition) []NodeID { return r.document.Owners[p] }

// Incoming returns the moves of p that are under way, usually none.
func (r *Ring) Incoming(p Partition) []Move {
	if r.incoming == nil {
		return nil
	}
	return r.incoming[p]
}

// Next returns who will own p when its moves are committed: its owners, if there
// are none. It may be in another order then.
func (r *Ring) Next(p Partition) []NodeID { return r.next[p] }

// Preference returns the preference list of p: its owners, then other active
// members as fallbacks, at most FallbacksMax. Fallbacks are in the partition's
// own order of all nodes, so that those of a dead node's partitions are many;
// but at each step one in a zone that the list has fewest of comes first.
func (r *Ring) Preference(p Partition) []NodeID {
	if list := r.preference[p].Load(); list != nil {
		return *list
	}
	list := r.preferenceOf(p)
	r.preference[p].Store(&list)
	return list
}
