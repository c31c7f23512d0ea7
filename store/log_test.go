package store

import (
	"bytes"
	"fmt"
	"maps"
	"math/rand/v2"
	"testing"

	"github.com/cockroachdb/pebble/v2"
	"github.com/cockroachdb/pebble/v2/vfs"
	"github.com/cockroachdb/pebble/v2/vfs/errorfs"
	"pgregory.net/rapid"
)

// logged opens the log of a file system and returns the forms of what it holds.
func logged(t fataler, fs vfs.FS) (forms []string, l *commitLog) {
	t.Helper()
	l, _, err := openLog(fs, "", SyncEverysec, logPosition{}, func(rows *rowBatch, _ logPosition) error {
		forms = append(forms, string(rows.encode(nil)))
		return nil
	})
	if err != nil {
		t.Fatalf("open the log: %v", err)
	}
	return forms, l
}

func commitOf(n int) *rowBatch {
	rows := &rowBatch{}
	for i := range n % 4 {
		rows.set(append(rows.key(), fmt.Sprintf("okey%d.%d", n, i)...), bytes.Repeat([]byte{byte(n)}, n*i))
	}
	rows.remove(append(rows.key(), fmt.Sprint("x", n)...))
	if n%5 == 0 {
		rows.removeRange([]byte("a"), []byte(fmt.Sprint("b", n)))
	}
	return rows
}

func readFile(t fataler, fs vfs.FS, name string) []byte {
	t.Helper()
	f, err := fs.Open(name)
	if err != nil {
		t.Fatalf("%v", err)
	}
	defer f.Close()
	info, err := f.Stat()
	if err != nil {
		t.Fatalf("%v", err)
	}
	b := make([]byte, info.Size())
	if _, err := f.ReadAt(b, 0); err != nil && len(b) > 0 {
		t.Fatalf("%v", err)
	}
	return b
}

func writeFile(t fataler, fs vfs.FS, name string, b []byte) {
	t.Helper()
	f, err := fs.Create(name, vfs.WriteCategoryUnspecified)
	if err == nil {
		_, err = f.Write(b)
	}
	if err == nil {
		err = f.Close()
	}
	if err != nil {
		t.Fatalf("%v", err)
	}
}

// Cut anywhere, or with any one byte turned, a log holds the commits before that
// place, whole, and none after it.
func TestALogThatIsTornHoldsTheCommitsBefore(t *testing.T) {
	fs := vfs.NewMem()
	_, l := logged(t, fs)
	var want []string
	var ends []int64
	for n := range 12 {
		rows := commitOf(n)
		want = append(want, string(rows.encode(nil)))
		if err := l.append(rows); err != nil {
			t.Fatal(err)
		}
		ends = append(ends, l.current.bytes)
	}
	whole := readFile(t, fs, l.current.name)[:l.current.bytes] // without what it is extended by
	for at := range len(whole) {
		torn := append([]byte(nil), whole[:at]...)
		turned := append([]byte(nil), whole...)
		turned[at] ^= 0x10
		for _, text := range [][]byte{torn, turned, append(torn, bytes.Repeat([]byte{0xa5}, 100)...)} {
			left := vfs.NewMem()
			if err := left.MkdirAll(logDir, 0o755); err != nil {
				t.Fatal(err)
			}
			writeFile(t, left, l.current.name, text)
			n := 0
			for n < len(ends) && ends[n] <= int64(at) {
				n++
			}
			got, _ := logged(t, left)
			if fmt.Sprint(got) != fmt.Sprint(want[:n]) {
				t.Fatalf("cut at %d it holds %d commits, want %d", at, len(got), n)
			}
		}
	}
}

// A file that is used again shows nothing of what it held before.
func TestASegmentInAFileUsedAgainHoldsOnlyItsOwn(t *testing.T) {
	fs := vfs.NewMem()
	_, l := logged(t, fs)
	for round := range 5 {
		var want []string
		for n := range 20 - 4*round { // ever shorter: the rest is of before
			rows := commitOf(n)
			want = append(want, string(rows.encode(nil)))
			if err := l.append(rows); err != nil {
				t.Fatal(err)
			}
		}
		got, _ := logged(t, cloneMem(t, fs))
		if fmt.Sprint(got) != fmt.Sprint(want) {
			t.Fatalf("round %d: %d commits, want %d", round, len(got), len(want))
		}
		if err := l.retire(l.current.number + 1); err != nil {
			t.Fatal(err)
		}
		_, l = logged(t, fs)
	}
	names, err := fs.List(logDir)
	if err != nil || len(names) > 2 {
		t.Errorf("the log has the files %v: %v", names, err)
	}
}

func cloneMem(t *testing.T, fs vfs.FS) vfs.FS {
	t.Helper()
	clone := vfs.NewMem()
	if ok, err := vfs.Clone(fs, clone, logDir, logDir); !ok || err != nil {
		t.Fatalf("clone: %v", err)
	}
	return clone
}

