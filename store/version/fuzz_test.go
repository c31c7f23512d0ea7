package version

import (
	"bytes"
	"errors"
	"slices"
	"testing"
)

// FuzzDecode also seals what the fuzzer made with a right checksum, or it would rarely get further.
func FuzzDecode(f *testing.F) {
	for _, named := range goldenObjects() {
		f.Add(AppendObject(nil, &named.object))
	}
	f.Fuzz(func(t *testing.T, b []byte) {
		checkCanonical(t, b)
		sealed := seal(slices.Clone(b))
		checkCanonical(t, sealed)
		var checked, trusted Object
		if a, b := checked.Decode(sealed), trusted.DecodeTrusted(sealed); (a == nil) != (b == nil) || !checked.Equal(&trusted) {
			t.Fatalf("Decode: %v, DecodeTrusted: %v", a, b)
		}
		merged := Merge(&checked, &trusted)
		if !merged.Equal(&checked) {
			t.Fatalf("merged with itself: %v, was %v", merged, checked)
		}
	})
}

func FuzzParseContext(f *testing.F) {
	f.Add([]byte(""), uint8(0), []byte(""))
	f.Add([]byte("\n"), uint8(0), []byte("key"))
	f.Add(AppendContext(nil, nil, 0, []byte("key")), uint8(0), []byte("key"))
	f.Add(AppendContext(nil, Clock{{1, 2}, {3, 4}}, 3, []byte("key")), uint8(3), []byte("key"))
	f.Fuzz(func(t *testing.T, token []byte, db uint8, key []byte) {
		// As it came, and as the raw bytes of a token whose checksum is right.
		raw := append([]byte{contextVersion}, token...)
		for n := range 8 {
			raw = append(raw, byte(contextChecksum(raw[:len(token)+1], db, key)>>(56-8*n)))
		}
		for _, tried := range [][]byte{token, contextEncoding.AppendEncode(nil, raw)} {
			clock, err := ParseContext(tried, db, key)
			switch {
			case err != nil && !errors.Is(err, ErrContext):
				t.Fatalf("error of no known kind: %v", err)
			case err == nil && !bytes.Equal(AppendContext(nil, clock, db, key), tried):
				t.Fatalf("%q is taken for %v, whose token is another", tried, clock)
			}
		}
	})
}
