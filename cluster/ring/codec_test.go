package ring

import (
	"bytes"
	"encoding/binary"
	"encoding/hex"
	"errors"
	"flag"
	"fmt"
	"os"
	"path/filepath"
	"runtime"
	"slices"
	"strings"
	"testing"

	gocmp "github.com/google/go-cmp/cmp"
)

var update = flag.Bool("update", false, "rewrite the golden files in testdata/ring")

type namedDocument struct {
	name     string
	document *Document
}

// goldenDocuments has every field in each of its forms. Bytes on disks depend on
// it: add, never change. They are written out, so that a better placement does
// not change them.
func goldenDocuments() []namedDocument {
	a, b, c := NodeID{0x01}, NodeID{0x7f, 0xff}, NodeID{0xff, 19: 0xff}
	id := ClusterID{0x01, 0x23, 0x45, 0x67, 0x89, 0xab, 0xcd, 0xef, 15: 0xff}
	return []namedDocument{
		{"first", &Document{Epoch: 1, Partitions: 1, Replicas: 3, Members: []Member{{ID: a, State: Active}}, Owners: [][]NodeID{{a}}}},
		{"three", &Document{
			Cluster: id, Epoch: 300, Partitions: 4, Replicas: 2,
			Members: []Member{
				{a, "10.0.0.1:7201", "10.0.0.1:7001", "10.0.0.1:7101", "zone a", 1, Active},
				{b, "10.0.0.2:7201", "", "", "b", 1000, Joining},
				{c, "", "", "", "", 128, Leaving},
			},
			Owners: [][]NodeID{{a, c}, {c, a}, {c}, {a, c}},
			Moves:  []Move{{0, c, b}, {2, NodeID{}, b}, {3, c, NodeID{}}},
		}},
	}
}

// The golden files are lines "name form".
func goldenLines(t *testing.T, file string, names, forms []string) {
	t.Helper()
	path := filepath.Join("..", "..", "testdata", "ring", file)
	var lines strings.Builder
	for i, name := range names {
		fmt.Fprintf(&lines, "%s %s\n", name, forms[i])
	}
	if *update {
		if err := os.WriteFile(path, []byte(lines.String()), 0o644); err != nil {
			t.Fatal(err)
		}
	}
	want, err := os.ReadFile(path)
	if err != nil {
		t.Fatal(err)
	}
	if diff := gocmp.Diff(string(want), lines.String()); diff != "" {
		t.Errorf("%s is not what it was: %s", file, diff)
	}
}

func TestDocumentsHaveTheirGoldenForm(t *testing.T) {
	var names, forms []string
	for _, named := range goldenDocuments() {
		form := named.document.Append(nil)
		names, forms = append(names, named.name), append(forms, hex.EncodeToString(form))
		decoded, err := Decode(form)
		if err != nil {
			t.Fatalf("%s: %v", named.name, err)
		}
		if diff := gocmp.Diff(named.document, decoded); diff != "" {
			t.Errorf("%s is decoded as another: %s", named.name, diff)
		}
	}
	goldenLines(t, "documents.hex", names, forms)
}

func TestAppendAppends(t *testing.T) {
	d := goldenDocuments()[1].document
	if got := d.Append([]byte("before")); !bytes.Equal(got, append([]byte("before"), d.Append(nil)...)) {
		t.Error("what was there before is not there any more")
	}
}

// seal gives a form the right version and checksum.
func seal(b []byte) []byte {
	b = append(b, make([]byte, max(0, headerBytes-len(b)))...)
	b[0] = codecVersion
	binary.BigEndian.PutUint64(b[1:], checksum(b[headerBytes:]))
	return b
}

func checkCanonical(t *testing.T, b []byte) {
	t.Helper()
	d, err := Decode(b)
	if err != nil {
		if !errors.Is(err, ErrCorrupt) && !errors.Is(err, ErrVersion) {
			t.Fatalf("error of no known kind: %v", err)
		}
		return
	}
	if !bytes.Equal(d.Append(nil), b) {
		t.Fatalf("%x is taken for a document of another form", b)
	}
	r := d.Ring()
	for p := range Partition(d.Partitions) {
		if list := r.Preference(p); !slices.Equal(list[:len(r.Owners(p))], r.Owners(p)) || len(r.Next(p)) == 0 {
			t.Fatalf("partition %d: preference list %v", p, list)
		}
	}
	d.Shares()
	d.Moving()
}

