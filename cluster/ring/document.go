package ring

import (
	"bytes"
	"encoding/hex"
	"errors"
	"fmt"
	"slices"
)

// The bounds of a document, which Validate checks.
const (
	MembersMax  = 4096
	ReplicasMax = 16
	WeightMax   = 1000

	textBytesMax = 255
	epochMax     = 1 << 48 // so that no peer can make an epoch overflow
)

// A ClusterID names a cluster: 128 random bits, written as 32 hex digits.
type ClusterID [16]byte

func (id ClusterID) String() string { return hex.EncodeToString(id[:]) }

// MarshalText writes the 32 hex digits.
func (id ClusterID) MarshalText() ([]byte, error) { return []byte(id.String()), nil }

// UnmarshalText reads 32 hex digits.
func (id *ClusterID) UnmarshalText(text []byte) error {
	b, err := hex.DecodeString(string(text))
	if err != nil || len(b) != len(id) {
		return fmt.Errorf("cluster id %q is not 32 hex digits", text)
	}
	copy(id[:], b)
	return nil
}

// A State says whether a member stays.
type State uint8

const (
	Joining State = iota + 1 // there are moves to it still, its first
	Active
	Leaving // is to own nothing; goes, when all that it has is with others, by itself
	Removed // was given up: is to own nothing, and is gone when it does
)

// stays says that a member in that state is to own something.
func (s State) stays() bool { return s == Joining || s == Active }

func (s State) String() string {
	switch s {
	case Joining:
		return "joining"
	case Active:
		return "active"
	case Leaving:
		return "leaving"
	case Removed:
		return "removed"
	}
	return fmt.Sprintf("State(%d)", uint8(s))
}

// MarshalText writes the state in a word.
func (s State) MarshalText() ([]byte, error) { return []byte(s.String()), nil }

// UnmarshalText reads that word.
func (s *State) UnmarshalText(text []byte) error {
	for _, state := range []State{Joining, Active, Leaving, Removed} {
		if state.String() == string(text) {
			*s = state
			return nil
		}
	}
	return fmt.Errorf("%q is not the state of a member", text)
}

// A Member is a node of the cluster.
type Member struct {
	ID      NodeID
	Peer    string // host:port that peers dial
	Client  string // host:port announced to clients, or ""
	Cluster string // host:port announced to cluster-aware clients, or ""
	Zone    string // members without one share the zone ""
	Weight  int    // 1 to WeightMax; 0 means 1
	State   State
}

func (m *Member) weight() int { return max(m.Weight, 1) }

// A Move is a change of one partition's owners under way: To receives all
// writes and, once it is filled, takes From's place. Without From, To becomes
// one owner more; without To, From goes and nobody takes its place, because
// there are no N nodes.
type Move struct {
	Partition Partition
	From, To  NodeID
}

func (m Move) compare(other Move) int {
	if m.Partition != other.Partition {
		return int(m.Partition) - int(other.Partition)
	}
	if c := compareIDs(m.From, other.From); c != 0 {
		return c
	}
	return compareIDs(m.To, other.To)
}

// A Document is all that the nodes of a cluster agree on: who its members are,
// who owns which partition, and what is moving. A change makes a new document
// of the next epoch; documents share memory, and none is ever written to.
type Document struct {
	Cluster    ClusterID
	Epoch      uint64
	Partitions int        // Q
	Replicas   int        // N
	Members    []Member   // by rising ID
	Owners     [][]NodeID // of each partition, in the order of its preference list
	Moves      []Move     // by rising partition, From and To
}

var (
	// ErrUnchanged: the document is already as the change would make it.
	ErrUnchanged = errors.New("the ring is already so")
	// ErrUnknownMember: no member has that id.
	ErrUnknownMember = errors.New("not a member of the ring")
	// ErrHolds: a member that owns something, or does not leave, cannot depart.
	ErrHolds = errors.New("it does not leave, or owns something still")
	// ErrLastMember: without that member nobody would own anything.
	ErrLastMember = errors.New("the last member cannot go")
)

// NewDocument returns the first document of a cluster: its first member owns
// everything.
func NewDocument(cluster ClusterID, first Member, partitions, replicas int) (*Document, error) {
	if !partitionsValid(partitions) {
		return nil, ErrPartitions
	}
	first.State, first.Weight = Active, first.weight()
	d := &Document{
		Cluster:    cluster,
		Epoch:      1,
		Partitions: partitions,
		Replicas:   replicas,
		Members:    []Member{first},
		Owners:     make([][]NodeID, partitions),
	}
	alone := []NodeID{first.ID}
	for p := range d.Owners {
		d.Owners[p] = alone
	}
	if err := d.Validate(); err != nil {
		return nil, err
	}
	return d, nil
}

// Member returns the member of that id.
func (d *Document) Member(id NodeID) (Member, bool) {
	at, found := d.search(id)
	if !found {
		return Member{}, false
	}
	return d.Members[at], true
}

func (d *Document) search(id NodeID) (at int, found bool) {
	return slices.BinarySearchFunc(d.Members, id, func(m Member, id NodeID) int { return compareIDs(m.ID, id) })
}

// next returns d's successor, which its maker may change: its members and moves
// are its own, its rows of owners still d's.
func (d *Document) next() *Document {
	successor := *d
	successor.Epoch++
	successor.Members = slices.Clone(d.Members)
	successor.Owners = slices.Clone(d.Owners)
	successor.Moves = slices.Clone(d.Moves)
	return &successor
}

// movesOf calls visit with each partition and the moves of it.
func (d *Document) movesOf(visit func(p Partition, moves []Move)) {
	moves := d.Moves
	for p := range Partition(d.Partitions) {
		n := 0
		for n < len(moves) && moves[n].Partition == p {
			n++
		}
		visit(p, moves[:n:n])
		moves = moves[n:]
	}
}

// after returns the owners once the moves of their partition are done: the same
// slice where there are none.
func after(owners []NodeID, moves []Move) []NodeID {
	if len(moves) == 0 {
		return owners
	}
	row := slices.Clone(owners)
	for _, m := range moves {
		row = m.apply(row)
	}
	return row
}

// apply carries the move out on a row of owners.
func (m Move) apply(row []NodeID) []NodeID {
	if m.From.none() {
		return append(row, m.To)
	}
	at := slices.Index(row, m.From)
	if m.To.none() {
		return slices.Delete(row, at, at+1)
	}
	row[at] = m.To
	return row
}

func compareIDs(a, b NodeID) int { return bytes.Compare(a[:], b[:]) }

// none says that the id is zero, which names no node.
func (id NodeID) none() bool { return id == NodeID{} }
