package ring

import (
	"cmp"
	"encoding/binary"
	"slices"

	"github.com/cespare/xxhash/v2"
)

// Place says which nodes should own each partition, in the order of its
// preference list, moving as little as it can from current, which may be nil.
// Members that are leaving or removed get nothing. share.go has the rule of how many
// partitions each gets and how they spread over zones, order.go that of the
// order. It is a function of its arguments alone, on all platforms.
//
// The rows it returns may share memory with current.
func Place(members []Member, partitions, replicas int, current [][]NodeID) [][]NodeID {
	members = slices.Clone(members)
	slices.SortFunc(members, func(a, b Member) int { return compareIDs(a.ID, b.ID) })
	return inOrder(assign(members, partitions, replicas, current, current))
}

// assign says which nodes should own each partition, in no particular order,
// for sorted members. Owners have their partitions already; next are the rows
// that the moves under way lead to, from which it starts.
//
//  1. Every row is brought to n owners, spread over the zones (trim, fill).
//  2. The rows keep to that from then on, and partitions move from nodes that
//     have too many to nodes that have too few: directly (sweep), and where the
//     zones or what the two have in common forbid that, by a chain of moves over
//     other nodes (chain), which exists as long as any node is not even.
//  3. If more move so than the shares ask for and one per cent, cycles of moves that
//     change no node's number save what can be saved (save).
func assign(members []Member, partitions, replicas int, owners, next [][]NodeID) [][]NodeID {
	a := newAssignment(members, partitions, replicas, owners, next)
	a.begin()
	for _, p := range a.order {
		a.trim(p)
	}
	a.begin()
	for _, p := range a.order {
		a.fill(p)
	}
	a.balance()
	a.save()
	return a.result(next)
}

type node struct {
	id     NodeID
	hash   uint64
	zone   int32
	weight int64

	share       int64 // partitions, with shareBits of fraction
	least, most int   // the share rounded down and up
	held        int   // partitions, in the rows as they are

	// Who misses 10 partitions and who misses 100 take turns, 1 to 10, or the
	// rows that the second fills last would be all alike.
	start int   // held when this began
	need  int64 // missing when this began
	turn  int64 // the part of need that is done, at a random point of the step under way
}

func (n *node) missing() int64 { return n.share - int64(n.held)<<shareBits }

func (n *node) begin() {
	n.start, n.need = n.held, n.missing()
	n.add(0)
}

func (n *node) add(partitions int) {
	n.held += partitions
	done := int64(max(n.held-n.start, n.start-n.held))
	jitter := int64(rank(n.hash, Partition(n.held)) >> (64 - shareBits))
	n.turn = (done<<shareBits + jitter) << shareBits / max(n.need, -n.need, 1)
}

const late = 1 << 60 // is after all turns

// takes returns when it is the node's turn to get a partition, gives when to
// lose one: the lower the sooner.
func (n *node) takes() int64 {
	if n.need > 0 {
		return n.turn
	}
	return late - n.missing()
}

func (n *node) gives() int64 {
	if n.need < 0 {
		return n.turn
	}
	return late + n.missing()
}

// An assignment is rows under construction. Nodes and zones are numbers.
type assignment struct {
	nodes  []node
	zones  []zone
	copies int       // owners of each partition, when done
	least  int       // of them, those that certain zones must get
	rows   [][]int32 // by partition
	homes  [][]int32 // by partition: the nodes that have its objects
	order  []int     // of the partitions
	looks  int       // at edges of the network, by save
}

func newAssignment(members []Member, partitions, replicas int, owners, next [][]NodeID) *assignment {
	a := &assignment{}
	number := make(map[NodeID]int32, len(members))
	zoneNumber := map[string]int32{}
	for i := range members {
		m := &members[i]
		if !m.State.stays() {
			continue
		}
		z, known := zoneNumber[m.Zone]
		if !known {
			z = int32(len(a.zones))
			zoneNumber[m.Zone] = z
			a.zones = append(a.zones, zone{})
		}
		at := int32(len(a.nodes))
		number[m.ID] = at
		a.nodes = append(a.nodes, node{id: m.ID, hash: hashOf(m.ID), zone: z, weight: int64(m.weight())})
		a.zones[z].nodes = append(a.zones[z].nodes, at)
	}
	a.copies = min(replicas, len(a.nodes))
	limitZones(a.zones, a.copies)
	setShares(a.nodes, a.zones, a.copies, partitions)
	for _, z := range a.zones {
		a.least += z.least
	}

	a.homes = numbered(owners, partitions, number)
	a.rows = numbered(next, partitions, number)
	a.order = shuffled(partitions, a.nodes)
	for _, row := range a.rows {
		for _, at := range row {
			a.nodes[at].held++
		}
	}
	return a
}

// numbered leaves out the nodes that have no number.
func numbered(rows [][]NodeID, partitions int, number map[NodeID]int32) [][]int32 {
	byNumber := make([][]int32, partitions)
	for p := range min(partitions, len(rows)) {
		row := make([]int32, 0, len(rows[p]))
		for _, id := range rows[p] {
			if at, known := number[id]; known && !slices.Contains(row, at) {
				row = append(row, at)
			}
		}
		byNumber[p] = row
	}
	return byNumber
}

