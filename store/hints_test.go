package store

import (
	"errors"
	"fmt"
	"slices"
	"testing"

	"github.com/cockroachdb/pebble/v2"
	"github.com/cockroachdb/pebble/v2/vfs"
	"github.com/cockroachdb/pebble/v2/vfs/errorfs"
	"pgregory.net/rapid"

	"cartwheel/cluster/ring"
	"cartwheel/store/version"
)

func mustHint(t testing.TB, s *Store, owner ring.NodeID, db uint8, key string, o version.Object) {
	t.Helper()
	seq, err := s.AddHint(owner, db, []byte(key), s.NowMS(), &o)
	if err == nil {
		err = s.Commit(seq)
	}
	if err != nil {
		t.Fatalf("a hint of %q: %v", key, err)
	}
}

// hinted returns all hints for an owner, in pages.
func hinted(t testing.TB, s *Store, owner ring.NodeID, max, maxBytes int) map[string]version.Object {
	t.Helper()
	all := map[string]version.Object{}
	var from, last Key
	for {
		n, size := 0, 0
		next, err := s.Hints(owner, from, max, maxBytes, func(k Key, o *version.Object, text []byte) bool {
			if last.Token > k.Token {
				t.Errorf("%q comes out of order", k.User)
			}
			last = k.clone()
			n++
			size += len(text)
			var decoded version.Object
			if err := decoded.Decode(slices.Clone(text)); err != nil || !decoded.Equal(o) {
				t.Errorf("the form of %v is of %v: %v", o, decoded, err)
			}
			name := fmt.Sprintf("%d/%s", k.DB, k.User)
			if _, twice := all[name]; twice {
				t.Errorf("%s comes twice", name)
			}
			all[name] = copyOf(&decoded)
			return true
		})
		if err != nil {
			t.Fatal(err)
		}
		if n > max || size > maxBytes && n > 1 && size-maxBytes > 2000 {
			t.Errorf("a page has %d hints, %d bytes", n, size)
		}
		if next.zero() {
			return all
		}
		from = next
	}
}

// wantHintCounts compares what is counted with the rows.
func wantHintCounts(t testing.TB, s *Store) {
	t.Helper()
	if err := s.commitOpen(); err != nil {
		t.Fatal(err)
	}
	want := map[ring.NodeID]HintStat{}
	var total, size int64
	err := s.scanPrefix([]byte{prefixHint}, nil, func(row, text []byte) error {
		owner, _, err := parseHintKey(row)
		st := want[owner]
		st.Owner = owner
		st.Count++
		st.Bytes += int64(len(row) + len(text))
		want[owner] = st
		total++
		size += int64(len(row) + len(text))
		return err
	})
	if err != nil {
		t.Fatal(err)
	}
	got := s.HintOwners()
	if len(got) != len(want) {
		t.Fatalf("hints are held for %d owners, counted are %v", len(want), got)
	}
	for _, st := range got {
		st.OldestMS = 0
		if st != want[st.Owner] {
			t.Fatalf("counted are %+v, there are %+v", st, want[st.Owner])
		}
	}
	if s.hints.total.Load() != total || s.hints.bytes.Load() != size {
		t.Fatalf("in all are counted %d hints and %d bytes, there are %d and %d", s.hints.total.Load(), s.hints.bytes.Load(), total, size)
	}
}

type hintModel struct {
	t     *rapid.T
	s     *Store
	fs    *vfs.MemFS
	opts  Options
	clock *fakeClock
	// held is what should be there, by owner and key.
	held map[ring.NodeID]map[string]version.Object
	last version.HLC
}

func (m *hintModel) draw() (owner ring.NodeID, key string) {
	return otherNode(byte(rapid.IntRange(0, 2).Draw(m.t, "owner"))), fmt.Sprint("key", rapid.IntRange(0, 5).Draw(m.t, "key"))
}

