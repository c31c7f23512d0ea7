package version

import "slices"

// MergeIn makes o the Merge of o and other, in o's own memory where it suffices,
// and reports whether o is another object for it. The payloads that come are
// other's.
func (o *Object) MergeIn(other *Object) (changed bool) {
	if other.Type > o.Type {
		o.Type, changed = other.Type, true
	}
	arriving := o.unseen(other)
	if o.dropOverwritten(other) || arriving > 0 || !o.Clock.Descends(other.Clock) {
		changed = true
	}
	if arriving > 0 {
		o.insertUnseen(other, arriving)
	}
	if changed {
		o.Clock = o.Clock.join(other.Clock)
	}
	return changed
}

// unseen counts other's siblings that o has not seen.
func (o *Object) unseen(other *Object) int {
	n := 0
	for i := range other.Siblings {
		if !o.Clock.Covers(other.Siblings[i].Dot) {
			n++
		}
	}
	return n
}

// dropOverwritten removes o's siblings that other has seen and no longer has.
// It buries those that are buried there. Both lists have one order, so that one
// walk down both finds them.
func (o *Object) dropOverwritten(other *Object) (changed bool) {
	at, buried := 0, false
	before := len(o.Siblings)
	o.dropSiblings(func(s *Sibling) bool {
		for at < len(other.Siblings) && other.Siblings[at].compare(s) > 0 {
			at++
		}
		kept := at < len(other.Siblings) && other.Siblings[at].compare(s) == 0
		if kept && other.Siblings[at].Tombstone && !s.Tombstone {
			s.bury()
			buried = true
		}
		return !kept && other.Clock.Covers(s.Dot)
	})
	return buried || len(o.Siblings) < before
}

// insertUnseen adds other's siblings that o has not seen, n of them, from the
// end, so that nothing is overwritten before it has moved.
func (o *Object) insertUnseen(other *Object, n int) {
	i := len(o.Siblings) - 1
	o.Siblings = slices.Grow(o.Siblings, n)[:len(o.Siblings)+n]
	to := len(o.Siblings) - 1
	for j := len(other.Siblings) - 1; j >= 0; j-- {
		if o.Clock.Covers(other.Siblings[j].Dot) {
			continue
		}
		for ; i >= 0 && o.Siblings[i].compare(&other.Siblings[j]) < 0; i, to = i-1, to-1 {
			o.Siblings[to] = o.Siblings[i]
		}
		o.Siblings[to] = other.Siblings[j]
		to--
	}
}
