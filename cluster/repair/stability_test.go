package repair

import (
	"testing"

	"pgregory.net/rapid"
)

// Whatever happens, in any order: what was deleted and purged does not come back, what
// lives is not lost, and when all has healed the owners hold the same, and are silent.
func TestNothingDeletedComesBackAndNothingAliveIsLost(t *testing.T) {
	purging := 0
	rapid.Check(t, func(rt *rapid.T) {
		w := &world{t: t, kinds: map[byte]int{}}
		h := newHistory(rt, w)
		defer w.stop()
		for _, number := range rapid.SliceOfN(rapid.Uint64(), 40, 160).Draw(rt, "steps") {
			h.step(number)
		}
		if h.nodes[0].store.Levels(3).Purge > 0 {
			purging++
		}
		h.heal()
		h.rest()
		for n, f := range h.frames { // all that was ever under way arrives once more
			for i := range 3 {
				h.deliver(i, f)
			}
			w.nodes[holder].hint(nodeID(n%3), f.key, &f.object)
		}
		h.check()
		h.heal()
		h.rest()
	})
	if purging == 0 {
		t.Error("in no history was anything purged before all had healed")
	}
	t.Logf("in %d histories purging was allowed before all had healed", purging)
}
