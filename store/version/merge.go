package version

// Merge is what a replica that has seen all that a and all that b saw holds: the join of the clocks,
// and each sibling that both have, or that one has and the other's clock has not seen. A sibling
// that one has seen and no longer has was overwritten there.
//
// It is commutative, associative and idempotent. The result's slices are its own; the payloads are
// those of a and b. It relies on a dot being the identity of one write: two siblings with the same
// dot are the same in every field, but that one may be buried.
func Merge(a, b *Object) Object {
	merged := Object{
		Type:     max(a.Type, b.Type),
		Clock:    Join(a.Clock, b.Clock),
		Siblings: make([]Sibling, 0, len(a.Siblings)+len(b.Siblings)),
	}

	// Both are sorted newest first, and so one walk down both keeps the order.
	i, j := 0, 0
	for i < len(a.Siblings) && j < len(b.Siblings) {
		switch c := a.Siblings[i].compare(&b.Siblings[j]); {
		case c == 0:
			same := a.Siblings[i]
			if b.Siblings[j].Tombstone { // perhaps buried
				same = b.Siblings[j]
			}
			merged.Siblings = append(merged.Siblings, same)
			i++
			j++
		case c > 0:
			merged.keepUnseen(&a.Siblings[i], b.Clock)
			i++
		default:
			merged.keepUnseen(&b.Siblings[j], a.Clock)
			j++
		}
	}
	for ; i < len(a.Siblings); i++ {
		merged.keepUnseen(&a.Siblings[i], b.Clock)
	}
	for ; j < len(b.Siblings); j++ {
		merged.keepUnseen(&b.Siblings[j], a.Clock)
	}
	return merged
}

// keepUnseen adds a sibling that the other side does not have, unless it has seen it.
func (o *Object) keepUnseen(s *Sibling, other Clock) {
	if !other.Covers(s.Dot) {
		o.Siblings = append(o.Siblings, *s)
	}
}
