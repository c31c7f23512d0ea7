package store

import (
	"fmt"
	"math/rand/v2"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/cockroachdb/pebble/v2"
	"github.com/cockroachdb/pebble/v2/vfs"
	"github.com/cockroachdb/pebble/v2/vfs/errorfs"

	"cartwheel/cluster/ring"
	"cartwheel/store/version"
)

// returns says whether f returns in time.
func returns(f func()) bool {
	done := make(chan struct{})
	go func() { f(); close(done) }()
	select {
	case <-done:
		return true
	case <-time.After(15 * time.Second):
		return false
	}
}

// A power cut leaves the rows of one commit, or of none: small checkpoints are not
// to become durable before the log of them is.
func TestASmallCheckpointIsNotDurableBeforeTheLog(t *testing.T) {
	fs := vfs.NewCrashableMem()
	opts := memOptions(fs)
	opts.Sync = SyncNo // no ticker: what everysec is within its second
	s := openStore(t, opts)
	retire(t, s)
	mustSet(t, s, 0, pairLeft, "1")
	if err := s.Sync(); err != nil {
		t.Fatal(err)
	}
	flushes := s.db.Metrics().Flush.Count
	pad := strings.Repeat("x", 100_000)
	for n := 2; s.db.Metrics().Flush.Count == flushes; n++ {
		seq, err := updateMany(s, map[string]string{pairLeft: fmt.Sprint(n), pairRight: fmt.Sprint(n)})
		if err == nil {
			err = s.Commit(seq)
		}
		if err != nil {
			t.Fatal(err)
		}
		mustSet(t, s, 0, fmt.Sprint("other", n), pad)
		if err := s.Scan(0, 1, func(Key, *version.Object) bool { return true }); err != nil {
			t.Fatal(err)
		}
		if n > 200 {
			t.Fatal("no flush")
		}
	}
	opts.FS = fs.CrashClone(vfs.CrashCloneCfg{})
	after := openStore(t, opts)
	left, right := read(after, 0, pairLeft), read(after, 0, pairRight)
	if right != "(absent)" && left != right {
		t.Errorf("half of an UpdateMany: %s and %s", left, right)
	}
}

// The same: an object that the sweeper has purged comes back without its expiry row,
// and is never swept.
func TestWhatAPowerCutBringsBackIsSwept(t *testing.T) {
	fs := vfs.NewCrashableMem()
	opts := memOptions(fs)
	clock := newFakeClock(1_700_000_000_000)
	opts.Sync, opts.Now, opts.Watermark = SyncNo, clock.now, everythingIsStable
	s := openStore(t, opts)
	at := s.NowMS() + 10_000
	setUntil(t, s, "k", at)
	retire(t, s)
	setUntil(t, s, "k", at)
	if err := s.Sync(); err != nil {
		t.Fatal(err)
	}
	clock.ms.Add(60_000)
	if n, err := s.Sweep(); n != 1 || err != nil {
		t.Fatal(n, err)
	}
	checkpoint(t, s)                     // small; a scan or the next sweep does it
	if err := s.db.Flush(); err != nil { // as the memtable fills, or a retire of before is under way
		t.Fatal(err)
	}
	opts.FS = fs.CrashClone(vfs.CrashCloneCfg{})
	clock.ms.Add(600_000)
	after := openStore(t, opts)
	waitCounts(t, after)
	if _, err := after.Sweep(); err != nil {
		t.Fatal(err)
	}
	if n := rows(t, after, prefixObject); n != 0 {
		t.Errorf("%d expired objects are left for ever, %d keys are counted", n, after.Counts(0).Keys)
	}
}

// After a power cut the log is the commits up to some one of them, also where it was
// not synced before it was begun anew.
func TestACrashLeavesAPrefixOverARotation(t *testing.T) {
	for seed := range uint64(cases(200)) {
		fs := vfs.NewCrashableMem()
		l, _, err := openLog(fs, "", SyncEverysec, logPosition{}, nil)
		if err != nil {
			t.Fatal(err)
		}
		var want []string
		for n := range 8 {
			rows := commitOf(n)
			want = append(want, string(rows.encode(nil)))
			if err := l.append(rows); err != nil {
				t.Fatal(err)
			}
			if n == 3 {
				if err := l.rotate(); err != nil {
					t.Fatal(err)
				}
			}
		}
		got, _ := logged(t, fs.CrashClone(vfs.CrashCloneCfg{UnsyncedDataPercent: 50, RNG: newRand(seed)}))
		if len(got) > len(want) || fmt.Sprint(got) != fmt.Sprint(want[:len(got)]) {
			t.Fatalf("seed %d: a crash leaves %d commits that are not the first", seed, len(got))
		}
	}
}

