package store

import (
	"bytes"
	"errors"
	"fmt"
	"math/rand/v2"
	"runtime"
	"strings"
	"sync/atomic"
	"testing"
	"time"

	"github.com/cockroachdb/pebble/v2/vfs"
	"github.com/cockroachdb/pebble/v2/vfs/errorfs"

	"cartwheel/cluster/ring"
	"cartwheel/store/version"
)

// A fault makes the operations of some kinds on files whose name holds part
// fail, from when it is on.
type fault struct {
	kinds []errorfs.OpKind
	part  string
	on    atomic.Bool
}

func (f *fault) MaybeError(op errorfs.Op) error {
	if !f.on.Load() || !strings.Contains(op.Path, f.part) {
		return nil
	}
	for _, kind := range f.kinds {
		if op.Kind == kind {
			return errorfs.ErrInjected
		}
	}
	return nil
}

func (f *fault) String() string { return "fault on " + f.part }

// faulty returns a file system whose operations meet the faults, those on files that
// are used again too: errorfs leaves these alone.
func faulty(fs vfs.FS, injector errorfs.Injector) vfs.FS {
	return faultyFS{errorfs.Wrap(fs, injector), injector}
}

type faultyFS struct {
	vfs.FS
	injector errorfs.Injector
}

func (fs faultyFS) ReuseForWrite(oldName, newName string, category vfs.DiskWriteCategory) (vfs.File, error) {
	f, err := fs.FS.ReuseForWrite(oldName, newName, category)
	if err != nil {
		return nil, err
	}
	return faultyFile{f, newName, fs.injector}, nil
}

type faultyFile struct {
	vfs.File
	path     string
	injector errorfs.Injector
}

func (f faultyFile) maybe(kind errorfs.OpKind) error {
	return f.injector.MaybeError(errorfs.Op{Kind: kind, Path: f.path})
}

func (f faultyFile) Write(p []byte) (int, error) {
	if err := f.maybe(errorfs.OpFileWrite); err != nil {
		return 0, err
	}
	return f.File.Write(p)
}

func (f faultyFile) Sync() error {
	if err := f.maybe(errorfs.OpFileSync); err != nil {
		return err
	}
	return f.File.Sync()
}

func (f faultyFile) SyncData() error {
	if err := f.maybe(errorfs.OpFileSyncData); err != nil {
		return err
	}
	return f.File.SyncData()
}

func TestAFailedCommitStopsWritesAndNothingElse(t *testing.T) {
	for _, c := range []struct {
		name  string
		mode  SyncMode
		fault *fault
	}{
		{"log write", SyncEverysec, &fault{part: ".log", kinds: []errorfs.OpKind{errorfs.OpFileWrite}}},
		{"log sync", SyncAlways, &fault{part: ".log", kinds: []errorfs.OpKind{errorfs.OpFileSync, errorfs.OpFileSyncData}}},
		{"log sync by the ticker", SyncEverysec, &fault{part: ".log", kinds: []errorfs.OpKind{errorfs.OpFileSync, errorfs.OpFileSyncData}}},
		{"log create", SyncEverysec, &fault{part: ".log", kinds: []errorfs.OpKind{errorfs.OpCreate, errorfs.OpReuseForWrite}}},
		{"manifest write", SyncEverysec, &fault{part: "MANIFEST", kinds: []errorfs.OpKind{errorfs.OpFileWrite}}},
		{"manifest sync", SyncAlways, &fault{part: "MANIFEST", kinds: []errorfs.OpKind{errorfs.OpFileSync, errorfs.OpFileSyncData}}},
	} {
		t.Run(c.name, func(t *testing.T) { testFailedCommit(t, c.mode, c.fault) })
	}
}

func testFailedCommit(t *testing.T, mode SyncMode, f *fault) {
	mem := vfs.NewCrashableMem()
	opts := memOptions(faulty(mem, f))
	opts.Sync = mode
	s := openStore(t, opts)
	acked := map[string]string{}
	put := func(n int) error {
		key, value := fmt.Sprint("key", n%20), fmt.Sprint(n, strings.Repeat("x", 8000))
		err := commit(s, 0, key, write{value: value})
		if err == nil {
			acked[key] = value
		} else {
			delete(acked, key) // it may have either value
		}
		return err
	}
	for n := range 100 {
		if err := put(n); err != nil {
			t.Fatal(err)
		}
	}
	f.on.Store(true)
	err := error(nil)
	for n, deadline := 100, time.Now().Add(10*time.Second); err == nil && time.Now().Before(deadline); n++ {
		err = put(n)
	}
	if !errors.Is(err, ErrCommit) && !errors.Is(err, ErrStopped) {
		t.Fatalf("the write that met the fault: %v", err)
	}
	for n := range 20 {
		if _, err := do(s, 0, fmt.Sprint("key", n), write{value: "late"}); !errors.Is(err, ErrStopped) {
			t.Fatalf("a write after it: %v", err)
		}
	}
	if err := s.Commit(s.openSeq()); !errors.Is(err, ErrCommit) {
		t.Fatalf("a commit after it: %v", err)
	}
	if s.Failure() == nil {
		t.Error("no failure is shown")
	}
	for key, want := range acked {
		wantRead(t, s, 0, key, want)
	}
	closed := make(chan error)
	go func() { closed <- s.Close() }()
	select {
	case err := <-closed:
		if !errors.Is(err, ErrCommit) {
			t.Errorf("close: %v", err)
		}
	case <-time.After(10 * time.Second):
		t.Fatal("Close did not return")
	}

	waitForNoFlush(t)
	f.on.Store(false)
	if s.broken.Load() { // Pebble's own lock ends with the process
		opts.FS = mem.CrashClone(vfs.CrashCloneCfg{UnsyncedDataPercent: 100, RNG: rand.New(rand.NewPCG(1, 1))})
	}
	after := openStore(t, opts)
	for key, want := range acked {
		wantRead(t, after, 0, key, want)
	}
	mustSet(t, after, 0, "key", "writes go on")
}

