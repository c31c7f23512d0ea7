package check

import (
	"slices"
	"testing"

	"pgregory.net/rapid"
)

func TestSiblingsAcceptsAnExactStore(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		clean(t, Siblings(draw(t, 25).finish()))
	})
}

// possible tells by trying all of them whether some set of unknown writes leaves exactly these values. What covers what is
// known from the dots, or only from what the clients were told.
func (w *world) possible(values []string, covers func(given Clock, o *Operation) bool) bool {
	var writes, unknown []*Operation
	shown := map[string]bool{}
	for i := range w.Operations {
		o := &w.Operations[i]
		for _, value := range o.Values {
			shown[value] = true
		}
		switch {
		case o.Command == VGet:
		case o.Outcome == Acknowledged || shown[o.Value]:
			writes = append(writes, o)
		default:
			unknown = append(unknown, o)
		}
	}
	for i := 0; i < len(unknown); i++ { // it may have been shown later
		if shown[unknown[i].Value] {
			writes = append(writes, unknown[i])
			unknown = slices.Delete(unknown, i, i+1)
			i--
		}
	}
	want := slices.Sorted(slices.Values(values))
	for set := range 1 << len(unknown) {
		applied := slices.Clone(writes)
		for i, o := range unknown {
			if set&(1<<i) != 0 {
				applied = append(applied, o)
			}
		}
		if slices.Equal(survivors(applied, covers), want) {
			return true
		}
	}
	return false
}

// survivors is the naive model: of the applied writes those that no context of another covers.
func survivors(applied []*Operation, covers func(given Clock, o *Operation) bool) (values []string) {
	for _, o := range applied {
		covered := slices.ContainsFunc(applied, func(by *Operation) bool {
			given, _ := ParseContext(by.Context, key)
			return by != o && covers(given, o)
		})
		if o.Command == VSet && !covered {
			values = append(values, o.Value)
		}
	}
	slices.Sort(values)
	return values
}

// covers is by the dots, those too that no client was told.
func (w *world) covers(given Clock, o *Operation) bool {
	dot, applied := w.dots[o.Value]
	return applied && given.covers(dot)
}

// knownToCover is covers where clients can tell: the write's reply told its dot, or the context is of a read that
// showed the value, or descends from one.
func (w *world) knownToCover(given Clock, o *Operation) bool {
	return w.covers(given, o) && (tellsDot(o) || slices.ContainsFunc(w.Operations, func(by Operation) bool {
		seen, _ := ParseContext(by.Seen, key)
		return by.Command == VGet && slices.Contains(by.Values, o.Value) && given.descends(seen)
	}))
}

// tellsDot says whether the reply to a write tells its dot.
func tellsDot(o *Operation) bool {
	given, _ := ParseContext(o.Context, key)
	returned, _ := ParseContext(o.Seen, key)
	return o.Outcome == Acknowledged && !given.descends(returned)
}

// TestSiblingsIsExact shows the checker any set of final values, and holds its verdict against all worlds, as far as the clients can
// tell them apart: a writer may be told a context that covers what it never saw, since somebody else had covered it.
func TestSiblingsIsExact(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		w := draw(t, 14)
		var all []string
		for _, o := range w.Operations {
			if o.Command == VSet {
				all = append(all, o.Value)
			}
		}
		// Most sets are absurd: change a little of what is there.
		values := w.show(-1, 0).Values
		for range rapid.IntRange(0, 2).Draw(t, "changes") {
			if len(all) == 0 {
				break
			}
			value := rapid.SampledFrom(all).Draw(t, "value")
			if i := slices.Index(values, value); i >= 0 {
				values = slices.Delete(values, i, i+1)
			} else {
				values = append(values, value)
			}
		}
		slices.SortFunc(values, func(a, b string) int { return int(w.dots[b].HLC) - int(w.dots[a].HLC) })
		possible, asTold := w.possible(values, w.covers), w.possible(values, w.knownToCover)
		h := w.finish()
		for i := range h.Finals {
			h.Finals[i].Values = values
			// What a final read shows tells nothing beyond that it is there.
		}
		if violations := Siblings(h); (len(violations) == 0) != asTold {
			t.Fatalf("final values %q possible: %t, as far as clients know: %t, but\n%s", values, possible, asTold, whats(violations))
		}
	})
}