// Close ends while no table can be written (the disk is full).
func TestCloseEndsWhileTablesCannotBeWritten(t *testing.T) {
	f := &fault{part: ".sst", kinds: []errorfs.OpKind{errorfs.OpCreate}}
	opts := memOptions(faulty(vfs.NewMem(), f))
	s, err := Open(opts)
	if err != nil {
		t.Fatal(err)
	}
	s.stallMax = 100 * time.Millisecond
	mustSet(t, s, 0, "k", "v")
	f.on.Store(true)
	defer f.on.Store(false)
	if !returns(func() { _ = s.Close() }) {
		t.Error("Close waits for ever")
	}
}

// Nor does Open wait for ever.
func TestOpenEndsWhileTablesCannotBeWritten(t *testing.T) {
	f := &fault{part: ".sst", kinds: []errorfs.OpKind{errorfs.OpCreate}}
	mem := vfs.NewCrashableMem()
	opts := memOptions(mem)
	s := openStore(t, opts)
	mustSet(t, s, 0, "k", "v")
	opts.FS = faulty(mem.CrashClone(vfs.CrashCloneCfg{UnsyncedDataPercent: 100, RNG: newRand(1)}), f)
	opts.stallMax = 100 * time.Millisecond
	f.on.Store(true)
	defer f.on.Store(false)
	if !returns(func() { _, _ = Open(opts) }) {
		t.Error("Open waits for ever, and says nothing")
	}
}

// Tables that cannot be written end the writes also where the same keys are written
// again and again, so that none waits within Pebble: else the log grows for ever.
func TestTheLogDoesNotGrowForEverWhileTablesCannotBeWritten(t *testing.T) {
	f := &fault{part: ".sst", kinds: []errorfs.OpKind{errorfs.OpCreate}}
	s, err := Open(memOptions(faulty(vfs.NewMem(), f)))
	if err != nil {
		t.Fatal(err)
	}
	s.stallMax = 100 * time.Millisecond
	f.on.Store(true)
	pad := strings.Repeat("x", 50_000)
	for start := time.Now(); time.Since(start) < 5*time.Second; {
		if commit(s, 0, "hot", write{value: pad}) != nil {
			return
		}
		if s.commitLog.current.bytes > 16*s.logBytes {
			t.Errorf("a segment has %d bytes, 16 times what it should, after %v, and failure is %v", s.commitLog.current.bytes, time.Since(start), s.Failure())
			break
		}
	}
	f.on.Store(false)
	_ = s.Close()
}

// Reads go on after a failed commit: scans too.
func TestScansGoOnAfterAFailure(t *testing.T) {
	f := &fault{part: ".log", kinds: []errorfs.OpKind{errorfs.OpFileWrite}}
	s := openStore(t, memOptions(faulty(vfs.NewMem(), f)))
	mustSet(t, s, 0, "k", "v")
	remote := version.Object{}
	_, err := s.Get(0, []byte("k"), &remote)
	if err != nil {
		t.Fatal(err)
	}
	seq, err := s.AddHint(otherNode(1), 0, []byte("k"), s.NowMS(), &remote)
	if err != nil || s.Commit(seq) != nil {
		t.Fatal(err)
	}
	f.on.Store(true)
	if commit(s, 0, "k2", write{value: "v"}) == nil {
		t.Fatal("no failure")
	}
	wantRead(t, s, 0, "k", "v")
	seen := 0
	err = s.Scan(0, ^ring.Token(0), func(Key, *version.Object) bool { seen++; return true })
	if seen != 1 || err != nil {
		t.Errorf("a scan sees %d of 1 objects: %v", seen, err)
	}
	seen = 0
	_, err = s.Hints(otherNode(1), Key{}, 10, 1<<20, func(Key, *version.Object, []byte) bool { seen++; return true })
	if seen != 1 || err != nil {
		t.Errorf("of 1 hint %d are seen: %v", seen, err)
	}
}

