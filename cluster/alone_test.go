package cluster

import (
	"testing"

	"cartwheel/cluster/quorum"
	"cartwheel/cluster/ring"
	"cartwheel/store/version"
)

// A node that was left alone may hold hints still, of what has been overwritten here: whoever deletes
// that must not forget it before they are gone, or they would bring it back.
func TestAHintOfANodeThatWasLeftAloneBringsNothingBack(t *testing.T) {
	for try := range 20 {
		w := newWorldOf(t, 1, 3, steady)
		c := w.nodes[0]
		mustSet(t, c, 0, "k", "old")
		var old version.Object
		if _, err := c.store.Get(0, []byte("k"), &old); err != nil {
			t.Fatal(err)
		}
		mustSet(t, c, 0, "k", "new")
		gone := ring.NodeID{9} // who was an owner, and is no member any more
		seq, err := c.store.AddHint(gone, 0, []byte("k"), c.NowMS(), &old)
		if err == nil {
			err = c.store.Commit(seq)
		}
		if err != nil {
			t.Fatal(err)
		}
		if err := update(c, 0, "k", quorum.Need{}, overwrite{plain: true}); err != nil { // a delete
			t.Fatal(err)
		}
		before := c.store.HoldsHints() // else it came too early to bring anything back
		until(t, "the hints have come to who owns the key", func() bool { return !c.store.HoldsHints() })
		wantValue(t, c, 0, "k", "(absent)")
		if before {
			t.Logf("try %d", try)
			return
		}
	}
	t.Error("the hint was always gone before the delete: the test shows nothing")
}