// waitForNoFlush returns when Pebble has stopped trying: it is not seen flushing
// 20 times in a row.
func waitForNoFlush(t *testing.T) {
	t.Helper()
	stacks := make([]byte, 1<<20)
	deadline := time.Now().Add(5 * time.Second)
	for quiet := 0; quiet < 20; quiet++ {
		if bytes.Contains(stacks[:runtime.Stack(stacks, true)], []byte("pebble/v2.(*DB).flush1")) {
			quiet = 0
		}
		if time.Now().After(deadline) {
			t.Fatal("Pebble goes on trying for ever")
		}
		time.Sleep(time.Millisecond)
	}
}

// A table that cannot be written is tried again; the log has what it would hold.
func TestAFailedFlushIsTriedAgain(t *testing.T) {
	f := &fault{part: ".sst", kinds: []errorfs.OpKind{errorfs.OpCreate}}
	s := openStore(t, memOptions(faulty(vfs.NewMem(), f)))
	f.on.Store(true)
	mustSet(t, s, 0, "k", strings.Repeat("v", 1<<20)) // more than the first memtable takes
	mustSet(t, s, 0, "k2", strings.Repeat("v", 1<<20))
	f.on.Store(false)
	waitForLogs(t, s, 1)
	if s.Failure() != nil {
		t.Errorf("writes are stopped: %v", s.Failure())
	}
	s = reopen(t, s)
	wantRead(t, s, 0, "k", strings.Repeat("v", 1<<20))
}

// What was not committed when writes stopped was never acknowledged: reads go
// back to what was.
func TestAfterAFailureReadsShowNothingThatWasNeverCommitted(t *testing.T) {
	f := &fault{part: ".log", kinds: []errorfs.OpKind{errorfs.OpFileSyncData}}
	s := openStore(t, memOptions(faulty(vfs.NewMem(), f)))
	mustSet(t, s, 0, "k", "committed")
	if _, err := do(s, 0, "k", write{value: "open"}); err != nil {
		t.Fatal(err)
	}
	f.on.Store(true)
	_ = s.syncLog()
	if err := s.Commit(s.openSeq()); !errors.Is(err, ErrCommit) {
		t.Fatalf("commit: %v", err)
	}
	wantRead(t, s, 0, "k", "committed")
}

// A stopper stops a store's writes while a commit is being written to the log, as a sync that
// fails beside it does.
type stopper struct{ s atomic.Pointer[Store] }

func (f *stopper) MaybeError(op errorfs.Op) error {
	if s := f.s.Load(); s != nil && op.Kind == errorfs.OpFileWrite && strings.Contains(op.Path, ".log") {
		s.fail(errorfs.ErrInjected)
	}
	return nil
}

func (f *stopper) String() string { return "writes stop" }

// A commit that was on its way to the log when writes stopped is refused, and its rows are not
// given to Pebble afterwards, where they would be seen as soon as the caches have let go of what was.
func TestACommitThatMeetsAFailureIsNotSeenLater(t *testing.T) {
	for name, ranges := range map[string]bool{"rows": false, "ranges of rows": true} {
		t.Run(name, func(t *testing.T) {
			f := &stopper{}
			s := openStore(t, memOptions(faulty(vfs.NewMem(), f)))
			for i := range s.cache.shards {
				s.cache.shards[i].budget = 400
			}
			mustSet(t, s, 0, "k", "committed")
			if _, err := do(s, 0, "k", write{value: "open"}); err != nil {
				t.Fatal(err)
			}
			if ranges {
				s.open.mu.Lock()
				s.open.rows.removeRange([]byte{prefixExpiry}, prefixEnd(prefixExpiry))
				s.open.mu.Unlock()
			}
			f.s.Store(s)
			if err := s.Commit(s.openSeq()); !errors.Is(err, ErrCommit) {
				t.Fatalf("commit: %v", err)
			}
			wantRead(t, s, 0, "k", "committed")
			for n := range 3000 { // they push it out of the cache
				read(s, 0, fmt.Sprint("other", n))
			}
			wantRead(t, s, 0, "k", "committed")
			wantScan := func(k Key, o *version.Object) bool {
				if got := string(o.Siblings[0].Payload); got != "committed" {
					t.Errorf("a scan sees %q", got)
				}
				return true
			}
			if err := s.Scan(0, ^ring.Token(0), wantScan); err != nil {
				t.Fatal(err)
			}
			for n := range 3000 {
				read(s, 0, fmt.Sprint("another", n))
			}
			wantRead(t, s, 0, "k", "committed")
		})
	}
}

func TestNoHLCIsIssuedThatTheLeaseDoesNotCover(t *testing.T) {
	f := &fault{part: nodeFile, kinds: []errorfs.OpKind{errorfs.OpCreate, errorfs.OpFileWrite}}
	s := openStore(t, memOptions(faulty(vfs.NewMem(), f)))
	f.on.Store(true)
	if h, err := s.NextHLC(s.NowMS(), 0); err == nil {
		t.Fatalf("%v was issued above the lease", h)
	}
	f.on.Store(false)
	mustSet(t, s, 0, "k", "v")
}