// shuffled returns all partitions in an order that is another for other nodes:
// if each change began with the same partitions, the nodes that own one together
// would become few, and later changes could not be made by moving little.
func shuffled(partitions int, nodes []node) []int {
	var seed uint64
	for i := range nodes {
		seed += rank(nodes[i].hash, Partition(nodes[i].weight))
	}
	ranks := make([]uint64, partitions)
	order := make([]int, partitions)
	for p := range order {
		ranks[p], order[p] = rank(seed, Partition(p)), p
	}
	slices.SortFunc(order, func(p, q int) int { return cmp.Or(cmp.Compare(ranks[p], ranks[q]), p-q) })
	return order
}

func (a *assignment) begin() {
	for i := range a.nodes {
		a.nodes[i].begin()
	}
}

// inZone counts the owners of p in a zone.
func (a *assignment) inZone(p int, z int32) (count int) {
	for _, at := range a.rows[p] {
		if a.nodes[at].zone == z {
			count++
		}
	}
	return count
}

// owed returns how many owners p must still get for its zones to have their
// least.
func (a *assignment) owed(p int) int {
	owed := a.least
	for i, at := range a.rows[p] {
		z := a.nodes[at].zone
		before := 0
		for _, earlier := range a.rows[p][:i] {
			if a.nodes[earlier].zone == z {
				before++
			}
		}
		if before < a.zones[z].least {
			owed--
		}
	}
	return owed
}

// trim drops owners of p until the others can be kept.
func (a *assignment) trim(p int) {
	for {
		over := len(a.rows[p])+a.owed(p) > a.copies
		drop := -1
		for i, at := range a.rows[p] {
			z := &a.zones[a.nodes[at].zone]
			count := a.inZone(p, a.nodes[at].zone)
			if count <= z.most && (!over || count <= z.least) {
				continue
			}
			if drop < 0 || a.spares(p, at, a.rows[p][drop]) {
				drop = i
			}
		}
		if drop < 0 {
			return
		}
		a.nodes[a.rows[p][drop]].add(-1)
		a.rows[p] = slices.Delete(a.rows[p], drop, drop+1)
	}
}

// spares says whether p is rather taken from one node than from another: from
// one that does not have its objects, else from the one with more to give.
func (a *assignment) spares(p int, one, other int32) bool {
	if home := a.atHome(p, one); home != a.atHome(p, other) {
		return !home
	}
	return a.nodes[one].gives() < a.nodes[other].gives()
}

// fill adds owners to p until it has all: first nodes that have its objects,
// then those that miss most of their share.
func (a *assignment) fill(p int) {
	for len(a.rows[p]) < a.copies {
		owed := a.copies-len(a.rows[p]) == a.owed(p)
		best := int32(-1)
		for _, at := range a.homes[p] {
			n := &a.nodes[at]
			if n.held < n.most && a.admits(p, n.zone, owed) {
				best = a.needier(p, at, best)
			}
		}
		if best < 0 {
			best = a.neediest(p, owed)
		}
		a.nodes[best].add(1)
		a.rows[p] = append(a.rows[p], best)
	}
}

func (a *assignment) neediest(p int, owed bool) (best int32) {
	best = -1
	for z := range a.zones {
		if !a.admits(p, int32(z), owed) {
			continue
		}
		for _, at := range a.zones[z].nodes {
			best = a.needier(p, at, best)
		}
	}
	return best
}

// admits says whether p may get one more owner in a zone: where some is owed,
// only in a zone that it is owed to.
func (a *assignment) admits(p int, z int32, owed bool) bool {
	if owed {
		return a.inZone(p, z) < a.zones[z].least
	}
	return a.inZone(p, z) < a.zones[z].most
}

// needier returns which of two nodes should rather get p: best, or at if best is
// none.
func (a *assignment) needier(p int, at, best int32) int32 {
	if best >= 0 && a.nodes[at].takes() >= a.nodes[best].takes() || slices.Contains(a.rows[p], at) {
		return best
	}
	return at
}

func (a *assignment) atHome(p int, at int32) bool { return slices.Contains(a.homes[p], at) }

// result returns the rows, those of current where they are the same.
func (a *assignment) result(current [][]NodeID) [][]NodeID {
	rows := make([][]NodeID, len(a.rows))
	for p, byNumber := range a.rows {
		row := make([]NodeID, len(byNumber))
		for i, at := range byNumber {
			row[i] = a.nodes[at].id
		}
		if p < len(current) && slices.Equal(row, current[p]) {
			row = current[p]
		}
		rows[p] = row
	}
	return rows
}

func hashOf(id NodeID) uint64 { return xxhash.Sum64(id[:]) }

// rank gives each partition an order of all nodes of its own (rendezvous
// hashing): what is dealt out by it spreads evenly, and stays where it is when
// other nodes come and go.
func rank(hash uint64, p Partition) uint64 {
	var b [12]byte
	binary.BigEndian.PutUint64(b[:], hash)
	binary.BigEndian.PutUint32(b[8:], uint32(p))
	return xxhash.Sum64(b[:])
}
