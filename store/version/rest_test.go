package version

import (
	"bytes"
	"testing"
)

func TestAnObjectThatRestsKeepsLittle(t *testing.T) {
	var small, large Object
	for i := range HLC(2 * restSiblings) {
		s := Sibling{Dot: Dot{Incarnation(1 + i), 10 + i}, Written: 10 + i, Payload: bytes.Repeat([]byte("v"), 100)}
		if i == 0 {
			small.Put(nil, s)
		}
		large.Put(nil, s)
	}
	var o Object
	use := func(of *Object) {
		if err := o.Decode(AppendObject(nil, of)); err != nil {
			t.Fatal(err)
		}
		o.Siblings = o.Siblings[:0] // what was there is still behind the end
		o.Rest()
		if len(o.Siblings) > 0 || len(o.Clock) > 0 || o.Type != 0 {
			t.Errorf("it has %v", o)
		}
		for _, s := range o.Siblings[:cap(o.Siblings)] {
			if s.Payload != nil {
				t.Error("it holds a payload")
			}
		}
	}
	use(&large)
	if cap(o.Siblings) > restSiblings {
		t.Errorf("it keeps room for %d siblings", cap(o.Siblings))
	}
	use(&small)
	form := AppendObject(nil, &small)
	if n := testing.AllocsPerRun(10, func() { _ = o.Decode(form); o.Rest() }); n != 0 {
		t.Errorf("%v allocations of one that is used again", n)
	}
}
