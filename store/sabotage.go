package store

import (
	"cartwheel/cluster/sabotage"
	"cartwheel/store/version"
)

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
