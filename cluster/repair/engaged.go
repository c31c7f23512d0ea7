package repair

import (
	"sync"
	"time"

	"cartwheel/cluster/ring"
)

// Engagements keep a partition in one exchange at a time. A node that comes back
// would otherwise get everything from each of the other owners at once.
type engagements struct {
	now func() time.Time
	mu  sync.Mutex // guards of
	of  map[ring.Partition]engagement
}

// An engagement of one that began it lasts until it is released; that of a
// peer, which may die, until it was silent for a while.
type engagement struct {
	with  ring.NodeID
	own   bool
	until time.Time
}

const engagedFor = 3 * time.Second

func newEngagements(now func() time.Time) *engagements {
	return &engagements{now: now, of: map[ring.Partition]engagement{}}
}

// begin engages the partition for this node's exchange with a peer.
func (e *engagements) begin(p ring.Partition, with ring.NodeID) bool {
	return e.engage(p, engagement{with: with, own: true})
}

// join engages the partition for an exchange that a peer has begun, or goes on
// with it.
func (e *engagements) join(p ring.Partition, with ring.NodeID) bool {
	return e.engage(p, engagement{with: with, until: e.now().Add(engagedFor)})
}

func (e *engagements) engage(p ring.Partition, wanted engagement) bool {
	e.mu.Lock()
	defer e.mu.Unlock()
	present, engaged := e.of[p]
	same := present.with == wanted.with && present.own == wanted.own
	if engaged && !same && (present.own || e.now().Before(present.until)) {
		return false
	}
	e.of[p] = wanted
	return true
}

// end ends what begin began.
func (e *engagements) end(p ring.Partition, with ring.NodeID) { e.release(p, with, true) }

// leave ends what join joined.
func (e *engagements) leave(p ring.Partition, with ring.NodeID) { e.release(p, with, false) }

func (e *engagements) release(p ring.Partition, with ring.NodeID, own bool) {
	e.mu.Lock()
	defer e.mu.Unlock()
	if present := e.of[p]; present.with == with && present.own == own {
		delete(e.of, p)
	}
}
