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

// A testMap maps a file for a stage beside a file system that cannot.
type testMap struct{ name string }

func newTestMap(t testing.TB) *testMap { return &testMap{filepath.Join(t.TempDir(), stageFile)} }

func (m *testMap) mapFile(_ string, size int) (Mapping, error) { return MapFile(m.name, size) }

// clear empties it, for the log of another directory: numbers of segments begin again there.
func (m *testMap) clear(t fataler) {
	t.Helper()
	if err := os.Remove(m.name); err != nil && !errors.Is(err, os.ErrNotExist) {
		t.Fatalf("%v", err)
	}
}

// file returns what the file has now.
func (m *testMap) file(t fataler) []byte {
	t.Helper()
	b, err := os.ReadFile(m.name)
	if err != nil {
		t.Fatalf("%v", err)
	}
	return b
}

// stageBelow is the name of the stage of a store in a directory, or of a log where that is "".
func stageBelow(fs vfs.FS, dir string) string { return fs.PathJoin(dir, logDir, stageFile) }

// killed returns what a process leaves that is killed now, of a store in a directory.
func (m *testMap) killed(t fataler, fs vfs.FS, dir string) *vfs.MemFS {
	t.Helper()
	b := m.file(t) // first: what is written to segments meanwhile is in both
	left := vfs.NewMem()
	of := fs.PathJoin(dir, logDir)
	if dir != "" {
		of = dir
	}
	if ok, err := vfs.Clone(fs, left, of, of); !ok || err != nil {
		t.Fatalf("clone: %v", err)
	}
	writeFile(t, left, stageBelow(fs, dir), b)
	return left
}

// stageLog gives a log a small stage.
func stageLog(t fataler, l *commitLog, m *testMap) {
	t.Helper()
	l.extendsBy = 100
	if err := l.stageIn(testStageBytes, m.mapFile); err != nil {
		t.Fatalf("%v", err)
	}
}

func stagedLog(t testing.TB, fs vfs.FS) (*commitLog, *testMap) {
	t.Helper()
	m := newTestMap(t)
	_, l := logged(t, fs)
	stageLog(t, l, m)
	t.Cleanup(func() { _ = l.close() })
	return l, m
}

// Killed after any call, or while it writes to a segment, a process leaves to the next all that
// it has committed, be it in segments or in the stage, and whatever processes before have left there.
func TestAKilledProcessLeavesAllItsCommits(t *testing.T) {
	m := newTestMap(t)
	rapid.Check(t, func(t *rapid.T) {
		fs := &busyFS{FS: vfs.NewMem()}
		_, l := logged(t, fs)
		m.clear(t)
		stageLog(t, l, m)
		defer func() { _ = l.close() }()
		var want []string
		var in []uint64 // the segment of each
		for n := range rapid.IntRange(1, 80).Draw(t, "steps") {
			var err error
			through := l.tail.Load() // a segment may lack what is behind, if it is killed while it does this
			switch op := rapid.SampledFrom([]string{"append", "append", "append", "append", "large", "huge", "drain", "sync", "prepare", "rotate", "retire", "restart"}).Draw(t, "op"); op {
			case "append", "large", "huge":
				rows := commitOf(n)
				if op != "append" {
					size := map[string]int{"large": stageLargeBytes, "huge": testStageBytes}[op]
					rows.set(append(rows.key(), "okey"...), bytes.Repeat([]byte{byte(n)}, size))
				}
				want, in = append(want, string(rows.encode(nil))), append(in, l.current.number)
				if err = l.append(rows); op == "huge" {
					through = l.head.Load()
				}
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
				through = l.head.Load() // it removes what is written
				for len(in) > 0 && in[0] < l.current.number {
					want, in = want[1:], in[1:]
				}
			case "restart":
				fs.FS = m.killed(t, fs, "")
				_ = l.close()
				_, l = logged(t, fs)
				err = l.retire(l.current.number) // Pebble has it
				want, in, through = nil, nil, l.head.Load()
				stageLog(t, l, m)
			}
			if err != nil {
				t.Fatal(err)
			}
			left := m.killed(t, fs, "")
			inStage := min(l.head.Load()-through, testStageBytes)
			if unwritten := int64(rapid.Uint64Range(0, inStage).Draw(t, "unwritten")); unwritten > 0 {
				b := readFile(t, left, l.current.name)
				writeFile(t, left, l.current.name, b[:max(0, min(int64(len(b)), l.current.bytes-unwritten))])
			}
			for range 2 { // the first may have been killed, too, before Pebble had it
				if got, _ := logged(t, left); fmt.Sprint(got) != fmt.Sprint(want) {
					t.Fatalf("%d commits are left, not %d", len(got), len(want))
				}
			}
		}
	})
}

