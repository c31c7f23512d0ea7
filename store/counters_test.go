package store

import (
	"fmt"
	"math/rand/v2"
	"runtime"
	"sync"
	"sync/atomic"
	"testing"

	"github.com/cockroachdb/pebble/v2/vfs"

	"cartwheel/cluster/ring"
	"cartwheel/store/version"
)

// churn does random writes, merges, flushes, sweeps and drops.
func churn(t *testing.T, s *Store, clock *fakeClock, r *rand.Rand, steps int) {
	t.Helper()
	for range steps {
		db, key := uint8(r.IntN(3)), fmt.Sprint("key", r.IntN(40))
		w := write{value: fmt.Sprint(r.Uint64N(1 << r.IntN(60)))}
		switch r.IntN(16) {
		case 0, 1, 2:
			w.tombstone = true
		case 3, 4, 5:
			w.expireAtMS = clock.ms.Load() + r.Int64N(5000)
		case 6:
			clock.ms.Add(r.Int64N(2000))
			sweep(t, s)
			continue
		case 7:
			if r.IntN(10) == 0 {
				flush(t, s, db)
			}
			reclaim(t, s)
			continue
		case 8:
			remote := value(fmt.Sprint(r.Uint64()), at(clock.ms.Load()-r.Int64N(1000)))
			var o version.Object
			if _, _, err := s.Merge(db, []byte(key), clock.ms.Load(), &remote, &o, Levels{}); err != nil {
				t.Fatal(err)
			}
			continue
		case 9:
			if r.IntN(20) == 0 {
				if err := s.DropPartition(ring.Partition(r.IntN(testPartitions))); err != nil {
					t.Fatal(err)
				}
			}
			continue
		case 10:
			if _, err := updateMany(s, map[string]string{key: "many", key + "'": "many"}); err != nil {
				t.Fatal(err)
			}
			continue
		}
		if _, err := do(s, db, key, w); err != nil {
			t.Fatal(err)
		}
	}
	if err := s.Commit(s.openSeq()); err != nil {
		t.Fatal(err)
	}
}

func allCounts(s *Store) (all [Databases][testPartitions]Counts) {
	for db := range all {
		for p := range all[db] {
			all[db][p] = s.PartitionCounts(uint8(db), ring.Partition(p))
		}
	}
	return all
}

func TestCountsRebuiltByAScanEqualThoseKept(t *testing.T) {
	for _, stable := range []bool{true, false} {
		seed := rand.Uint64()
		t.Logf("seed %d", seed)
		r := rand.New(rand.NewPCG(seed, 0))
		clock := newFakeClock(noon)
		opts := memOptions(vfs.NewCrashableMem())
		opts.Now, opts.Sync = clock.now, SyncAlways
		if stable {
			opts.Watermark = everythingIsStable
		}
		for range 5 {
			s := openStore(t, opts)
			waitCounts(t, s)
			churn(t, s, clock, r, 400)
			kept := allCounts(s)
			opts.FS = opts.FS.(*vfs.MemFS).CrashClone(vfs.CrashCloneCfg{})
			after := openStore(t, opts)
			waitCounts(t, after)
			if rebuilt := allCounts(after); rebuilt != kept {
				t.Fatalf("kept    %+v\nrebuilt %+v", kept, rebuilt)
			}
			wantTreesOfWhatIsStored(t, s)
			wantSameTrees(t, s, after)
			opts.FS = opts.FS.(*vfs.MemFS).CrashClone(vfs.CrashCloneCfg{})
		}
	}
}