func (m *hintModel) add(*rapid.T) {
	owner, key := m.draw()
	name := "1/" + key
	held := m.held[owner][name]
	m.last++
	var seen version.Clock
	if rapid.Bool().Draw(m.t, "overwrites") {
		seen = slices.Clone(held.Clock)
	}
	var remote version.Object
	remote.Put(seen, version.Sibling{
		Dot:     version.Dot{Incarnation: version.Incarnation(rapid.IntRange(1, 3).Draw(m.t, "by")), HLC: m.last},
		Written: m.last, Payload: make([]byte, rapid.IntRange(0, 300).Draw(m.t, "bytes")),
	})
	for range rapid.IntRange(1, 2).Draw(m.t, "times") {
		if _, err := m.s.AddHint(owner, 1, []byte(key), noon, &remote); err != nil {
			m.t.Fatal(err)
		}
	}
	merged := version.Merge(&held, &remote)
	merged.Flush(m.s.FlushMark(1))
	if m.held[owner] == nil {
		m.held[owner] = map[string]version.Object{}
	}
	if len(merged.Siblings) > 0 {
		m.held[owner][name] = merged
	}
}

// remove takes away what was sent, unless something came meanwhile.
func (m *hintModel) remove(*rapid.T) {
	owner, key := m.draw()
	sent := m.held[owner]["1/"+key]
	sent = copyOf(&sent)
	stale := rapid.Bool().Draw(m.t, "stale")
	if stale {
		sent.MergeIn(&version.Object{Clock: version.Clock{{Incarnation: 99, HLC: 1}}})
	}
	if _, err := m.s.RemoveHint(owner, NewKey(1, []byte(key)), &sent); err != nil {
		m.t.Fatal(err)
	}
	if !stale {
		delete(m.held[owner], "1/"+key)
	}
}

func (m *hintModel) commit(*rapid.T) {
	if err := m.s.Commit(m.s.openSeq()); err != nil {
		m.t.Fatal(err)
	}
	if rapid.Bool().Draw(m.t, "forget") {
		forget(m.t, m.s)
	}
}

func (m *hintModel) restart(*rapid.T) {
	m.commit(m.t)
	if rapid.Bool().Draw(m.t, "crash") {
		m.fs = m.fs.CrashClone(vfs.CrashCloneCfg{})
		m.opts.FS = m.fs
		m.s.closing.Store(true) // it is left as it is
		close(m.s.stop)
		m.s.background.Wait()
	} else if err := m.s.Close(); err != nil {
		m.t.Fatal(err)
	}
	s, err := Open(m.opts)
	if err != nil {
		m.t.Fatal(err)
	}
	m.s = s
}

func (m *hintModel) flush(*rapid.T) {
	if rapid.IntRange(0, 3).Draw(m.t, "rarely") != 0 {
		return
	}
	mark := m.last - version.HLC(rapid.IntRange(0, 5).Draw(m.t, "before"))
	if err := m.s.Flush([]uint8{1}, mark); err != nil {
		m.t.Fatal(err)
	}
	for _, held := range m.held {
		for name, o := range held {
			if o.Flush(m.s.FlushMark(1)); len(o.Siblings) == 0 {
				delete(held, name)
			} else {
				held[name] = o
			}
		}
	}
	if rapid.Bool().Draw(m.t, "reclaim") {
		if err := m.s.reclaimHints(); err != nil {
			m.t.Fatal(err)
		}
	}
}

func (m *hintModel) check(*rapid.T) {
	for i := range 6 {
		key := fmt.Sprint("key", i)
		var want, got version.Object
		for _, held := range m.held {
			o := held["1/"+key]
			want.MergeIn(&o)
		}
		found, _, err := m.s.GetHinted(1, []byte(key), &got)
		if err != nil || found != (len(want.Siblings) > 0) || found && !slices.EqualFunc(got.Siblings, want.Siblings, func(a, b version.Sibling) bool { return a.Dot == b.Dot }) {
			m.t.Fatalf("%s is hinted as %v (%v), want %v: %v", key, got, found, want, err)
		}
	}
}

