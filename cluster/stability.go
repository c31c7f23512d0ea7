package cluster

import (
	"strconv"

	"cartwheel/cluster/ring"
	"cartwheel/cluster/sabotage"
	"cartwheel/store"
	"cartwheel/store/version"
)

// stabilityFigures says how far back what is deleted has to be remembered, and
// because of whom.
func (c *Coordinator) stabilityFigures() [][2]string {
	r := c.repairing.Load()
	if r == nil || c.view.Load().alone {
		return nil
	}
	f := r.Figures()
	age := "never"
	if f.PurgedTo != 0 {
		age = strconv.FormatInt(max(0, c.store.NowMS()-f.PurgedTo.Milliseconds())/1000, 10)
	}
	held := f.HeldBack
	if held == "" {
		held = "nothing"
	}
	return [][2]string{
		{"purge_age_seconds", age},
		{"purge_held_back_by", held},
		{"partitions_filled_anew", strconv.FormatUint(f.Refilled, 10)},
		{"partitions_to_fill_anew", strconv.Itoa(f.Untrusted)},
	}
}

// noLongerAlone makes what this node has had alone be stable, and what it has purged be
// known as that, before there are others. While it holds hints, it has not all.
func (c *Coordinator) noLongerAlone(v *view) {
	was := c.view.Load()
	if !was.alone || was.ring == nil || v.alone || len(c.store.HintOwners()) > 0 {
		return
	}
	at := c.store.LastHLC()
	all := make(map[ring.Partition]version.HLC, len(v.places))
	var partitions []ring.Partition
	for p := range ring.Partition(len(v.places)) {
		partitions = append(partitions, p)
		all[p] = at
	}
	err := c.store.Fence(at, partitions) // a write may be under way
	if err == nil {
		err = c.store.RaiseStable(all)
	}
	if err == nil {
		err = c.store.RaisePurge(all)
	}
	if err != nil {
		c.log.Error().Err(err).Msg("cannot note what is stable: it is found out again")
	}
}

// mergeVouched merges the answers anew, where one comes from a node that another's purge
// has left behind: what nobody shows who has everything was superseded, and that is
// forgotten (store.Levels).
func (op *operation) mergeVouched() error {
	p := op.v.partition(op.key)
	objects := make([]*version.Object, 0, len(op.answers)+1)
	levels := make([]store.Levels, 0, len(op.answers)+1)
	if op.here {
		var own version.Object
		seq, err := op.c.store.Get(op.db, op.key, &own)
		if err != nil {
			return err
		}
		op.seq = max(op.seq, seq)
		objects, levels = append(objects, &own), append(levels, op.own)
		if op.own.Stable < op.purge {
			op.c.forgot(p, op.purge)
		}
	}
	for i := range op.answers {
		if a := &op.answers[i]; !a.same {
			objects, levels = append(objects, &a.object), append(levels, a.levels)
		}
	}
	var merged version.Object
	for i, o := range objects {
		if levels[i].Stable >= op.purge {
			merged.MergeIn(o)
		}
	}
	trusted, some := version.Merge(&merged, &version.Object{}), false
	stable := store.Everything
	for _, l := range levels {
		if l.Stable >= op.purge {
			some, stable = true, min(stable, l.Stable)
		}
	}
	for i, o := range objects {
		switch {
		case levels[i].Stable >= op.purge:
		case some:
			merged.MergeIn(o.WithoutForgotten(op.purge, &trusted))
		default: // nobody here knows what is dead, and to drop what is alive is worse
			merged.MergeIn(o)
		}
	}
	op.object.Reset()
	op.object.MergeIn(&merged)
	if some {
		op.stable = stable // what the others showed beside it has been looked through
	}
	return nil
}

// untrusted says that this node may not answer reads of a partition as its owner: it
// has forgotten something, or may have, as long as it has just started.
func (c *Coordinator) untrusted(p ring.Partition) bool {
	if sabotage.On(sabotage.StaleReadRepair) {
		return false
	}
	if c.store.Refilling(p) {
		return true
	}
	r := c.repairing.Load()
	return r == nil && c.opts.PeerListen != "" || r != nil && r.Doubts(p)
}

// forgot has package repair know that another owner has purged what this one has
// still.
func (c *Coordinator) forgot(p ring.Partition, purged version.HLC) {
	if r := c.repairing.Load(); r != nil {
		c.running.Go(func() { r.Forgot(p, purged) })
	}
}