// A drain that goes over the ring's end writes twice. Who commits between has no room yet for what the first write has
// of a record, whether the process is killed in the second, or it fails.
func TestACommitBetweenTheWritesOfADrainTakesNoRoomOfTheirs(t *testing.T) {
	for name, fails := range map[string]error{"killed": nil, "fails": errors.New("no more writes")} {
		t.Run(name, func(t *testing.T) {
			fs := &busyFS{FS: vfs.NewMem()}
			l, m := stagedLog(t, fs)
			var want []string
			commit := func() {
				rows := &rowBatch{}
				rows.set(append(rows.key(), "okey"...), bytes.Repeat([]byte{byte(len(want))}, 100))
				want = append(want, string(rows.encode(nil)))
				if err := l.append(rows); err != nil {
					t.Fatal(err)
				}
			}
			commit()
			record := l.head.Load() - logSegmentHeader
			for l.head.Load()+record <= testStageBytes {
				commit()
			}
			if err := l.drain(); err != nil {
				t.Fatal(err)
			}
			commit() // goes over the end
			var left *vfs.MemFS
			fs.writing = func() error {
				fs.writing = func() error {
					for l.waiting()+record <= testStageBytes {
						commit()
					}
					left = m.killed(t, fs, "")
					return fails
				}
				return nil
			}
			if err := l.drain(); left == nil || !errors.Is(err, fails) {
				t.Fatal(left, err)
			}
			if fails != nil {
				left = m.killed(t, fs, "")
			}
			if got, _ := logged(t, left); fmt.Sprint(got) != fmt.Sprint(want) {
				t.Fatalf("%d commits are left, not %d", len(got), len(want))
			}
		})
	}
}

// Who is killed while a commit is put in the stage has all before it, and not a part of it, be the
// checksum the first or the last of it.
func TestWhoIsKilledWhileCommittingHasNotCommitted(t *testing.T) {
	fs := vfs.NewMem()
	l, m := stagedLog(t, fs)
	var want []string
	for n := range 60 { // some rounds of the ring
		before, at := m.file(t), l.head.Load()
		rows := commitOf(n)
		if err := l.append(rows); err != nil {
			t.Fatal(err)
		}
		after := &stage{Mapping: Mapping{Ring: m.file(t)}}
		written := l.head.Load() - at
		left := m.killed(t, fs, "")
		for _, first := range []uint64{0, 8} {
			for cut := uint64(0); cut < written-first; cut += 1 + written/16 {
				ring := &stage{Mapping: Mapping{Ring: bytes.Clone(before)}}
				ring.put(at+first, after.get(at+first, cut))
				if bytes.Equal(ring.get(at, written), after.get(at, written)) {
					continue // the rest was there by chance
				}
				writeFile(t, left, stageBelow(fs, ""), ring.Ring)
				if got, _ := logged(t, left); fmt.Sprint(got) != fmt.Sprint(want) {
					t.Fatalf("with bytes %d to %d of %d there are %d commits, not %d", first, first+cut, written, len(got), len(want))
				}
			}
		}
		want = append(want, string(rows.encode(nil)))
	}
}

