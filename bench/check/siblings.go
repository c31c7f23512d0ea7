package check

import (
	"fmt"
	"slices"
	"strings"
)

// Siblings holds the final siblings of each key, on every node, against what the recorded writes
// imply: a value is there exactly if no applied write's context covers its dot.
//
// A write of unknown outcome counts as applied where that explains what is there. The largest set of
// unknown writes that can have been applied is found by striking out those that cannot:
//
//  1. one whose context covers a value that is there;
//  2. one whose own value is not there, though no write that can have been applied covers it.
//
// Whatever that set leaves unexplained is a violation. It is exact, as far as the
// dots are known (write.covers), because striking out a write by the
// first rule depends on nothing else, and by the second only on what was struck out before.
func Siblings(h *History) (violations []Violation) {
	operations, finals := byKey(h.Operations), byKey(h.Finals)
	for _, key := range keysOf(h) {
		reads, silent := answered(h, key, finals[key])
		violations = append(violations, silent...)
		v, wrong := versionsOf(key, operations[key], reads)
		violations = append(violations, wrong...)
		v.lossy = h.Lost > 0
		judged := map[string]bool{}
		for _, o := range reads {
			answer := strings.Join(slices.Sorted(slices.Values(o.Values)), "\x00")
			if !judged[answer] {
				judged[answer] = true
				violations = append(violations, v.judgeFinal(o)...)
			}
		}
		if len(judged) > 1 {
			violations = append(violations, Violation{key, fmt.Sprintf("the nodes show %d different sets of siblings", len(judged))})
		}
	}
	return violations
}

// judgeFinal judges one final read.
func (v *versions) judgeFinal(final *Operation) (violations []Violation) {
	report := func(format string, args ...any) {
		what := fmt.Sprintf(format, args...)
		violations = append(violations, Violation{v.key, fmt.Sprintf("node %d in the end: %s", final.Node, what)})
	}
	there := v.named(final.Values)
	applied := v.applicable(there)
	coveredBy := func(x *write) *write {
		for _, w := range v.writes {
			if applied[w] && w.covers(x) {
				return w
			}
		}
		return nil
	}
	for _, w := range v.writes {
		by := coveredBy(w)
		isThere := slices.Contains(there, w)
		switch {
		case isThere && by != nil:
			report("%v is there, though %v covers it", w, by)
		case isThere && !applied[w]:
			report("%v is there, and so is what it covers", w)
		case isThere || w.tombstone() || by != nil:
		case w.acknowledged():
			report("%v is missing, and nothing covers it", w)
		case w.shown() && !v.lossy: // a sloppy read may show what its quorum could not be given
			report("%v was seen, is missing, and nothing covers it", w)
		}
	}
	if what := newestFirst(there); what != "" {
		report("%s", what)
	}
	return violations
}

// named are the writes of the values; those that nobody wrote were reported before.
func (v *versions) named(values []string) (there []*write) {
	for _, value := range values {
		if w := v.byValue[value]; w != nil {
			there = append(there, w)
		}
	}
	return there
}

// applicable is the largest set of writes that can have been applied when those there are left.
func (v *versions) applicable(there []*write) map[*write]bool {
	applied := map[*write]bool{}
	for _, w := range v.writes {
		applied[w] = w.acknowledged() || !slices.ContainsFunc(there, w.covers)
	}
	for struck := true; struck; {
		struck = false
		for _, u := range v.writes {
			if !applied[u] || u.acknowledged() || u.tombstone() || slices.Contains(there, u) {
				continue
			}
			if !slices.ContainsFunc(v.writes, func(w *write) bool { return applied[w] && w.covers(u) }) {
				applied[u], struck = false, true
			}
		}
	}
	return applied
}

// newestFirst says what is wrong with the order of the values, as far as their dots are known.
func newestFirst(there []*write) string {
	var last *write
	for _, w := range there {
		if !w.dot.known() {
			continue
		}
		if last != nil && last.dot.HLC < w.dot.HLC {
			return fmt.Sprintf("%v stands behind %v, which is older", w, last)
		}
		last = w
	}
	return ""
}
