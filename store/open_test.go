package store

import (
	"errors"
	"io/fs"
	"os"
	"path/filepath"
	"strings"
	"syscall"
	"testing"

	"github.com/cockroachdb/pebble/v2/vfs"
	"github.com/cockroachdb/pebble/v2/vfs/errorfs"
)

func TestADirectoryIsUsedByOneStoreAtATime(t *testing.T) {
	onDisk := memOptions(nil)
	onDisk.Dir = filepath.Join(t.TempDir(), "a", "b")
	for _, opts := range []Options{memOptions(vfs.NewMem()), onDisk} {
		s := openStore(t, opts)
		if _, err := Open(opts); !errors.Is(err, ErrLocked) {
			t.Errorf("a second Open: %v", err)
		}
		mustSet(t, s, 0, "k", "v")
		s = reopen(t, s)
		wantRead(t, s, 0, "k", "v")
	}
}

func TestAForeignDirectoryIsRefusedAndLeftAlone(t *testing.T) {
	dir := t.TempDir()
	if err := os.WriteFile(filepath.Join(dir, "thesis.txt"), []byte("x"), 0o644); err != nil {
		t.Fatal(err)
	}
	opts := memOptions(nil)
	opts.Dir = dir
	if _, err := Open(opts); !errors.Is(err, ErrForeign) || !strings.Contains(err.Error(), "thesis.txt") {
		t.Errorf("got %v", err)
	}
	if entries, err := os.ReadDir(dir); err != nil || len(entries) != 1 {
		t.Errorf("the directory has %v now: %v", entries, err)
	}
}

func TestAFirstStartThatWasInterruptedIsNotForeign(t *testing.T) {
	dir := t.TempDir()
	for _, name := range []string{lockFile, nodeFile + newSuffix} {
		if err := os.WriteFile(filepath.Join(dir, name), []byte("{"), 0o644); err != nil {
			t.Fatal(err)
		}
	}
	if err := os.Mkdir(filepath.Join(dir, "lost+found"), 0o755); err != nil {
		t.Fatal(err)
	}
	opts := memOptions(nil)
	opts.Dir = dir
	openStore(t, opts)
}

func TestANodeFileThatIsNotOursIsRefused(t *testing.T) {
	for _, c := range []struct{ text, want string }{
		{`{"format":1,"partitions":8}`, "format 1"},
		{`{"format":2,"partitions":8,"incarnations":[]}`, "no incarnation"},
		{`{"format":2,"partitions":7,"incarnations":[1],"node_id":"` + strings.Repeat("ab", 20) + `"}`, "power of two"},
		{"", "NODE"},
		{"garbage", "NODE"},
	} {
		dir := t.TempDir()
		path := filepath.Join(dir, nodeFile)
		if err := os.WriteFile(path, []byte(c.text), 0o644); err != nil {
			t.Fatal(err)
		}
		opts := memOptions(nil)
		opts.Dir, opts.Partitions = dir, 0
		if _, err := Open(opts); err == nil || !strings.Contains(err.Error(), c.want) {
			t.Errorf("%q: %v", c.text, err)
		}
		if text, err := os.ReadFile(path); err != nil || string(text) != c.text {
			t.Errorf("it was changed to %q: %v", text, err)
		}
	}
}

func TestPartitionsAreFixedWhenTheDirectoryIsMade(t *testing.T) {
	opts := memOptions(vfs.NewMem())
	closeStore(t, openStore(t, opts))
	opts.Partitions = 2 * testPartitions
	if _, err := Open(opts); err == nil || !strings.Contains(err.Error(), "8 partitions, not 16") {
		t.Errorf("with another number: %v", err)
	}
	opts.Partitions = 0
	if got := openStore(t, opts).Partitions(); got != testPartitions {
		t.Errorf("with no number there are %d partitions, want %d", got, testPartitions)
	}
}

func TestADirectoryThatCannotBeUsedSaysWhy(t *testing.T) {
	for _, c := range []struct {
		name  string
		kind  errorfs.OpKind
		errno syscall.Errno
	}{
		{"read-only", errorfs.OpLock, syscall.EROFS},
		{"not writable", errorfs.OpLock, syscall.EACCES},
		{"no space", errorfs.OpLock, syscall.ENOSPC},
		{"not readable", errorfs.OpOpen, syscall.EACCES},
		{"not listable", errorfs.OpList, syscall.EACCES},
		{"cannot be made", errorfs.OpMkdirAll, syscall.EROFS},
	} {
		t.Run(c.name, func(t *testing.T) {
			refuse := errorfs.InjectorFunc(func(op errorfs.Op) error {
				if op.Kind == c.kind {
					return &fs.PathError{Op: "use", Path: op.Path, Err: c.errno}
				}
				return nil
			})
			_, err := Open(memOptions(faulty(vfs.NewMem(), refuse)))
			if !errors.Is(err, c.errno) || errors.Is(err, ErrLocked) || errors.Is(err, ErrForeign) {
				t.Errorf("got %v", err)
			}
		})
	}
}

func TestSyncModesReadAndWriteAsTheCommandLineHasThem(t *testing.T) {
	for _, text := range []string{"always", "everysec", "no"} {
		var m SyncMode
		if err := m.UnmarshalText([]byte(text)); err != nil || m.String() != text {
			t.Errorf("%s reads as %v: %v", text, m, err)
		}
	}
	var m SyncMode
	if err := m.UnmarshalText([]byte("sometimes")); err == nil {
		t.Error("a mode is accepted that there is not")
	}
}

func TestAStoreOpensWithMuchMemory(t *testing.T) {
	opts := memOptions(vfs.NewMem())
	opts.MemoryBytes = 1 << 40
	mustSet(t, openStore(t, opts), 0, "k", "v")
}