// TestHintsAreWhatCameMergedByOwnerAndKey holds hints against a model, through
// restarts, flushes, and the loss of all caches.
func TestHintsAreWhatCameMergedByOwnerAndKey(t *testing.T) {
	rapid.Check(t, func(rt *rapid.T) {
		m := &hintModel{t: rt, fs: vfs.NewCrashableMem(), clock: newFakeClock(noon), held: map[ring.NodeID]map[string]version.Object{}, last: at(noon - 1000)}
		m.opts = memOptions(m.fs)
		m.opts.Now, m.opts.Sync = m.clock.now, SyncAlways
		var err error
		if m.s, err = Open(m.opts); err != nil {
			rt.Fatal(err)
		}
		defer func() { _ = m.s.Close() }()
		rt.Repeat(map[string]func(*rapid.T){
			"add": m.add, "add again": m.add, "add more": m.add, "remove": m.remove, "commit": m.commit,
			"restart": m.restart, "flush": m.flush, "": m.check,
		})
		m.commit(rt)
		wantHintCounts(t, m.s)
		for i := range byte(3) {
			got := hinted(t, m.s, otherNode(i), rapid.IntRange(1, 4).Draw(rt, "page"), rapid.IntRange(1, 800).Draw(rt, "page bytes"))
			want := m.held[otherNode(i)]
			if len(got) != len(want) {
				rt.Fatalf("for owner %d are held %v, want %v", i, got, want)
			}
			for name, o := range want {
				if held := got[name]; !held.Equal(&o) {
					rt.Fatalf("for owner %d is held %s %v, want %v", i, name, held, o)
				}
			}
		}
		m.s.hints.reclaim.Store(true)
		if err := m.s.reclaimHints(); err != nil {
			rt.Fatal(err)
		}
		wantHintCounts(t, m.s)
		left := 0
		for _, held := range m.held {
			left += len(held)
		}
		if n := rows(t, m.s, prefixHint); n != left {
			rt.Fatalf("%d rows are left, want %d", n, left)
		}
	})
}

func TestHintsOfWhatWasFlushedAreNeitherTakenNorKept(t *testing.T) {
	s, _ := openAt(t, noon)
	mustHint(t, s, otherNode(1), 1, "k", value("v", at(noon-100)))
	mustHint(t, s, otherNode(2), 2, "k", value("v", at(noon-100)))
	if err := s.Flush([]uint8{1}, at(noon-50)); err != nil {
		t.Fatal(err)
	}
	mustHint(t, s, otherNode(1), 1, "late", value("v", at(noon-60)))
	check := func(left int) {
		t.Helper()
		if n := rows(t, s, prefixHint); n != left {
			t.Errorf("%d rows are left, want %d", n, left)
		}
		if held := hinted(t, s, otherNode(1), 10, 1<<20); len(held) != 0 {
			t.Errorf("held are %v", held)
		}
		if held := hinted(t, s, otherNode(2), 10, 1<<20); len(held) != 1 {
			t.Errorf("held of another database are %v", held)
		}
		wantHintCounts(t, s)
	}
	check(2)
	s = reopen(t, s) // before anything was reclaimed
	check(2)
	if err := s.reclaimHints(); err != nil {
		t.Fatal(err)
	}
	check(1)
}

func TestAHintIsAsDurableAsItsCommit(t *testing.T) {
	for _, mode := range []SyncMode{SyncAlways, SyncEverysec} {
		fs := vfs.NewCrashableMem()
		opts := memOptions(fs)
		opts.Sync, opts.Now = mode, newFakeClock(noon).now
		s := openStore(t, opts)
		mustHint(t, s, otherNode(1), 0, "k", value("v", at(noon)))
		_ = s.syncLog()
		opts.FS = fs.CrashClone(vfs.CrashCloneCfg{})
		after := openStore(t, opts)
		if held := hinted(t, after, otherNode(1), 10, 1<<20); len(held) != 1 {
			t.Errorf("after a crash are held %v", held)
		}
		wantRead(t, after, 0, "k", "(absent)") // it is not this node's
	}
}

