package check

import (
	"fmt"
	"strings"
)

// ElementSeparator stands between the elements of a set in a value.
const ElementSeparator = ","

// SetAdd judges sets to which each VSET adds one element: its value is the union of all siblings that
// its worker read, and the element. Every element that was acknowledged is in the union of the final
// siblings on every node; one of unknown outcome may be; nothing else is.
func SetAdd(h *History) (violations []Violation) {
	operations, finals := byKey(h.Operations), byKey(h.Finals)
	for _, key := range keysOf(h) {
		reads, silent := answered(h, key, finals[key])
		violations = append(violations, silent...)
		added := map[string]*Operation{}
		for _, o := range operations[key] {
			if o.Command == VSet {
				added[o.Element] = o
			}
		}
		for _, o := range operations[key] {
			if o.Command == VGet && o.Outcome == Acknowledged {
				violations = append(violations, onlyAdded(o, union(o.Values), added)...)
			}
		}
		for _, o := range reads {
			elements := union(o.Values)
			violations = append(violations, onlyAdded(o, elements, added)...)
			for element, add := range added {
				if add.Outcome == Acknowledged && !elements[element] {
					what := fmt.Sprintf("element %q, acknowledged by node %d at %v, is not on node %d in the end", element, add.Node, add.Return, o.Node)
					violations = append(violations, Violation{key, what})
				}
			}
		}
	}
	return violations
}

// onlyAdded reports elements that nobody had sent when the read ended, or that were refused.
func onlyAdded(read *Operation, elements map[string]bool, added map[string]*Operation) (violations []Violation) {
	for element := range elements {
		add := added[element]
		var what string
		switch {
		case add == nil || add.Call > read.Return:
			what = "nobody had sent"
		case add.Outcome == Refused:
			what = "was refused"
		default:
			continue
		}
		what = fmt.Sprintf("node %d shows element %q at %v, which %s", read.Node, element, read.Return, what)
		violations = append(violations, Violation{read.Key, what})
	}
	return violations
}

// union is the set of all elements of the values.
func union(values []string) map[string]bool {
	elements := map[string]bool{}
	for _, value := range values {
		for element := range strings.SplitSeq(value, ElementSeparator) {
			if element != "" {
				elements[element] = true
			}
		}
	}
	return elements
}
