package cluster

import (
	"encoding/binary"
	"testing"

	"cartwheel/store/version"
)

// With hundreds of nodes, what each tells each other one every second must not grow
// with the incarnations that there have been.
func TestPingsAreShortWhenAllKnowTheSameIncarnations(t *testing.T) {
	w := newWorldOf(t, 3, 3, quiet)
	const many = 5 * livesShortMax
	for i := range many { // each node has heard of a third of them
		w.nodes[i%3].lives.saw(version.Clock{{Incarnation: version.Incarnation(i + 1000), HLC: 7}})
	}
	pingAll := func() {
		for _, c := range w.nodes {
			for _, p := range c.view.Load().peers {
				c.ping(p)
			}
		}
	}
	until(t, "all know all, and pings are short", func() bool {
		pingAll()
		for _, c := range w.nodes {
			if _, count := c.lives.set(); count < many {
				return false
			}
			for _, p := range c.view.Load().peers {
				if len(c.appendStatus(nil, p, false)) > statusBytes+16 {
					return false
				}
			}
		}
		return true
	})
	// What is seen of them is told all the same, the peer's own at once.
	a, b := w.nodes[0], w.nodes[1]
	a.lives.saw(version.Clock{{Incarnation: 1000, HLC: 8}})
	until(t, "a higher HLC is known elsewhere", func() bool {
		pingAll()
		highest, _ := b.lives.of(1000)
		return highest == 8
	})
	status := a.appendStatus(nil, a.peer(b.NodeID()), false)
	if own := version.Incarnation(binary.BigEndian.Uint64(status[statusBytes:])); own != b.store.Incarnation() {
		t.Errorf("a short ping tells a node of %x, not of its own incarnation", own)
	}
}