func TestPastTheBoundHintsAreRefusedAndARepairIsOwed(t *testing.T) {
	fs := vfs.NewCrashableMem()
	opts := memOptions(fs)
	opts.Now, opts.Sync, opts.HintBytesMax = newFakeClock(noon).now, SyncAlways, 3000
	s := openStore(t, opts)
	big := make([]byte, 500)
	owed := map[ring.Partition]bool{}
	var kept int
	for i := range 20 {
		key := fmt.Sprint("key", i)
		o := value(string(big), at(noon))
		seq, err := s.AddHint(otherNode(byte(i%2)), 0, []byte(key), noon, &o)
		switch {
		case errors.Is(err, ErrHintsFull):
			owed[s.partitionOf(NewKey(0, []byte(key)))] = true
		case err != nil:
			t.Fatal(err)
		default:
			kept++
		}
		if err := s.Commit(seq); err != nil {
			t.Fatal(err)
		}
	}
	if kept != 5 {
		t.Errorf("%d hints were kept", kept)
	}
	if got := s.hints.bytes.Load(); got > 3000 {
		t.Errorf("%d bytes are held", got)
	}
	wantHintCounts(t, s)
	// What makes a hint no larger goes on.
	smaller := value("x", at(noon+1))
	if _, err := s.AddHint(otherNode(0), 0, []byte("key0"), noon, &smaller); err != nil {
		t.Error(err)
	}
	var want []ring.Partition
	for p := range owed {
		want = append(want, p)
	}
	slices.Sort(want)
	opts.FS = fs.CrashClone(vfs.CrashCloneCfg{})
	after := openStore(t, opts)
	for _, s := range []*Store{s, after} {
		got := append(s.RepairOwed(otherNode(0)), s.RepairOwed(otherNode(1))...)
		slices.Sort(got)
		if got = slices.Compact(got); !slices.Equal(got, want) {
			t.Errorf("owed are %v, want %v", got, want)
		}
	}
	for i := range byte(2) {
		for _, p := range after.RepairOwed(otherNode(i)) {
			seq, err := after.RepairDone(otherNode(i), p)
			if err == nil {
				err = after.Commit(seq)
			}
			if err != nil {
				t.Fatal(err)
			}
		}
	}
	after = reopen(t, after)
	if got := append(after.RepairOwed(otherNode(0)), after.RepairOwed(otherNode(1))...); len(got) != 0 {
		t.Errorf("still owed are %v", got)
	}
}

func TestTheBoundOfHintsFollowsTheDisk(t *testing.T) {
	for free, want := range map[uint64]int64{8000: 1000, 1 << 40: 1 << 30} {
		disk := &smallDisk{FS: vfs.NewMem()}
		disk.free.Store(free)
		opts := memOptions(disk)
		if got := openStore(t, opts).hints.bytesMax; got != want {
			t.Errorf("with %d bytes free it is %d, want %d", free, got, want)
		}
	}
	if got := openStore(t, memOptions(vfs.NewMem())).hints.bytesMax; got != hintBytesMaxUnknown {
		t.Errorf("with an unknown disk it is %d", got)
	}
}

func TestTheOldestHintIsKnown(t *testing.T) {
	s, clock := openAt(t, noon)
	mustHint(t, s, otherNode(1), 0, "a", value("v", at(noon-7)))
	clock.ms.Add(1000)
	mustHint(t, s, otherNode(1), 0, "b", value("v", at(noon)))
	if got := s.HintOwners(); len(got) != 1 || got[0].OldestMS != noon || got[0].Count != 2 {
		t.Errorf("counted are %+v", got)
	}
	s = reopen(t, s)
	if got := s.HintOwners(); len(got) != 1 || got[0].OldestMS != noon-7 || got[0].Count != 2 {
		t.Errorf("counted after a restart are %+v", got)
	}
}

