package store

import (
	"bytes"
	"errors"
	"fmt"
	"slices"
	"testing"

	"github.com/cockroachdb/pebble/v2/vfs"
	"github.com/cockroachdb/pebble/v2/vfs/errorfs"
	"pgregory.net/rapid"

	"cartwheel/cluster/ring"
	"cartwheel/store/version"
)

const elsewhere version.Incarnation = 0xe15e

// value is an object that another node has put: one sibling, written at an HLC.
func value(payload string, hlc version.HLC, seen ...version.Dot) version.Object {
	var o version.Object
	o.Put(seen, version.Sibling{Dot: version.Dot{Incarnation: elsewhere, HLC: hlc}, Written: hlc, Payload: []byte(payload)})
	return o
}

func at(ms int64) version.HLC { return version.MakeHLC(ms, 0) }

// merge merges an object in and commits it.
func merge(t testing.TB, s *Store, db uint8, key string, remote version.Object) (changed bool) {
	t.Helper()
	var o version.Object
	seq, changed, err := s.Merge(db, []byte(key), s.NowMS(), &remote, &o, Levels{})
	if err != nil {
		t.Fatalf("merge into %q: %v", key, err)
	}
	if err := s.Commit(seq); err != nil {
		t.Fatal(err)
	}
	return changed
}

func openAt(t testing.TB, ms int64) (*Store, *fakeClock) {
	t.Helper()
	clock := newFakeClock(ms)
	opts := memOptions(vfs.NewMem())
	opts.Now = clock.now
	return openStore(t, opts), clock
}

func TestMergeIsThatOfAllThatCameInAnyOrderWithWritesBetween(t *testing.T) {
	rapid.Check(t, func(rt *rapid.T) {
		clock := newFakeClock(noon)
		opts := memOptions(vfs.NewMem())
		opts.Now = clock.now
		s, err := Open(opts)
		if err != nil {
			rt.Fatal(err)
		}
		var want, got version.Object
		var sent []version.Object
		last := at(noon - 1000)
		key := []byte("k")
		for i := range rapid.IntRange(1, 12).Draw(rt, "steps") {
			switch rapid.IntRange(0, 5).Draw(rt, "step") {
			case 0:
				if _, err := do(s, 0, "k", write{value: fmt.Sprint("own", i)}); err != nil {
					rt.Fatal(err)
				}
				if _, err := s.Get(0, key, &want); err != nil {
					rt.Fatal(err)
				}
				want = copyOf(&want)
			case 1:
				if err := s.Commit(s.openSeq()); err != nil {
					rt.Fatal(err)
				}
				forget(t, s)
			default:
				remote := version.Object{}
				if len(sent) > 0 && rapid.Bool().Draw(rt, "again") {
					remote = rapid.SampledFrom(sent).Draw(rt, "which")
				} else {
					var seen version.Clock
					if rapid.Bool().Draw(rt, "has seen what is here") {
						seen = slices.Clone(want.Clock)
					}
					last = max(last, seen.MaxHLC()) + 1
					remote.Put(seen, version.Sibling{
						Dot:     version.Dot{Incarnation: version.Incarnation(rapid.IntRange(1, 3).Draw(rt, "by")), HLC: last},
						Written: last, Payload: fmt.Append(nil, i),
					})
					sent = append(sent, remote)
				}
				before := copyOf(&want)
				want = version.Merge(&want, &remote)
				var form []byte
				if rapid.Bool().Draw(rt, "its form is at hand") {
					form = version.AppendObject(nil, &remote)
				}
				_, changed, err := s.MergeFormed(0, key, s.NowMS(), &remote, form, &got, Levels{})
				if err != nil {
					rt.Fatal(err)
				}
				clear(form) // it is not kept
				if !got.Equal(&want) {
					rt.Fatalf("merged is %v, want %v", got, want)
				}
				if changed == want.Equal(&before) {
					rt.Fatalf("changed is %v from %v to %v", changed, before, want)
				}
			}
			if _, err := s.Get(0, key, &got); err != nil || !got.Equal(&want) {
				rt.Fatalf("stored is %v, want %v: %v", got, want, err)
			}
		}
		if err := s.Close(); err != nil {
			rt.Fatal(err)
		}
		if s, err = Open(opts); err != nil {
			rt.Fatal(err)
		}
		defer s.Close()
		if _, err := s.Get(0, key, &got); err != nil || !got.Equal(&want) {
			rt.Fatalf("stored after a restart is %v, want %v: %v", got, want, err)
		}
	})
}

// A keeping is a write that keeps the form of what it made.
type keeping struct {
	write
	form []byte
}

func (k *keeping) Keep(form []byte) { k.form = form }

