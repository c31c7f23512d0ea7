package version

import (
	"slices"
	"testing"

	"pgregory.net/rapid"
)

const (
	lawIncarnations = 4
	lawHLCMax       = 6
)

// siblingOf is the one sibling that a dot can be: Merge relies on a dot being the identity of a write.
func siblingOf(d Dot) Sibling {
	s := Sibling{Dot: d, Written: d.HLC}
	switch (uint64(d.Incarnation) + uint64(d.HLC)) % 4 {
	case 0:
		s.Tombstone = true
	case 1:
		s.Written = max(1, d.HLC/2)
		s.ExpireAtMS = int64(d.HLC)
		fallthrough
	default:
		s.Payload = []byte{byte(d.Incarnation), byte(d.HLC)}
	}
	return s
}

func drawClock(t *rapid.T, label string) Clock {
	var c Clock
	for incarnation := range Incarnation(lawIncarnations) {
		if h := HLC(rapid.IntRange(0, lawHLCMax).Draw(t, label)); h > 0 {
			c = append(c, Dot{incarnation, h})
		}
	}
	return c
}

// drawObject draws any object that keeps the invariants, whether or not writes could lead to it.
func drawObject(t *rapid.T, label string) Object {
	o := Object{Clock: drawClock(t, label)}
	for _, entry := range o.Clock {
		for h := HLC(1); h <= entry.HLC; h++ {
			if rapid.Bool().Draw(t, label) {
				o.Siblings = append(o.Siblings, siblingOf(Dot{entry.Incarnation, h}))
			}
		}
	}
	slices.SortFunc(o.Siblings, func(a, b Sibling) int { return b.compare(&a) })
	if len(o.Siblings) > 0 || rapid.Bool().Draw(t, "typed") {
		o.Type = TypeString
	}
	return o
}

func clone(o Object) Object {
	return Object{o.Type, slices.Clone(o.Clock), slices.Clone(o.Siblings)}
}

func TestMergeIsCommutativeAssociativeIdempotentAndLeavesItsArguments(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		a, b, c := drawObject(t, "a"), drawObject(t, "b"), drawObject(t, "c")
		a0, b0 := clone(a), clone(b)
		ab, ba := Merge(&a, &b), Merge(&b, &a)
		if !ab.Equal(&ba) {
			t.Fatalf("a with b is %v, b with a is %v", ab, ba)
		}
		if aa := Merge(&a, &a); !aa.Equal(&a) {
			t.Fatalf("a with a is %v, a is %v", aa, a)
		}
		if again := Merge(&ab, &b); !again.Equal(&ab) {
			t.Fatalf("a with b twice is %v, once %v", again, ab)
		}
		bc := Merge(&b, &c)
		left, right := Merge(&ab, &c), Merge(&a, &bc)
		if !left.Equal(&right) {
			t.Fatalf("(a b) c is %v, a (b c) is %v", left, right)
		}
		if !a.Equal(&a0) || !b.Equal(&b0) {
			t.Fatal("merge changed its arguments")
		}
		AppendObject(nil, &ab) // panics on an object that breaks the invariants
	})
}

func TestMergeKeepsWhatNeitherSideHasSeenGo(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		a, b := drawObject(t, "a"), drawObject(t, "b")
		merged := Merge(&a, &b)
		has := func(o *Object, d Dot) bool {
			return slices.ContainsFunc(o.Siblings, func(s Sibling) bool { return s.Dot == d })
		}
		for incarnation := range Incarnation(lawIncarnations) {
			for h := HLC(1); h <= lawHLCMax; h++ {
				d := Dot{incarnation, h}
				goneA := a.Clock.Covers(d) && !has(&a, d)
				goneB := b.Clock.Covers(d) && !has(&b, d)
				seen := a.Clock.Covers(d) || b.Clock.Covers(d)
				if got, want := has(&merged, d), seen && !goneA && !goneB; got != want {
					t.Fatalf("%v is in the merge of %v and %v: %v", d, a, b, got)
				}
				if merged.Clock.Covers(d) != seen {
					t.Fatalf("the merge's clock covers %v: %v", d, !seen)
				}
			}
		}
	})
}

func TestClockOrderIsThatOfWhatWasSeen(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		a, b := drawClock(t, "a"), drawClock(t, "b")
		all := true
		for _, d := range b {
			all = all && a.Covers(d)
		}
		if a.Descends(b) != all {
			t.Fatalf("%v descends from %v: %v", a, b, !all)
		}
		joined := Join(a, b)
		if !joined.Descends(a) || !joined.Descends(b) || !joined.Equal(Join(b, a)) || a.Descends(b) != joined.Equal(a) {
			t.Fatalf("%v joined with %v is %v", a, b, joined)
		}
	})
}

