package ring

// A Topology is one node's view of the whole cluster at one moment: the ring and
// who is up. It is immutable; another moment's is another Topology.
type Topology struct {
	Cluster  string // its id, in hex
	Epoch    uint64
	Replicas int // N
	Self     int // index of the node whose view it is; -1: it is a member no more
	Nodes    []NodeView
	Ranges   []SlotRange // tile 0..16383 in order
	Moving   int         // partition moves under way
}

// A NodeView is a member as one node sees it.
type NodeView struct {
	ID        NodeID
	Peer      string // host:port that peers connect to
	Client    string // host:port of the ordinary port
	Cluster   string // host:port of the cluster port, "" where there is none
	Zone      string
	Weight    int
	State     State
	Up        bool
	Owned     int   // partitions that it owns
	Primary   int   // those of them that it is the first owner of
	Hints     int64 // that it holds for others, as it last said
	HintBytes int64
	HintsFor  int64 // that the node whose view it is holds for it
}

// A SlotRange is a run of slots with the same owners.
type SlotRange struct {
	First, Last Slot  // both included
	Owners      []int // indexes of Nodes: the first live one, then the others in the order of the preference list
}