// twoSiblings is a history that ends with the siblings b and c, which both cover a.
func twoSiblings() *world {
	w := newWorld(2)
	w.write(Operation{Command: VSet, Value: "a", Outcome: Acknowledged}, 1, true)
	context := w.read(0, 0).Seen
	w.write(Operation{Command: VSet, Value: "b", Context: context, Outcome: Acknowledged}, 1, true)
	w.write(Operation{Command: VSet, Value: "c", Context: context, Outcome: Acknowledged}, 2, true)
	return w
}

func TestSiblingsFinds(t *testing.T) {
	for name, c := range map[string]struct {
		values []string
		saying string
	}{
		"a missing sibling":      {[]string{"c"}, `"b" (worker 0, node 0, 3s to 3.999999999s, acknowledged) is missing`},
		"all missing":            {nil, "is missing, and nothing covers it"},
		"an extra sibling":       {[]string{"c", "b", "a"}, "is there, though"},
		"one from nowhere":       {[]string{"x", "c", "b"}, "which nobody wrote"},
		"a sibling twice":        {[]string{"c", "c", "b"}, "twice"},
		"siblings in bad order":  {[]string{"b", "c"}, "stands behind"},
		"a resurrected sibling":  {[]string{"a"}, "is there, though"},
		"the older for a newer ": {[]string{"b", "a"}, "is there, though"},
	} {
		t.Run(name, func(t *testing.T) {
			h := twoSiblings().finish()
			clean(t, Siblings(h))
			for i := range h.Finals {
				h.Finals[i].Values = c.values
			}
			finds(t, Siblings(h), c.saying)
		})
	}
}

func TestSiblingsFindsNodesThatDiffer(t *testing.T) {
	h := twoSiblings().finish()
	h.Finals[1].Values = []string{"c"}
	finds(t, Siblings(h), "2 different sets")
}

func TestSiblingsFindsASilentNode(t *testing.T) {
	h := twoSiblings().finish()
	h.Finals = h.Finals[:1]
	finds(t, Siblings(h), "answered by 1 nodes of 2")
	h.Finals[0].Outcome = Unknown
	finds(t, Siblings(h), "does not answer")
}

func TestSiblingsFindsADeletedValueThatReturns(t *testing.T) {
	w := newWorld(1)
	w.write(Operation{Command: VSet, Value: "a", Outcome: Acknowledged}, 1, true)
	w.write(Operation{Command: VDel, Context: w.read(0, 0).Seen, Outcome: Acknowledged}, 1, true)
	h := w.finish()
	clean(t, Siblings(h))
	h.Finals[0].Values = []string{"a"}
	finds(t, Siblings(h), "is there, though VDEL")
}

func TestSiblingsFindsARefusedWriteThatWasApplied(t *testing.T) {
	w := newWorld(1)
	w.write(Operation{Command: VSet, Value: "a", Outcome: Refused, Error: "NOREPLICAS"}, 1, true)
	finds(t, Siblings(w.finish()), "which was refused: NOREPLICAS")
}

func TestSiblingsFindsAContextThatCoversTheUnseen(t *testing.T) {
	w := twoSiblings()
	w.Operations[2].Seen = token(w.clock, key)
	w.Operations[2].Context = ""
	finds(t, Siblings(w.finish()), errReturned.Error())
}

// TestSiblingsFindsASeenValueOfUnknownOutcomeThatIsLost: who has seen it knows that it was applied.
func TestSiblingsFindsASeenValueOfUnknownOutcomeThatIsLost(t *testing.T) {
	w := newWorld(1)
	w.write(Operation{Command: VSet, Value: "a", Outcome: Unknown}, 1, true)
	w.read(0, 0)
	h := w.finish()
	clean(t, Siblings(h))
	h.Finals[0].Values = nil
	finds(t, Siblings(h), "was seen, is missing")
}