// A record that went bad on the disk is not taken for the end of the log in silence.
func TestARecordThatWentBadIsToldOf(t *testing.T) {
	fs := vfs.NewCrashableMem()
	opts := memOptions(fs)
	opts.Sync = SyncAlways
	s := openStore(t, opts)
	mustSet(t, s, 0, "a", "v")
	at := s.commitLog.current.bytes
	mustSet(t, s, 0, "b", "v")
	mustSet(t, s, 0, "c", "v")
	clone := fs.CrashClone(vfs.CrashCloneCfg{})
	name := s.commitLog.current.name
	text := readFile(t, clone, name)
	text[at+20] ^= 1
	writeFile(t, clone, name, text)
	var log strings.Builder
	opts.FS, opts.Log = clone, newTestLog(&log)
	after, err := Open(opts)
	if err != nil {
		return // it refuses: told of
	}
	defer after.Close()
	if read(after, 0, "c") == "(absent)" && after.Stats().Corrupt == 0 {
		t.Errorf("two acknowledged, synced writes are gone; what is said is %q", log.String())
	}
}

// What a kill -9, a restart and then a power cut leave: what was replayed and served
// is durable.
func TestWhatWasReplayedIsDurable(t *testing.T) {
	fs := vfs.NewCrashableMem()
	opts := memOptions(fs)
	s := openStore(t, opts)
	mustSet(t, s, 0, "k", "v")
	killed := fs.CrashClone(vfs.CrashCloneCfg{UnsyncedDataPercent: 100, RNG: newRand(1)})
	opts.FS = killed
	again := openStore(t, opts)
	wantRead(t, again, 0, "k", "v")
	opts.FS = killed.CrashClone(vfs.CrashCloneCfg{})
	wantRead(t, openStore(t, opts), 0, "k", "v")
}

// A directory of the version before has rows in Pebble's own log.
func TestADirectoryWithPebblesOwnLog(t *testing.T) {
	fs := vfs.NewCrashableMem()
	opts := memOptions(fs)
	s := openStore(t, opts)
	mustSet(t, s, 0, "k", "0")
	row := NewKey(0, []byte("k")).appendObject(nil)
	checkpoint(t, s)
	text, closer, err := s.db.Get(row)
	if err != nil {
		t.Fatal(err)
	}
	text = append([]byte(nil), text...)
	_ = closer.Close()
	closeStore(t, s)
	dir := fs.PathJoin(opts.Dir, pebbleDir)
	if err := fs.RemoveAll(dir); err != nil {
		t.Fatal(err)
	}

	// Pebble alone, with its log, as the version before had it, is killed.
	db, err := pebble.Open(dir, &pebble.Options{FS: fs, Logger: pebbleLogger{&Store{}}, FormatMajorVersion: pebble.FormatColumnarBlocks})
	if err != nil {
		t.Fatal(err)
	}
	if err := db.Set(row, text, pebble.Sync); err != nil {
		t.Fatal(err)
	}
	killed := fs.CrashClone(vfs.CrashCloneCfg{UnsyncedDataPercent: 100, RNG: newRand(1)})
	opts.FS = killed
	s = openStore(t, opts)
	wantRead(t, s, 0, "k", "0")
	mustSet(t, s, 0, "k", "new")
	retire(t, s)
	opts.FS = killed.CrashClone(vfs.CrashCloneCfg{})
	again := openStore(t, opts)
	wantRead(t, again, 0, "k", "new")
	for range 5 {
		again = reopen(t, again)
		wantRead(t, again, 0, "k", "new")
	}
	names, err := opts.FS.List(opts.FS.PathJoin(opts.Dir, pebbleDir))
	if err != nil {
		t.Fatal(err)
	}
	logs := 0
	for _, name := range names {
		if strings.HasSuffix(name, ".log") {
			logs++
		}
	}
	if logs > 2 {
		t.Errorf("%d logs of Pebble's own are left: %v", logs, names)
	}
}

// What a failed commit left is shown for ever, or never: reads do not go back.
func TestReadsDoNotGoBackAfterAFailedRotation(t *testing.T) {
	f := &fault{part: ".log", kinds: []errorfs.OpKind{errorfs.OpCreate, errorfs.OpReuseForWrite}}
	s := openStore(t, memOptions(faulty(vfs.NewMem(), f)))
	mustSet(t, s, 0, "k", "old")
	checkpoint(t, s)
	f.on.Store(true)
	s.logBytes = 1
	if commit(s, 0, "k", write{value: "new"}) == nil {
		t.Fatal("no failure")
	}
	before := read(s, 0, "k")
	for i := range s.cache.shards {
		s.cache.shards[i].budget = 300
	}
	for n := range 5000 {
		read(s, 0, fmt.Sprint("other", n))
	}
	wantRead(t, s, 0, "k", before)
}

