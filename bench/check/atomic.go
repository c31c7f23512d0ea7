package check

import (
	"fmt"
	"slices"
	"strconv"
)

// Counters judges INCRs that ran while all nodes were well: no two got one number, one that began after
// another had ended got a greater one, and the final number on every node is the count of those
// acknowledged and at most of those of unknown outcome too.
func Counters(h *History) (violations []Violation) {
	operations, finals := byKey(h.Operations), byKey(h.Finals)
	for _, key := range keysOf(h) {
		report := func(format string, args ...any) {
			violations = append(violations, Violation{key, fmt.Sprintf(format, args...)})
		}
		reads, silent := answered(h, key, finals[key])
		violations = append(violations, silent...)
		var increments []increment
		unknown := 0
		for _, o := range operations[key] {
			if o.Command != Incr || o.Outcome == Refused {
				continue
			}
			if o.Outcome == Unknown {
				unknown++
				continue
			}
			number, err := numberOf(o)
			if err != nil {
				report("INCR by worker %d: %v", o.Worker, err)
				continue
			}
			increments = append(increments, increment{o, number})
		}
		if what := inOrder(increments); what != "" {
			report("%s", what)
		}
		for _, o := range reads {
			number, err := numberOf(o)
			if least := len(increments); err != nil || number < least || number > least+unknown {
				report("node %d ends at %q, after %d acknowledged INCRs and %d of unknown outcome", o.Node, o.Values, least, unknown)
			}
			if !slices.Equal(o.Values, reads[0].Values) {
				report("node %d ends at %q, node %d at %q", o.Node, o.Values, reads[0].Node, reads[0].Values)
			}
		}
	}
	return violations
}

type increment struct {
	*Operation
	number int
}

// inOrder says what is wrong with the numbers that the INCRs got.
func inOrder(increments []increment) string {
	got := map[int]*Operation{}
	for _, i := range increments {
		if other := got[i.number]; other != nil {
			return fmt.Sprintf("workers %d and %d both got %d", other.Worker, i.Worker, i.number)
		}
		got[i.number] = i.Operation
	}
	byCall := slices.SortedFunc(slices.Values(increments), func(a, b increment) int { return int(a.Call - b.Call) })
	byReturn := slices.SortedFunc(slices.Values(increments), func(a, b increment) int { return int(a.Return - b.Return) })
	highest := 0
	for _, i := range byCall {
		for len(byReturn) > 0 && byReturn[0].Return < i.Call {
			highest = max(highest, byReturn[0].number)
			byReturn = byReturn[1:]
		}
		if i.number < highest {
			return fmt.Sprintf("worker %d got %d at %v, after another had got %d", i.Worker, i.number, i.Return, highest)
		}
	}
	return ""
}

// numberOf is the number in a reply; none is zero.
func numberOf(o *Operation) (int, error) {
	switch len(o.Values) {
	case 0:
		return 0, nil
	case 1:
		return strconv.Atoi(o.Values[0])
	}
	return 0, fmt.Errorf("%d numbers", len(o.Values))
}

// Locks judges SETs with NX that ran while all nodes were well; the reply's values are the own value
// where it won, and none where it lost. Of each key there is one winner, which every node shows in the end,
// and nobody lost to nobody.
func Locks(h *History) (violations []Violation) {
	operations, finals := byKey(h.Operations), byKey(h.Finals)
	for _, key := range keysOf(h) {
		report := func(format string, args ...any) {
			violations = append(violations, Violation{key, fmt.Sprintf(format, args...)})
		}
		reads, silent := answered(h, key, finals[key])
		violations = append(violations, silent...)
		var winners, candidates []*Operation
		for _, o := range operations[key] {
			switch {
			case o.Command != SetNX || o.Outcome == Refused:
			case o.Outcome == Unknown:
				candidates = append(candidates, o)
			case len(o.Values) > 0:
				winners = append(winners, o)
			}
		}
		if len(winners) > 1 {
			report("%s and %s have both won", told(winners[0]), told(winners[1]))
		}
		if len(winners) > 0 {
			candidates = winners
		}
		for _, o := range operations[key] {
			lost := o.Command == SetNX && o.Outcome == Acknowledged && len(o.Values) == 0
			if lost && !slices.ContainsFunc(candidates, func(w *Operation) bool { return w.Call < o.Return }) {
				report("%s has lost, and nobody had won", told(o))
			}
		}
		for _, o := range reads {
			held := slices.ContainsFunc(candidates, func(w *Operation) bool { return slices.Equal(o.Values, []string{w.Value}) })
			if !held && (len(o.Values) > 0 || len(winners) > 0) {
				report("node %d ends with %q, which is not the winner's", o.Node, o.Values)
			}
		}
	}
	return violations
}
