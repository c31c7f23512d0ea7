package store

import (
	"fmt"
	"maps"
	"math/rand/v2"
	"strconv"
	"sync"
	"sync/atomic"
	"testing"

	"github.com/cockroachdb/pebble/v2"
	"github.com/cockroachdb/pebble/v2/vfs"
	"pgregory.net/rapid"

	"cartwheel/cluster/ring"
	"cartwheel/store/version"
)

// TestWhatPebbleDoesNotHaveIsLaidOverWhatItHas: rows of few tokens, two keys each, and others, are changed and
// given to Pebble at random; a scan of any range finds them as they were changed last.
func TestWhatPebbleDoesNotHaveIsLaidOverWhatItHas(t *testing.T) {
	token := func(n int) ring.Token { return ring.Token(n) << 52 * 3 }
	object := func(n int) string {
		row, _ := tokenRange(prefixObject, token(n/2), token(n/2))
		return string(append(row, byte(n%2)))
	}
	hint := func(n int) string { return string([]byte{prefixHint, byte(n)}) }
	rapid.Check(t, func(rt *rapid.T) {
		db, err := pebble.Open("", &pebble.Options{FS: vfs.NewMem()})
		if err != nil {
			rt.Fatal(err)
		}
		defer db.Close()
		g := &gathered{rows: &rowBatch{}}
		give := func() {
			if g.writing == nil {
				return
			}
			batch := db.NewBatch()
			if err := g.writing.rows.appendTo(batch, func() {}); err != nil {
				rt.Fatal(err)
			}
			if err := batch.Commit(pebble.NoSync); err != nil {
				rt.Fatal(err)
			}
		}
		want := map[string]string{}
		for i := range rapid.IntRange(1, 60).Draw(rt, "steps") {
			switch rapid.IntRange(0, 9).Draw(rt, "step") {
			case 0: // a checkpoint begins
				if g.writing == nil {
					g.writing, g.rows = &checkpointing{rows: g.rows}, &rowBatch{}
				}
			case 1: // Pebble has it, and nobody has been told
				give()
			case 2: // it ends
				give()
				g.writing = nil
			default:
				rows := &rowBatch{}
				for range rapid.IntRange(1, 4).Draw(rt, "rows") {
					n := rapid.IntRange(0, 15).Draw(rt, "n")
					key := object(n)
					if rapid.IntRange(0, 3).Draw(rt, "kind") == 0 {
						key = hint(n)
					}
					if rapid.IntRange(0, 2).Draw(rt, "remove") == 0 {
						rows.remove(append(rows.key(), key...))
						delete(want, key)
						continue
					}
					value := fmt.Sprint(i, rapid.Byte().Draw(rt, "value"))
					rows.set(append(rows.key(), key...), []byte(value))
					want[key] = value
				}
				g.rows.gather(rows)
			}
			lower, upper := object(rapid.IntRange(0, 15).Draw(rt, "from")), object(rapid.IntRange(0, 15).Draw(rt, "to"))
			first, last := 0, tokenBuckets-1
			if rapid.IntRange(0, 3).Draw(rt, "hints") == 0 {
				lower, upper = hint(rapid.IntRange(0, 15).Draw(rt, "from hint")), hint(15)
				first, last = tokenBuckets+prefixHint, tokenBuckets+prefixHint
			}
			newer, ok := g.newer(first, last, []byte(lower), []byte(upper))
			if !ok {
				rt.Fatal("too many rows")
			}
			iter, err := db.NewIter(&pebble.IterOptions{LowerBound: []byte(lower), UpperBound: []byte(upper)})
			if err != nil {
				rt.Fatal(err)
			}
			got := map[string]string{}
			before := ""
			err = overlay(iter, newer, func(row, text []byte) error {
				if string(row) <= before {
					rt.Fatalf("%x comes after %x", row, before)
				}
				before = string(row)
				got[before] = string(text)
				return nil
			})
			if err != nil {
				rt.Fatal(err)
			}
			here := maps.Clone(want)
			maps.DeleteFunc(here, func(key, _ string) bool { return key < lower || key >= upper })
			if !maps.Equal(got, here) {
				rt.Fatalf("%q, want %q", got, here)
			}
		}
	})
}

// TestAScanSeesWhatWasCommittedBefore: while keys are counted up, and checkpoints follow one on another.
func TestAScanSeesWhatWasCommittedBefore(t *testing.T) {
	const keys, rounds = 50, 200
	opts := memOptions(vfs.NewMem())
	opts.checkpointBytes = 4 << 10
	s := openStore(t, opts)
	var committed [keys]atomic.Int64
	var writers sync.WaitGroup
	for k := range keys {
		mustSet(t, s, 0, strconv.Itoa(k), "0")
	}
	for w := range 2 {
		writers.Go(func() {
			random := rand.New(rand.NewPCG(1, uint64(w)))
			for range rounds * keys / 2 {
				k := random.IntN(keys/2)*2 + w
				next := committed[k].Load() + 1
				if err := commit(s, 0, strconv.Itoa(k), write{value: fmt.Sprint(next)}); err != nil {
					t.Error(err)
					return
				}
				committed[k].Store(next)
			}
		})
	}
	done := make(chan struct{})
	go func() { writers.Wait(); close(done) }()
	for scans := 0; ; scans++ {
		var before [keys]int64
		for k := range keys {
			before[k] = committed[k].Load()
		}
		seen := 0
		err := s.Scan(0, ^ring.Token(0), func(k Key, o *version.Object) bool {
			seen++
			n, _ := strconv.Atoi(string(k.User))
			value, err := strconv.ParseInt(string(o.Winner().Payload), 10, 64)
			if err != nil || value < before[n] {
				t.Errorf("key %d has %d, and %d was committed before the scan", n, value, before[n])
			}
			return true
		})
		if err != nil || seen != keys {
			t.Fatalf("scan %d saw %d keys: %v", scans, seen, err)
		}
		select {
		case <-done:
			if scans == 0 {
				t.Error("no scan while there were writes")
			}
			return
		default:
		}
	}
}

// TestAScanHasTooMuchBeGivenToPebble: it does not look up one chain for long, of all that have one tag, and has no other reason.
func TestAScanHasTooMuchBeGivenToPebble(t *testing.T) {
	s := openStore(t, memOptions(vfs.NewMem()))
	scan := func() (n int) {
		if err := s.Scan(0, ^ring.Token(0), func(Key, *version.Object) bool { n++; return true }); err != nil {
			t.Fatal(err)
		}
		return n
	}
	const spread = 20 * newerMax
	for i := range spread {
		mustSet(t, s, 0, strconv.Itoa(i), "1")
	}
	before := s.checkpointed.Load()
	if n := scan(); n != spread || s.checkpointed.Load() != before {
		t.Errorf("%d objects of %d, and checkpoint %d after %d", n, spread, s.checkpointed.Load(), before)
	}
	for i := range 2 * newerMax {
		mustSet(t, s, 0, fmt.Sprint("{tag}", i), "2")
	}
	if n := scan(); n != spread+2*newerMax || s.checkpointed.Load() == before {
		t.Errorf("%d objects of %d, and checkpoint %d after %d", n, spread+2*newerMax, s.checkpointed.Load(), before)
	}
}
