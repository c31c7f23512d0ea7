package cluster

import (
	"sync"
	"sync/atomic"

	"cartwheel/cluster/ring"
	"cartwheel/store/version"
)

// A life is whether this node may go on under the incarnation that its directory names.
// After a stop by the book it does; but a directory that looks like that may be an old
// copy put back, and a dot of the old incarnation would then say that the writes were seen
// that it has forgotten. Only the others know. So until each of them has said, in a
// handshake, what it has seen of this node, the first dot takes a new incarnation.
type life struct {
	sure  atomic.Bool
	mu    sync.Mutex
	heard map[ring.NodeID]bool // guarded by mu: who has said so
}

// heardFrom takes note that a node has said what it has seen of this one, and that this one
// remembers no less.
func (c *Coordinator) heardFrom(id ring.NodeID) {
	l := &c.life
	if l.sure.Load() {
		return
	}
	l.mu.Lock()
	defer l.mu.Unlock()
	if l.heard == nil {
		l.heard = map[ring.NodeID]bool{}
	}
	l.heard[id] = true
	v := c.view.Load()
	if v.ring == nil {
		return
	}
	for _, m := range v.ring.Members() {
		if m.ID != c.store.NodeID() && !l.heard[m.ID] {
			return
		}
	}
	l.sure.Store(true)
}

// incarnation is that of this node's next dot.
func (c *Coordinator) incarnation(v *view) (version.Incarnation, error) {
	if l := &c.life; !v.alone && !l.sure.Load() {
		l.mu.Lock()
		defer l.mu.Unlock()
		if !l.sure.Load() {
			if err := c.store.Renew(); err != nil {
				return 0, err
			}
			c.lives.saw(version.Clock{{Incarnation: c.store.Incarnation(), HLC: 0}}) // so that the others are told
			c.log.Info().Msg("not all other nodes have said what they have seen of this one: it goes on under a new incarnation")
			l.sure.Store(true)
		}
	}
	return c.store.Incarnation(), nil
}
