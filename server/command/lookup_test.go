package command

import (
	"bytes"
	"encoding/binary"
	"strings"
	"testing"

	"pgregory.net/rapid"
)

// find looks up a command or, by container and name, a subcommand.
func find(fullName string) *Command {
	name, sub, isSub := strings.Cut(fullName, "|")
	c := Table().Lookup([]byte(name))
	if c == nil || !isSub {
		return c
	}
	return c.Subcommand([]byte(sub))
}

func TestEveryCommandIsFoundInAnyLetterCase(t *testing.T) {
	for _, c := range Table().All() {
		name := c.FullName()
		mixed := strings.ToUpper(name[:1]) + name[1:]
		for _, spelling := range []string{name, strings.ToUpper(name), mixed} {
			if got := find(spelling); got != c {
				t.Errorf("find(%q) = %v, want the row of %q", spelling, got, name)
			}
		}
	}
}

func TestNearMissesAreNotFound(t *testing.T) {
	misses := []string{
		"", " ", "\x00", "g", "ge", "gets", "get\x00", "\x00get", "ge\x00t", "get ", "g\xe5t", "GE\xd4",
		"ge4", "bitfield-ro", "bitfield\x7fro", "bitfield_r\x0f", "client|list", "expiretimes",
		"bitfieldbitfield", "getgetgetgetgetgetget", strings.Repeat("x", 1000),
	}
	for _, name := range misses {
		if c := Table().Lookup([]byte(name)); c != nil {
			t.Errorf("Lookup(%q) found %q", name, c.FullName())
		}
	}
	for _, name := range []string{"cluster|count-failure-report", "cluster|count-failure-reports\x00", "cluster|" + strings.Repeat("x", 1000)} {
		if c := find(name); c != nil {
			t.Errorf("find(%q) found %q", name, c.FullName())
		}
	}
	if c := find("get|list"); c != nil {
		t.Errorf("GET has a subcommand %q", c.FullName())
	}
}

// TestFoldIsLowerCaseAndPadding holds fold against the plain way to do it.
func TestFoldIsLowerCaseAndPadding(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		name := rapid.SliceOfN(rapid.Byte(), 1, maxName).Draw(t, "name")
		var padded [maxName]byte
		copy(padded[:], asciiLower(name))
		wantLow, wantHigh := binary.LittleEndian.Uint64(padded[:8]), binary.LittleEndian.Uint64(padded[8:])
		if low, high := fold(name); low != wantLow || high != wantHigh {
			t.Fatalf("fold(%q) = %x, %x, want %x, %x", name, low, high, wantLow, wantHigh)
		}
	})
}

func asciiLower(name []byte) string {
	folded := bytes.Clone(name)
	for i, b := range folded {
		if 'A' <= b && b <= 'Z' {
			folded[i] = b + 'a' - 'A'
		}
	}
	return string(folded)
}

func TestLookupDoesNotAllocate(t *testing.T) {
	get, client, list := []byte("GET"), []byte("Client"), []byte("LIST")
	perRun := testing.AllocsPerRun(100, func() {
		if Table().Lookup(get) == nil || Table().Lookup(client).Subcommand(list) == nil {
			t.Fatal("not found")
		}
	})
	if perRun != 0 {
		t.Errorf("%v allocations", perRun)
	}
}

func BenchmarkLookup(b *testing.B) {
	table, name := Table(), []byte("INCRBYFLOAT")
	for b.Loop() {
		table.Lookup(name)
	}
}
