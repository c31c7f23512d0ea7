package check

import (
	"fmt"
	"maps"
	"slices"
	"testing"
	"time"

	"pgregory.net/rapid"
)

// owned is a model of the owners of one key, which records what clients see.
type owned struct {
	History
	owners []Copy
	hlc    uint64
	now    time.Duration
	lost   map[int]bool
	values map[Dot]string
}

func newOwned(owners int) *owned {
	r := &owned{owners: make([]Copy, owners), lost: map[int]bool{}, values: map[Dot]string{}}
	for i := range r.owners {
		r.owners[i] = Copy{Owner: fmt.Sprint("owner", i), Clock: Clock{}}
	}
	return r
}

func (r *owned) take() time.Duration {
	r.now += time.Second
	return r.now
}

// merged is the merge of two copies, as design.md has it.
func merged(a, b Copy) Copy {
	kept := Copy{Owner: a.Owner, Clock: join(a.Clock, b.Clock)}
	for _, d := range a.Siblings {
		if slices.Contains(b.Siblings, d) || !b.Clock.covers(d) {
			kept.Siblings = append(kept.Siblings, d)
		}
	}
	for _, d := range b.Siblings {
		if !slices.Contains(a.Siblings, d) && !a.Clock.covers(d) {
			kept.Siblings = append(kept.Siblings, d)
		}
	}
	return kept
}

func (r *owned) send(c Copy, to []int) {
	for _, i := range to {
		r.owners[i] = merged(r.owners[i], c)
	}
}

// write is a VSET at the first of the owners, which the others get too. W is how many they are.
func (r *owned) write(value, context string, at ...int) Operation {
	given, err := ParseContext(context, key)
	if err != nil {
		panic(err)
	}
	call := r.take()
	r.hlc++
	dot := Dot{uint64(at[0] + 1), r.hlc}
	c := &r.owners[at[0]]
	c.Siblings = slices.DeleteFunc(slices.Clone(c.Siblings), given.covers)
	returned := join(given, Clock{dot.Incarnation: dot.HLC})
	if slices.ContainsFunc(c.Siblings, returned.covers) {
		returned = given
	}
	c.Siblings = append(c.Siblings, dot)
	c.Clock = join(join(c.Clock, given), Clock{dot.Incarnation: dot.HLC})
	r.send(*c, at[1:])
	o := Operation{
		Command: VSet, Key: key, Value: value, Context: context, Call: call, Return: call + 1,
		Outcome: Acknowledged, Seen: token(returned, key), W: len(at),
	}
	r.values[dot] = value
	r.Operations = append(r.Operations, o)
	return o
}

// read is a strict VGET from the owners, which hold afterwards what it shows.
func (r *owned) read(from ...int) Operation {
	c := Copy{Clock: Clock{}}
	for _, i := range from {
		c = merged(c, r.owners[i])
	}
	r.send(c, from)
	call := r.take()
	o := Operation{Command: VGet, Key: key, Call: call, Return: call + 1, Outcome: Acknowledged, Strict: true, Seen: token(c.Clock, key)}
	for _, d := range c.Siblings {
		o.Values = append(o.Values, r.values[d])
	}
	r.Operations = append(r.Operations, o)
	return o
}

func (r *owned) explain() *History {
	o := Operation{Command: VExplain, Key: key, Call: r.take(), Return: r.now + 1, Outcome: Acknowledged}
	for i, c := range r.owners {
		if r.lost[i] {
			c = Copy{Owner: c.Owner, Error: "down"}
		}
		c.Clock, c.Siblings = maps.Clone(c.Clock), slices.Clone(c.Siblings)
		o.Copies = append(o.Copies, c)
	}
	r.Explained = append(r.Explained, o)
	return &r.History
}

// TestCopiesAcceptsReplicasThatKeepTheirWord writes with any W, reads strictly, and may lose an owner for good.
func TestCopiesAcceptsReplicasThatKeepTheirWord(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		r := newOwned(3)
		contexts := []string{""}
		for n := range rapid.IntRange(1, 25).Draw(t, "operations") {
			some := rapid.Permutation([]int{0, 1, 2}).Draw(t, "owners")
			switch rapid.IntRange(0, 3).Draw(t, "kind") {
			case 0:
				contexts = append(contexts, r.read(some[:2]...).Seen)
			case 1:
				r.explain()
			default:
				context := rapid.SampledFrom(contexts).Draw(t, "context")
				r.write(fmt.Sprint("v", n), context, some[:rapid.IntRange(1, 3).Draw(t, "W")]...)
			}
		}
		if rapid.Bool().Draw(t, "lose") {
			r.lost[rapid.IntRange(0, 2).Draw(t, "owner")] = true
			r.Lost = 1
		}
		clean(t, Copies(r.explain()))
	})
}