func TestAChangeIsToldTheFormOfWhatIsStored(t *testing.T) {
	opts := memOptions(vfs.NewMem())
	opts.Watermark = func(ring.Partition) version.HLC { return Everything } // what is deleted is not stored
	s := openStore(t, opts)
	for _, value := range []string{"v", "another"} {
		k := &keeping{write: write{s: s, value: value}}
		if _, err := s.Update(0, []byte("k"), s.NowMS(), new(version.Object), k); err != nil {
			t.Fatal(err)
		}
		want, _, err := s.GetEncoded(0, []byte("k"), nil)
		if err != nil || len(want) == 0 || !bytes.Equal(k.form, want) {
			t.Errorf("%q: it was told %x, %x is stored: %v", value, k.form, want, err)
		}
	}
	k := &keeping{write: write{s: s, tombstone: true}}
	if _, err := s.Update(0, []byte("k"), s.NowMS(), new(version.Object), k); err != nil || k.form != nil {
		t.Errorf("of what is not stored it was told %x: %v", k.form, err)
	}
}

func copyOf(o *version.Object) version.Object { return version.Merge(&version.Object{}, o) }

// What is there may wait for its commit: an acknowledgement waits with it.
func TestAMergeThatChangesNothingReturnsTheSequenceOfWhatIsThere(t *testing.T) {
	s, _ := openAt(t, noon)
	remote := value("v", at(noon))
	var o version.Object
	first, changed, err := s.Merge(0, []byte("k"), noon, &remote, &o, Levels{})
	if err != nil || !changed || first <= s.Committed() {
		t.Fatalf("the first: sequence %d, changed %v: %v", first, changed, err)
	}
	again, changed, err := s.Merge(0, []byte("k"), noon, &remote, &o, Levels{})
	if err != nil || changed || again != first {
		t.Errorf("the second: sequence %d, want %d; changed %v: %v", again, first, changed, err)
	}
	if w := o.Winner(); w == nil || string(w.Payload) != "v" {
		t.Errorf("it leaves %v", o)
	}
	if err := s.Commit(first); err != nil {
		t.Fatal(err)
	}
	commits := s.Stats().Commits
	if merge(t, s, 0, "k", remote) || s.Stats().Commits != commits {
		t.Error("an object that is there already is written again")
	}
}

func TestAnObjectFromTheFutureIsRefusedAndMovesNoClock(t *testing.T) {
	s, _ := openAt(t, noon)
	before := s.LastHLC()
	var o version.Object
	drift := s.opts.MaxClockDrift.Milliseconds()
	remote := value("v", at(noon+drift+1))
	if _, changed, err := s.Merge(0, []byte("k"), noon, &remote, &o, Levels{}); !errors.Is(err, ErrDrift) || changed {
		t.Fatalf("changed %v: %v", changed, err)
	}
	if err := s.Observe(at(noon + drift + 1)); !errors.Is(err, ErrDrift) {
		t.Errorf("observed: %v", err)
	}
	if err := s.SeenOfMe(at(noon + drift + 1)); !errors.Is(err, ErrDrift) {
		t.Errorf("seen of this one: %v", err)
	}
	if _, err := s.AddHint(otherNode(1), 0, []byte("k"), noon, &remote); !errors.Is(err, ErrDrift) {
		t.Errorf("as a hint: %v", err)
	}
	wantRead(t, s, 0, "k", "(absent)")
	if s.LastHLC() != before {
		t.Errorf("the clock moved to %v", s.LastHLC())
	}
	if got := s.Stats().DriftRefused; got != 4 {
		t.Errorf("%d are counted, want 4", got)
	}
	merge(t, s, 0, "k", value("v", at(noon+drift)))
	wantRead(t, s, 0, "k", "v")
	if h, err := s.NextHLC(noon, 0); err != nil || h <= at(noon+drift) {
		t.Errorf("the next HLC %v is not above what was merged: %v", h, err)
	}
}

func TestDriftIsLoggedAtMostOnceASecond(t *testing.T) {
	var log bytes.Buffer
	clock := newFakeClock(noon)
	opts := memOptions(vfs.NewMem())
	opts.Now, opts.Log = clock.now, newTestLog(&log)
	s := openStore(t, opts)
	lines := func() int { return bytes.Count(log.Bytes(), []byte("in step")) }
	for range 100 {
		_ = s.Observe(at(noon + 1_000_000))
	}
	if lines() != 1 {
		t.Errorf("%d lines in the first second", lines())
	}
	clock.ms.Add(1000)
	_ = s.Observe(at(noon + 1_000_000))
	clock.ms.Add(-3_600_000)
	_ = s.Observe(at(noon + 1_000_000))
	if lines() != 3 {
		t.Errorf("%d lines, want 3", lines())
	}
}

