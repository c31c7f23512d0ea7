package version

import (
	"bytes"
	"encoding/binary"
	"errors"
	"slices"
	"strings"
	"testing"

	"pgregory.net/rapid"
)

// seal gives bytes a right checksum, as only a peer with bad intentions does.
func seal(b []byte) []byte {
	if len(b) >= headerBytes {
		binary.BigEndian.PutUint32(b[1:], checksum(b[headerBytes:]))
	}
	return b
}

// checkCanonical fails if b is taken for an object whose form is another than b.
func checkCanonical(t rapid.TB, b []byte) {
	var o Object
	if err := o.Decode(b); err != nil {
		if !errors.Is(err, ErrCorrupt) && !errors.Is(err, ErrVersion) {
			t.Fatalf("%x: error of no known kind: %v", b, err)
		}
		if !o.Equal(&Object{}) {
			t.Fatalf("%x: left %v behind", b, o)
		}
		return
	}
	if again := AppendObject(nil, &o); !bytes.Equal(again, b) {
		t.Fatalf("%x is taken for %v, whose form is %x", b, o, again)
	}
}

func TestObjectsSurviveTheirEncoding(t *testing.T) {
	var reused Object
	rapid.Check(t, func(t *rapid.T) {
		o := drawObject(t, "object")
		prefix := rapid.SliceOfN(rapid.Byte(), 0, 3).Draw(t, "prefix")
		b := AppendObject(slices.Clone(prefix), &o)
		if !bytes.HasPrefix(b, prefix) {
			t.Fatalf("AppendObject spoiled what was there")
		}
		b = b[len(prefix):]
		if bound := encodedBytesMax(&o); len(b) > bound || bound > len(b)+12*len(o.Siblings) {
			t.Fatalf("%d bytes were bounded by %d", len(b), bound)
		}
		for _, decode := range []func([]byte) error{reused.Decode, reused.DecodeTrusted, new(Object).Decode} {
			if err := decode(b); err != nil {
				t.Fatal(err)
			}
		}
		if !reused.Equal(&o) {
			t.Fatalf("%v came back as %v", o, reused)
		}
	})
}

func TestEveryTruncatedOrFlippedEncodingIsAnError(t *testing.T) {
	for _, named := range goldenObjects() {
		b := AppendObject(nil, &named.object)
		var o Object
		for n := range b {
			if err := o.Decode(b[:n]); !errors.Is(err, ErrCorrupt) {
				t.Errorf("%s cut to %d of %d bytes: %v", named.name, n, len(b), err)
			}
			checkCanonical(t, seal(slices.Clone(b[:n])))
			_ = o.DecodeTrusted(b[:n])
		}
		for bit := range 8 * len(b) {
			flipped := slices.Clone(b)
			flipped[bit/8] ^= 1 << (bit % 8)
			if err := o.Decode(flipped); !errors.Is(err, ErrCorrupt) && !errors.Is(err, ErrVersion) {
				t.Errorf("%s with bit %d flipped: %v", named.name, bit, err)
			}
			checkCanonical(t, seal(flipped))
			_ = o.DecodeTrusted(flipped)
		}
	}
}

func TestEveryFormIsCanonical(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		o := drawObject(t, "object")
		b := AppendObject(nil, &o)
		for range rapid.IntRange(1, 3).Draw(t, "changes") {
			at := rapid.IntRange(headerBytes, len(b)-1).Draw(t, "at")
			switch rapid.IntRange(0, 2).Draw(t, "change") {
			case 0:
				b[at] = rapid.Byte().Draw(t, "byte")
			case 1:
				b = slices.Insert(b, at, rapid.SampledFrom([]byte{0, 1, 0x80, 0x81}).Draw(t, "byte"))
			case 2:
				if len(b) > headerBytes+1 {
					b = slices.Delete(b, at, at+1)
				}
			}
		}
		checkCanonical(t, seal(b))
	})
}