// TestCopiesFinds breaks one thing at a time in replicas that hold b and c, which cover a.
func TestCopiesFinds(t *testing.T) {
	for name, c := range map[string]struct {
		broken func(e *Operation)
		saying string
	}{
		"a copy less than acknowledged": {func(e *Operation) {
			e.Copies[2].Clock, e.Copies[2].Siblings = Clock{}, nil
		}, `acknowledged by 3 replicas, and is on 2: [owner0 owner1]`},
		"a strict read that was not written back": {func(e *Operation) {
			for i := range e.Copies {
				delete(e.Copies[i].Clock, 2)
				e.Copies[i].Siblings = slices.DeleteFunc(e.Copies[i].Siblings, func(d Dot) bool { return d.Incarnation == 2 })
			}
		}, `showed at`},
		"a sibling that an owner forgot": {func(e *Operation) {
			e.Copies[1].Siblings = e.Copies[1].Siblings[:1]
		}, `owner owner1 has seen VSET "c"`},
		"a sibling that is covered": {func(e *Operation) {
			e.Copies[1].Siblings = append(e.Copies[1].Siblings, Dot{1, 1})
		}, `owner owner1 holds VSET "a"`},
		"an owner that is silent": {func(e *Operation) { e.Copies[0] = Copy{Owner: "owner0", Error: "down"} }, `owner owner0 does not answer: down`},
		"VEXPLAIN that is silent": {func(e *Operation) { e.Outcome, e.Error = Unknown, "gone" }, `no answer: gone`},
		"all copies of the last":  {func(e *Operation) { clear(e.Copies[0].Clock); clear(e.Copies[1].Clock); clear(e.Copies[2].Clock) }, `and is on 0`},
	} {
		t.Run(name, func(t *testing.T) {
			r := newOwned(3)
			r.write("a", "", 0, 1)
			context := r.read(0, 2).Seen
			r.write("b", context, 0, 1, 2)
			r.write("c", context, 1, 0)
			r.read(1, 2)
			h := r.explain()
			clean(t, Copies(h))
			c.broken(&h.Explained[0])
			finds(t, Copies(h), c.saying)
		})
	}
}

// TestCopiesAllowsForPurging: what was deleted may be gone from all owners without a trace, and nothing else.
func TestCopiesAllowsForPurging(t *testing.T) {
	r := newOwned(3)
	r.write("a", "", 0, 1, 2)
	seen := r.read(0, 1).Seen
	r.write("b", seen, 0, 1, 2)
	h := r.explain()
	for i := range h.Explained[0].Copies {
		h.Explained[0].Copies[i] = Copy{Owner: fmt.Sprint("owner", i)}
	}
	finds(t, Copies(h), `VSET "a"`)
	finds(t, Copies(h), "showed at")
	last := &h.Operations[len(h.Operations)-1]
	last.Command, last.Value = VDel, ""
	clean(t, Copies(h))
}

// TestCopiesAllowsForPrunedClocks: of three writes at three owners, each covering the one before, only the last has
// to be in the clocks. The one between may be of unknown outcome.
func TestCopiesAllowsForPrunedClocks(t *testing.T) {
	for _, outcome := range []Outcome{Acknowledged, Unknown} {
		for last := range 3 {
			r := newOwned(3)
			r.write("a", "", 0, 1, 2)
			r.write("b", r.read(0, 1).Seen, 1, 0, 2)
			if b := &r.Operations[len(r.Operations)-1]; outcome == Unknown {
				b.Outcome, b.Seen = Unknown, ""
			}
			r.read(0, 1)
			pruned := token(Clock{2: 2}, key) // of a
			r.Operations[len(r.Operations)-1].Seen = pruned
			r.write("c", pruned, last, (last+1)%3, (last+2)%3)
			h := r.explain()
			for i := range h.Explained[0].Copies {
				h.Explained[0].Copies[i].Clock = Clock{uint64(last + 1): 3}
			}
			clean(t, Copies(h))
			h.Explained[0].Copies[0].Clock = Clock{9: 1}
			finds(t, Copies(h), `VSET "a"`)
		}
	}
}

// TestCopiesAllowsForAnUnknownSibling: it may be the write that covers what the clock was pruned of.
func TestCopiesAllowsForAnUnknownSibling(t *testing.T) {
	r := newOwned(3)
	r.write("a", "", 0, 1, 2)
	r.write("b", r.read(0, 1).Seen, 1, 0, 2)
	b := &r.Operations[len(r.Operations)-1]
	b.Outcome, b.Seen = Unknown, ""
	h := r.explain()
	for i := range h.Explained[0].Copies {
		h.Explained[0].Copies[i].Clock = Clock{2: 2}
	}
	h.Operations = slices.DeleteFunc(h.Operations, func(o Operation) bool { return o.Command == VGet })
	clean(t, Copies(h))
	h.Explained[0].Copies[0].Siblings = nil
	finds(t, Copies(h), `VSET "a"`)
}

// TestCopiesAllowsForOneLostOwner: a lost disk takes one copy with it, and not two.
func TestCopiesAllowsForOneLostOwner(t *testing.T) {
	r := newOwned(3)
	r.write("a", "", 0, 1)
	r.lost[0], r.Lost = true, 1
	h := r.explain()
	clean(t, Copies(h))
	h.Explained[0].Copies[1] = Copy{Owner: "owner1", Clock: Clock{}}
	finds(t, Copies(h), "and is on 0")
	h.Explained[0].Copies[2].Error = "down too"
	finds(t, Copies(h), "owner owner2 does not answer")
}
