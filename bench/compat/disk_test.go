package compat

import (
	"fmt"
	"io/fs"
	"math/rand/v2"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"cartwheel/bench/proc"
)

// valueOf is the incompressible value of a key in these tests, always the same.
func valueOf(number, size int) string {
	r := rand.New(rand.NewPCG(1, uint64(number)))
	b := make([]byte, size)
	for i := range b {
		b[i] = byte(r.Uint32())
	}
	return string(b)
}

func numbered(number int) string { return fmt.Sprintf("key-%06d", number) }

// TestCorruptTableIsNeverServedNorTakenForNothing flips bytes in the middle of the stored tables.
func TestCorruptTableIsNeverServedNorTakenForNothing(t *testing.T) {
	if subjectIsRedis() {
		t.Skip("Redis has no tables to corrupt")
	}
	const keys, valueBytes = 4000, 1000
	set := settings{dir: t.TempDir()}
	server := startSubject(t, set)
	set.port = server.Port
	c := connect(t, server.Addr)
	for i := range keys {
		c.want(t, "+OK\r\n", "SET", numbered(i), valueOf(i, valueBytes))
	}
	// A second start moves what is in the log into tables.
	for range 2 {
		if state, err := server.Terminate(t.Context()); err != nil || !state.Success() {
			t.Fatalf("SIGTERM: %v, %v", state, err)
		}
		server = startSubject(t, set)
	}
	if state, err := server.Terminate(t.Context()); err != nil || !state.Success() {
		t.Fatalf("SIGTERM: %v, %v", state, err)
	}
	corruptTables(t, set.dir)

	c = connect(t, startSubject(t, set).Addr)
	corrupt, intact := 0, 0
	for i := range keys {
		r, err := c.do("GET", numbered(i))
		if err != nil {
			t.Fatal(err)
		}
		switch {
		case r.kind == '-' && strings.Contains(r.text, "corrupt"):
			corrupt++
		case r.kind == '$' && !r.null && r.text == valueOf(i, valueBytes):
			intact++
		default:
			t.Fatalf("GET %s: %s", numbered(i), shorten(r.String()))
		}
	}
	if corrupt == 0 || intact == 0 {
		t.Errorf("%d keys corrupt, %d intact", corrupt, intact)
	}
	c.want(t, "+OK\r\n", "SET", "new", "v")
	c.want(t, "$1\r\nv\r\n", "GET", "new")
}

// corruptTables flips some bytes a third of the way into each large table: among data, as a table's
// index is at its end.
func corruptTables(t *testing.T, dir string) {
	t.Helper()
	const largeBytes, flipped = 100_000, 64
	found := 0
	err := filepath.WalkDir(dir, func(path string, entry fs.DirEntry, err error) error {
		if err != nil || entry.IsDir() || filepath.Ext(path) != ".sst" {
			return err
		}
		table, err := os.ReadFile(path)
		if err != nil || len(table) < largeBytes {
			return err
		}
		found++
		middle := table[len(table)/3:][:flipped]
		for i := range middle {
			middle[i] ^= 0xff
		}
		return os.WriteFile(path, table, 0o600)
	})
	if err != nil {
		t.Fatal(err)
	}
	if found == 0 {
		t.Fatal("no table in the data directory to corrupt")
	}
}

func TestUnusableDirectoryIsRefusedInASentence(t *testing.T) {
	if subjectIsRedis() {
		t.Skip("is about Cartwheel's start")
	}
	file := filepath.Join(t.TempDir(), "file")
	foreign := t.TempDir()
	for path, text := range map[string]string{file: "not a directory", filepath.Join(foreign, "thesis.txt"): "years of work"} {
		if err := os.WriteFile(path, []byte(text), 0o600); err != nil {
			t.Fatal(err)
		}
	}
	for _, dir := range []string{file, foreign, filepath.Join(file, "below")} {
		refused(t, dir)
	}
	set := settings{dir: t.TempDir()}
	c := connect(t, startSubject(t, set).Addr)
	refused(t, set.dir) // another process has it
	c.want(t, "+PONG\r\n", "PING")
}

// refused wants a start on this directory to fail with a sentence that names it, and no stack trace.
func refused(t *testing.T, dir string) {
	t.Helper()
	server, err := proc.StartCartwheel(t.Context(), proc.Options{Dir: dir})
	if err == nil {
		_ = server.Close()
		t.Errorf("a server runs on %s", dir)
		return
	}
	said := err.Error()
	if !strings.Contains(said, dir) || !strings.Contains(said, "exit status") || strings.Contains(said, "goroutine ") {
		t.Errorf("what it says of %s: %s", dir, said)
	}
}