// A scan does not make writers wait for the disk.
func TestAScanDoesNotMakeEverysecWaitForTheDisk(t *testing.T) {
	g := &gate{on: fault{part: logFileSuffix, kinds: []errorfs.OpKind{errorfs.OpFileSyncData}}}
	opts := memOptions(faulty(vfs.NewMem(), g))
	opts.Sync = SyncNo              // no ticker
	opts.checkpointBytes = 16 << 20 // the default of a node with 256 MiB
	s := openStore(t, opts)
	mustSet(t, s, 0, "k", strings.Repeat("x", 2<<20))
	g.shut.Lock()
	g.on.on.Store(true)
	scanned := make(chan struct{})
	go func() {
		_ = s.Scan(0, 1, func(Key, *version.Object) bool { return true })
		close(scanned)
	}()
	wrote := make(chan struct{})
	go func() { _ = commit(s, 0, "k2", write{value: "v"}); close(wrote) }()
	select {
	case <-wrote:
	case <-time.After(3 * time.Second):
		t.Error("a write waits, as long as the disk takes to sync, for a scan's checkpoint")
	}
	g.shut.Unlock()
	<-wrote
	<-scanned
}

// Whatever is done one after the other is there after a kill; in always after a power cut.
func TestAModelOfAllOperations(t *testing.T) {
	for seed := range uint64(cases(15)) {
		r := newRand(seed)
		fs := vfs.NewCrashableMem()
		opts := memOptions(fs)
		opts.Sync = SyncMode(seed % 3) // in the others only the process is killed
		opts.memtableBytes = 256 << 10
		opts.LogBytes, opts.checkpointBytes = 64<<10, 32<<10
		s := openStore(t, opts)
		model := map[string]string{}
		hints := map[string]bool{}
		key := func() string { return fmt.Sprint("key", r.IntN(40)) }
		for op := range 250 {
			switch n := r.IntN(100); {
			case n < 60:
				k := key()
				v := fmt.Sprint(op, strings.Repeat("y", r.IntN(20_000)))
				mustSet(t, s, 0, k, v)
				model[k] = v
			case n < 70:
				k := key()
				if err := commit(s, 0, k, write{tombstone: true}); err != nil {
					t.Fatal(err)
				}
				model[k] = "(deleted)"
			case n < 74:
				p := ring.Partition(r.IntN(testPartitions))
				if err := s.DropPartition(p); err != nil {
					t.Fatal(err)
				}
				for k := range model {
					if s.partitionOf(NewKey(0, []byte(k))) == p {
						delete(model, k)
					}
				}
			case n < 76:
				flush(t, s, 0)
				clear(model)
				clear(hints)
			case n < 82:
				k := key()
				var o version.Object
				if _, err := s.Get(0, []byte(k), &o); err != nil {
					t.Fatal(err)
				}
				if len(o.Siblings) == 0 {
					continue
				}
				seq, err := s.AddHint(otherNode(1), 0, []byte(k), s.NowMS(), &o)
				if err == nil {
					err = s.Commit(seq)
				}
				if err != nil {
					t.Fatal(err)
				}
				hints[k] = true
			case n < 86:
				k := key()
				var o version.Object
				if _, _, err := s.GetHinted(0, []byte(k), &o); err != nil {
					t.Fatal(err)
				}
				seq, err := s.RemoveHint(otherNode(1), NewKey(0, []byte(k)), &o)
				if err == nil {
					err = s.Commit(seq)
				}
				if err != nil {
					t.Fatal(err)
				}
				delete(hints, k)
			case n < 90:
				if _, err := s.Sweep(); err != nil {
					t.Fatal(err)
				}
				if err := s.reclaimFlushed(); err != nil {
					t.Fatal(err)
				}
				if err := s.reclaimHints(); err != nil {
					t.Fatal(err)
				}
			case n < 94:
				checkpoint(t, s)
			case n < 96:
				s = reopen(t, s)
				fs = s.fs.(*vfs.MemFS)
			default:
				keep := 100
				if opts.Sync == SyncAlways {
					keep = r.IntN(101)
				}
				fs = fs.CrashClone(vfs.CrashCloneCfg{UnsyncedDataPercent: keep, RNG: r})
				opts.FS = fs
				s = openStore(t, opts)
			}
			if op%10 == 0 {
				seen := map[string]bool{}
				if err := s.Scan(0, ^ring.Token(0), func(k Key, _ *version.Object) bool { seen[string(k.User)] = true; return true }); err != nil {
					t.Fatal(err)
				}
				if len(seen) != len(model) {
					t.Fatalf("seed %d op %d: a scan sees %d, want %d", seed, op, len(seen), len(model))
				}
			}
			held := 0
			if _, err := s.Hints(otherNode(1), Key{}, 1000, 1<<30, func(Key, *version.Object, []byte) bool { held++; return true }); err != nil {
				t.Fatal(err)
			}
			if held != len(hints) {
				t.Fatalf("seed %d op %d: %d hints, want %d", seed, op, held, len(hints))
			}
			for n := range 40 {
				k := fmt.Sprint("key", n)
				want, is := model[k]
				if !is {
					want = "(absent)"
				}
				if got := read(s, 0, k); got != want {
					t.Fatalf("seed %d op %d: %s reads %.40q, want %.40q", seed, op, k, got, want)
				}
			}
			if op%25 == 0 {
				waitCounts(t, s)
				wantTreesOfWhatIsStored(t, s)
			}
		}
	}
}