func TestDecodeNamesWhatIsWrong(t *testing.T) {
	entry := func(incarnation, hlc byte) string {
		return "\x00\x00\x00\x00\x00\x00\x00" + string(incarnation) + "\x00\x00\x00\x00\x00\x00\x00" + string(hlc)
	}
	hlc := func(h byte) string { return "\x00\x00\x00\x00\x00\x00\x00" + string(h) }
	clock := "\x02" + entry(1, 5) + entry(2, 7)
	for _, c := range []struct{ name, body, fault string }{
		{"no body", "", "no header"},
		{"unknown type", "\x02\x00\x00", "type 2"},
		{"no clock", "\x01", "clock cut short"},
		{"long uvarint", "\x01\x80\x00\x00", "clock cut short"},
		{"endless uvarint", "\x01" + strings.Repeat("\xff", 11), "clock cut short"},
		{"clock announced and not there", "\x01\xff\xff\xff\xff\x0f", "clock cut short"},
		{"clock out of order", "\x01\x02" + entry(2, 7) + entry(1, 5) + "\x00", "clock not in order"},
		{"clock with an incarnation twice", "\x01\x02" + entry(1, 7) + entry(1, 8) + "\x00", "clock not in order"},
		{"clock with a zero", "\x01\x01" + entry(1, 0) + "\x00", "clock not in order"},
		{"siblings announced and not there", "\x01\x00\xff\xff\xff\xff\xff\x0f", "siblings cut short"},
		{"siblings of no type", "\x00" + clock + "\x01\x01\x00", "no type"},
		{"unknown flag", "\x01" + clock + "\x01\x10\x00\x00", "unknown flags"},
		{"index beyond the clock", "\x01" + clock + "\x01\x01\x02", "does not have"},
		{"older that is not", "\x01" + clock + "\x01\x03\x00" + hlc(5), "not older"},
		{"older and zero", "\x01" + clock + "\x01\x03\x00" + hlc(0), "zero"},
		{"touched that is not", "\x01" + clock + "\x01\x05\x00" + hlc(5), "not before its dot"},
		{"written never", "\x01" + clock + "\x01\x05\x00" + hlc(0), "zero"},
		{"expires never", "\x01" + clock + "\x01\x08\x00\x00\x00", "expiry"},
		{"tombstone that expires", "\x01" + clock + "\x01\x09\x00\x01", "expiry"},
		{"payload cut short", "\x01" + clock + "\x01\x00\x00\x05four", "cut short"},
		{"payload of nearly 2^64", "\x01" + clock + "\x01\x00\x00\xff\xff\xff\xff\xff\xff\xff\xff\xff\x01", "cut short"},
		{"oldest first", "\x01" + clock + "\x02\x01\x00\x01\x01", "not older than the one before"},
		{"the same twice", "\x01" + clock + "\x02\x01\x00\x01\x00", "not older than the one before"},
		{"one dot twice", "\x01" + clock + "\x02\x01\x01\x05\x01" + hlc(3), "one dot"},
		{"bytes behind it", "\x01" + clock + "\x00\x00", "follow it"},
	} {
		t.Run(c.name, func(t *testing.T) {
			b := seal([]byte("\x01\x00\x00\x00\x00" + c.body))
			var o Object
			err := o.Decode(b)
			if err == nil || !strings.Contains(err.Error(), c.fault) {
				t.Errorf("got %v with %v, want %q", err, o, c.fault)
			}
			checkCanonical(t, b)
		})
	}
}

func TestOneDotTwiceAmongManySiblingsIsFoundAndTheOrderKept(t *testing.T) {
	const many = 1000
	o := Object{Type: TypeString, Clock: Clock{{1, 2 * many}}}
	for h := HLC(many); h > 0; h-- {
		o.Siblings = append(o.Siblings, Sibling{Dot: Dot{1, h + 1}, Written: (h*7)%(h+1) + 1, Payload: []byte{1}})
	}
	slices.SortFunc(o.Siblings, func(a, b Sibling) int { return b.compare(&a) })
	var decoded Object
	if err := decoded.Decode(AppendObject(nil, &o)); err != nil || !decoded.Equal(&o) {
		t.Fatalf("%d siblings came back different: %v", many, err)
	}
	twin := o.Siblings[many/2]
	twin.Written = 1
	o.Siblings = append(slices.DeleteFunc(o.Siblings, func(s Sibling) bool { return s.Written == 1 }), twin)
	if err := decoded.Decode(AppendObject(nil, &o)); !errors.Is(err, ErrCorrupt) {
		t.Fatalf("one dot twice: %v", err)
	}
}

func TestDecodeAllocatesNoMoreThanItsInputIsWorth(t *testing.T) {
	b := seal([]byte("\x01\x00\x00\x00\x00\x01\x00\xff\xff\xff\x7f" + strings.Repeat("\x00", 1000)))
	var o Object
	if err := o.Decode(b); err == nil || cap(o.Siblings)*64+cap(o.Clock)*16 > 16*len(b) {
		t.Errorf("%v; room for %d siblings and %d entries", err, cap(o.Siblings), cap(o.Clock))
	}
}

