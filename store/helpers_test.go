package store

import (
	"errors"
	"fmt"
	"io"
	"sync/atomic"
	"testing"
	"time"

	"github.com/cockroachdb/pebble/v2/vfs"
	"github.com/rs/zerolog"

	"cartwheel/cluster/ring"
	"cartwheel/store/version"
)

const testPartitions = 8

// A fakeClock is a wall clock that stands still until it is set.
type fakeClock struct{ ms atomic.Int64 }

func newFakeClock(ms int64) *fakeClock {
	c := &fakeClock{}
	c.ms.Store(ms)
	return c
}

func (c *fakeClock) now() time.Time { return time.UnixMilli(c.ms.Load()) }

// cases is how many of n random cases are drawn: a fifth with -short, as package rapid has it.
func cases(n int) int {
	if testing.Short() {
		return n / 5
	}
	return n
}

func everythingIsStable(ring.Partition) version.HLC { return ^version.HLC(0) }

// memOptions are those of a small store on fs that sweeps only when told to.
func memOptions(fs vfs.FS) Options {
	return Options{Dir: "data", FS: fs, Partitions: testPartitions, MemoryBytes: memoryBytesMin, SweepInterval: -1}
}

// openStore opens a store and closes it with the test, unless the test did.
func openStore(t testing.TB, opts Options) *Store {
	t.Helper()
	s, err := Open(opts)
	if err != nil {
		t.Fatalf("open: %v", err)
	}
	t.Cleanup(func() {
		if !s.closing.Load() {
			_ = s.Close()
		}
	})
	return s
}

func closeStore(t testing.TB, s *Store) {
	t.Helper()
	if err := s.Close(); err != nil {
		t.Fatalf("close: %v", err)
	}
}

// reopen stops a store cleanly and starts it again.
func reopen(t testing.TB, s *Store) *Store {
	t.Helper()
	closeStore(t, s)
	return openStore(t, s.opts)
}

// A write is a plain SET or DEL: it overwrites all that is there.
type write struct {
	s          *Store
	value      string
	expireAtMS int64
	tombstone  bool
	blind      bool
	hlc        version.HLC // 0: the next one
}

func (w write) Blind() bool { return w.blind }

func (w write) Apply(o *version.Object) bool {
	h := w.hlc
	if h == 0 {
		var err error
		if h, err = w.s.NextHLC(w.s.NowMS(), o.MaxHLC()); err != nil {
			return false
		}
	}
	sib := version.Sibling{Dot: version.Dot{Incarnation: w.s.Incarnation(), HLC: h}, Written: h, Tombstone: w.tombstone}
	if !w.tombstone {
		sib.Payload, sib.ExpireAtMS = []byte(w.value), w.expireAtMS
	}
	o.Put(o.Clock, sib)
	return true
}

// do applies a write without committing it.
func do(s *Store, db uint8, key string, w write) (seq uint64, err error) {
	w.s = s
	var o version.Object
	return s.Update(db, []byte(key), s.NowMS(), &o, w)
}

// commit applies a write and commits it.
func commit(s *Store, db uint8, key string, w write) error {
	seq, err := do(s, db, key, w)
	if err != nil {
		return err
	}
	return s.Commit(seq)
}

func mustSet(t testing.TB, s *Store, db uint8, key, value string) {
	t.Helper()
	if err := commit(s, db, key, write{value: value}); err != nil {
		t.Fatalf("set %q: %v", key, err)
	}
}

// read returns the winning value, or "(absent)", "(deleted)" or "(error ...)".
func read(s *Store, db uint8, key string) string {
	var o version.Object
	if _, err := s.Get(db, []byte(key), &o); err != nil {
		if errors.Is(err, ErrCorrupt) {
			return "(corrupt)"
		}
		return fmt.Sprintf("(error %v)", err)
	}
	switch w := o.Winner(); {
	case w == nil:
		return "(absent)"
	case w.Tombstone:
		return "(deleted)"
	default:
		return string(w.Payload)
	}
}

func wantRead(t testing.TB, s *Store, db uint8, key, want string) {
	t.Helper()
	if got := read(s, db, key); got != want {
		t.Errorf("db %d key %q reads %.80q, want %.80q", db, key, got, want)
	}
}

// rows counts Pebble's committed rows of a prefix.
func rows(t testing.TB, s *Store, prefix byte) int {
	t.Helper()
	checkpoint(t, s)
	iter, err := s.db.NewIter(nil)
	if err != nil {
		t.Fatal(err)
	}
	n := 0
	for iter.SeekGE([]byte{prefix}); iter.Valid() && iter.Key()[0] == prefix; iter.Next() {
		n++
	}
	if err := iter.Close(); err != nil {
		t.Fatal(err)
	}
	return n
}

func waitCounts(t testing.TB, s *Store) {
	t.Helper()
	select {
	case <-s.CountsReady():
	case <-time.After(10 * time.Second):
		t.Fatal("the keys were not counted in time")
	}
}

func otherNode(n byte) (id ring.NodeID) {
	id[0], id[19] = 0xee, n
	return id
}

func newTestLog(to io.Writer) zerolog.Logger { return zerolog.New(to) }

func fixedWatermark(at *version.HLC) func(ring.Partition) version.HLC {
	return func(ring.Partition) version.HLC { return *at }
}

// wantTreesOfWhatIsStored compares the hash trees with those that a scan makes.
func wantTreesOfWhatIsStored(t testing.TB, s *Store) {
	t.Helper()
	if err := s.checkpointOpen(); err != nil {
		t.Fatal(err)
	}
	for p := range ring.Partition(s.Partitions()) {
		var found census
		if err := s.countPartition(s.db, nil, p, &found); err != nil {
			t.Fatal(err)
		}
		var want [Leaves]uint64
		for db := range found.leaves {
			for i, leaf := range found.leaves[db] {
				want[i] ^= leaf
			}
		}
		if got := s.Leaves(p); got != want {
			t.Fatalf("partition %d has the leaves\n%x\nthose of what is stored are\n%x", p, got, want)
		}
	}
}

// checkpoint makes what is committed be among Pebble's rows.
func checkpoint(t fataler, s *Store) {
	t.Helper()
	if err := s.checkpoint(); err != nil {
		t.Fatalf("checkpoint: %v", err)
	}
}

// retire has Pebble make durable what is committed, and retires the log of it.
func retire(t fataler, s *Store) {
	t.Helper()
	checkpoint(t, s)
	s.commitMu.Lock()
	err := s.commitLog.rotate()
	s.commitMu.Unlock()
	if err == nil {
		err = s.retire(s.commitLog.current.number)
	}
	if err != nil {
		t.Fatalf("retire: %v", err)
	}
}

// forget empties the caches, so that reads go to Pebble.
func forget(t fataler, s *Store) {
	t.Helper()
	checkpoint(t, s)
	s.cache.clear()
	s.hints.cache.clear()
}

// A fataler is a test, or a rapid.T.
type fataler interface {
	Helper()
	Fatalf(format string, args ...any)
}
