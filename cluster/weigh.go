package cluster

import (
	"encoding/json"
	"fmt"
	"slices"
	"strconv"

	"cartwheel/cluster/repair"
	"cartwheel/cluster/ring"
	"cartwheel/store"
)

// A weight is what a node says of how much it has and of what moves to it, in JSON.
type weight struct {
	Sizes   map[ring.Partition]ring.Size // of those that it is the first live owner of
	Left    int                          // moves that it sees to
	Done    int                          // since it had none
	Bytes   int64                        // that came since then
	TookMS  int64
	Remains *repair.Remains // of a member that leaves
}

// weigh weighs this node.
func (c *Coordinator) weigh(v *view) ([]byte, error) {
	return json.Marshal(c.weight(v))
}

func (c *Coordinator) weight(v *view) (w weight) {
	w.Sizes = map[ring.Partition]ring.Size{}
	for p := range v.places {
		if !v.alone && !v.places[p].leads() {
			continue
		}
		var size ring.Size
		for db := range uint8(store.Databases) {
			n := c.store.PartitionCounts(db, ring.Partition(p))
			size.Keys, size.Bytes = size.Keys+max(0, n.Keys), size.Bytes+max(0, n.Bytes)
		}
		if size != (ring.Size{}) {
			w.Sizes[ring.Partition(p)] = size
		}
	}
	r := c.repairing.Load()
	if r == nil {
		return w
	}
	f := r.Figures()
	w.Left, w.Done, w.Bytes, w.TookMS = f.Filling, f.FillDone, int64(f.FillMoved), f.FillTook.Milliseconds()
	if m, is := v.ring.Member(c.store.NodeID()); is && m.State == ring.Leaving {
		left, err := r.Remains()
		if err == nil {
			w.Remains = &left
		}
	}
	return w
}

// sizes asks all live members how much they have, and returns that of each
// partition and what each member has said.
func (c *Coordinator) sizes(v *view) ([]ring.Size, map[ring.NodeID]weight) {
	said := map[ring.NodeID]weight{c.store.NodeID(): c.weight(v)}
	for p, text := range c.askAll(v, up, opWeigh, nil) {
		var w weight
		if err := json.Unmarshal(text, &w); err != nil {
			c.log.Warn().Stringer("node", p.id).Err(fmt.Errorf("%w: %w", errMessage, err)).Msg("a node cannot be weighed")
			continue
		}
		said[p.id] = w
	}
	sizes := make([]ring.Size, len(v.places))
	for _, w := range said {
		for p, size := range w.Sizes {
			if int(p) < len(sizes) {
				sizes[p] = size
			}
		}
	}
	return sizes, said
}

// RingProgress returns how far the moves under way have come. It asks all members.
func (c *Coordinator) RingProgress() (*ring.Progress, error) {
	v := c.view.Load()
	if v.left {
		return nil, wireError(errLeft)
	}
	sizes, said := c.sizes(v)
	d := v.ring.Document()
	t := &ring.Progress{Epoch: d.Epoch, Left: len(d.Moves), Transfers: []ring.Transferring{}, Leaving: []ring.Departing{}, Silent: []ring.NodeID{}}
	t.Transfers = c.transferring(d, sizes)
	for _, one := range t.Transfers {
		t.LeftSize.Keys, t.LeftSize.Bytes = t.LeftSize.Keys+one.Keys, t.LeftSize.Bytes+one.Bytes
	}
	shares := d.Shares()
	for i, m := range d.Members {
		w, answered := said[m.ID]
		if !answered {
			t.Silent = append(t.Silent, m.ID)
		}
		if w.Left > 0 {
			t.Done += w.Done
			t.Bytes += w.Bytes
			t.Rate += w.Bytes * 1000 / max(w.TookMS, 1)
		}
		if m.State == ring.Leaving {
			leaves := ring.Departing{Node: m.ID, Owned: shares[i].Total}
			if w.Remains != nil {
				leaves.Partitions, leaves.Hints = w.Remains.Partitions, w.Remains.Hints
			}
			t.Leaving = append(t.Leaving, leaves)
		}
	}
	t.LeftMS = leftMS(t)
	return t, nil
}

func leftMS(t *ring.Progress) int64 {
	switch {
	case t.LeftSize.Bytes == 0 || t.Left == 0:
		return 0
	case t.Rate == 0 || slices.ContainsFunc(t.Transfers, func(one ring.Transferring) bool { return one.Waits != (ring.NodeID{}) }):
		return -1
	}
	return int64(1000 * float64(t.LeftSize.Bytes) / float64(t.Rate))
}

// transferring sums up the moves under way.
func (c *Coordinator) transferring(d *ring.Document, sizes []ring.Size) []ring.Transferring {
	sums := []ring.Transferring{}
	for _, sum := range d.Moving() {
		one := ring.Transferring{From: sum.From, To: sum.To, Partitions: sum.Partitions}
		from, _ := d.Member(sum.From)
		switch {
		case sum.To != (ring.NodeID{}) && !c.isUp(sum.To):
			one.Waits = sum.To
		case sum.From != (ring.NodeID{}) && from.State != ring.Removed && !c.isUp(sum.From):
			one.Waits = sum.From
		}
		for _, m := range d.Moves {
			if m.From == sum.From && m.To == sum.To && m.To != (ring.NodeID{}) {
				one.Keys, one.Bytes = one.Keys+sizes[m.Partition].Keys, one.Bytes+sizes[m.Partition].Bytes
			}
		}
		sums = append(sums, one)
	}
	return sums
}

// RingFigures returns what INFO shows of the moves that this node sees to, and of
// what has moved away.
func (c *Coordinator) RingFigures() [][2]string {
	r := c.repairing.Load()
	if r == nil {
		return nil
	}
	f := r.Figures()
	tookMS := f.FillTook.Milliseconds()
	number := func(n int64) string { return strconv.FormatInt(n, 10) }
	return [][2]string{
		{"ring_moves_here", number(int64(f.Filling))},
		{"ring_moves_here_filled", number(int64(f.FillReady))},
		{"ring_moves_here_done", number(int64(f.FillDone))},
		{"ring_moves_here_bytes", number(int64(f.FillMoved))},
		{"ring_moves_here_ms", number(tookMS)},
		{"ring_moves_here_bytes_per_second", number(int64(f.FillMoved) * 1000 / max(tookMS, 1))},
		{"ring_partitions_to_drop", number(f.Foreign)},
		{"ring_partitions_dropped", number(int64(f.Dropped))},
	}
}
