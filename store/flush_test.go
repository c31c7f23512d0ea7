package store

import (
	"errors"
	"fmt"
	"testing"

	"github.com/cockroachdb/pebble/v2/vfs"
	"github.com/cockroachdb/pebble/v2/vfs/errorfs"

	"cartwheel/cluster/ring"
	"cartwheel/store/version"
)

func openFilled(t *testing.T, dbs ...uint8) *Store {
	t.Helper()
	s := openStore(t, memOptions(vfs.NewMem()))
	for _, db := range dbs {
		for i := range 50 {
			mustSet(t, s, db, fmt.Sprint("key", i), "v")
		}
	}
	return s
}

func reclaim(t *testing.T, s *Store) {
	t.Helper()
	if err := s.reclaimFlushed(); err != nil {
		t.Fatal(err)
	}
}

func TestAFlushHidesAtOnceAndForEver(t *testing.T) {
	for name, flushed := range map[string][]uint8{"one of two databases": {1}, "all that have keys": {1, 2}} {
		t.Run(name, func(t *testing.T) {
			s := openFilled(t, 1, 2)
			forget(t, s)
			read(s, 1, "key1") // from disk into the cache
			flush(t, s, flushed...)
			left := 100 - 50*len(flushed)
			check := func() {
				t.Helper()
				for _, db := range flushed {
					wantRead(t, s, db, "key1", "(absent)")
					wantRead(t, s, db, "key2", "(absent)")
					if n := s.Counts(db); n != (Counts{}) {
						t.Errorf("counted are %+v in a flushed database", n)
					}
				}
				visited := 0
				if err := s.Scan(0, ^ring.Token(0), func(Key, *version.Object) bool { visited++; return true }); err != nil {
					t.Fatal(err)
				}
				if visited != left {
					t.Errorf("a scan visits %d objects, want %d", visited, left)
				}
				wantTreesOfWhatIsStored(t, s)
			}
			check()
			if len(flushed) == 1 {
				wantRead(t, s, 2, "key1", "v")
			}
			s = reopen(t, s)
			check()
			reclaim(t, s)
			check()
			if n := rows(t, s, prefixObject); n != left {
				t.Errorf("%d rows are left, want %d", n, left)
			}
			s = reopen(t, s)
			check()
			if s.marks.reclaim[1].Load() {
				t.Error("what was reclaimed is to be reclaimed again")
			}
		})
	}
}

func TestWritesAfterAFlushStayThroughItsReclaim(t *testing.T) {
	for _, dbs := range [][]uint8{{1}, {1, 2}} {
		s := openFilled(t, 1, 2)
		flush(t, s, dbs...)
		mustSet(t, s, 1, "key1", "new")
		check := func() {
			t.Helper()
			wantRead(t, s, 1, "key1", "new")
			if n := s.Counts(1).Keys; n != 1 {
				t.Errorf("%d keys are counted, want 1", n)
			}
		}
		check()
		reclaim(t, s)
		check()
		forget(t, s)
		check()
		s = reopen(t, s)
		check()
	}
}

// Another node's mark may be older than what is written here.
func TestAFlushSparesWhatWasWrittenAfterItsMark(t *testing.T) {
	for _, restart := range []bool{false, true} {
		s := openFilled(t, 1)
		mark, err := s.NextHLC(s.NowMS(), 0)
		if err != nil {
			t.Fatal(err)
		}
		mustSet(t, s, 1, "key1", "newer")
		mustSet(t, s, 1, "other", "newer")
		if restart {
			s = reopen(t, s)
		}
		if err := s.Flush([]uint8{1}, mark); err != nil {
			t.Fatal(err)
		}
		check := func() {
			t.Helper()
			wantRead(t, s, 1, "key1", "newer")
			wantRead(t, s, 1, "other", "newer")
			wantRead(t, s, 1, "key2", "(absent)")
		}
		check()
		// A flush of the rest must not take it for an empty database's.
		flush(t, s, 0)
		check()
		reclaim(t, s)
		check()
		if n := s.Counts(1).Keys; n != 2 {
			t.Errorf("%d keys are counted, want 2", n)
		}
		s = reopen(t, s)
		check()
	}
}

// A peer that has not flushed yet may bring back what was.
func TestWhatComesLateFromBeforeTheMarkStaysHidden(t *testing.T) {
	s := openFilled(t, 1)
	old, err := s.NextHLC(s.NowMS(), 0)
	if err != nil {
		t.Fatal(err)
	}
	flush(t, s, 1)
	if err := commit(s, 1, "late", write{value: "old", hlc: old}); err != nil {
		t.Fatal(err)
	}
	wantRead(t, s, 1, "late", "(absent)")
	forget(t, s)
	wantRead(t, s, 1, "late", "(absent)")
	if n := s.Counts(1); n != (Counts{}) {
		t.Errorf("counted are %+v", n)
	}
	if n := rows(t, s, prefixObject); n != 0 {
		t.Errorf("%d rows are left", n)
	}
}