func TestACorruptHintIsAnErrorAndThenOwed(t *testing.T) {
	s, _ := openAt(t, noon)
	owner := otherNode(1)
	mustHint(t, s, owner, 0, "bad", value("v", at(noon)))
	mustHint(t, s, owner, 0, "good", value("v", at(noon)))
	damageHint := func() {
		row := NewKey(0, []byte("bad")).appendHint(nil, owner)
		checkpoint(t, s)
		text, closer, err := s.db.Get(row)
		if err != nil {
			t.Fatal(err)
		}
		text = slices.Clone(text)
		_ = closer.Close()
		text[len(text)-1] ^= 1
		if err := s.db.Set(row, text, pebble.NoSync); err != nil {
			t.Fatal(err)
		}
		forget(t, s)
	}
	damageHint()
	var o version.Object
	if found, _, err := s.GetHinted(0, []byte("bad"), &o); !errors.Is(err, ErrCorrupt) || found {
		t.Errorf("found %v: %v", found, err)
	}
	if held := hinted(t, s, owner, 10, 1<<20); len(held) != 1 {
		t.Errorf("held are %v", held)
	}
	p := s.partitionOf(NewKey(0, []byte("bad")))
	if got := s.RepairOwed(owner); !slices.Equal(got, []ring.Partition{p}) {
		t.Errorf("owed are %v, want %v", got, p)
	}
	wantHintCounts(t, s)
	if found, _, err := s.GetHinted(0, []byte("bad"), &o); err != nil || found {
		t.Errorf("after it was dropped: found %v: %v", found, err)
	}

	// A newer one replaces a corrupt one, which is not all that the owner lacks.
	mustHint(t, s, owner, 0, "bad", value("v", at(noon+1)))
	if _, err := s.RepairDone(owner, p); err != nil {
		t.Fatal(err)
	}
	if err := s.commitOpen(); err != nil {
		t.Fatal(err)
	}
	damageHint()
	mustHint(t, s, owner, 0, "bad", value("w", at(noon+2)))
	if held := hinted(t, s, owner, 10, 1<<20); len(held) != 2 {
		t.Errorf("held are %v", held)
	}
	if got := s.RepairOwed(owner); len(got) != 1 {
		t.Errorf("owed are %v", got)
	}
	wantHintCounts(t, s)
}

func TestAfterAFailureNoHintIsShownThatWasNeverCommitted(t *testing.T) {
	f := &fault{part: ".log", kinds: []errorfs.OpKind{errorfs.OpFileSyncData}}
	opts := memOptions(faulty(vfs.NewMem(), f))
	opts.Now = newFakeClock(noon).now
	s := openStore(t, opts)
	mustHint(t, s, otherNode(1), 0, "k", value("committed", at(noon)))
	open := value("open", at(noon+1))
	if _, err := s.AddHint(otherNode(1), 0, []byte("k"), noon, &open); err != nil {
		t.Fatal(err)
	}
	f.on.Store(true)
	_ = s.syncLog()
	if err := s.Commit(s.openSeq()); !errors.Is(err, ErrCommit) {
		t.Fatal(err)
	}
	var o version.Object
	if found, _, err := s.GetHinted(0, []byte("k"), &o); err != nil || !found || string(o.Winner().Payload) != "committed" {
		t.Errorf("found %v %v: %v", found, o, err)
	}
	if _, err := s.AddHint(otherNode(1), 0, []byte("k"), noon, &open); !errors.Is(err, ErrStopped) {
		t.Errorf("a hint after it: %v", err)
	}
}

func TestWithoutHintsThereIsNothingToLookFor(t *testing.T) {
	s, _ := openAt(t, noon)
	var o version.Object
	misses := s.hints.cache.stats().Misses
	if found, seq, err := s.GetHinted(0, []byte("k"), &o); found || seq != 0 || err != nil {
		t.Errorf("found %v, sequence %d: %v", found, seq, err)
	}
	if s.hints.cache.stats().Misses != misses {
		t.Error("it was looked for")
	}
}