// A record of the round before, which begins where the next one would, does not pass for it.
func TestARecordOfTheRoundBeforeIsNotTaken(t *testing.T) {
	fs := vfs.NewMem()
	l, m := stagedLog(t, fs)
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
		if got, _ := logged(t, m.killed(t, fs, "")); len(got) != n+1 {
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
		fs := vfs.NewCrashableMem()
		l, m := stagedLog(t, fs)
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
			times = append(times, m.file(t))
			left := fs.CrashClone(vfs.CrashCloneCfg{UnsyncedDataPercent: r.IntN(100), RNG: r})
			var ring []byte
			for page := 0; page < testStageBytes; page += stagePage {
				ring = append(ring, times[max(0, len(times)-1-r.IntN(4)*r.IntN(8))][page:page+stagePage]...)
			}
			writeFile(t, left, stageBelow(fs, ""), ring)
			got, _ := logged(t, left)
			if len(got) > len(want) || len(got) < synced || fmt.Sprint(got) != fmt.Sprint(want[:len(got)]) {
				t.Fatalf("after %d commits, %d of them synced, %d others are left", len(want), synced, len(got))
			}
		}
	}
}

// A busyFS has others do something while a file is written, and when it has been synced; each once. Its files
// change nothing of what they are given to write, as those of the operating system, while a vfs.File may.
type busyFS struct {
	vfs.FS
	writing, synced func() error
}

func (fs *busyFS) Create(name string, category vfs.DiskWriteCategory) (vfs.File, error) {
	f, err := fs.FS.Create(name, category)
	return busyFile{f, fs}, err
}

func (fs *busyFS) ReuseForWrite(oldName, newName string, category vfs.DiskWriteCategory) (vfs.File, error) {
	f, err := fs.FS.ReuseForWrite(oldName, newName, category)
	return busyFile{f, fs}, err
}

type busyFile struct {
	vfs.File
	fs *busyFS
}

func once(f *func() error) error {
	do := *f
	if *f = nil; do == nil {
		return nil
	}
	return do()
}

func (f busyFile) Write(b []byte) (int, error) {
	if err := once(&f.fs.writing); err != nil {
		return 0, err
	}
	return f.File.Write(bytes.Clone(b))
}

func (f busyFile) SyncData() error { return errors.Join(f.File.SyncData(), once(&f.fs.synced)) }

// A sync during which others commit and drain makes no segment durable before the end of the one before it is.
func TestASyncLeavesNoGapWhateverIsCommittedMeanwhile(t *testing.T) {
	mem := vfs.NewCrashableMem()
	fs := &busyFS{FS: mem}
	l, _ := stagedLog(t, fs)
	if err := errors.Join(l.prepare(l.current.number+1), l.append(commitOf(0))); err != nil {
		t.Fatal(err)
	}
	fs.writing = func() error { return errors.Join(l.append(commitOf(1)), l.rotate(), l.append(commitOf(2))) }
	fs.synced = l.drain
	if err := l.sync(); err != nil || fs.writing != nil || fs.synced != nil {
		t.Fatalf("%v, or something was not done", err)
	}
	n := 0
	_, found, err := openLog(mem.CrashClone(vfs.CrashCloneCfg{}), "", SyncEverysec, logPosition{}, func(*rowBatch, logPosition) error {
		n++
		return nil
	})
	if err != nil || found.gap || n < 1 {
		t.Errorf("%d commits are left, a gap is %t: %v", n, found.gap, err)
	}
}

// What failed to be written once is not written around.
func TestNothingIsWrittenBehindWhatCouldNotBe(t *testing.T) {
	mem := vfs.NewMem()
	f := &fault{part: logFileSuffix, kinds: []errorfs.OpKind{errorfs.OpFileWrite}}
	l, m := stagedLog(t, faulty(mem, f))
	for n := range 4 {
		f.on.Store(n == 1)
		if err := l.append(commitOf(n)); err != nil {
			t.Fatal(err)
		}
		if err := l.drain(); (err != nil) != (n >= 1) {
			t.Errorf("drain %d: %v", n, err)
		}
	}
	if got, _ := logged(t, m.killed(t, mem, "")); len(got) != 4 {
		t.Errorf("%d of 4 commits are left", len(got))
	}
}
