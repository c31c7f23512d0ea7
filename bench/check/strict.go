package check

import (
	"fmt"
	"slices"
)

// Strict judges reads and writes that were all STRICT with R+W>N, on any nodes. What is promised
// there of a key with siblings is less than linearizability: of two reads at the same time each may miss
// what the other sees. Precisely, for a write w, reads r and s:
//
//  1. If w was acknowledged before r began, r shows w or a write was sent before r ended that covers w.
//  2. If w was acknowledged before r began, r shows nothing that w covers.
//  3. If r ended before s began, s shows all that r shows, but for what a write covers that was sent
//     before s ended.
//  4. If r ended before s began, s shows nothing that r knew of and did not show.
//
// The third and fourth hold for final reads too. A key that only one worker has written, which stopped at
// its first write of unknown outcome, never has siblings: there the values are those of one atomic
// register, and Linearizable judges them.
func Strict(h *History) (violations []Violation) {
	operations, finals := byKey(h.Operations), byKey(h.Finals)
	for _, key := range keysOf(h) {
		v, wrong := versionsOf(key, operations[key], finals[key])
		violations = append(violations, wrong...)
		slices.SortFunc(v.reads, func(a, b *read) int { return int(a.Call - b.Call) })
		first := len(violations)
		for i, r := range v.reads {
			if len(violations)-first > violationsMax {
				break // the rest tells nothing new
			}
			violations = append(violations, v.sees(r)...)
			violations = append(violations, v.goesOn(v.reads[:i], r)...)
		}
		if v.oneWriter() {
			violations = append(violations, v.linearizable()...)
		}
	}
	return violations
}

// violationsMax is of one key: after so many its other reads are not looked at.
const violationsMax = 100

// sees judges a read by the writes that were acknowledged before it began.
func (v *versions) sees(r *read) (violations []Violation) {
	for _, w := range v.writes {
		if !w.acknowledged() || w.Return >= r.Call {
			continue
		}
		if !w.tombstone() && !r.shows[w.Value] && !v.coverable(w, r) {
			violations = append(violations, v.wrong(r, "does not show %v, acknowledged before", w))
		}
		for value := range r.shows {
			if x := v.byValue[value]; x != nil && w.covers(x) {
				violations = append(violations, v.wrong(r, "shows %v, covered before by %v", x, w))
			}
		}
	}
	return violations
}

// goesOn judges a read by those earlier ones that had ended when it began, up to the first it goes back behind.
func (v *versions) goesOn(earlier []*read, s *read) (violations []Violation) {
	for _, r := range earlier {
		if r.Return >= s.Call {
			continue
		}
		for value := range r.shows {
			if x := v.byValue[value]; x != nil && !s.shows[value] && !v.coverable(x, s) {
				violations = append(violations, v.wrong(s, "does not show %v, which was shown at %v by node %d", x, r.Return, r.Node))
			}
		}
		for value := range s.shows {
			if x := v.byValue[value]; x != nil && !r.shows[value] && r.seen.knows(x) {
				violations = append(violations, v.wrong(s, "shows %v, which was gone at %v on node %d", x, r.Return, r.Node))
			}
		}
		if len(violations) > 0 {
			return violations
		}
	}
	return violations
}

// coverable tells whether a write that covers x was sent before the read ended.
func (v *versions) coverable(x *write, r *read) bool {
	return slices.ContainsFunc(v.writes, func(w *write) bool { return w.Call < r.Return && w.covers(x) })
}

func (v *versions) wrong(r *read, format string, args ...any) Violation {
	what := fmt.Sprintf(format, args...)
	return Violation{v.key, fmt.Sprintf("VGET by worker %d of node %d, %v to %v, %s", r.Worker, r.Node, r.Call, r.Return, what)}
}

// oneWriter tells whether all writes of the key are one worker's, each covering the one before, and
// at most the last of unknown outcome.
func (v *versions) oneWriter() bool {
	for i, w := range v.writes {
		if w.Worker != v.writes[0].Worker || w.tombstone() || i < len(v.writes)-1 && !w.acknowledged() {
			return false
		}
		if i > 0 && !w.covers(v.writes[i-1]) {
			return false
		}
	}
	return len(v.writes) > 0
}

// linearizable judges a key of one writer as a register.
func (v *versions) linearizable() []Violation {
	var accesses []Access
	for _, w := range v.writes {
		end := w.Return
		if !w.acknowledged() {
			end = forever
		}
		accesses = append(accesses, Access{Write: true, Value: w.Value, Call: w.Call, Return: end})
	}
	for _, r := range v.reads {
		if len(r.Values) > 1 {
			return []Violation{v.wrong(r, "shows %d siblings, though each write covered the one before", len(r.Values))}
		}
		value := ""
		if len(r.Values) == 1 {
			value = r.Values[0]
		}
		accesses = append(accesses, Access{Value: value, Call: r.Call, Return: r.Return})
	}
	if err := Linearizable(accesses); err != nil {
		return []Violation{{v.key, "not one register: " + err.Error()}}
	}
	return nil
}
