package store

import (
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"testing"
	"time"

	"github.com/cockroachdb/pebble/v2/vfs"
	"github.com/cockroachdb/pebble/v2/vfs/errorfs"
)

// As a user has it: a file that is mapped, and a directory that a killed process leaves.
func TestWhatIsInTheStageIsThereAfterAKill(t *testing.T) {
	dir, copied := filepath.Join(t.TempDir(), "data"), filepath.Join(t.TempDir(), "data")
	opts := Options{Dir: dir, Sync: SyncNo, Partitions: testPartitions, MemoryBytes: memoryBytesMin, SweepInterval: -1}
	s := openStore(t, opts)
	s.commitLog.writing.Lock() // nobody drains
	for n := range 200 {
		mustSet(t, s, 0, fmt.Sprint("k", n), fmt.Sprint("v", n))
	}
	if s.commitLog.waiting() == 0 {
		t.Fatal("nothing is in the stage")
	}
	err := os.CopyFS(copied, os.DirFS(dir))
	s.commitLog.writing.Unlock()
	if err != nil {
		t.Fatal(err)
	}
	opts.Dir = copied
	other := openStore(t, opts)
	for n := range 200 {
		wantRead(t, other, 0, fmt.Sprint("k", n), fmt.Sprint("v", n))
	}
	closeStore(t, other)
	wantRead(t, openStore(t, opts), 0, "k7", "v7")
}

// What is in the stage gets to its segment: at once where it is much, else within a second or so.
func TestTheStageIsDrained(t *testing.T) {
	for _, mode := range []SyncMode{SyncEverysec, SyncNo} {
		opts := memOptions(vfs.NewMem())
		opts.Sync, opts.MapFile = mode, newTestMap(t).mapFile
		s := openStore(t, opts)
		drained := func() {
			t.Helper()
			for deadline := time.Now().Add(20 * time.Second); s.commitLog.waiting() > 0; time.Sleep(time.Millisecond) {
				if time.Now().After(deadline) {
					t.Fatalf("%v: it is not drained", mode)
				}
			}
		}
		mustSet(t, s, 0, "k", "v")
		drained()
		start := time.Now()
		for range 10 { // with what is done each second alone it would take as many seconds
			for put := s.commitLog.head.Load(); s.commitLog.head.Load()-put < stageDrainBytes; {
				mustSet(t, s, 0, "k", string(make([]byte, 2000)))
			}
			drained()
		}
		if took := time.Since(start); took > 8*time.Second {
			t.Errorf("%v: it takes %v", mode, took)
		}
	}
}

// When the log cannot be written, what is in the stage is not lost, also where the power is cut then,
// and there is no more.
func TestAStageThatCannotBeDrainedStopsWritesAndKeepsWhatItHas(t *testing.T) {
	m, mem := newTestMap(t), vfs.NewCrashableMem()
	f := &fault{part: logFileSuffix, kinds: []errorfs.OpKind{errorfs.OpFileWrite}}
	opts := memOptions(faulty(mem, f))
	synced := false
	opts.MapFile = func(name string, size int) (Mapping, error) {
		mapped, err := m.mapFile(name, size)
		mapped.Sync = func() error { synced = true; return nil }
		return mapped, err
	}
	s := openStore(t, opts)
	mustSet(t, s, 0, "before", "v")
	s.drainLog()
	f.on.Store(true)
	mustSet(t, s, 0, "staged", "v")
	if s.Sync() == nil || s.Failure() == nil {
		t.Fatal("no failure")
	}
	if err := commit(s, 0, "after", write{value: "v"}); err == nil {
		t.Error("it is written to after that")
	}
	wantRead(t, s, 0, "staged", "v")
	if !synced {
		t.Error("the stage is not synced")
	}
	left := mem.CrashClone(vfs.CrashCloneCfg{})
	writeFile(t, left, stageBelow(mem, opts.Dir), m.file(t))
	opts.FS = left
	s = openStore(t, opts)
	for _, key := range []string{"before", "staged"} {
		wantRead(t, s, 0, key, "v")
	}
	wantRead(t, s, 0, "after", "(absent)")
}

// A disk that fails under the stage stops the writes, and not the process.
func TestAStageThatCannotBeWrittenStopsTheWrites(t *testing.T) {
	m := newTestMap(t)
	opts := memOptions(vfs.NewMem())
	opts.MapFile = m.mapFile
	s := openStore(t, opts)
	mustSet(t, s, 0, "before", "v")
	if err := os.Truncate(m.name, 0); err != nil { // its pages are gone
		t.Fatal(err)
	}
	s.commitMu.Lock()
	err := s.commitLog.rotate()
	s.commitMu.Unlock()
	if err == nil {
		t.Error("a segment is begun")
	}
	if err := commit(s, 0, "after", write{value: "v"}); err == nil || s.Failure() == nil {
		t.Fatalf("no failure: %v", err)
	}
	wantRead(t, s, 0, "before", "v")
}

// What has been acknowledged is synced when a store is closed, also when its writes have been stopped.
func TestAStoreThatIsClosedAfterAFailureIsSynced(t *testing.T) {
	for name, m := range map[string]*testMap{"staged": newTestMap(t), "no stage": nil} {
		t.Run(name, func(t *testing.T) {
			mem := vfs.NewCrashableMem()
			opts := memOptions(mem)
			if m != nil {
				opts.MapFile = m.mapFile
			}
			s := openStore(t, opts)
			mustSet(t, s, 0, "k", "v")
			failure := errors.New("it has failed")
			s.fail(failure)
			if err := s.Close(); !errors.Is(err, failure) {
				t.Fatal(err)
			}
			opts.FS, opts.MapFile = mem.CrashClone(vfs.CrashCloneCfg{}), nil
			wantRead(t, openStore(t, opts), 0, "k", "v")
		})
	}
}

// Where a file cannot be mapped commits are written to the log, and a stage that another process has
// left is heeded by one that has none.
func TestAStoreWithoutAStage(t *testing.T) {
	m, mem := newTestMap(t), vfs.NewMem()
	opts := memOptions(mem)
	opts.MapFile = m.mapFile
	mustSet(t, openStore(t, opts), 0, "k", "v")
	opts.FS = m.killed(t, mem, opts.Dir)
	for _, mapFile := range []func(string, int) (Mapping, error){
		nil, func(string, int) (Mapping, error) { return Mapping{}, errors.ErrUnsupported },
	} {
		opts.MapFile = mapFile
		s := openStore(t, opts)
		if s.commitLog.stage != nil {
			t.Fatal("it has one")
		}
		wantRead(t, s, 0, "k", "v")
		mustSet(t, s, 0, "other", "v")
		closeStore(t, s)
	}
}
