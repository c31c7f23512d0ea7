package cluster

import (
	"testing"

	"github.com/cockroachdb/pebble/v2/vfs"

	"cartwheel/cluster/quorum"
	"cartwheel/store/version"
)

// stop stops a node by the book.
func (w *world) stop(i int) {
	w.t.Helper()
	c := w.vanish(i)
	if err := c.Close(); err != nil {
		w.t.Fatal(err)
	}
}

// A directory that was stopped by the book, copied, and put back later: before the first
// node has answered, nothing says that it is old.
func TestAnOldCopyOfADirectoryTakesNothingFromOthersBeforeItHasHeardThem(t *testing.T) {
	t.Parallel()
	w := newWorld(t, 3, 3)
	w.stop(2)
	old := w.disks[2].CrashClone(vfs.CrashCloneCfg{UnsyncedDataPercent: 100, RNG: w.rand})
	w.start(2)
	w.healthy()
	blind := func(value string, need quorum.Need) {
		t.Helper()
		c := w.node(2)
		one := &written{value: value}
		var o version.Object
		seq, _, err := c.Update(0, []byte("k"), need, c.NowMS(), &o, versioned{c, []byte("k"), one}, nil)
		if err == nil {
			err = c.Commit(seq)
		}
		if err != nil {
			t.Fatal(err)
		}
	}
	before := w.node(2).store.Incarnation()
	blind("forgotten", quorum.Need{W: 3})
	w.stop(2)
	w.disks[2] = old
	for i := range 2 {
		w.net.setCut(address(i), address(2), true)
		w.net.setCut(address(2), address(i), true)
	}
	w.start(2)
	blind("new", quorum.Need{W: 1})
	if w.node(2).store.Incarnation() == before {
		t.Error("it goes on under its old incarnation")
	}
	w.net.heal()
	w.healthy()
	w.converged()
	for i, c := range w.nodes {
		var o version.Object
		if _, _, err := c.Read(0, []byte("k"), quorum.Need{}, &o, nil); err != nil || len(o.Siblings) != 2 {
			t.Errorf("node %d has %d values, %v", i, len(o.Siblings), err)
		}
	}
}

func TestANodeThatAllOthersHaveHeardFromKeepsItsIncarnationOverACleanStop(t *testing.T) {
	t.Parallel()
	w := newWorld(t, 3, 3)
	mustSet(t, w.node(2), 0, "k", "v")
	before := w.node(2).store.Incarnation()
	w.stop(2)
	w.start(2)
	w.healthy()
	mustSet(t, w.node(2), 0, "k", "v2")
	if w.node(2).store.Incarnation() != before {
		t.Error("it has taken a new one")
	}
}
