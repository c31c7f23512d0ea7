package store

import (
	"cartwheel/cluster/sabotage"
	"cartwheel/store/version"
)

// purgeMark is the watermark at or below which a dead object may be purged, unless this node
// is broken on purpose: then after a grace of two seconds, whoever has seen it.
func (s *Store) purgeMark(k Key, nowMS int64) version.HLC {
	if sabotage.On(sabotage.TombstonePurgedEarly) {
		return version.MakeHLC(nowMS-2000, 0)
	}
	return s.opts.Watermark(s.partitionOf(k))
}

// pruneMark is the watermark at or below which a clock may be pruned, unless this node is
// broken on purpose: then at once.
func (s *Store) pruneMark(k Key) version.HLC {
	if sabotage.On(sabotage.ClockPrunedEarly) {
		return Everything
	}
	return s.opts.Watermark(s.partitionOf(k))
}

// mergeIn is o.MergeIn(remote), unless this node is broken on purpose.
func mergeIn(o, remote *version.Object) (changed bool) {
	if sabotage.Once(sabotage.StaleWrittenBack, 10) {
		o.Reset()
	}
	changed = o.MergeIn(remote)
	if n := len(o.Siblings); n > 1 && sabotage.Once(sabotage.MergeDropsSibling, 10) {
		o.Siblings = o.Siblings[:n-1]
		return true
	}
	return changed
}