func TestPutCoversExactlyContextClockAndDot(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		o, context := drawObject(t, "object"), drawClock(t, "context")
		before, contextBefore := clone(o), slices.Clone(context)
		dot := Dot{Incarnation(rapid.IntRange(0, lawIncarnations).Draw(t, "by")), lawHLCMax + 1}
		o.Put(context, siblingOf(dot))
		if want := Join(Join(before.Clock, contextBefore), Clock{dot}); !o.Clock.Equal(want) {
			t.Fatalf("clock %v, want %v", o.Clock, want)
		}
		want := Object{Type: TypeString, Clock: o.Clock, Siblings: []Sibling{siblingOf(dot)}}
		for _, s := range before.Siblings {
			if !contextBefore.Covers(s.Dot) {
				want.Siblings = append(want.Siblings, s)
			}
		}
		slices.SortFunc(want.Siblings, func(a, b Sibling) int { return b.compare(&a) })
		if !o.Equal(&want) {
			t.Fatalf("got %v, want %v", o, want)
		}
	})
}

func TestPutRefusesWhatCouldBeLost(t *testing.T) {
	object := func() Object {
		var o Object
		o.Put(nil, Sibling{Dot: Dot{1, 10}, Written: 10})
		return o
	}
	for name, put := range map[string]func(o *Object){
		"a dot at the object's":     func(o *Object) { o.Put(nil, Sibling{Dot: Dot{2, 10}, Written: 1}) },
		"a dot below the context's": func(o *Object) { o.Put(Clock{{3, 20}}, Sibling{Dot: Dot{2, 11}, Written: 1}) },
		"written never":             func(o *Object) { o.Put(nil, Sibling{Dot: Dot{2, 11}}) },
		"written after its dot":     func(o *Object) { o.Put(nil, Sibling{Dot: Dot{2, 11}, Written: 12}) },
		"a tombstone with payload": func(o *Object) {
			o.Put(nil, Sibling{Dot: Dot{2, 11}, Written: 11, Tombstone: true, Payload: []byte("x")})
		},
		"a tombstone that expires": func(o *Object) {
			o.Put(nil, Sibling{Dot: Dot{2, 11}, Written: 11, Tombstone: true, ExpireAtMS: 1})
		},
	} {
		t.Run(name, func(t *testing.T) {
			o := object()
			mustPanic(t, func() { put(&o) })
			if want := object(); !o.Equal(&want) {
				t.Errorf("the refused put left %v", o)
			}
		})
	}
}

func mustPanic(t *testing.T, f func()) {
	t.Helper()
	defer func() {
		if recover() == nil {
			t.Error("no panic")
		}
	}()
	f()
}

func TestFlushCommutesWithMergeAndKeepsTheClock(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		a, b := drawObject(t, "a"), drawObject(t, "b")
		mark := HLC(rapid.IntRange(0, lawHLCMax+1).Draw(t, "mark"))
		late := Merge(&a, &b)
		late.Flush(mark)
		flushed := clone(a)
		flushed.Flush(mark)
		if !flushed.Clock.Equal(a.Clock) {
			t.Fatalf("flush changed the clock %v to %v", a.Clock, flushed.Clock)
		}
		// A replica that has not flushed brings nothing back that the flushed one had seen.
		back := Merge(&flushed, &b)
		for _, s := range back.Siblings {
			if s.Written <= mark && a.Clock.Covers(s.Dot) {
				t.Fatalf("%v came back", s)
			}
		}
		b.Flush(mark)
		if early := Merge(&flushed, &b); !early.Equal(&late) {
			t.Fatalf("flushed, then merged: %v; merged, then flushed: %v", early, late)
		}
	})
}

func TestPruneWaitsForTheWholeObject(t *testing.T) {
	o := Object{Type: TypeString, Clock: Clock{{1, 3}, {2, 9}}, Siblings: []Sibling{{Dot: Dot{2, 9}, Written: 9}}}
	o.Prune(8)
	if len(o.Clock) != 2 {
		t.Fatalf("pruned below its newest entry: %v", o.Clock)
	}
	o.Prune(9)
	if !o.Clock.Equal(Clock{{2, 9}}) {
		t.Fatalf("kept %v", o.Clock)
	}
	o.Flush(9)
	o.Prune(9)
	if len(o.Clock) != 0 {
		t.Fatalf("an object without siblings kept %v", o.Clock)
	}
}

func TestDeadSiblingsTakePartInLastWriteWins(t *testing.T) {
	o := Object{Type: TypeString, Clock: Clock{{1, 9}}, Siblings: []Sibling{
		{Dot: Dot{1, 8}, Written: 8, ExpireAtMS: 100},
		{Dot: Dot{1, 9}, Written: 5, Payload: []byte("touched")},
	}}
	for nowMS, alive := range map[int64]bool{99: true, 100: false, 101: false} {
		if got := o.Alive(nowMS) != nil; got != alive {
			t.Errorf("at %d ms a reader sees a value: %v", nowMS, got)
		}
		if o.DeadAt(nowMS) {
			t.Errorf("at %d ms the older sibling is not counted alive", nowMS)
		}
	}
	if o.Winner().Dot != (Dot{1, 8}) {
		t.Errorf("a touch beat a newer value")
	}
}

func TestResetKeepsNoPayload(t *testing.T) {
	o := Object{Type: TypeString, Clock: Clock{{1, 9}}, Siblings: []Sibling{{Dot: Dot{1, 9}, Written: 9, Payload: []byte("x")}}}
	siblings := o.Siblings
	o.Reset()
	if !o.Equal(&Object{}) || siblings[0].Payload != nil {
		t.Errorf("left %v, memory %v", o, siblings)
	}
}
