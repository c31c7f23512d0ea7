package ring

// A Progress shows how far the moves under way have come, as the members say that
// can be asked. Its text is JSON.
type Progress struct {
	Epoch     uint64         `json:"epoch"`
	Left      int            `json:"partitions_left"`
	Done      int            `json:"partitions_done"`
	LeftSize  Size           `json:"left"`
	Bytes     int64          `json:"bytes_moved"`
	Rate      int64          `json:"bytes_per_second"`
	LeftMS    int64          `json:"left_ms"` // how long it will take; -1: nobody knows
	Transfers []Transferring `json:"transfers"`
	Leaving   []Departing    `json:"leaving"`
	Silent    []NodeID       `json:"silent"` // members that have not answered
}

// A Transferring is all moves under way from one node to another.
type Transferring struct {
	From       NodeID `json:"from"`
	To         NodeID `json:"to"`
	Partitions int    `json:"partitions"`
	Waits      NodeID `json:"waits_for"` // one of the two, which is down; else none
	Size
}

// A Departing is what a member that leaves has yet to hand over.
type Departing struct {
	Node       NodeID `json:"node"`
	Owned      int    `json:"owned"`      // partitions that have yet to move
	Partitions int    `json:"partitions"` // that have moved, and that others must have before they are dropped
	Hints      int64  `json:"hints"`
}
