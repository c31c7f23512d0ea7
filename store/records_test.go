package store

import (
	"bytes"
	"errors"
	"fmt"
	"io"
	"math/rand/v2"
	"strings"
	"testing"

	"github.com/cockroachdb/pebble/v2/vfs"
	"github.com/cockroachdb/pebble/v2/vfs/errorfs"
)

func wantRecord(t testing.TB, s *Store, name, want string) {
	t.Helper()
	if got, err := s.ReadRecord(name); err != nil || string(got) != want {
		t.Errorf("the record %s is %q, want %q: %v", name, got, want, err)
	}
}

// Whatever the mode: an acceptor's promise must hold.
func TestARecordSurvivesAPowerCutAtOnce(t *testing.T) {
	for _, mode := range []SyncMode{SyncAlways, SyncEverysec, SyncNo} {
		fs := vfs.NewCrashableMem()
		opts := memOptions(fs)
		opts.Sync = mode
		s := openStore(t, opts)
		if b, err := s.ReadRecord("ring"); b != nil || err != nil {
			t.Errorf("before the first: %q, %v", b, err)
		}
		for i := range 5 {
			if err := s.WriteRecord("ring", fmt.Append(nil, "document", i)); err != nil {
				t.Fatal(err)
			}
			if err := s.WriteRecord("acceptor-2", nil); err != nil {
				t.Fatal(err)
			}
			opts.FS = fs.CrashClone(vfs.CrashCloneCfg{})
			after := openStore(t, opts)
			wantRecord(t, after, "ring", fmt.Sprint("document", i))
			if b, err := after.ReadRecord("acceptor-2"); b == nil || len(b) != 0 || err != nil {
				t.Errorf("an empty record is %q: %v", b, err)
			}
		}
	}
}

func TestACrashWhileARecordIsReplacedLeavesTheOldOrTheNew(t *testing.T) {
	seed := rand.Uint64()
	t.Logf("seed %d", seed)
	cfg := vfs.CrashCloneCfg{UnsyncedDataPercent: 50, RNG: rand.New(rand.NewPCG(seed, 0))}
	fs := vfs.NewCrashableMem()
	var crashed []*vfs.MemFS
	on := false
	crash := errorfs.InjectorFunc(func(op errorfs.Op) error {
		if on && strings.Contains(op.Path, "ring.record") {
			crashed = append(crashed, fs.CrashClone(cfg))
		}
		return nil
	})
	s := openStore(t, memOptions(faulty(fs, crash)))
	before, after := strings.Repeat("old", 1000), strings.Repeat("new", 2000)
	if err := s.WriteRecord("ring", []byte(before)); err != nil {
		t.Fatal(err)
	}
	on = true
	if err := s.WriteRecord("ring", []byte(after)); err != nil {
		t.Fatal(err)
	}
	on = false
	if len(crashed) < 4 {
		t.Fatalf("%d crashes", len(crashed))
	}
	for _, fs := range crashed {
		got, err := openStore(t, memOptions(fs)).ReadRecord("ring")
		if err != nil || string(got) != before && string(got) != after {
			t.Errorf("after a crash it is %.20q: %v", got, err)
		}
	}
}

func TestRecordsGoOnWhenWritesAreStopped(t *testing.T) {
	f := &fault{part: ".log", kinds: []errorfs.OpKind{errorfs.OpFileWrite}}
	s := openStore(t, memOptions(faulty(vfs.NewMem(), f)))
	f.on.Store(true)
	if err := commit(s, 0, "k", write{value: "v"}); !errors.Is(err, ErrCommit) {
		t.Fatal(err)
	}
	if err := s.WriteRecord("ring", []byte("document")); err != nil {
		t.Fatal(err)
	}
	wantRecord(t, s, "ring", "document")
}

func TestADamagedRecordIsAnErrorAndNeverAbsent(t *testing.T) {
	fs := vfs.NewMem()
	s := openStore(t, memOptions(fs))
	if err := s.WriteRecord("ring", []byte("document")); err != nil {
		t.Fatal(err)
	}
	name := fs.PathJoin("data", "ring"+recordSuffix)
	f, err := fs.Open(name)
	if err != nil {
		t.Fatal(err)
	}
	text, err := io.ReadAll(f)
	if err != nil {
		t.Fatal(err)
	}
	check := func(damaged []byte) {
		t.Helper()
		f, err := fs.Create(name, vfs.WriteCategoryUnspecified)
		if err != nil {
			t.Fatal(err)
		}
		if _, err := f.Write(damaged); err != nil {
			t.Fatal(err)
		}
		if b, err := s.ReadRecord("ring"); !errors.Is(err, ErrCorrupt) || b != nil {
			t.Errorf("%q is read as %q: %v", damaged, b, err)
		}
	}
	for i := range text {
		damaged := bytes.Clone(text)
		damaged[i] ^= 0x10
		check(damaged)
		check(text[:i])
	}
	check(append(bytes.Clone(text), 0))
}

func TestARecordHasAPlainName(t *testing.T) {
	s := openStore(t, memOptions(vfs.NewMem()))
	for _, name := range []string{"", "../NODE", "a/b", "NODE", "a.b", strings.Repeat("a", 65)} {
		if err := s.WriteRecord(name, nil); err == nil {
			t.Errorf("%q is taken", name)
		}
		if _, err := s.ReadRecord(name); err == nil {
			t.Errorf("%q is read", name)
		}
	}
}

func TestARecordThatCannotBeWrittenLeavesTheOld(t *testing.T) {
	for _, kind := range []errorfs.OpKind{errorfs.OpCreate, errorfs.OpFileWrite, errorfs.OpFileSync, errorfs.OpRename} {
		f := &fault{part: "ring.record", kinds: []errorfs.OpKind{kind}}
		s := openStore(t, memOptions(faulty(vfs.NewMem(), f)))
		if err := s.WriteRecord("ring", []byte("old")); err != nil {
			t.Fatal(err)
		}
		f.on.Store(true)
		if err := s.WriteRecord("ring", []byte("new")); !errors.Is(err, errorfs.ErrInjected) {
			t.Errorf("kind %v: %v", kind, err)
		}
		wantRecord(t, s, "ring", "old")
	}
}
