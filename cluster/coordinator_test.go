package cluster

import (
	"errors"
	"fmt"
	"sync/atomic"
	"testing"

	"github.com/cockroachdb/pebble/v2/vfs"
	"github.com/cockroachdb/pebble/v2/vfs/errorfs"

	"cartwheel/cluster/quorum"
	"cartwheel/cluster/ring"
	"cartwheel/store"
	"cartwheel/store/version"
)

func memOptions(fs vfs.FS) store.Options {
	return store.Options{Dir: "data", FS: fs, MemoryBytes: 16 << 20, SweepInterval: -1}
}

// open opens a ring of one and closes it with the test.
func open(t *testing.T, opts store.Options) *Coordinator {
	t.Helper()
	c, err := Open(opts)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = c.Close() })
	return c
}

// An overwrite overwrites a key with a value, or with a tombstone where there is none.
type overwrite struct {
	c          *Coordinator
	key        []byte
	value      []byte
	expireAtMS int64
	plain      bool
	within     quorum.Span
}

func (overwrite) Blind() bool { return false }

func (p overwrite) Plain() bool { return p.plain }

func (p overwrite) Apply(o *version.Object) bool {
	dot, err := p.c.Dot(p.key, o.Clock, p.c.NowMS(), max(o.MaxHLC(), p.within.After))
	if err != nil {
		return false
	}
	latest := version.HLC(0)
	if win := o.Winner(); win != nil {
		latest = win.Written
	}
	written, late := p.within.Written(dot.HLC, latest)
	if late {
		return false
	}
	s := version.Sibling{Dot: dot, Written: written, Tombstone: p.value == nil, Payload: p.value}
	if p.value != nil {
		s.ExpireAtMS = p.expireAtMS
	}
	o.Put(o.Clock, s)
	return true
}

func update(c *Coordinator, db uint8, key string, need quorum.Need, p overwrite) error {
	p.c, p.key = c, []byte(key)
	var o version.Object
	seq, _, err := c.Update(db, []byte(key), need, c.NowMS(), &o, p, nil)
	if err != nil {
		return err
	}
	return c.Commit(seq)
}

func mustSet(t *testing.T, c *Coordinator, db uint8, key, value string) {
	t.Helper()
	if err := update(c, db, key, quorum.Need{}, overwrite{value: []byte(value)}); err != nil {
		t.Fatal(err)
	}
}

func wantValue(t *testing.T, c *Coordinator, db uint8, key, want string) {
	t.Helper()
	var o version.Object
	if _, _, err := c.Read(db, []byte(key), quorum.Need{}, &o, nil); err != nil {
		t.Errorf("%q: %v", key, err)
		return
	}
	got := "(absent)"
	if w := o.Alive(c.NowMS()); w != nil {
		got = string(w.Payload)
	}
	if got != want {
		t.Errorf("%q is %q, want %q", key, got, want)
	}
}

func code(err error) string {
	var wire *WireError
	if !errors.As(err, &wire) {
		return fmt.Sprintf("(%v)", err)
	}
	return wire.Code
}

func TestErrorsHaveTheCodesThatClientsGoBy(t *testing.T) {
	for err, want := range map[error]string{
		store.ErrDiskFull:            "MISCONF",
		store.ErrStopped:             "MISCONF",
		store.ErrDisk:                "MISCONF",
		store.ErrCommit:              "TIMEOUT",
		store.ErrCorrupt:             "ERR",
		quorum.ErrNoReplicas:         "NOREPLICAS",
		errors.New("something else"): "ERR",
	} {
		wire := wireError(fmt.Errorf("wrapped: %w", err))
		if code(wire) != want || !errors.Is(wire, err) {
			t.Errorf("%v becomes %v, want %s", err, wire, want)
		}
	}
	if wireError(nil) != nil {
		t.Error("no error becomes one")
	}
}

func TestAFailedCommitIsAnUnknownOutcomeAndThenARefusal(t *testing.T) {
	var failing atomic.Bool
	faults := errorfs.InjectorFunc(func(op errorfs.Op) error {
		if failing.Load() && (op.Kind == errorfs.OpFileSyncData || op.Kind == errorfs.OpFileSync) {
			return errorfs.ErrInjected
		}
		return nil
	})
	opts := memOptions(errorfs.Wrap(vfs.NewMem(), faults))
	opts.Sync = store.SyncAlways
	c := open(t, opts)
	mustSet(t, c, 0, "k", "v") // takes the clock's lease too
	failing.Store(true)
	if err := update(c, 0, "k", quorum.Need{}, overwrite{value: []byte("lost?")}); code(err) != "TIMEOUT" {
		t.Errorf("the write that met the fault: %v", err)
	}
	if err := update(c, 0, "k2", quorum.Need{}, overwrite{value: []byte("v")}); code(err) != "MISCONF" {
		t.Errorf("a write after it: %v", err)
	}
	if err := c.Flush([]uint8{0}); code(err) != "MISCONF" {
		t.Errorf("a flush after it: %v", err)
	}
	if err := c.Sync(); code(err) != "TIMEOUT" {
		t.Errorf("a sync after it: %v", err)
	}
	wantValue(t, c, 0, "other", "(absent)")
}