// The mark of a node whose clock is ahead must not hide what is written here
// after it.
// The expiry row of an object may be of a sibling that a flush hides; then there may be
// none of what it leaves.
func TestWhatAFlushLeavesOfAnObjectIsSwept(t *testing.T) {
	for name, changed := range map[string]bool{"as it is": false, "changed": true} {
		s, clock, _ := openSweeping(t)
		sibling := func(expireAtMS int64) *version.Object {
			hlc, err := s.NextHLC(s.NowMS(), 0)
			must(t, err)
			o := &version.Object{}
			dot := version.Dot{Incarnation: version.Incarnation(hlc), HLC: hlc}
			o.Put(nil, version.Sibling{Dot: dot, Written: hlc, Payload: []byte("v"), ExpireAtMS: expireAtMS})
			return o
		}
		merge := func(remote *version.Object) {
			_, _, err := s.Merge(1, []byte("k"), s.NowMS(), remote, new(version.Object), Levels{})
			must(t, err)
			must(t, s.CommitAll())
		}
		merge(sibling(0))
		mark := s.LastHLC()
		merge(sibling(noon + 10))
		must(t, s.Flush([]uint8{1}, mark))
		if changed {
			merge(sibling(noon + 20))
		}
		reclaim(t, s)
		wantRead(t, s, 1, "k", "v")
		clock.ms.Store(noon + 20)
		if n := sweep(t, s); n != 1 {
			t.Errorf("%s: %d objects were swept, not 1", name, n)
		}
		wantNothing(t, s)
	}
}

func TestHLCsAreIssuedAboveTheMark(t *testing.T) {
	clock := newFakeClock(noon)
	fs := vfs.NewCrashableMem()
	opts := memOptions(fs)
	opts.Now, opts.Sync = clock.now, SyncAlways
	s := openStore(t, opts)
	if err := s.Flush([]uint8{1}, version.MakeHLC(noon+400, 0)); err != nil {
		t.Fatal(err)
	}
	opts.FS = fs.CrashClone(vfs.CrashCloneCfg{})
	for _, s := range []*Store{s, openStore(t, opts)} {
		mustSet(t, s, 1, "k", "v")
		wantRead(t, s, 1, "k", "v")
	}
}

func TestAMarkOnlyGrows(t *testing.T) {
	s := openFilled(t, 1)
	flush(t, s, 1)
	mark := s.FlushMark(1)
	mustSet(t, s, 1, "k", "v")
	if err := s.Flush([]uint8{1}, mark-1); err != nil {
		t.Fatal(err)
	}
	if s.FlushMark(1) != mark || s.FlushMark(0) != 0 {
		t.Errorf("marks are %v and %v", s.FlushMark(1), s.FlushMark(0))
	}
	wantRead(t, s, 1, "k", "v")
	s = reopen(t, s)
	if s.FlushMark(1) != mark {
		t.Errorf("the mark is %v after a restart, want %v", s.FlushMark(1), mark)
	}
}

// The cache holds what the open batch has and Pebble does not.
func TestAFlushForgetsNoUncommittedChangeOfAnotherDatabase(t *testing.T) {
	s := openFilled(t, 1)
	mustSet(t, s, 2, "k", "old")
	if _, err := do(s, 2, "k", write{value: "new"}); err != nil {
		t.Fatal(err)
	}
	mark, err := s.NextHLC(s.NowMS(), 0)
	if err != nil {
		t.Fatal(err)
	}
	if err := s.Flush([]uint8{1}, mark); err != nil {
		t.Fatal(err)
	}
	wantRead(t, s, 2, "k", "new")
}

func TestAFlushedSessionLeavesNoRow(t *testing.T) {
	s, clock, _ := openSweeping(t)
	setUntil(t, s, "session", noon+1000)
	mustSet(t, s, 1, "k", "v") // so that the rows do not go as one range
	flush(t, s, 0)
	reclaim(t, s)
	clock.ms.Store(noon + 1000)
	sweep(t, s)
	if o, x := rows(t, s, prefixObject), rows(t, s, prefixExpiry); o != 1 || x != 0 {
		t.Errorf("%d object rows and %d expiry rows are left, want 1 and 0", o, x)
	}
}

// Nobody may miss what comes back after a restart.
func TestAFlushThatFailsHidesNothing(t *testing.T) {
	f := &fault{part: ".log", kinds: []errorfs.OpKind{errorfs.OpFileSync, errorfs.OpFileSyncData}}
	opts := memOptions(faulty(vfs.NewMem(), f))
	opts.Sync = SyncAlways
	s := openStore(t, opts)
	mustSet(t, s, 1, "k", "v")
	mustSet(t, s, 2, "k", "v")
	mark, err := s.NextHLC(s.NowMS(), 0)
	if err != nil {
		t.Fatal(err)
	}
	f.on.Store(true)
	if err := s.Flush([]uint8{1}, mark); !errors.Is(err, ErrCommit) {
		t.Errorf("a flush that cannot be committed: %v", err)
	}
	wantRead(t, s, 1, "k", "v")
	if n := s.Counts(1).Keys; n != 1 || s.FlushMark(1) != 0 {
		t.Errorf("%d keys are counted, the mark is %v", n, s.FlushMark(1))
	}
}

// What the recount cannot read is there all the same: a flush of another
// database does not take it for nothing.
func TestAFlushSparesTheCorruptObjectsOfOtherDatabases(t *testing.T) {
	fs := vfs.NewCrashableMem()
	opts := memOptions(fs)
	opts.Sync = SyncAlways
	s := openStore(t, opts)
	mustSet(t, s, 0, "bad", "value")
	mustSet(t, s, 1, "k", "v")
	damage(t, s, "bad")
	opts.FS = fs.CrashClone(vfs.CrashCloneCfg{})
	s = openStore(t, opts)
	waitCounts(t, s)
	flush(t, s, 1)
	forget(t, s)
	wantRead(t, s, 0, "bad", "(corrupt)")
	wantRead(t, s, 1, "k", "(absent)")
	if err := commit(s, 0, "bad", write{value: "new", blind: true}); err != nil {
		t.Fatal(err)
	}
	if n := s.Counts(0); n != (Counts{Keys: 1, Bytes: 6}) {
		t.Errorf("counted are %+v after the corrupt object was replaced", n)
	}
}
