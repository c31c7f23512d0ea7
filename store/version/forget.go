package version

import "slices"

// DropForgotten drops, in place, the siblings at or below an HLC that a replica
// does not hold which has all that was deleted at or below it: they were
// superseded, and that has been forgotten. It reports whether there were any. The
// clock stays: what it has seen it has seen.
func (o *Object) DropForgotten(purged HLC, holds *Object) (changed bool) {
	before := len(o.Siblings)
	o.dropSiblings(func(s *Sibling) bool { return forgotten(s, purged, holds) })
	return len(o.Siblings) < before
}

// WithoutForgotten returns o, or if DropForgotten would change it a copy that it
// has changed. The payloads are o's.
func (o *Object) WithoutForgotten(purged HLC, holds *Object) *Object {
	if !slices.ContainsFunc(o.Siblings, func(s Sibling) bool { return forgotten(&s, purged, holds) }) {
		return o
	}
	kept := &Object{Type: o.Type, Clock: o.Clock, Siblings: slices.Clone(o.Siblings)}
	kept.DropForgotten(purged, holds)
	return kept
}

func forgotten(s *Sibling, purged HLC, holds *Object) bool {
	return s.Dot.HLC <= purged && !slices.ContainsFunc(holds.Siblings, func(h Sibling) bool { return h.Dot == s.Dot })
}
