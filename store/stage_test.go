package store

import (
	"bytes"
	"errors"
	"fmt"
	"math/rand/v2"
	"os"
	"path/filepath"
	"testing"

	"github.com/cockroachdb/pebble/v2/vfs"
	"github.com/cockroachdb/pebble/v2/vfs/errorfs"
	"pgregory.net/rapid"
)

const testStageBytes = 2 * stagePage

// A fakeMap maps files of a file system that cannot, and keeps what is written to them.
type fakeMap map[string][]byte

func (m fakeMap) mapFile(name string, size int) ([]byte, func() error, error) {
	if len(m[name]) != size {
		m[name] = make([]byte, size)
	}
	return m[name], func() error { return nil }, nil
}

// killed returns what a killed process leaves: its files, and what it wrote to those that are mapped.
func (m fakeMap) killed(t fataler, fs vfs.FS, dir string) *vfs.MemFS {
	t.Helper()
	left := vfs.NewMem()
	if ok, err := vfs.Clone(fs, left, dir, dir); !ok || err != nil {
		t.Fatalf("clone: %v", err)
	}
	for name, b := range m {
		writeFile(t, left, name, bytes.Clone(b)) // a vfs.File may change what it is given
	}
	return left
}

// staged opens the log of a file system, with a stage.
func staged(t fataler, fs vfs.FS, m fakeMap) (forms []string, l *commitLog) {
	t.Helper()
	forms, l = logged(t, fs)
	l.extendsBy = 100
	if err := l.stageIn(testStageBytes, m.mapFile); err != nil {
		t.Fatalf("%v", err)
	}
	return forms, l
}

// Killed at any moment, a process leaves to the next all that it has committed, be it in
// segments or in the stage, and whatever was in the stage before.
func TestAKilledProcessLeavesAllItsCommits(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		var fs vfs.FS = vfs.NewMem()
		m := fakeMap{}
		_, l := staged(t, fs, m)
		var want []string
		var in []uint64 // the segment of each
		for n := range rapid.IntRange(1, 80).Draw(t, "steps") {
			var err error
			switch op := rapid.SampledFrom([]string{"append", "append", "append", "append", "large", "huge", "drain", "sync", "prepare", "rotate", "retire", "restart"}).Draw(t, "op"); op {
			case "append", "large", "huge":
				rows := commitOf(n)
				if op != "append" {
					size := map[string]int{"large": stageLargeBytes, "huge": testStageBytes}[op]
					rows.set(append(rows.key(), "okey"...), bytes.Repeat([]byte{byte(n)}, size))
				}
				want, in = append(want, string(rows.encode(nil))), append(in, l.current.number)
				err = l.append(rows)
			case "drain":
				err = l.drain()
			case "sync":
				err = l.sync()
			case "prepare":
				err = l.prepare(l.current.number + 1)
			case "rotate":
				err = l.rotate()
			case "retire":
				err = l.retire(l.current.number)
				for len(in) > 0 && in[0] < l.current.number {
					want, in = want[1:], in[1:]
				}
			case "restart":
				fs = m.killed(t, fs, logDir)
				_, l = staged(t, fs, m)
			}
			if err != nil {
				t.Fatal(err)
			}
			left := m.killed(t, fs, logDir)
			for range 2 { // the first has written to the segments what the stage had
				if got, _ := logged(t, left); fmt.Sprint(got) != fmt.Sprint(want) {
					t.Fatalf("%d commits are left, not %d", len(got), len(want))
				}
				writeFile(t, left, l.stageName(), nil)
			}
		}
	})
}

// Who is killed while a commit is put in the stage has all before it, and not a part of it.
func TestWhoIsKilledWhileCommittingHasNotCommitted(t *testing.T) {
	fs, m := vfs.NewMem(), fakeMap{}
	_, l := staged(t, fs, m)
	var want []string
	for n := range 60 { // some rounds of the ring
		before, at := bytes.Clone(m[l.stageName()]), l.head.Load()
		rows := commitOf(n)
		if err := l.append(rows); err != nil {
			t.Fatal(err)
		}
		after := bytes.Clone(m[l.stageName()])
		written := l.head.Load() - at
		for cut := uint64(0); cut <= written-8; cut += 1 + written/16 { // bytes behind the checksum, which comes last
			torn := m.killed(t, fs, logDir)
			ring := &stage{ring: bytes.Clone(before)}
			ring.put(at+8, (&stage{ring: after}).get(at+8, cut))
			writeFile(t, torn, l.stageName(), ring.ring)
			if got, _ := logged(t, torn); fmt.Sprint(got) != fmt.Sprint(want) {
				t.Fatalf("cut at %d of %d bytes there are %d commits, not %d", cut, written, len(got), len(want))
			}
		}
		want = append(want, string(rows.encode(nil)))
	}
}