// After a failure at any moment, each key reads what was acknowledged last, or what
// was under way, and goes on to, whatever is evicted.
func TestAfterAFailureReadsStay(t *testing.T) {
	kinds := [][]errorfs.OpKind{
		{errorfs.OpFileWrite}, {errorfs.OpFileSyncData}, {errorfs.OpCreate, errorfs.OpReuseForWrite},
	}
	for seed := range uint64(20) {
		r := newRand(seed)
		f := &fault{part: ".log", kinds: kinds[seed%3]}
		opts := memOptions(faulty(vfs.NewMem(), f))
		if seed%2 == 0 {
			opts.Sync = SyncAlways
		}
		opts.LogBytes, opts.checkpointBytes = 64<<10, 32<<10
		s := openStore(t, opts)
		for i := range s.cache.shards {
			s.cache.shards[i].budget = 400
		}
		const writers = 4
		var acked, tried [writers][10]int
		after := time.Duration(r.IntN(5)) * time.Millisecond
		var writing, others sync.WaitGroup
		stop := make(chan struct{})
		for w := range writers {
			writing.Go(func() {
				for n := 1; ; n++ {
					k := n % 10
					tried[w][k] = n
					err := commit(s, 0, fmt.Sprint("w", w, ".", k), write{value: fmt.Sprint(n, " ", strings.Repeat("x", 500))})
					if err != nil {
						return
					}
					acked[w][k] = n
				}
			})
		}
		others.Go(func() {
			for n := 0; ; n++ {
				select {
				case <-stop:
					return
				default:
				}
				read(s, 0, fmt.Sprint("w", n%writers, ".", n%10))
				_ = s.Scan(0, 1, func(Key, *version.Object) bool { return true })
				if n%10 == 0 {
					_ = s.syncLog()
				}
			}
		})
		time.Sleep(after) // not for anything: the moment of the fault is what is random
		f.on.Store(true)
		writing.Wait()
		close(stop)
		others.Wait()
		if !s.checkpointsEnded() {
			t.Fatal("gave up")
		}
		number := func(w, k int) (n int) {
			_, _ = fmt.Sscan(read(s, 0, fmt.Sprint("w", w, ".", k)), &n)
			return n
		}
		var first [writers][10]int
		for w := range writers {
			for k := range 10 {
				n := number(w, k)
				first[w][k] = n
				if n < acked[w][k] || n > tried[w][k] {
					t.Errorf("seed %d: w%d.%d reads %d, acknowledged was %d, tried %d", seed, w, k, n, acked[w][k], tried[w][k])
				}
			}
		}
		for n := range 3000 {
			read(s, 0, fmt.Sprint("other", n))
		}
		for w := range writers {
			for k := range 10 {
				if n := number(w, k); n != first[w][k] {
					t.Errorf("seed %d (%d): w%d.%d went from %d to %d, acknowledged was %d", seed, seed%3, w, k, first[w][k], n, acked[w][k])
				}
			}
		}
		f.on.Store(false)
		_ = s.Close()
		if t.Failed() {
			return
		}
	}
}

func newRand(seed uint64) *rand.Rand { return rand.New(rand.NewPCG(seed, 1)) }