func TestMoreReplicasThanOwnersAreNotThereAndNothingIsDone(t *testing.T) {
	c := open(t, memOptions(vfs.NewMem()))
	mustSet(t, c, 0, "k", "v")
	for _, need := range []quorum.Need{{W: 2}, {W: 2, Strict: true}, {R: 1, W: 3}} {
		if err := update(c, 0, "k", need, overwrite{value: []byte("new")}); code(err) != "NOREPLICAS" {
			t.Errorf("%+v: %v", need, err)
		}
	}
	wantValue(t, c, 0, "k", "v")
	var o version.Object
	if _, _, err := c.Read(0, []byte("k"), quorum.Need{R: 2}, &o, nil); code(err) != "NOREPLICAS" {
		t.Errorf("a read of two: %v", err)
	}
	if err := update(c, 0, "k", quorum.Need{R: 5, W: 1, Strict: true}, overwrite{value: []byte("new")}); err != nil {
		t.Errorf("a write that one owner suffices for: %v", err)
	}
	wantValue(t, c, 0, "k", "new")
}

func TestKnowsNoClockFromElsewhereOrFromTheFuture(t *testing.T) {
	c := open(t, memOptions(vfs.NewMem()))
	dot, err := c.Dot(nil, nil, c.NowMS(), 0)
	if err != nil {
		t.Fatal(err)
	}
	later, foreign := dot, dot
	later.HLC += 1 << 32
	foreign.Incarnation++
	for name, test := range map[string]struct {
		clock version.Clock
		want  bool
	}{
		"empty": {nil, true}, "own": {version.Clock{dot}, true}, "future": {version.Clock{later}, false},
		"foreign": {version.Clock{foreign}, false}, "own and foreign": {version.Join(version.Clock{dot}, version.Clock{foreign}), false},
	} {
		if got := c.Knows(test.clock, c.NowMS()); got != test.want {
			t.Errorf("%s: known %v, want %v", name, got, test.want)
		}
	}
}

func TestAClockIsKnownAfterACrash(t *testing.T) {
	fs := vfs.NewCrashableMem()
	opts := memOptions(fs)
	c := open(t, opts)
	dot, err := c.Dot(nil, nil, c.NowMS(), 0)
	if err != nil {
		t.Fatal(err)
	}
	opts.FS = fs.CrashClone(vfs.CrashCloneCfg{})
	after := open(t, opts)
	if !after.Knows(version.Clock{dot}, after.NowMS()) {
		t.Error("a clock of the incarnation before the crash is not known")
	}
	if next, err := after.Dot(nil, nil, after.NowMS(), 0); err != nil || next.HLC <= dot.HLC || next.Incarnation == dot.Incarnation {
		t.Errorf("after the crash follows %v to %v, %v", next, dot, err)
	}
}

func TestUpdateTogetherChangesAllOrNone(t *testing.T) {
	fs := vfs.NewCrashableMem()
	opts := memOptions(fs)
	opts.Sync = store.SyncAlways
	c := open(t, opts)
	keys := [][]byte{[]byte("{t}a"), []byte("{t}b"), []byte("{t}c")}
	together := func(change bool) {
		t.Helper()
		seq, err := c.UpdateTogether(0, keys, quorum.Need{}, c.NowMS(), func(objects []version.Object, changed []bool) {
			for i := range objects {
				changed[i] = change && overwrite{c: c, key: keys[i], value: keys[i]}.Apply(&objects[i])
			}
		})
		if err != nil {
			t.Fatal(err)
		}
		if err := c.Commit(seq); err != nil {
			t.Fatal(err)
		}
	}
	together(false)
	for _, key := range keys {
		wantValue(t, c, 0, string(key), "(absent)")
	}
	together(true)
	opts.FS = fs.CrashClone(vfs.CrashCloneCfg{})
	after := open(t, opts)
	for _, key := range keys {
		wantValue(t, c, 0, string(key), string(key))
		wantValue(t, after, 0, string(key), string(key))
	}
}

func TestAFlushTakesItsDatabasesAndNoOther(t *testing.T) {
	c := open(t, memOptions(vfs.NewMem()))
	for db := range uint8(3) {
		mustSet(t, c, db, "k", "v")
	}
	if err := c.Flush([]uint8{0, 2}); err != nil {
		t.Fatal(err)
	}
	for db, want := range []string{"(absent)", "v", "(absent)"} {
		wantValue(t, c, uint8(db), "k", want)
	}
	mustSet(t, c, 0, "k", "new")
	wantValue(t, c, 0, "k", "new")
}

func TestExplainNamesTheOwnerAndWhatItHolds(t *testing.T) {
	c := open(t, memOptions(vfs.NewMem()))
	mustSet(t, c, 0, "k", "v")
	owners := 0
	_, epoch, p := c.Explain(0, []byte("k"), func(node ring.NodeID, alive bool, o *version.Object, err error) {
		owners++
		if node != c.NodeID() || !alive || err != nil || string(o.Winner().Payload) != "v" {
			t.Errorf("owner %v, alive %v, holds %v, %v", node, alive, o, err)
		}
	})
	if owners != 1 || epoch != 1 || p != ring.PartitionOf(ring.SlotOf([]byte("k")), 1024) {
		t.Errorf("%d owners, epoch %d, partition %d", owners, epoch, p)
	}
}
