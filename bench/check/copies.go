package check

import (
	"fmt"
	"slices"
)

// Copies judges what the owners of each key held when nothing had repaired them but hints, all of which
// had been replayed: for each VEXPLAIN of a key
//
//  1. of a write that was acknowledged before it with W replicas, at least W owners have it;
//  2. of what a strict read with R of a majority had shown before it, a majority of the owners have it: such
//     a read is answered when that many do;
//  3. each owner by itself holds exactly the siblings that its clock says: the value of a write that it has seen,
//     and that no other write that it has seen covers.
//
// For an acknowledgement by a fallback, which keeps a hint, stands for one owner, and that owner has the write
// when the hint is gone. No two acknowledgements stand for the same.
//
// An owner has a write also where its clock has forgotten the dot, if it has another that covers it: clocks
// are pruned of what no sibling needs. Tombstones are purged, at last with all of the object: an owner that holds
// nothing may have had what a delete covers. A write whose dot its client was not told is judged by the reads that
// showed it. A node that was lost with its disk takes one of a write's copies with it at most: its own, or a hint.
func Copies(h *History) (violations []Violation) {
	operations, explained := byKey(h.Operations), byKey(h.Explained)
	for _, key := range keysOf(h) {
		if len(explained[key]) == 0 {
			continue
		}
		v, _ := versionsOf(key, operations[key], nil) // the checker of the workload reports what is wrong with it
		for _, e := range explained[key] {
			violations = append(violations, v.judgeCopies(e, h.Lost)...)
		}
	}
	return violations
}

func (v *versions) judgeCopies(e *Operation, lost int) (violations []Violation) {
	report := func(format string, args ...any) {
		what := fmt.Sprintf(format, args...)
		violations = append(violations, Violation{v.key, fmt.Sprintf("VEXPLAIN at %v: %s", e.Call, what)})
	}
	if e.Outcome != Acknowledged {
		report("no answer: %s", e.Error)
		return violations
	}
	owners := len(e.Copies)
	var copies []*Copy
	for i := range e.Copies {
		c := &e.Copies[i]
		if c.Error == "" {
			copies = append(copies, c)
		} else if i-len(copies) >= lost {
			report("owner %s does not answer: %s", c.Owner, c.Error)
		}
	}
	for _, w := range v.writes {
		if !w.acknowledged() || !w.dot.known() || w.Return >= e.Call {
			continue
		}
		need := w.W
		if need == 0 {
			need = majority(owners)
		}
		if have := holders(copies, func(c *Copy) bool { return v.has(c, w) }); len(have) < need-lost {
			report("%v was acknowledged by %d replicas, and is on %d: %v", w, need, len(have), have)
		}
	}
	for _, r := range v.reads {
		if !r.Strict || r.Return >= e.Call || len(r.Values) == 0 {
			continue
		}
		if have := holders(copies, func(c *Copy) bool { return v.hasSeen(c, r) }); len(have) < majority(owners)-lost {
			report("what node %d showed at %v (%q) is on %d owners: %v", r.Node, r.Return, r.Values, len(have), have)
		}
	}
	for _, c := range copies {
		for _, w := range v.writes {
			if what := v.misplaced(c, w); what != "" {
				report("owner %s %s", c.Owner, what)
			}
		}
	}
	return violations
}

func majority(of int) int { return of/2 + 1 }

// holders are the owners of the copies for which has is true.
func holders(copies []*Copy, has func(*Copy) bool) (owners []string) {
	for _, c := range copies {
		if has(c) {
			owners = append(owners, c.Owner)
		}
	}
	return owners
}

// has tells whether the owner has seen w, or a write that covers it, or one that covers that.
func (v *versions) has(c *Copy, w *write) bool { return v.reaches(c, w, map[*write]bool{}) }

// reaches is has, but for what was tried already.
func (v *versions) reaches(c *Copy, w *write, tried map[*write]bool) bool {
	if c.Clock.knows(w) || !w.dot.known() && v.holdsUnknown(c) {
		return true
	}
	if len(c.Clock) == 0 {
		return v.purgeable(w)
	}
	tried[w] = true
	return slices.ContainsFunc(v.writes, func(x *write) bool { return !tried[x] && x.covers(w) && v.reaches(c, x, tried) })
}

// holdsUnknown tells whether the owner holds a sibling whose write is not known by its dot: it may be any such.
func (v *versions) holdsUnknown(c *Copy) bool {
	return slices.ContainsFunc(c.Siblings, func(d Dot) bool {
		return !slices.ContainsFunc(v.writes, func(w *write) bool { return w.dot == d })
	})
}

// purgeable tells whether w may be gone without a trace.
func (v *versions) purgeable(w *write) bool {
	return w.tombstone() || slices.ContainsFunc(v.writes, func(x *write) bool { return x.tombstone() && x.covers(w) })
}

// hasSeen tells whether the owner has seen all that a read has, but for what a write overwrote that the
// owner has.
func (v *versions) hasSeen(c *Copy, r *read) bool {
	if len(c.Clock) == 0 && !slices.ContainsFunc(r.Values, func(value string) bool {
		w := v.byValue[value]
		return w == nil || !v.purgeable(w)
	}) {
		return true
	}
	for incarnation, hlc := range r.seen {
		d := Dot{incarnation, hlc}
		if c.Clock.covers(d) {
			continue
		}
		if !slices.ContainsFunc(v.writes, func(x *write) bool { return x.given.covers(d) && v.has(c, x) }) {
			return false
		}
	}
	return true
}

// misplaced says what is wrong with w in the copy of one owner, by that owner's own clock.
func (v *versions) misplaced(c *Copy, w *write) string {
	if !w.dot.known() {
		return ""
	}
	there := slices.Contains(c.Siblings, w.dot)
	for _, x := range v.writes {
		if !x.covers(w) {
			continue
		}
		switch {
		case there && x.dot.known() && c.Clock.covers(x.dot):
			return fmt.Sprintf("holds %v, though it has seen %v, which covers it", w, x)
		case !there && (!x.dot.known() || v.has(c, x)):
			return "" // it was this one, or may have been
		}
	}
	if !there && !w.tombstone() && c.Clock.covers(w.dot) {
		return fmt.Sprintf("has seen %v, and neither holds it nor has seen what covers it", w)
	}
	return ""
}