func TestCountsRebuiltDuringWritesAndFlushesAreRight(t *testing.T) {
	seed := rand.Uint64()
	t.Logf("seed %d", seed)
	r := rand.New(rand.NewPCG(seed, 0))
	clock := newFakeClock(noon)
	opts := memOptions(vfs.NewCrashableMem())
	opts.Now, opts.Sync = clock.now, SyncAlways
	for range 10 {
		s := openStore(t, opts)
		churn(t, s, clock, r, 400)
		waitCounts(t, s)
		kept := allCounts(s)
		if err := s.rebuildCounters(); err != nil {
			t.Fatal(err)
		}
		if rebuilt := allCounts(s); rebuilt != kept {
			t.Fatalf("kept    %+v\nrebuilt %+v", kept, rebuilt)
		}
		wantTreesOfWhatIsStored(t, s)
		opts.FS = opts.FS.(*vfs.MemFS).CrashClone(vfs.CrashCloneCfg{})
	}
}

// What a recount has found must not come on top of a flush.
func TestARecountDuringAFlushCountsNothingTwice(t *testing.T) {
	const keys = 1000
	opts := memOptions(vfs.NewMem())
	opts.Partitions = 1
	s := openStore(t, opts)
	for range 20 {
		for i := range keys {
			if _, err := do(s, 0, fmt.Sprint("key", i), write{value: "v"}); err != nil {
				t.Fatal(err)
			}
		}
		var recount sync.WaitGroup
		var counted atomic.Bool
		recount.Go(func() {
			defer counted.Store(true)
			if err := s.rebuildCounters(); err != nil {
				t.Errorf("count: %v", err)
			}
		})
		for s.Counts(0).Keys == keys && !counted.Load() {
			runtime.Gosched() // until the recount has begun
		}
		flush(t, s, 0)
		recount.Wait()
		if n := s.Counts(0); n != (Counts{}) {
			t.Fatalf("counted are %+v after a flush", n)
		}
	}
}

func TestCountsAreThoseOfWhatIsStored(t *testing.T) {
	s := openStore(t, memOptions(vfs.NewMem()))
	mustSet(t, s, 1, "abc", "12345")
	setUntil(t, s, "other database", noon)
	if err := commit(s, 1, "session", write{value: "xy", expireAtMS: noon}); err != nil {
		t.Fatal(err)
	}
	want := Counts{Keys: 2, Expires: 1, Bytes: 3 + 5 + 7 + 2, ExpireAtMSSum: noon}
	if got := s.Counts(1); got != want {
		t.Errorf("counted are %+v, want %+v", got, want)
	}
	if got := s.PartitionCounts(1, s.partitionOf(NewKey(1, []byte("abc")))); got.Keys < 1 {
		t.Errorf("in its partition are counted %+v", got)
	}
	if err := commit(s, 1, "abc", write{tombstone: true}); err != nil {
		t.Fatal(err)
	}
	want = Counts{Keys: 1, Expires: 1, Bytes: 3 + 7 + 2, ExpireAtMSSum: noon}
	if got := s.Counts(1); got != want {
		t.Errorf("after a delete are counted %+v, want %+v", got, want)
	}
}

func TestACleanStopSavesTheCounts(t *testing.T) {
	s := openStore(t, memOptions(vfs.NewMem()))
	for i := range 100 {
		mustSet(t, s, uint8(i%Databases), fmt.Sprint("key", i), "v")
	}
	kept := allCounts(s)
	s = reopen(t, s)
	select {
	case <-s.CountsReady():
	default:
		t.Error("the counts are not ready after a clean stop")
	}
	if saved := allCounts(s); saved != kept {
		t.Errorf("kept  %+v\nsaved %+v", kept, saved)
	}
	if n := rows(t, s, prefixCounters); n != 0 {
		t.Error("the saved counts are there while the store runs")
	}
}

func TestDamagedCountsAreNotBelieved(t *testing.T) {
	c := newCounters(testPartitions)
	c.add(3, 1, Counts{1, 2, 3, 4})
	text := c.encode()
	for i := range text {
		text[i] ^= 1
		if newCounters(testPartitions).decode(text) {
			t.Errorf("counts with byte %d damaged are believed", i)
		}
		text[i] ^= 1
	}
	if back := newCounters(testPartitions); !back.decode(text) || back.sum(1) != (Counts{1, 2, 3, 4}) {
		t.Error("undamaged counts are not read back")
	}
}