func TestAppendObjectPanicsOnWhatNobodyCouldRead(t *testing.T) {
	for name, o := range map[string]Object{
		"siblings of no type":      {Clock: Clock{{1, 1}}, Siblings: []Sibling{{Dot: Dot{1, 1}, Written: 1}}},
		"unknown type":             {Type: 2},
		"clock out of order":       {Clock: Clock{{2, 1}, {1, 1}}},
		"clock with a zero":        {Clock: Clock{{2, 0}}},
		"dot not covered":          {Type: 1, Clock: Clock{{1, 1}}, Siblings: []Sibling{{Dot: Dot{1, 2}, Written: 1}}},
		"dot of a stranger":        {Type: 1, Clock: Clock{{1, 1}}, Siblings: []Sibling{{Dot: Dot{2, 1}, Written: 1}}},
		"oldest first":             {Type: 1, Clock: Clock{{1, 2}}, Siblings: []Sibling{{Dot: Dot{1, 1}, Written: 1}, {Dot: Dot{1, 2}, Written: 2}}},
		"written never":            {Type: 1, Clock: Clock{{1, 1}}, Siblings: []Sibling{{Dot: Dot{1, 1}}}},
		"written after its dot":    {Type: 1, Clock: Clock{{1, 1}}, Siblings: []Sibling{{Dot: Dot{1, 1}, Written: 2}}},
		"tombstone with a payload": {Type: 1, Clock: Clock{{1, 1}}, Siblings: []Sibling{{Dot: Dot{1, 1}, Written: 1, Tombstone: true, Payload: []byte("x")}}},
		"tombstone that expires":   {Type: 1, Clock: Clock{{1, 1}}, Siblings: []Sibling{{Dot: Dot{1, 1}, Written: 1, Tombstone: true, ExpireAtMS: 1}}},
	} {
		t.Run(name, func(t *testing.T) { mustPanic(t, func() { AppendObject(nil, &o) }) })
	}
}

func TestContextsComeBackForTheirKeyOnly(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		clock := drawClock(t, "clock")
		db, key := uint8(rapid.IntRange(0, 15).Draw(t, "db")), rapid.SliceOfN(rapid.Byte(), 0, 20).Draw(t, "key")
		token := AppendContext(nil, clock, db, key)
		got, err := ParseContext(token, db, key)
		if err != nil || !got.Equal(clock) {
			t.Fatalf("%v came back as %v: %v", clock, got, err)
		}
		for _, c := range token {
			if c <= ' ' || c > '~' {
				t.Fatalf("not printable: %q", token)
			}
		}
		if _, err := ParseContext(token, db+1, key); !errors.Is(err, ErrContext) {
			t.Fatalf("taken in another database: %v", err)
		}
		if _, err := ParseContext(token, db, append(key, 'x')); !errors.Is(err, ErrContext) {
			t.Fatalf("taken for another key: %v", err)
		}
		changed := slices.Clone(token)
		at := rapid.IntRange(0, len(token)-1).Draw(t, "at")
		changed[at] = rapid.Byte().Filter(func(b byte) bool { return b != token[at] }).Draw(t, "byte")
		for name, bad := range map[string][]byte{
			"changed": changed, "cut": token[:at], "broken": slices.Insert(slices.Clone(token), at, '\n'), "twice": slices.Concat(token, token),
		} {
			if got, err := ParseContext(bad, db, key); !errors.Is(err, ErrContext) {
				t.Fatalf("%s: %q gave %v, %v", name, bad, got, err)
			}
		}
	})
}

func TestContextsAreBounded(t *testing.T) {
	clock := make(Clock, ContextEntriesMax+1)
	for i := range clock {
		clock[i] = Dot{Incarnation(i), 1}
	}
	largest := AppendContext(nil, clock[:ContextEntriesMax], 0, nil)
	if got, err := ParseContext(largest, 0, nil); err != nil || len(got) != ContextEntriesMax {
		t.Errorf("%d entries: %v", len(got), err)
	}
	if _, err := ParseContext(AppendContext(nil, clock, 0, nil), 0, nil); !errors.Is(err, ErrContext) {
		t.Errorf("one more: %v", err)
	}
}

func TestUsualContextAndEncodingDoNotAllocate(t *testing.T) {
	o, key := goldenObjects()[len(goldenObjects())-1].object, []byte("key")
	dst := make([]byte, 0, 1<<10)
	if n := testing.AllocsPerRun(100, func() { dst = AppendObject(dst[:0], &o) }); n != 0 {
		t.Errorf("AppendObject: %v allocations", n)
	}
	if n := testing.AllocsPerRun(100, func() { dst = AppendContext(dst[:0], o.Clock, 3, key) }); n != 0 {
		t.Errorf("AppendContext: %v allocations", n)
	}
}
