package store

import (
	"errors"
	"fmt"
	"io"
	"path/filepath"
	"slices"
	"strings"
	"testing"

	"github.com/cockroachdb/pebble/v2"
	"github.com/cockroachdb/pebble/v2/vfs"

	"cartwheel/cluster/ring"
	"cartwheel/store/version"
)

// damage flips one bit of the stored object of a key.
func damage(t *testing.T, s *Store, key string) {
	t.Helper()
	row := NewKey(0, []byte(key)).appendObject(nil)
	checkpoint(t, s)
	text, closer, err := s.db.Get(row)
	if err != nil {
		t.Fatal(err)
	}
	text = append([]byte(nil), text...)
	_ = closer.Close()
	text[len(text)-1] ^= 1
	if err := s.db.Set(row, text, pebble.NoSync); err != nil {
		t.Fatal(err)
	}
	retire(t, s) // or a crash would mend it by the log
	forget(t, s)
}

func TestACorruptObjectIsAnErrorAndNeverAbsent(t *testing.T) {
	s := openStore(t, memOptions(vfs.NewMem()))
	mustSet(t, s, 0, "bad", "value")
	mustSet(t, s, 0, "good", "value")
	damage(t, s, "bad")
	wantRead(t, s, 0, "bad", "(corrupt)")
	wantRead(t, s, 0, "bad", "(corrupt)")
	wantRead(t, s, 0, "good", "value")
	if got := s.Stats().Corrupt; got != 2 {
		t.Errorf("%d are counted as corrupt, want 2", got)
	}
	if err := commit(s, 0, "bad", write{value: "new"}); !errors.Is(err, ErrCorrupt) {
		t.Errorf("a write that depends on it: %v", err)
	}
	if _, err := updateMany(s, map[string]string{"good": "new", "bad": "new"}); !errors.Is(err, ErrCorrupt) {
		t.Errorf("an UpdateMany over it: %v", err)
	}
	wantRead(t, s, 0, "good", "value")
	var seen []string
	err := s.Scan(0, ^ring.Token(0), func(k Key, o *version.Object) bool {
		if o == nil {
			seen = append(seen, string(k.User))
		}
		return true
	})
	if err != nil || fmt.Sprint(seen) != "[bad]" {
		t.Errorf("a scan passes %v as corrupt: %v", seen, err)
	}
	s = reopen(t, s)
	wantRead(t, s, 0, "bad", "(corrupt)")
}

func TestACorruptObjectIsQuarantinedOnceAndReplacedByABlindWrite(t *testing.T) {
	s := openStore(t, memOptions(vfs.NewMem()))
	mustSet(t, s, 0, "bad", strings.Repeat("v", 1000))
	damage(t, s, "bad")
	before := s.Stats().Commits
	for range 100 {
		wantRead(t, s, 0, "bad", "(corrupt)")
	}
	if n := s.Stats().Commits - before; n != 1 || !s.open.rows.empty() {
		t.Errorf("100 reads made %d commits and left %d bytes to commit", n, s.open.rows.bytes)
	}
	checkpoint(t, s)
	kept, closer, err := s.db.Get(NewKey(0, []byte("bad")).appendQuarantine(nil))
	if err != nil || len(kept) < 1000 {
		t.Fatalf("quarantined are %d bytes: %v", len(kept), err)
	}
	_ = closer.Close()
	if err := commit(s, 0, "bad", write{value: "new", blind: true}); err != nil {
		t.Fatal(err)
	}
	wantRead(t, s, 0, "bad", "new")
	s = reopen(t, s)
	wantRead(t, s, 0, "bad", "new")
}

func TestACorruptTableSparesTheOtherKeysAndTheProcess(t *testing.T) {
	dir := t.TempDir()
	opts := memOptions(nil)
	opts.Dir = dir
	s := openStore(t, opts)
	value := strings.Repeat("v", 2000)
	for i := range 500 {
		mustSet(t, s, 0, fmt.Sprint("key", i), value)
	}
	retire(t, s)
	closeStore(t, s)
	damageTable(t, vfs.Default, filepath.Join(dir, pebbleDir))

	s = openStore(t, opts)
	good, corrupt := 0, ""
	for i := range 500 {
		key := fmt.Sprint("key", i)
		switch got := read(s, 0, key); got {
		case value:
			good++
		case "(corrupt)":
			corrupt = key
		default:
			t.Fatalf("%s reads %.80q", key, got)
		}
	}
	if corrupt == "" || good < 250 {
		t.Fatalf("%d keys are good, %q is corrupt", good, corrupt)
	}
	if s.Stats().Corrupt == 0 {
		t.Error("it is not counted")
	}
	if err := commit(s, 0, corrupt, write{value: "new", blind: true}); err != nil {
		t.Fatal(err)
	}
	wantRead(t, s, 0, corrupt, "new")
	mustSet(t, s, 0, "other", "v")
}

