package store

import (
	"fmt"
	"slices"
	"strings"
	"testing"

	"github.com/cockroachdb/pebble/v2/vfs"
	"go.uber.org/goleak"

	"cartwheel/cluster/ring"
	"cartwheel/store/version"
)

// oddKeys are keys that a careless encoding would mix up.
var oddKeys = []string{
	"", "a", "a\x00", "{tag}a", "{tag}b", strings.Repeat("k", 300), "\xff\xff",
	strings.Repeat("long", 20_000),
}

func TestWhatIsWrittenIsReadFromTheCacheAndFromDisk(t *testing.T) {
	s := openStore(t, memOptions(vfs.NewMem()))
	for db := range uint8(3) {
		for i, key := range oddKeys {
			mustSet(t, s, db, key, fmt.Sprint(db, i))
		}
	}
	mustSet(t, s, 0, "big", strings.Repeat("v", 2<<20))
	check := func() {
		t.Helper()
		for db := range uint8(3) {
			for i, key := range oddKeys {
				wantRead(t, s, db, key, fmt.Sprint(db, i))
			}
		}
		wantRead(t, s, 0, "big", strings.Repeat("v", 2<<20))
		wantRead(t, s, 3, "a", "(absent)")
		wantRead(t, s, 3, "a", "(absent)") // that it is absent is cached too
	}
	check()
	forget(t, s)
	check()
	s = reopen(t, s)
	check()
}

// The empty key may come as nil.
func TestTheEmptyKeyIsAKey(t *testing.T) {
	s := openStore(t, memOptions(vfs.NewMem()))
	var o version.Object
	keys := [][]byte{nil}
	for i := range 100 * cacheShards { // each shard has several, and finds its own again
		keys = append(keys, fmt.Append(nil, i))
	}
	for range 3 {
		for _, key := range keys {
			if _, err := s.Get(0, key, &o); err != nil || o.Winner() != nil {
				t.Fatalf("absent: %v, %v", o.Winner(), err)
			}
		}
	}
	if got := s.cache.stats(); got.Entries != len(keys) || got.Hits != 2*uint64(len(keys)) {
		t.Errorf("the cache has %+v, want %d entries and each hit twice", got, len(keys))
	}
}

func TestUncommittedChangesAreSeenWithTheirSequence(t *testing.T) {
	s := openStore(t, memOptions(vfs.NewMem()))
	seq, err := do(s, 0, "k", write{value: "v"})
	if err != nil {
		t.Fatal(err)
	}
	var o version.Object
	got, err := s.Get(0, []byte("k"), &o)
	if err != nil || got != seq || string(o.Winner().Payload) != "v" {
		t.Fatalf("got %q of sequence %d, %v, want v of %d", o.Winner().Payload, got, err, seq)
	}
	if s.Committed() >= seq {
		t.Fatalf("sequence %d is committed already", seq)
	}
	if err := s.Commit(seq); err != nil {
		t.Fatal(err)
	}
	if s.Committed() < seq {
		t.Fatalf("committed is %d after the commit of %d", s.Committed(), seq)
	}
}

func TestAnUpdateThatChangesNothingWritesNothing(t *testing.T) {
	s := openStore(t, memOptions(vfs.NewMem()))
	mustSet(t, s, 0, "k", "v")
	var o version.Object
	seq, err := s.Update(0, []byte("k"), s.NowMS(), &o, noChange{})
	if err != nil || seq > s.Committed() {
		t.Fatalf("sequence %d, committed %d, %v", seq, s.Committed(), err)
	}
	wantRead(t, s, 0, "k", "v")
}

type noChange struct{}

func (noChange) Apply(*version.Object) bool { return false }
func (noChange) Blind() bool                { return false }

// updateMany writes values under keys as one.
func updateMany(s *Store, values map[string]string) (uint64, error) {
	var keys []Key
	for key := range values {
		keys = append(keys, NewKey(0, []byte(key)))
	}
	return s.UpdateMany(keys, s.NowMS(), make([]version.Object, len(keys)), func(objects []version.Object, changed []bool) {
		for i := range objects {
			changed[i] = write{s: s, value: values[string(keys[i].User)]}.Apply(&objects[i])
		}
	})
}

