package version

import (
	"encoding/hex"
	"flag"
	"fmt"
	"math"
	"os"
	"path/filepath"
	"strings"
	"testing"
)

var update = flag.Bool("update", false, "rewrite the golden files in testdata/version")

type namedObject struct {
	name   string
	object Object
}

// goldenObjects has every field in each of its forms. Bytes on disks depend on it: add, never change.
func goldenObjects() []namedObject {
	h := MakeHLC(1_700_000_000_000, 7)
	const a, b, c = 0x0123456789abcdef, 0x8000000000000000, 0xffffffffffffffff
	value := []byte("value\x00\xff")
	return []namedObject{
		{"absent", Object{}},
		{"clock-only", Object{Clock: Clock{{a, h}}}},
		{"flushed", Object{Type: TypeString, Clock: Clock{{a, h}}}},
		{"value", Object{TypeString, Clock{{a, h}}, []Sibling{{Dot: Dot{a, h}, Written: h, Payload: value}}}},
		{"empty-value", Object{TypeString, Clock{{a, h}}, []Sibling{{Dot: Dot{a, h}, Written: h}}}},
		{"expiring", Object{TypeString, Clock{{a, h}}, []Sibling{{Dot: Dot{a, h}, Written: h, ExpireAtMS: 1_700_000_060_000, Payload: value}}}},
		{"expiring-before-1970", Object{TypeString, Clock{{a, h}}, []Sibling{{Dot: Dot{a, h}, Written: h, ExpireAtMS: -1, Payload: value}}}},
		{"tombstone", Object{TypeString, Clock{{a, h}}, []Sibling{{Dot: Dot{a, h}, Written: h, Tombstone: true}}}},
		{"touched", Object{TypeString, Clock{{a, h}}, []Sibling{{Dot: Dot{a, h}, Written: h - 1<<counterBits, Payload: value}}}},
		{"older", Object{TypeString, Clock{{a, h}}, []Sibling{{Dot: Dot{a, h - 1}, Written: h - 1, Payload: value}}}},
		{"extremes", Object{TypeString, Clock{{0, 1}, {c, math.MaxUint64}}, []Sibling{
			{Dot: Dot{c, math.MaxUint64}, Written: math.MaxUint64, ExpireAtMS: math.MaxInt64, Payload: []byte(strings.Repeat("x", 128))},
			{Dot: Dot{0, 1}, Written: 1, ExpireAtMS: math.MinInt64},
		}}},
		{"siblings", Object{TypeString, Clock{{a, h + 9}, {b, h + 3}, {c, h + 2}}, []Sibling{
			{Dot: Dot{a, h + 9}, Written: h + 9, Payload: value},
			{Dot: Dot{c, h + 2}, Written: h + 2, Tombstone: true},
			{Dot: Dot{b, h + 2}, Written: h + 2, ExpireAtMS: 1_700_000_060_000, Payload: []byte("second")},
			{Dot: Dot{a, h + 4}, Written: h, Payload: []byte("touched long ago")},
		}}},
	}
}

func TestObjectsHaveTheirGoldenForm(t *testing.T) {
	var names []string
	forms := map[string]string{}
	for _, named := range goldenObjects() {
		names = append(names, named.name)
		forms[named.name] = hex.EncodeToString(AppendObject(nil, &named.object))
	}
	golden := compareGolden(t, "objects.hex", names, forms)
	for _, named := range goldenObjects() {
		raw, err := hex.DecodeString(golden[named.name])
		if err != nil {
			t.Fatal(err)
		}
		var o Object
		if err := o.Decode(raw); err != nil || !o.Equal(&named.object) {
			t.Errorf("the golden %s decodes to %v: %v", named.name, o, err)
		}
	}
}

func TestContextsHaveTheirGoldenForm(t *testing.T) {
	type bound struct {
		clock Clock
		db    uint8
		key   string
	}
	h := MakeHLC(1_700_000_000_000, 7)
	names := []string{"empty", "one", "one-db-15", "one-other-key", "three"}
	contexts := map[string]bound{
		"empty":         {nil, 0, "key"},
		"one":           {Clock{{0x0123456789abcdef, h}}, 0, "key"},
		"one-db-15":     {Clock{{0x0123456789abcdef, h}}, 15, "key"},
		"one-other-key": {Clock{{0x0123456789abcdef, h}}, 0, ""},
		"three":         {Clock{{0, 1}, {0x0123456789abcdef, h}, {math.MaxUint64, math.MaxUint64}}, 0, "key"},
	}
	forms := map[string]string{}
	for name, c := range contexts {
		forms[name] = string(AppendContext(nil, c.clock, c.db, []byte(c.key)))
	}
	for name, token := range compareGolden(t, "contexts.golden", names, forms) {
		c := contexts[name]
		if got, err := ParseContext([]byte(token), c.db, []byte(c.key)); err != nil || !got.Equal(c.clock) {
			t.Errorf("the golden %s is parsed as %v: %v", name, got, err)
		}
	}
}

// compareGolden holds the forms against a file of lines "name form", and returns the file's.
func compareGolden(t *testing.T, file string, names []string, forms map[string]string) map[string]string {
	t.Helper()
	path := filepath.Join("..", "..", "testdata", "version", file)
	if *update {
		var b strings.Builder
		for _, name := range names {
			fmt.Fprintf(&b, "%s %s\n", name, forms[name])
		}
		if err := os.WriteFile(path, []byte(b.String()), 0o644); err != nil {
			t.Fatal(err)
		}
	}
	text, err := os.ReadFile(path)
	if err != nil {
		t.Fatal(err)
	}
	golden := map[string]string{}
	for line := range strings.Lines(string(text)) {
		name, form, _ := strings.Cut(strings.TrimSuffix(line, "\n"), " ")
		golden[name] = form
		if forms[name] != form {
			t.Errorf("%s is now\n%s, in %s it is\n%s", name, forms[name], file, form)
		}
	}
	if len(golden) != len(names) {
		t.Errorf("%s has %d forms, want %d", file, len(golden), len(names))
	}
	return golden
}
