package store

import (
	"fmt"
	"maps"
	"math/rand/v2"
	"strconv"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/cockroachdb/pebble/v2/vfs"
)

// A ledger knows what a crash may leave: under each key the number of a write
// between the last that had to survive and the last that was begun.
type ledger struct {
	mu           sync.Mutex
	begun, acked map[string]int // guarded by mu
}

func (l *ledger) snapshot(of func(*ledger) map[string]int) map[string]int {
	l.mu.Lock()
	defer l.mu.Unlock()
	return maps.Clone(of(l))
}

func begun(l *ledger) map[string]int { return l.begun }
func acked(l *ledger) map[string]int { return l.acked }

func (l *ledger) note(in map[string]int, n int, keys ...string) {
	l.mu.Lock()
	defer l.mu.Unlock()
	for _, key := range keys {
		in[key] = n
	}
}

// pairLeft and pairRight are only ever written by one UpdateMany.
const pairLeft, pairRight = "pair-left", "pair-right"

// write writes ever higher numbers, padded to fill several logs, until stop is
// closed.
func (l *ledger) write(t *testing.T, s *Store, r *rand.Rand, stop chan struct{}) {
	pad := strings.Repeat("x", 16<<10)
	for n := 1; ; n++ {
		select {
		case <-stop:
			return
		default:
		}
		value := fmt.Sprintf("%d %s", n, pad[:r.IntN(len(pad))])
		keys := []string{fmt.Sprint("key", r.IntN(30))}
		var seq uint64
		var err error
		if n%3 == 0 {
			keys = []string{pairLeft, pairRight}
			l.note(l.begun, n, keys...)
			seq, err = updateMany(s, map[string]string{pairLeft: value, pairRight: value})
		} else {
			l.note(l.begun, n, keys...)
			seq, err = do(s, 0, keys[0], write{value: value})
		}
		if err == nil {
			err = s.Commit(seq)
		}
		if err != nil {
			t.Errorf("write %d: %v", n, err)
			return
		}
		l.note(l.acked, n, keys...)
	}
}

// check opens what a crash left and compares it with the bounds.
func check(t *testing.T, opts Options, lowest, highest map[string]int) {
	t.Helper()
	s, err := Open(opts)
	if err != nil {
		t.Fatalf("open after the crash: %v", err)
	}
	defer s.Close()
	found := map[string]int{}
	for key := range highest {
		got := read(s, 0, key)
		if got == "(absent)" {
			got = "0"
		}
		number, _, _ := strings.Cut(got, " ")
		if found[key], err = strconv.Atoi(number); err != nil {
			t.Fatalf("%q reads %.80q", key, got)
		}
		if found[key] < lowest[key] || found[key] > highest[key] {
			t.Errorf("%q has write %d, want one of %d..%d", key, found[key], lowest[key], highest[key])
		}
	}
	if found[pairLeft] != found[pairRight] {
		t.Errorf("half of an UpdateMany: %d and %d", found[pairLeft], found[pairRight])
	}
}

// crashes runs a writer and crashes its disk now and then. durable is called
// before each crash and returns what must survive it.
func crashes(t *testing.T, mode SyncMode, durable func(*Store, *ledger) map[string]int) {
	for _, unsyncedPercent := range []int{0, 30, 70, 97} {
		t.Run(fmt.Sprintf("unsynced kept %d%%", unsyncedPercent), func(t *testing.T) {
			seed := rand.Uint64()
			t.Logf("seed %d", seed)
			fs := vfs.NewCrashableMem()
			opts := memOptions(fs)
			opts.Sync = mode
			s := openStore(t, opts)
			s.logBytes = 256 << 10 // many segments
			l := &ledger{begun: map[string]int{}, acked: map[string]int{}}
			stop := make(chan struct{})
			var writer sync.WaitGroup
			writer.Go(func() { l.write(t, s, rand.New(rand.NewPCG(seed, 1)), stop) })
			writer.Go(func() { commitAlways(s, stop) })
			defer writer.Wait()
			defer close(stop)
			cfg := vfs.CrashCloneCfg{UnsyncedDataPercent: unsyncedPercent, RNG: rand.New(rand.NewPCG(seed, 2))}
			pause := rand.New(rand.NewPCG(seed, 3))
			for range 6 {
				waitForLogs(t, s, pause.IntN(3))
				lowest := durable(s, l)
				opts.FS = fs.CrashClone(cfg)
				check(t, opts, lowest, l.snapshot(begun))
			}
		})
	}
}

// commitAlways commits whatever is open, at every moment, as other connections
// would.
func commitAlways(s *Store, stop chan struct{}) {
	for {
		select {
		case <-stop:
			return
		default:
			_ = s.Commit(s.openSeq()) // the writer sees the failure
		}
	}
}