// A node whose directory was put back from a copy must not say that it has seen
// what it wrote since.
func TestANodeThatHasForgottenItsWritesTakesANewIncarnation(t *testing.T) {
	for name, show := range map[string]func(s *Store, seen version.Dot) error{
		"shown by an object": func(s *Store, seen version.Dot) error {
			remote := value("v", seen.HLC+1, seen)
			var o version.Object
			_, _, err := s.Merge(0, []byte("k"), s.NowMS(), &remote, &o, Levels{})
			return err
		},
		"shown by a hint": func(s *Store, seen version.Dot) error {
			remote := value("v", seen.HLC+1, seen)
			_, err := s.AddHint(otherNode(1), 0, []byte("k"), s.NowMS(), &remote)
			return err
		},
		"said in the handshake": func(s *Store, seen version.Dot) error { return s.SeenOfMe(seen.HLC) },
	} {
		t.Run(name, func(t *testing.T) {
			s, clock := openAt(t, noon)
			mustSet(t, s, 0, "k", "v")
			first := s.Incarnation()
			remembered := version.Dot{Incarnation: first, HLC: s.LastHLC()}
			if err := show(s, remembered); err != nil || s.Incarnation() != first {
				t.Fatalf("a new incarnation over a write that is remembered: %v", err)
			}
			clock.ms.Add(100)
			forgotten := version.Dot{Incarnation: first, HLC: at(noon + 50)}
			if err := show(s, forgotten); err != nil {
				t.Fatal(err)
			}
			second := s.Incarnation()
			if second == first || !s.HadIncarnation(first) {
				t.Fatal("no new incarnation over a write that is not remembered")
			}
			if err := show(s, forgotten); err != nil || s.Incarnation() != second {
				t.Fatalf("another one over the same write: %v", err)
			}
			mustSet(t, s, 0, "k", "new")
			if h := s.LastHLC(); h <= forgotten.HLC {
				t.Errorf("the next HLC is %v", h)
			}
			s = reopen(t, s)
			if s.Incarnation() != second || !s.HadIncarnation(first) {
				t.Error("the new incarnation was not durable")
			}
		})
	}
}

// The clock may be wrong besides: the writes are forgotten all the same.
func TestForgottenWritesOfTheFutureMakeANewIncarnationToo(t *testing.T) {
	s, _ := openAt(t, noon)
	first := s.Incarnation()
	if err := s.SeenOfMe(at(noon + 3_600_000)); !errors.Is(err, ErrDrift) {
		t.Errorf("got %v", err)
	}
	if s.Incarnation() == first {
		t.Error("the incarnation is the same")
	}
}

func TestWithoutADurableNewIncarnationNothingIsApplied(t *testing.T) {
	f := &fault{part: nodeFile, kinds: []errorfs.OpKind{errorfs.OpCreate}}
	clock := newFakeClock(noon)
	opts := memOptions(faulty(vfs.NewMem(), f))
	opts.Now = clock.now
	s := openStore(t, opts)
	first := s.Incarnation()
	f.on.Store(true)
	remote := value("v", at(noon+2), version.Dot{Incarnation: first, HLC: at(noon + 1)})
	var o version.Object
	if _, _, err := s.Merge(0, []byte("k"), noon, &remote, &o, Levels{}); !errors.Is(err, errorfs.ErrInjected) {
		t.Errorf("got %v", err)
	}
	wantRead(t, s, 0, "k", "(absent)")
	f.on.Store(false)
	merge(t, s, 0, "k", remote)
	if s.Incarnation() == first {
		t.Error("the incarnation is the same")
	}
}

func TestAMergeReplacesACorruptObject(t *testing.T) {
	s, _ := openAt(t, noon)
	mustSet(t, s, 0, "bad", "value")
	damage(t, s, "bad")
	var o version.Object
	empty := version.Object{Clock: version.Clock{{Incarnation: elsewhere, HLC: at(noon)}}}
	if _, _, err := s.Merge(0, []byte("bad"), noon, &empty, &o, Levels{}); !errors.Is(err, ErrCorrupt) {
		t.Errorf("replaced by nothing: %v", err)
	}
	wantRead(t, s, 0, "bad", "(corrupt)")
	if !merge(t, s, 0, "bad", value("good", at(noon+1))) {
		t.Error("nothing changed")
	}
	wantRead(t, s, 0, "bad", "good")
	forget(t, s)
	wantRead(t, s, 0, "bad", "good")
	if n := rows(t, s, prefixQuarantine); n != 1 {
		t.Errorf("%d rows are in quarantine", n)
	}
	s.recountSuspects()
	wantTreesOfWhatIsStored(t, s)
	if n := s.Counts(0); n != (Counts{Keys: 1, Bytes: 7}) {
		t.Errorf("counted are %+v", n)
	}
}