func TestUpdateManyChangesAllAndOnlyWhatItSays(t *testing.T) {
	s := openStore(t, memOptions(vfs.NewMem()))
	mustSet(t, s, 0, "c", "old")
	seq, err := updateMany(s, map[string]string{"a": "1", "b": "2", "{x}1": "3", "{x}2": "4"})
	if err != nil {
		t.Fatal(err)
	}
	keys := []Key{NewKey(0, []byte("c")), NewKey(0, []byte("a"))}
	_, err = s.UpdateMany(keys, s.NowMS(), make([]version.Object, 2), func(objects []version.Object, changed []bool) {
		if got := string(objects[1].Winner().Payload); got != "1" {
			t.Errorf("UpdateMany sees %q", got)
		}
		changed[0] = write{s: s, value: "new"}.Apply(&objects[0])
	})
	if err != nil {
		t.Fatal(err)
	}
	if err := s.Commit(max(seq, s.openSeq())); err != nil {
		t.Fatal(err)
	}
	s = reopen(t, s)
	for key, want := range map[string]string{"a": "1", "b": "2", "{x}1": "3", "{x}2": "4", "c": "new"} {
		wantRead(t, s, 0, key, want)
	}
}

func TestScanVisitsTheObjectsOfItsTokensInOrder(t *testing.T) {
	s := openStore(t, memOptions(vfs.NewMem()))
	want := map[string]ring.Token{}
	for i := range 200 {
		key := fmt.Sprint("key", i)
		mustSet(t, s, uint8(i%Databases), key, "v")
		want[key] = ring.TokenOf([]byte(key))
	}
	seen := map[string]bool{}
	var tokens []ring.Token
	for p := range ring.Partition(testPartitions) { // the spans meet without a gap
		first, last := p.Span(testPartitions)
		err := s.Scan(first, last, func(k Key, o *version.Object) bool {
			if k.Token != want[string(k.User)] || string(o.Winner().Payload) != "v" || seen[string(k.User)] {
				t.Errorf("visited %q at %x", k.User, k.Token)
			}
			seen[string(k.User)] = true
			tokens = append(tokens, k.Token)
			return true
		})
		if err != nil {
			t.Fatal(err)
		}
	}
	if len(seen) != len(want) || !slices.IsSorted(tokens) {
		t.Errorf("visited %d of %d, in order: %v", len(seen), len(want), slices.IsSorted(tokens))
	}
	visits := 0
	if err := s.Scan(0, ^ring.Token(0), func(Key, *version.Object) bool { visits++; return visits < 3 }); err != nil || visits != 3 {
		t.Errorf("a scan that was to stop at 3 visited %d: %v", visits, err)
	}
}

func TestBatchesLargerThanAMemtableCommit(t *testing.T) {
	s := openStore(t, memOptions(vfs.NewMem()))
	for i := range 60 { // 30 MiB, uncommitted but for what Update does itself
		if _, err := do(s, 0, fmt.Sprint(i), write{value: strings.Repeat(fmt.Sprint(i%10), 512<<10)}); err != nil {
			t.Fatal(err)
		}
	}
	if err := s.Commit(s.openSeq()); err != nil {
		t.Fatal(err)
	}
	mustSet(t, s, 0, "after", "v")
	s = reopen(t, s)
	for i := range 60 {
		wantRead(t, s, 0, fmt.Sprint(i), strings.Repeat(fmt.Sprint(i%10), 512<<10))
	}
	wantRead(t, s, 0, "after", "v")
}

func TestCloseLeavesNoGoroutine(t *testing.T) {
	before := goleak.IgnoreCurrent()
	opts := memOptions(vfs.NewMem())
	opts.SweepInterval = 0
	s := openStore(t, opts)
	mustSet(t, s, 0, "k", "v")
	closeStore(t, s)
	goleak.VerifyNone(t, before)
}