// A record of the round before, which begins where the next one would, does not pass for it.
func TestARecordOfTheRoundBeforeIsNotTaken(t *testing.T) {
	fs, m := vfs.NewMem(), fakeMap{}
	_, l := staged(t, fs, m)
	for n := range 200 {
		rows := &rowBatch{}
		rows.set(append(rows.key(), "okey"...), fmt.Append(nil, n+100, string(bytes.Repeat([]byte("-"), 106))))
		at := l.head.Load()
		if err := l.append(rows); err != nil {
			t.Fatal(err)
		}
		if written := l.head.Load() - at; testStageBytes%written != 0 {
			t.Fatalf("a record has %d bytes: no record begins where one did", written)
		}
		if got, _ := logged(t, m.killed(t, fs, logDir)); len(got) != n+1 {
			t.Fatalf("%d commits are left, not %d", len(got), n+1)
		}
	}
}

// What a power cut leaves of a log and of its stage, each page of which may be of another
// time, is the commits up to some one of them, at least to the last that was synced.
func TestAPowerCutLeavesAPrefixOfTheLogAndItsStage(t *testing.T) {
	seed := rand.Uint64()
	t.Logf("seed %d", seed)
	r := rand.New(rand.NewPCG(seed, 2))
	for range cases(10) {
		fs, m := vfs.NewCrashableMem(), fakeMap{}
		_, l := staged(t, fs, m)
		var want []string
		synced, times := 0, [][]byte{make([]byte, testStageBytes)}
		for n := range 60 {
			rows := commitOf(n)
			want = append(want, string(rows.encode(nil)))
			err := l.append(rows)
			switch r.IntN(6) {
			case 0:
				err = errors.Join(err, l.drain())
			case 1:
				err = errors.Join(err, l.sync())
				synced = len(want)
			case 2:
				err = errors.Join(err, l.rotate())
			}
			if err != nil {
				t.Fatal(err)
			}
			times = append(times, bytes.Clone(m[l.stageName()]))
			left := fs.CrashClone(vfs.CrashCloneCfg{UnsyncedDataPercent: r.IntN(100), RNG: r})
			var ring []byte
			for page := 0; page < testStageBytes; page += stagePage {
				ring = append(ring, times[max(0, len(times)-1-r.IntN(4)*r.IntN(8))][page:page+stagePage]...)
			}
			writeFile(t, left, l.stageName(), ring)
			got, _ := logged(t, left)
			if len(got) > len(want) || len(got) < synced || fmt.Sprint(got) != fmt.Sprint(want[:len(got)]) {
				t.Fatalf("after %d commits, %d of them synced, %d others are left", len(want), synced, len(got))
			}
		}
	}
}

// As a user has it: a file that is mapped, and a directory that a killed process leaves.
func TestWhatIsInTheStageIsThereAfterAKill(t *testing.T) {
	dir, copied := filepath.Join(t.TempDir(), "data"), filepath.Join(t.TempDir(), "data")
	opts := Options{Dir: dir, Partitions: testPartitions, MemoryBytes: memoryBytesMin, SweepInterval: -1}
	s := openStore(t, opts)
	for n := range 200 { // some segments
		mustSet(t, s, 0, fmt.Sprint("k", n), fmt.Sprint("v", n))
		if n%50 == 10 {
			s.commitMu.Lock()
			err := s.commitLog.rotate()
			s.commitMu.Unlock()
			if err != nil {
				t.Fatal(err)
			}
		}
	}
	if s.commitLog.stage == nil {
		t.Fatal("there is no stage")
	}
	if err := os.CopyFS(copied, os.DirFS(dir)); err != nil {
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

// When the log cannot be written, what is in the stage is not lost, and there is no more.
func TestAStageThatCannotBeDrainedStopsWritesAndKeepsWhatItHas(t *testing.T) {
	m, mem := fakeMap{}, vfs.NewMem()
	f := &fault{part: logFileSuffix, kinds: []errorfs.OpKind{errorfs.OpFileWrite}}
	opts := memOptions(faulty(mem, f))
	opts.mapFile = m.mapFile
	s := openStore(t, opts)
	mustSet(t, s, 0, "before", "v")
	f.on.Store(true)
	mustSet(t, s, 0, "staged", "v")
	if s.Sync() == nil || s.Failure() == nil {
		t.Fatal("no failure")
	}
	if err := commit(s, 0, "after", write{value: "v"}); err == nil {
		t.Error("it is written to after that")
	}
	wantRead(t, s, 0, "staged", "v")
	opts.FS = m.killed(t, mem, opts.Dir)
	s = openStore(t, opts)
	for _, key := range []string{"before", "staged"} {
		wantRead(t, s, 0, key, "v")
	}
	wantRead(t, s, 0, "after", "(absent)")
}

// Where a file cannot be mapped commits are written to the log, and a stage that another process has
// left is heeded by one that has none.
func TestAStoreWithoutAStage(t *testing.T) {
	m, mem := fakeMap{}, vfs.NewMem()
	opts := memOptions(mem)
	opts.mapFile = m.mapFile
	mustSet(t, openStore(t, opts), 0, "k", "v")
	opts.FS = m.killed(t, mem, opts.Dir)
	for _, mapFile := range []func(string, int) ([]byte, func() error, error){
		nil, func(string, int) ([]byte, func() error, error) { return nil, nil, errors.ErrUnsupported },
	} {
		opts.mapFile = mapFile
		s := openStore(t, opts)
		if s.commitLog.stage != nil {
			t.Fatal("it has one")
		}
		wantRead(t, s, 0, "k", "v")
		mustSet(t, s, 0, "other", "v")
		closeStore(t, s)
	}
}