// A peer that has not flushed or purged yet brings nothing back, and costs no
// writes.
func TestWhatIsHiddenOrPurgedHereIsNotMergedIn(t *testing.T) {
	clock, watermark := newFakeClock(noon), new(version.HLC)
	opts := memOptions(vfs.NewMem())
	opts.Now = clock.now
	opts.Watermark = fixedWatermark(watermark)
	s := openStore(t, opts)
	flush(t, s, 1)
	flushed := value("old", s.FlushMark(1)-1)
	clock.ms.Add(100)
	*watermark = at(noon + 50)
	var purged version.Object
	purged.Put(nil, version.Sibling{Dot: version.Dot{Incarnation: elsewhere, HLC: at(noon + 40)}, Written: at(noon + 40), Tombstone: true})
	commits := s.Stats().Commits
	for range 3 {
		if merge(t, s, 1, "k", flushed) || merge(t, s, 0, "k", purged) {
			t.Error("it is taken for a change")
		}
	}
	wantRead(t, s, 1, "k", "(absent)")
	wantRead(t, s, 0, "k", "(absent)")
	if n := rows(t, s, prefixObject); n != 0 || s.Stats().Commits != commits {
		t.Errorf("%d rows are there, after %d commits", n, s.Stats().Commits-commits)
	}
	// What is alive is not purged, however old it is.
	merge(t, s, 0, "k", value("alive", at(noon+30)))
	wantRead(t, s, 0, "k", "alive")
	// But what is dead takes with it what it has seen.
	merge(t, s, 0, "k", purged)
	wantRead(t, s, 0, "k", "(absent)")
}

func TestAMergeOfAPrunedObjectCostsNoWrite(t *testing.T) {
	watermark := new(version.HLC)
	clock := newFakeClock(noon)
	opts := memOptions(vfs.NewMem())
	opts.Now, opts.Watermark = clock.now, fixedWatermark(watermark)
	s := openStore(t, opts)
	wide := value("v", at(noon), version.Dot{Incarnation: 1, HLC: 5}, version.Dot{Incarnation: 2, HLC: 6})
	*watermark = at(noon)
	merge(t, s, 0, "k", wide)
	var o version.Object
	if _, err := s.Get(0, []byte("k"), &o); err != nil || len(o.Clock) != 1 {
		t.Fatalf("stored is %v: %v", o, err)
	}
	if merge(t, s, 0, "k", wide) {
		t.Error("what was pruned here is a change when it comes again")
	}
}

func TestDigestAndFormAreThoseOfTheObject(t *testing.T) {
	s, _ := openAt(t, noon)
	merge(t, s, 0, "one", value("v", at(noon)))
	merge(t, s, 0, "two", value("v", at(noon)))
	merge(t, s, 0, "two", func() version.Object {
		var o version.Object
		o.Put(nil, version.Sibling{Dot: version.Dot{Incarnation: 7, HLC: at(noon - 1)}, Written: at(noon - 1), ExpireAtMS: noon + 9, Payload: []byte("w")})
		return o
	}())
	check := func(key string, siblings int) {
		t.Helper()
		var o, decoded version.Object
		if _, err := s.Get(0, []byte(key), &o); err != nil || len(o.Siblings) != siblings {
			t.Fatalf("%s is %v: %v", key, o, err)
		}
		for _, where := range []string{"cached", "stored"} {
			if where == "stored" {
				forget(t, s)
			}
			if hash, _, err := s.Digest(0, []byte(key)); err != nil || hash != o.Hash() || (hash == 0) != (siblings == 0) {
				t.Errorf("%s, %s: the digest is %x, want %x: %v", key, where, hash, o.Hash(), err)
			}
			if where == "stored" {
				forget(t, s)
			}
			text, _, err := s.GetEncoded(0, []byte(key), []byte("frame"))
			if err != nil || string(text[:5]) != "frame" {
				t.Fatalf("%s, %s: the form is %q: %v", key, where, text, err)
			}
			if siblings == 0 {
				if len(text) != 5 {
					t.Errorf("%s, %s: an absent key has a form", key, where)
				}
				continue
			}
			if err := decoded.Decode(text[5:]); err != nil || !decoded.Equal(&o) {
				t.Errorf("%s, %s: the form is of %v: %v", key, where, decoded, err)
			}
		}
	}
	check("one", 1)
	check("two", 2)
	check("none", 0)
	damage(t, s, "one")
	if _, _, err := s.Digest(0, []byte("one")); !errors.Is(err, ErrCorrupt) {
		t.Errorf("the digest of a corrupt object: %v", err)
	}
	if _, _, err := s.GetEncoded(0, []byte("one"), nil); !errors.Is(err, ErrCorrupt) {
		t.Errorf("the form of a corrupt object: %v", err)
	}
}
