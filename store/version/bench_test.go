package version

import "testing"

func benchObject() Object {
	h := MakeHLC(1_700_000_000_000, 0)
	clock := Clock{{1 << 60, h}, {2 << 60, h + 1}, {3 << 60, h + 2}}
	return Object{TypeString, clock, []Sibling{{Dot: clock[2], Written: h + 2, Payload: make([]byte, 100)}}}
}

func BenchmarkPut(b *testing.B) {
	b.ReportAllocs()
	o := benchObject()
	s := o.Siblings[0]
	for b.Loop() {
		s.Dot.HLC++
		s.Written = s.Dot.HLC
		o.Put(o.Clock, s)
	}
}

func BenchmarkAppendObject(b *testing.B) {
	b.ReportAllocs()
	o := benchObject()
	var dst []byte
	for b.Loop() {
		dst = AppendObject(dst[:0], &o)
	}
}

func BenchmarkDecodeTrusted(b *testing.B) {
	b.ReportAllocs()
	o := benchObject()
	encoded := AppendObject(nil, &o)
	for b.Loop() {
		if err := o.DecodeTrusted(encoded); err != nil {
			b.Fatal(err)
		}
	}
}