// Whatever of the log a crash leaves is the commits up to some one of them; in
// always, all of them.
func TestACrashLeavesAPrefixOfTheLog(t *testing.T) {
	for mode, all := range map[SyncMode]bool{SyncAlways: true, SyncEverysec: false} {
		seed := rand.Uint64()
		t.Logf("seed %d", seed)
		r := rand.New(rand.NewPCG(seed, 1))
		fs := vfs.NewCrashableMem()
		l, _, err := openLog(fs, "", mode, logPosition{}, nil)
		if err != nil {
			t.Fatal(err)
		}
		var want []string
		for n := range cases(60) {
			rows := commitOf(n)
			want = append(want, string(rows.encode(nil)))
			if err := l.append(rows); err != nil {
				t.Fatal(err)
			}
			if n%13 == 12 {
				if err := l.sync(); err != nil {
					t.Fatal(err)
				}
				if err := l.rotate(); err != nil {
					t.Fatal(err)
				}
			}
			got, _ := logged(t, fs.CrashClone(vfs.CrashCloneCfg{UnsyncedDataPercent: r.IntN(100), RNG: r}))
			if len(got) > len(want) || fmt.Sprint(got) != fmt.Sprint(want[:len(got)]) {
				t.Fatalf("%v: after %d commits a crash leaves %d others", mode, len(want), len(got))
			}
			if least := (n + 1) / 13 * 13; len(got) < least || all && len(got) < len(want) {
				t.Fatalf("%v: after %d commits, %d of them synced, a crash leaves %d", mode, len(want), least, len(got))
			}
		}
	}
}

// A sync that failed is not done because it is asked for again.
func TestASyncThatFailedFailsAgain(t *testing.T) {
	f := &fault{part: ".log", kinds: []errorfs.OpKind{errorfs.OpFileSyncData}}
	_, l := logged(t, faulty(vfs.NewMem(), f))
	if err := l.append(commitOf(1)); err != nil {
		t.Fatal(err)
	}
	f.on.Store(true)
	if l.sync() == nil {
		t.Fatal("no failure")
	}
	if l.sync() == nil {
		t.Error("what could not be synced is said to be")
	}
}

// A segment that was retired does not come back with a crash, to be replayed over
// what is newer.
func TestWhatWasRetiredDoesNotComeBack(t *testing.T) {
	fs := vfs.NewCrashableMem()
	opts := memOptions(fs)
	s := openStore(t, opts)
	mustSet(t, s, 0, "k", "old")
	s = reopen(t, s)
	mustSet(t, s, 0, "k", "new")
	closeStore(t, s)
	opts.FS = fs.CrashClone(vfs.CrashCloneCfg{})
	wantRead(t, openStore(t, opts), 0, "k", "new")
}

// Pebble holds after a gathered batch what it would hold had it been given each of
// the batches by itself.
func TestWhatIsGatheredIsWhatTheBatchesAreOneAfterTheOther(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		model := map[string]string{}
		gathered := &rowBatch{}
		for i := range rapid.IntRange(0, 10).Draw(t, "batches") {
			rows := &rowBatch{}
			for j := range rapid.IntRange(0, 10).Draw(t, "changes") {
				// Two keys of one token, and some that have none.
				key := rapid.SampledFrom([]string{"oaaaaaaaa0", "oaaaaaaaa1", "obbbbbbbb0", "xaaaaaaaa", "hk", "o", "m1"}).Draw(t, "key")
				if rapid.IntRange(0, 3).Draw(t, "kind") == 0 {
					rows.remove(append(rows.key(), key...))
					delete(model, key)
					continue
				}
				value := fmt.Sprintf("%d.%d", i, j)
				rows.set(append(rows.key(), key...), []byte(value))
				model[key] = value
			}
			gathered.gather(rows)
			rows.reset()
		}
		db, err := pebble.Open("", &pebble.Options{FS: vfs.NewMem(), Logger: pebbleLogger{&Store{}}})
		if err != nil {
			t.Fatal(err)
		}
		defer db.Close()
		batch := db.NewBatch()
		if err := gathered.appendTo(batch, func() {}); err != nil {
			t.Fatal(err)
		}
		if err := batch.Commit(pebble.NoSync); err != nil {
			t.Fatal(err)
		}
		if got := allRows(t, db); !maps.Equal(got, model) {
			t.Fatalf("Pebble has %v, want %v", got, model)
		}
		size := 0
		for i := range gathered.count {
			r, key := gathered.at(i)
			size += len(key) + len(r.value)
		}
		if size != gathered.bytes {
			t.Fatalf("%d bytes are counted, there are %d", gathered.bytes, size)
		}
	})
}

// No bytes crash the reader of a record's form, and what it takes is what the
// writer makes of it again.
func FuzzLogForm(f *testing.F) {
	for n := range 6 {
		f.Add(commitOf(n).encode(nil))
	}
	f.Fuzz(func(t *testing.T, form []byte) {
		rows := &rowBatch{}
		if rows.decode(form) != nil {
			return
		}
		again := &rowBatch{}
		if err := again.decode(rows.encode(nil)); err != nil {
			t.Fatal(err)
		}
		if !bytes.Equal(rows.encode(nil), again.encode(nil)) {
			t.Fatal("it is another one after it was written and read")
		}
	})
}