// waitForLogs returns when that many memtables more have been flushed, so that
// as many logs have been closed.
func waitForLogs(t *testing.T, s *Store, n int) {
	t.Helper()
	goal := s.db.Metrics().Flush.Count + int64(n)
	for deadline := time.Now().Add(10 * time.Second); s.db.Metrics().Flush.Count < goal; time.Sleep(time.Millisecond) {
		if time.Now().After(deadline) {
			t.Fatal("no memtable was flushed")
		}
	}
}

func TestAlwaysEveryAcknowledgedWriteSurvivesAPowerCut(t *testing.T) {
	crashes(t, SyncAlways, func(_ *Store, l *ledger) map[string]int { return l.snapshot(acked) })
}

func TestEverysecWhatWasSyncedSurvivesAPowerCut(t *testing.T) {
	crashes(t, SyncEverysec, func(s *Store, l *ledger) map[string]int {
		lowest := l.snapshot(acked)
		_ = s.syncLog()
		return lowest
	})
}

func TestEverysecWhatWasNotSyncedIsNeverTorn(t *testing.T) {
	crashes(t, SyncEverysec, func(*Store, *ledger) map[string]int { return nil })
}

func TestNoSyncAPowerCutTearsNothing(t *testing.T) {
	crashes(t, SyncNo, func(*Store, *ledger) map[string]int { return nil })
}

// The first write to a new directory is as durable as any.
func TestTheNewDirectoryItselfSurvivesAPowerCut(t *testing.T) {
	fs := vfs.NewCrashableMem()
	opts := memOptions(fs)
	opts.Dir, opts.Sync = "var/lib/cartwheel", SyncAlways
	s := openStore(t, opts)
	mustSet(t, s, 0, "k", "v")
	opts.FS = fs.CrashClone(vfs.CrashCloneCfg{})
	after := openStore(t, opts)
	wantRead(t, after, 0, "k", "v")
	if after.NodeID() != s.NodeID() {
		t.Error("the node has another id after the crash")
	}
}

func TestAlwaysAFlushSurvivesAPowerCut(t *testing.T) {
	fs := vfs.NewCrashableMem()
	opts := memOptions(fs)
	opts.Sync = SyncAlways
	s := openStore(t, opts)
	mustSet(t, s, 0, "k", "v")
	flush(t, s, 0)
	opts.FS = fs.CrashClone(vfs.CrashCloneCfg{})
	wantRead(t, openStore(t, opts), 0, "k", "(absent)")
}

func flush(t testing.TB, s *Store, dbs ...uint8) {
	t.Helper()
	mark, err := s.NextHLC(s.NowMS(), 0)
	if err != nil {
		t.Fatal(err)
	}
	if err := s.Flush(dbs, mark); err != nil {
		t.Fatal(err)
	}
}

// A killed process loses nothing in any mode: when Commit returns the operating
// system has the bytes.
func TestAKilledProcessLosesNothing(t *testing.T) {
	for _, mode := range []SyncMode{SyncAlways, SyncEverysec, SyncNo} {
		t.Run(mode.String(), func(t *testing.T) {
			fs, m := vfs.NewCrashableMem(), newTestMap(t)
			opts := memOptions(fs)
			opts.Sync, opts.MapFile = mode, m.mapFile
			s := openStore(t, opts)
			opts.MapFile = nil     // the file is the process's that is killed
			s.logBytes = 256 << 10 // many segments
			killed := func() *vfs.MemFS {
				var stage []byte
				if s.commitLog.stage != nil {
					stage = m.file(t) // first: what is written to segments meanwhile is in both
				}
				left := fs.CrashClone(vfs.CrashCloneCfg{UnsyncedDataPercent: 100, RNG: rand.New(rand.NewPCG(1, 1))})
				writeFile(t, left, stageBelow(fs, opts.Dir), stage)
				return left
			}
			l := &ledger{begun: map[string]int{}, acked: map[string]int{}}
			stop := make(chan struct{})
			var writer sync.WaitGroup
			writer.Go(func() { l.write(t, s, rand.New(rand.NewPCG(1, 2)), stop) })
			for range 5 {
				waitForLogs(t, s, 1)
				lowest := l.snapshot(acked)
				opts.FS = killed()
				check(t, opts, lowest, l.snapshot(begun))
			}
			close(stop)
			writer.Wait()

			// And the smallest write there is, which fills no buffer.
			mustSet(t, s, 0, "small", "v")
			opts.FS = killed()
			wantRead(t, openStore(t, opts), 0, "small", "v")
		})
	}
}