// A scan that ends early has seen all that comes before its end, also where rows that Pebble does not have come behind those
// that it cannot read.
func TestAScanDoesNotPassOverACorruptTable(t *testing.T) {
	opts := memOptions(nil)
	opts.Dir = t.TempDir()
	s := openStore(t, opts)
	scan := func(stop int) (keys []string, err error) {
		err = s.Scan(0, ^ring.Token(0), func(k Key, o *version.Object) bool {
			keys = append(keys, string(k.User))
			return len(keys) < stop
		})
		return keys, err
	}
	for i := range 500 {
		mustSet(t, s, 0, fmt.Sprint("key", i), strings.Repeat("v", 2000))
	}
	all, err := scan(1000)
	if err != nil || len(all) != 500 {
		t.Fatalf("%d keys: %v", len(all), err)
	}
	retire(t, s)
	closeStore(t, s)
	damageTable(t, vfs.Default, filepath.Join(opts.Dir, pebbleDir))
	s = openStore(t, opts)
	for i, key := range all {
		if i%5 == 0 {
			mustSet(t, s, 0, key, "new")
		}
	}
	failed := 0
	for stop := range all {
		got, err := scan(stop + 1)
		if !slices.Equal(got, all[:len(got)]) {
			t.Fatalf("a scan of %d keys passes over some: %q", stop+1, got)
		}
		if err != nil {
			failed++
		} else if len(got) != stop+1 {
			t.Fatalf("a scan of %d keys ends at %d without an error", stop+1, len(got))
		}
	}
	if failed == 0 {
		t.Error("no scan has come to what is corrupt")
	}
}

// What cannot be counted must neither keep those waiting who ask for the counts
// nor be taken for nothing.
func TestACorruptTableDoesNotKeepTheRestFromBeingCounted(t *testing.T) {
	fs := vfs.NewCrashableMem()
	opts := memOptions(fs)
	opts.Sync = SyncAlways
	s := openStore(t, opts)
	for i := range 500 {
		mustSet(t, s, 0, fmt.Sprint("key", i), strings.Repeat("v", 2000))
	}
	retire(t, s)
	mustSet(t, s, 1, "k", "v")
	fs = fs.CrashClone(vfs.CrashCloneCfg{})
	damageTable(t, fs, fs.PathJoin(opts.Dir, pebbleDir))

	opts.FS = fs
	s = openStore(t, opts)
	waitCounts(t, s)
	if n := s.Counts(0).Keys; n == 0 || n >= 500 {
		t.Errorf("%d keys are counted, want some of 500", n)
	}
	flush(t, s, 1)
	good, corrupt := 0, 0
	for i := range 500 {
		switch got := read(s, 0, fmt.Sprint("key", i)); got {
		case "(corrupt)":
			corrupt++
		case "(absent)":
			t.Fatalf("key%d is absent after the flush of another database", i)
		default:
			good++
		}
	}
	if good == 0 || corrupt == 0 {
		t.Errorf("%d keys are good and %d corrupt", good, corrupt)
	}
	s = reopen(t, s)
	waitCounts(t, s)
	if !s.counters.partial.Load() {
		t.Error("counts that miss something were saved as if they were right")
	}
}

// damageTable flips one bit in one of the first blocks of the only table.
func damageTable(t *testing.T, fs vfs.FS, dir string) {
	t.Helper()
	names, err := fs.List(dir)
	if err != nil {
		t.Fatal(err)
	}
	names = slices.DeleteFunc(names, func(name string) bool { return !strings.HasSuffix(name, ".sst") })
	var name string
	var text []byte
	for _, each := range names {
		f, err := fs.Open(fs.PathJoin(dir, each))
		if err != nil {
			t.Fatal(err)
		}
		b, err := io.ReadAll(f)
		if err != nil {
			t.Fatal(err)
		}
		if _ = f.Close(); len(b) > len(text) {
			name, text = fs.PathJoin(dir, each), b
		}
	}
	text[len(text)/20] ^= 0x40
	f, err := fs.Create(name, vfs.WriteCategoryUnspecified)
	if err != nil {
		t.Fatal(err)
	}
	if _, err := f.Write(text); err != nil {
		t.Fatal(err)
	}
	if err := errors.Join(f.Sync(), f.Close()); err != nil {
		t.Fatal(err)
	}
}