// FuzzDecode also seals what the fuzzer made with a right checksum, or it would
// rarely get further.
func FuzzDecode(f *testing.F) {
	for _, named := range goldenDocuments() {
		f.Add(named.document.Append(nil))
	}
	f.Fuzz(func(t *testing.T, b []byte) {
		checkCanonical(t, b)
		checkCanonical(t, seal(slices.Clone(b)))
	})
}

func TestDamageIsFound(t *testing.T) {
	form := goldenDocuments()[1].document.Append(nil)
	for i := range form {
		for bit := range 8 {
			damaged := slices.Clone(form)
			damaged[i] ^= 1 << bit
			if _, err := Decode(damaged); !errors.Is(err, ErrCorrupt) && (i != 0 || !errors.Is(err, ErrVersion)) {
				t.Fatalf("bit %d of byte %d was flipped: %v", bit, i, err)
			}
		}
		for _, cut := range [][]byte{form[:i], seal(slices.Clone(form[:i]))} {
			if _, err := Decode(cut); !errors.Is(err, ErrCorrupt) {
				t.Fatalf("cut to %d bytes: %v", i, err)
			}
		}
		// The same with a checksum that fits must not be taken either, but for
		// what is a document still.
		damaged := slices.Clone(form)
		damaged[i] ^= 0x80
		checkCanonical(t, seal(damaged))
	}
	if _, err := Decode(seal(append(slices.Clone(form), 0))); !errors.Is(err, ErrCorrupt) {
		t.Errorf("a byte more: %v", err)
	}
}

// Nothing is written in two ways: nodes compare documents by their bytes.
func TestOtherWaysToWriteADocumentAreRefused(t *testing.T) {
	form := goldenDocuments()[0].document.Append(nil)
	const epochAt, lastMoveBytes = headerBytes + 16, 3
	twoByteEpoch := slices.Concat(form[:epochAt], []byte{0x81, 0}, form[epochAt+1:])

	d := goldenDocuments()[1].document
	d.Moves = d.Moves[:1]
	moved := d.Append(nil)
	at := len(moved) - lastMoveBytes
	if moved[at] != 0 {
		t.Fatalf("the only move is of partition %d", moved[at])
	}
	turnedOver := slices.Concat(moved[:at], binary.AppendUvarint(nil, 1<<32), moved[at+1:])
	for name, other := range map[string][]byte{"epoch in two bytes": twoByteEpoch, "partition 2^32": turnedOver} {
		if _, err := Decode(seal(other)); !errors.Is(err, ErrCorrupt) {
			t.Errorf("%s: %v", name, err)
		}
	}
}

// A few bytes that promise a lot must not make a node allocate a lot.
func TestDecodeAllocatesNoMoreThanTheBytesAreWorth(t *testing.T) {
	head := func(logPartitions byte) []byte {
		b := make([]byte, headerBytes+16)
		return append(b, 1, logPartitions, 3) // epoch, partitions, replicas
	}
	lots := binary.AppendUvarint(nil, 1<<17)
	member := goldenDocuments()[0].document.Append(nil)[headerBytes+16+3:]
	member = member[:1+memberBytesMin]
	for name, form := range map[string][]byte{
		"members":         append(head(14), lots...),
		"length of text":  append(append(head(14), append([]byte{1}, make([]byte, 22)...)...), lots...),
		"partitions":      append(append(head(14), member...), 1, 0),
		"moves":           append(append(append(head(0), member...), 1, 0), lots...),
		"owners of one":   append(append(head(0), member...), 255, 0),
		"owners of all":   append(append(head(6), member...), bytes.Repeat(append([]byte{255}, make([]byte, 255)...), 64)...),
		"member's weight": append(append(head(14), append([]byte{1}, make([]byte, 21)...)...), lots...),
	} {
		form = seal(form)
		var before, after runtime.MemStats
		runtime.ReadMemStats(&before)
		_, err := Decode(form)
		runtime.ReadMemStats(&after)
		if allocated := after.TotalAlloc - before.TotalAlloc; !errors.Is(err, ErrCorrupt) || allocated > 16<<10 {
			t.Errorf("%s: %d bytes made %d bytes be allocated: %v", name, len(form), allocated, err)
		}
	}
}

func TestAppendRefusesOwnersThatAreNoMembers(t *testing.T) {
	defer func() {
		if recover() == nil {
			t.Error("a document that nobody could read was written")
		}
	}()
	d := *goldenDocuments()[0].document
	d.Owners = [][]NodeID{{{9}}}
	d.Append(nil)
}
