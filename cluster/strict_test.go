package cluster

import (
	"slices"
	"testing"

	"cartwheel/cluster/quorum"
	"cartwheel/cluster/ring"
	"cartwheel/store/version"
)

// While a partition moves, some may know already that it has, and some not: a strict read
// by these finds what those wrote, or fails.
func TestAStrictReadFindsWhatOwnersToBeHaveTaken(t *testing.T) {
	t.Run("two of three", func(t *testing.T) { strictWhileMoving(t, 2, quorum.Need{Strict: true}, quorum.Need{Strict: true}) })
	t.Run("one, of what three hold", func(t *testing.T) {
		strictWhileMoving(t, 1, quorum.Need{W: 3, Strict: true}, quorum.Need{R: 1, Strict: true})
	})
}

// strictWhileMoving leaves so many of the owners behind the others.
func strictWhileMoving(t *testing.T, late int, write, read quorum.Need) {
	w := newWorldOf(t, 4, 3, quiet)
	document := *w.nodes[0].agreement.Current()
	table := w.nodes[0].view.Load().ring
	p := table.PartitionOf(ring.SlotOf([]byte("k")))
	owners := slices.Clone(table.Owners(p))
	mustSet(t, w.by(owners[0]), 0, "k", "old")
	var to ring.NodeID
	for _, m := range document.Members {
		if !slices.Contains(owners, m.ID) {
			to = m.ID
		}
	}
	moving, moved := document, document
	moving.Epoch++
	moving.Moves = []ring.Move{{Partition: p, From: owners[0], To: to}}
	moved.Epoch += 2
	moved.Owners = slices.Clone(document.Owners)
	moved.Owners[p] = []ring.NodeID{to, owners[1], owners[2]}

	behind, ahead, documents := []int{}, []int{}, map[int]*ring.Document{}
	for i, c := range w.nodes {
		d, side := &moving, &behind
		if id := c.NodeID(); id == to || slices.Contains(owners[late:], id) {
			d, side = &moved, &ahead
		}
		*side = append(*side, i)
		documents[i] = d
	}
	for _, a := range behind {
		for _, b := range ahead {
			w.net.setCut(address(a), address(b), true)
			w.net.setCut(address(b), address(a), true)
		}
	}
	for i, c := range w.nodes {
		if _, err := c.agreement.Install(documents[i].Append(nil)); err != nil {
			t.Fatal(err)
		}
	}
	if err := update(w.by(owners[2]), 0, "k", write, overwrite{value: []byte("new")}); err != nil {
		t.Fatal(err)
	}
	var o version.Object
	if _, _, err := w.by(owners[0]).Read(0, []byte("k"), read, &o, nil); code(err) != "NOREPLICAS" {
		t.Errorf("an owner of the ring before reads %v, %v", o.Siblings, err)
	}
	w.net.heal()
	until(t, "the owner to be answers", func() bool {
		_, _, err := w.by(owners[1]).Read(0, []byte("k"), read, &o, nil)
		return err == nil
	})
	if win := o.Winner(); string(win.Payload) != "new" {
		t.Errorf("it reads %q", win.Payload)
	}
}
