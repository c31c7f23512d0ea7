package store

import (
	"fmt"
	"math/rand/v2"
	"strings"
	"testing"
	"time"

	"github.com/cockroachdb/pebble/v2/vfs"

	"cartwheel/cluster/ring"
	"cartwheel/store/version"
)

func TestADroppedPartitionIsGoneAndTheOthersAreNot(t *testing.T) {
	fs := vfs.NewCrashableMem()
	opts := memOptions(fs)
	opts.Sync = SyncAlways
	s := openStore(t, opts)
	keys := map[string]ring.Partition{}
	for i := range 200 {
		key := fmt.Sprint("key", i)
		keys[key] = s.partitionOf(NewKey(0, []byte(key)))
		if _, err := do(s, uint8(i%2), key, write{value: strings.Repeat("v", 1000)}); err != nil {
			t.Fatal(err)
		}
		if i == 100 {
			if err := s.Commit(s.openSeq()); err != nil {
				t.Fatal(err)
			}
		}
	}
	const dropped = ring.Partition(3)
	if err := s.DropPartition(dropped); err != nil {
		t.Fatal(err)
	}
	check := func(s *Store) {
		t.Helper()
		there := 0
		for i := range 200 {
			key := fmt.Sprint("key", i)
			if keys[key] == dropped {
				wantRead(t, s, uint8(i%2), key, "(absent)")
			} else {
				there++
				wantRead(t, s, uint8(i%2), key, strings.Repeat("v", 1000))
			}
		}
		if there == 200 || there == 0 {
			t.Fatalf("%d keys of 200 are in other partitions", there)
		}
		if n := s.Counts(0).Keys + s.Counts(1).Keys; n != int64(there) {
			t.Errorf("%d keys are counted, want %d", n, there)
		}
		if s.PartitionCounts(0, dropped) != (Counts{}) || s.Root(dropped) != 0 {
			t.Error("the dropped partition counts something")
		}
		wantTreesOfWhatIsStored(t, s)
	}
	check(s)
	forget(t, s)
	check(s)
	opts.FS = fs.CrashClone(vfs.CrashCloneCfg{})
	after := openStore(t, opts)
	waitCounts(t, after)
	check(after)
}

// Nobody has to write, or ask for a compaction.
func TestTheRoomOfADroppedPartitionIsFreedByItself(t *testing.T) {
	opts := memOptions(vfs.NewMem())
	opts.dropDelay = time.Millisecond
	s := openStore(t, opts)
	const dropped = ring.Partition(3)
	first, last := dropped.Span(testPartitions)
	from, to := tokenRange(prefixObject, first, last)
	used := func(from, to []byte) uint64 {
		n, err := s.db.EstimateDiskUsage(from, to)
		if err != nil {
			t.Fatal(err)
		}
		return n
	}
	random := rand.NewChaCha8([32]byte{})
	for i := range 2000 {
		payload := make([]byte, 1000)
		_, _ = random.Read(payload)
		if _, err := do(s, 0, fmt.Sprint("key", i), write{value: string(payload)}); err != nil {
			t.Fatal(err)
		}
	}
	if err := s.commitOpen(); err != nil {
		t.Fatal(err)
	}
	checkpoint(t, s)
	if err := s.db.Flush(); err != nil {
		t.Fatal(err)
	}
	if n := used(from, to); n < 100_000 {
		t.Fatalf("%d bytes of it are on the disk", n)
	}
	if err := s.DropPartition(dropped); err != nil {
		t.Fatal(err)
	}
	for deadline := time.Now().Add(20 * time.Second); used(from, to) > 10_000; time.Sleep(time.Millisecond) {
		if time.Now().After(deadline) {
			t.Fatalf("%d bytes of it are still on the disk", used(from, to))
		}
	}
	if all := used([]byte{prefixObject}, prefixEnd(prefixObject)); all < 1_000_000 {
		t.Errorf("all the rest has %d bytes", all)
	}
	wantTreesOfWhatIsStored(t, s)
}

func TestADroppedPartitionTakesNewObjects(t *testing.T) {
	s, clock := openAt(t, noon)
	setUntil(t, s, "k", noon+10)
	p := s.partitionOf(NewKey(0, []byte("k")))
	for range 3 {
		if err := s.DropPartition(p); err != nil {
			t.Fatal(err)
		}
		wantRead(t, s, 0, "k", "(absent)")
		merge(t, s, 0, "k", value("again", at(noon-1)))
		wantRead(t, s, 0, "k", "again")
	}
	clock.ms.Add(10)
	sweep(t, s) // the row of the expiry has no object any more that expires
	wantRead(t, s, 0, "k", "again")
	if n := rows(t, s, prefixExpiry); n != 0 {
		t.Errorf("%d expiry rows are left", n)
	}
	wantTreesOfWhatIsStored(t, s)
}

func TestMarksOfAPeerAreRaisedWhereTheyAreHigher(t *testing.T) {
	s, _ := openAt(t, noon)
	for db := range uint8(4) {
		merge(t, s, db, "k", value("v", at(noon-100)))
	}
	if err := s.Flush([]uint8{2}, at(noon-50)); err != nil {
		t.Fatal(err)
	}
	merge(t, s, 1, "later", value("v", at(noon-10)))
	marks := [Databases]version.HLC{1: at(noon - 20), 2: at(noon - 60), 3: at(noon - 200)}
	if err := s.RaiseMarks(marks); err != nil {
		t.Fatal(err)
	}
	want := marks
	want[2] = at(noon - 50)
	if got := s.FlushMarks(); got != want {
		t.Errorf("the marks are %v, want %v", got, want)
	}
	wantRead(t, s, 0, "k", "v")
	wantRead(t, s, 1, "k", "(absent)")
	wantRead(t, s, 2, "k", "(absent)")
	wantRead(t, s, 3, "k", "v")
	commits := s.Stats().Commits
	if err := s.RaiseMarks(marks); err != nil || s.Stats().Commits != commits {
		t.Errorf("the same marks cost a commit: %v", err)
	}
	// What the mark spares is not counted until the sweeper has come by, whatever
	// becomes of it meanwhile.
	mustSet(t, s, 1, "later", "changed")
	reclaim(t, s)
	wantRead(t, s, 1, "later", "changed")
	wantTreesOfWhatIsStored(t, s)
	if n := s.Counts(1).Keys; n != 1 {
		t.Errorf("%d keys are counted, want 1", n)
	}
	marks[0] = at(noon + s.opts.MaxClockDrift.Milliseconds() + 1)
	if err := s.RaiseMarks(marks); err == nil || s.FlushMark(0) != 0 {
		t.Errorf("a mark from the future: %v", err)
	}
	marks[0] = at(noon + 100)
	if err := s.RaiseMarks(marks); err != nil {
		t.Fatal(err)
	}
	wantRead(t, s, 0, "k", "(absent)")
	mustSet(t, s, 0, "k", "new")
	wantRead(t, s, 0, "k", "new")
	reclaim(t, s)
	wantTreesOfWhatIsStored(t, s)
	s = reopen(t, s)
	want[0] = marks[0]
	if got := s.FlushMarks(); got != want {
		t.Errorf("after a restart the marks are %v, want %v", got, want)
	}
}
