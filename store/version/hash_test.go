package version

import (
	"slices"
	"testing"

	"pgregory.net/rapid"
)

func TestMergeInIsMergeInPlace(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		a, b := drawObject(t, "a"), drawObject(t, "b")
		want := Merge(&a, &b)
		got, b0 := clone(a), clone(b)
		if rapid.Bool().Draw(t, "room") {
			got.Siblings = slices.Grow(got.Siblings, 20)
			got.Clock = slices.Grow(got.Clock, 20)
		}
		changed := got.MergeIn(&b)
		if !got.Equal(&want) {
			t.Fatalf("%v merged in place with %v is %v, want %v", a, b, got, want)
		}
		if changed == got.Equal(&a) {
			t.Fatalf("%v merged with %v is %v: changed is %v", a, b, got, changed)
		}
		if !b.Equal(&b0) {
			t.Fatal("it changed its argument")
		}
	})
}

func TestMergeInAllocatesNothingForAnOverwrite(t *testing.T) {
	var o, newer Object
	o.Put(nil, Sibling{Dot: Dot{1, 10}, Written: 10, Payload: []byte("a")})
	newer.Put(o.Clock, Sibling{Dot: Dot{1, 20}, Written: 20, Payload: []byte("b")})
	var work Object
	work.MergeIn(&o)
	n := testing.AllocsPerRun(100, func() {
		work.Reset()
		work.MergeIn(&o)
		work.MergeIn(&newer)
	})
	if n != 0 {
		t.Errorf("%v allocations", n)
	}
}

func TestEqualObjectsAndOnlyTheyHaveEqualHashes(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		a, b := drawObject(t, "a"), drawObject(t, "b")
		if rapid.Bool().Draw(t, "one field") { // apart
			b = clone(a)
			alter(t, &b)
		}
		for _, o := range []*Object{&a, &b} {
			if h := o.Hash(); (h == 0) != (len(o.Siblings) == 0) {
				t.Fatalf("the hash of %v is %x", o, h)
			}
			if h := HashEncoded(AppendObject(nil, o)); h != o.Hash() {
				t.Fatalf("the hash of %v is %x, that of its form %x", o, o.Hash(), h)
			}
		}
		same := a.Equal(&b) || len(a.Siblings)+len(b.Siblings) == 0
		if (a.Hash() == b.Hash()) != same {
			t.Fatalf("the hash of %v is %x, of %v %x", a, a.Hash(), b, b.Hash())
		}
	})
}

// alter changes one field, where there is one that can be.
func alter(t *rapid.T, o *Object) {
	if len(o.Siblings) == 0 {
		return
	}
	s := &o.Siblings[len(o.Siblings)-1]
	switch rapid.IntRange(0, 4).Draw(t, "field") {
	case 0:
		o.Clock = append(o.Clock, Dot{1 << 60, 1})
	case 1:
		o.Clock[0].HLC += 7
	case 2:
		if s.Tombstone = !s.Tombstone; s.Tombstone {
			s.Payload, s.ExpireAtMS = nil, 0
		}
	case 3:
		if !s.Tombstone {
			s.ExpireAtMS += 1 << 40
		}
	case 4:
		o.Siblings = o.Siblings[:len(o.Siblings)-1]
	}
}

// Nodes of different versions compare hashes: they never change.
func TestHashesAreTheGoldenOnes(t *testing.T) {
	golden := map[string]uint64{
		"value":                0x0276f657667aa592,
		"empty-value":          0x0276f657667aa592,
		"expiring":             0xceb4178166d1f5e1,
		"expiring-before-1970": 0xea3a470d97e36f6d,
		"tombstone":            0xf64269fe9a40ec44,
		"touched":              0xdeb57e1fc1ac6ff2,
		"older":                0x4efdcd02b31edbf5,
		"extremes":             0x1dd43120d0fb81b1,
		"siblings":             0x1270394f5bac0129,
	}
	for _, named := range goldenObjects() {
		if h := named.object.Hash(); h != golden[named.name] {
			t.Errorf("%q: 0x%016x,", named.name, h)
		}
	}
}

func FuzzHashEncoded(f *testing.F) {
	for _, named := range goldenObjects() {
		f.Add(AppendObject(nil, &named.object))
	}
	f.Fuzz(func(t *testing.T, b []byte) {
		h := HashEncoded(b)
		var o Object
		if o.DecodeTrusted(b) == nil && o.Hash() != h {
			t.Fatalf("the hash of %v is %x, that of its form %x", o, o.Hash(), h)
		}
	})
}

func BenchmarkHash(b *testing.B) {
	var o Object
	o.Put(nil, Sibling{Dot: Dot{1, 10}, Written: 10, Payload: make([]byte, 100)})
	text := AppendObject(nil, &o)
	b.Run("object", func(b *testing.B) {
		for b.Loop() {
			o.Hash()
		}
	})
	b.Run("encoded", func(b *testing.B) {
		for b.Loop() {
			HashEncoded(text)
		}
	})
}
