package store

import (
	"errors"
	"fmt"
	"slices"
	"testing"

	"github.com/cockroachdb/pebble/v2/vfs"
	"github.com/cockroachdb/pebble/v2/vfs/errorfs"
)

// A reservingFS tells what blocks its files are asked to find, from where to where, and
// what is written to them out of turn.
type reservingFS struct {
	vfs.FS
	asked, written *[][2]int64
}

func (fs reservingFS) Create(name string, category vfs.DiskWriteCategory) (vfs.File, error) {
	f, err := fs.FS.Create(name, category)
	return reservingFile{f, fs.asked, fs.written}, err
}

type reservingFile struct {
	vfs.File
	asked, written *[][2]int64
}

func (f reservingFile) WriteAt(b []byte, offset int64) (int, error) {
	*f.written = append(*f.written, [2]int64{offset, offset + int64(len(b))})
	return f.File.WriteAt(b, offset)
}

func (f reservingFile) Preallocate(offset, length int64) error {
	*f.asked = append(*f.asked, [2]int64{offset, offset + length})
	return nil
}

// Blocks are found for some times what has been written, ahead of it, and each once.
func TestTheLogHasBlocksFoundForWhatIsToBeWritten(t *testing.T) {
	const mb = 1 << 20
	segmentBytes := int64(128 * mb)
	var asked, written [][2]int64
	_, l := logged(t, reservingFS{vfs.NewMem(), &asked, &written})
	defer l.close()
	write := func(bytes int) {
		rows := &rowBatch{}
		rows.set(append(rows.key(), "okey"...), make([]byte, bytes))
		if err := l.append(rows); err != nil {
			t.Fatal(err)
		}
	}
	expect := func(what string, bytesMax int64, want ...[2]int64) {
		t.Helper()
		asked = nil
		l.reserve(bytesMax, segmentBytes)
		if !slices.Equal(asked, want) {
			t.Errorf("%s: blocks of %v are to be found, want %v", what, asked, want)
		}
	}
	const head = logSegmentHeader
	expect("nothing was written", mb<<10)
	write(100)
	expect("the first megabyte is begun", mb<<10, [2]int64{head + mb, head + 5*mb})
	expect("nothing was written since", mb<<10)
	write(mb - 1000)
	expect("it is full", mb<<10)
	write(1000)
	expect("the second is begun", mb<<10, [2]int64{head + 5*mb, head + 6*mb})
	write(mb - 50)
	expect("the disk has no room to spare", 0)
	write(mb - 50)
	expect("and little", 3*mb, [2]int64{head + 6*mb, head + 7*mb})
	for range 40 {
		write(mb - 50)
	}
	extent := l.current.extent.Load()
	expect("much was written", mb<<10, [2]int64{extent, extent + reserveBytesMax})
	segmentBytes = extent + 5*mb
	write(mb - 50)
	expect("it ends soon", mb<<10)
	if err := l.rotate(); err != nil {
		t.Fatal(err)
	}
	write(100)
	expect("another segment is begun", mb<<10, [2]int64{head + mb, head + 5*mb})
}

// Who syncs often finds the blocks of the log where they were, since zeros have been written there.
func TestALogThatIsSyncedOftenIsExtendedByZeros(t *testing.T) {
	for _, c := range []struct {
		mode  SyncMode
		often bool
		zeros bool
	}{{SyncEverysec, false, false}, {SyncEverysec, true, true}, {SyncAlways, false, true}} {
		opts := memOptions(vfs.NewMem())
		opts.Sync, opts.SyncedOften, opts.MapFile = c.mode, c.often, newTestMap(t).mapFile
		if s := openStore(t, opts); s.commitLog.byZeros != c.zeros || (s.commitLog.stage == nil) != c.zeros {
			t.Errorf("%v, synced often is %t: extended by zeros is %t, and a stage %p", c.mode, c.often, s.commitLog.byZeros, s.commitLog.stage)
		}
		var asked, written [][2]int64
		_, l := logged(t, reservingFS{vfs.NewMem(), &asked, &written})
		l.byZeros = c.zeros
		if err := errors.Join(l.extend(l.current, 100), l.close()); err != nil {
			t.Fatal(err)
		}
		end := int64(logSegmentHeader + extendBytesMax)
		want := [2]int64{end - 1, end}
		if c.zeros {
			want[0] = logSegmentHeader
		}
		if !slices.Equal(written, [][2]int64{want}) {
			t.Errorf("zeros is %t: extending writes %v, not %v", c.zeros, written, want)
		}
	}
}

// Who rotates waits for no disk where the next segment is prepared, and one that never
// began changes nothing of what the log holds.
func TestAPreparedSegmentIsBegunByAWriteAlone(t *testing.T) {
	mem := vfs.NewMem()
	f := &fault{kinds: []errorfs.OpKind{
		errorfs.OpCreate, errorfs.OpReuseForWrite, errorfs.OpRename, errorfs.OpRemove,
		errorfs.OpOpen, errorfs.OpOpenDir, errorfs.OpFileSync, errorfs.OpFileSyncData, errorfs.OpFilePreallocate,
	}}
	_, l := logged(t, faulty(mem, f))
	defer l.close()
	var want []string
	for n := range 12 {
		rows := commitOf(n)
		want = append(want, string(rows.encode(nil)))
		if err := l.append(rows); err != nil {
			t.Fatal(err)
		}
		for range 2 { // the second finds that it is there
			if err := l.prepare(l.current.number + 1); err != nil {
				t.Fatal(err)
			}
		}
		left := cloneMem(t, mem)
		for _, reopened := range []string{"once", "again"} {
			got, other := logged(t, left)
			if fmt.Sprint(got) != fmt.Sprint(want) {
				t.Fatalf("opened %s it holds %d commits, want %d", reopened, len(got), len(want))
			}
			if err := other.close(); err != nil {
				t.Fatal(err)
			}
		}
		f.on.Store(true)
		if err := l.rotate(); err != nil {
			t.Fatalf("rotation %d: %v", n, err)
		}
		f.on.Store(false)
		if n%3 == 2 { // the next is prepared from a file that is used again
			if err := l.retire(l.current.number); err != nil {
				t.Fatal(err)
			}
			want = nil
		}
	}
}

func TestTheNextSegmentIsPreparedWhenTheLastIsRetired(t *testing.T) {
	s := openStore(t, memOptions(vfs.NewMem()))
	s.logBytes = 1
	mustSet(t, s, 0, "k", "v")
	s.gathered.mu.Lock()
	retiring := s.gathered.retiring
	s.gathered.mu.Unlock()
	if retiring != nil { // else it has ended by now
		<-retiring
	}
	s.commitLog.mu.Lock()
	defer s.commitLog.mu.Unlock()
	if next := s.commitLog.ready; next == nil || next.number != s.commitLog.current.number+1 {
		t.Errorf("behind %d there is %+v", s.commitLog.current.number, next)
	}
}
