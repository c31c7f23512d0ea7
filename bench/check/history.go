// Package check judges recorded histories of operations by what Cartwheel promises of them: pure
// functions from a history to the violations in it. It runs nothing, and knows nothing of
// Cartwheel's insides but the documented form of a context.
//
// The promises, by the number that design.md gives them in its section 2:
//
//   - SetAdd: an acknowledged write, or one that covers it, survives (1)
//   - Siblings: the final siblings are exactly those that the recorded dots and contexts imply (3)
//   - Strict: strict reads see what was acknowledged before, and never go back (5); the values of a
//     key with one writer are those of one register
//   - Copies: as many owners hold a write as it was acknowledged by, before anything repairs (1); and a
//     majority what a strict read has shown (5)
//   - Sessions: replicas converge to the newest write (6), and what is deleted or expired stays so (4)
//   - Counters, Locks: read-modify-writes are atomic while all nodes are well
//
// An operation whose outcome is unknown may or may not have happened: a checker reports only what is
// wrong in both worlds.
package check

import "time"

// Outcome is what a client knows of an operation when it has ended.
type Outcome string

// The outcomes.
const (
	Acknowledged Outcome = "acknowledged"
	Refused      Outcome = "refused" // by an error that says that nothing was applied, or never sent
	Unknown      Outcome = "unknown" // no answer, or TIMEOUT: it may have been applied, or still be
)

// Command is what an operation does.
type Command string

// The commands of the histories. Their values are unique within a key, but for those of INCR.
const (
	VGet   Command = "VGET"
	VSet   Command = "VSET"
	VDel   Command = "VDEL"
	Get    Command = "GET"
	Set    Command = "SET"
	Del    Command = "DEL"
	Expire Command = "EXPIRE"
	Incr   Command = "INCR"
	SetNX  Command = "SETNX"

	VExplain Command = "VEXPLAIN"
)

// Operation is one command as its client saw it. Times are since the beginning of the history.
type Operation struct {
	Worker  int           `json:"worker"`
	Node    int           `json:"node"` // the node that was asked
	Command Command       `json:"command"`
	Key     string        `json:"key"`
	Value   string        `json:"value,omitempty"`   // what is written
	Element string        `json:"element,omitempty"` // what the value adds to a set
	Life    time.Duration `json:"life,omitempty"`    // until expiry; 0: none
	Context string        `json:"context,omitempty"` // given
	Seen    string        `json:"seen,omitempty"`    // the context in the reply
	Values  []string      `json:"values,omitempty"`  // in the reply; of INCR the number in decimal
	Call    time.Duration `json:"call"`              // just before it was sent
	Return  time.Duration `json:"return"`            // when the client had its reply, or gave up
	Outcome Outcome       `json:"outcome"`
	Error   string        `json:"error,omitempty"`
	Kind    string        `json:"kind,omitempty"`   // of the error, for counting
	Strict  bool          `json:"strict,omitempty"` // of VGET, VSET and VDEL
	W       int           `json:"w,omitempty"`      // that was asked for; 0: a majority of the owners
	Copies  []Copy        `json:"copies,omitempty"` // in the reply of VEXPLAIN
}

// Copy is what one owner of a key holds.
type Copy struct {
	Owner    string `json:"owner"`
	Clock    Clock  `json:"clock,omitempty"`
	Siblings []Dot  `json:"siblings,omitempty"`
	Error    string `json:"error,omitempty"` // it did not answer
}

// Fault is something that was done to the nodes, and undone.
type Fault struct {
	Kind  string        `json:"kind"`
	Nodes []int         `json:"nodes"`
	Begin time.Duration `json:"begin"`
	End   time.Duration `json:"end"`
}

// History is what one workload did.
type History struct {
	Workload   string      `json:"workload"`
	Seed       uint64      `json:"seed"`
	Nodes      int         `json:"nodes"`
	Faults     []Fault     `json:"faults"`
	Operations []Operation `json:"operations"`
	Finals     []Operation `json:"finals"` // reads of each key on each node, behind all the rest
	// Explained are VEXPLAINs, which repair nothing, made while nothing was written and no hint was held.
	Explained []Operation `json:"explained,omitempty"`
	// Lost is how many nodes were lost for good, with their disks. It is less than the W of every
	// acknowledged write: what only lost ones acknowledged, nobody promises.
	Lost int `json:"lost,omitempty"`
}

// Violation is a promise that was broken.
type Violation struct {
	Key  string `json:"key"`
	What string `json:"what"`
}

// Workloads names the checker of each workload.
var Workloads = map[string]func(*History) []Violation{
	"set-add":  SetAdd,
	"siblings": Siblings,
	"register": Strict,
	"sessions": Sessions,
	"copies":   Siblings,
	"counters": Counters,
	"locks":    Locks,
}

// forever is later than any operation.
const forever = time.Duration(1<<63 - 1)

// keysOf lists the keys of a history in the order in which they first appear.
func keysOf(h *History) (keys []string) {
	seen := map[string]bool{}
	for _, all := range [][]Operation{h.Operations, h.Finals} {
		for i := range all {
			if key := all[i].Key; !seen[key] {
				seen[key] = true
				keys = append(keys, key)
			}
		}
	}
	return keys
}

// byKey groups operations, in their order.
func byKey(operations []Operation) map[string][]*Operation {
	groups := map[string][]*Operation{}
	for i := range operations {
		o := &operations[i]
		groups[o.Key] = append(groups[o.Key], o)
	}
	return groups
}

// answered returns the final reads of a key, and says which nodes did not answer: those cannot be judged.
func answered(h *History, key string, finals []*Operation) (reads []*Operation, violations []Violation) {
	nodes := map[int]bool{}
	for _, o := range finals {
		if o.Outcome != Acknowledged {
			violations = append(violations, Violation{key, "node " + itoa(o.Node) + " does not answer the final read: " + o.Error})
			continue
		}
		nodes[o.Node] = true
		reads = append(reads, o)
	}
	if len(violations) == 0 && len(nodes) != h.Nodes-h.Lost {
		violations = append(violations, Violation{key, "the final read was answered by " + itoa(len(nodes)) + " nodes of " + itoa(h.Nodes-h.Lost)})
	}
	return reads, violations
}
