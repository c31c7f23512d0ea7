package store

import (
	"fmt"
	"strconv"
	"sync"
	"testing"
	"time"

	"github.com/cockroachdb/pebble/v2/vfs"

	"cartwheel/store/version"
)

// warmed waits until a cache has so many entries: a goroutine of the store fills it, and tells nobody.
func warmed(t *testing.T, s *Store, entries int) {
	t.Helper()
	for end := time.Now().Add(10 * time.Second); s.cache.stats().Entries < entries; time.Sleep(time.Millisecond) {
		if time.Now().After(end) {
			t.Fatalf("%d entries, want %d", s.cache.stats().Entries, entries)
		}
	}
}

func TestAStoreThatStartsFillsItsCache(t *testing.T) {
	s := openStore(t, memOptions(vfs.NewMem()))
	const keys = 3000 // some scans of each partition
	for n := range keys {
		mustSet(t, s, uint8(n%2), fmt.Sprint("key", n), fmt.Sprint("value", n))
	}
	mustSet(t, s, 0, "", "of the empty key")
	s = reopen(t, s)
	warmed(t, s, keys+1)
	for n := range keys {
		wantRead(t, s, uint8(n%2), fmt.Sprint("key", n), fmt.Sprint("value", n))
	}
	wantRead(t, s, 0, "", "of the empty key")
	if misses := s.cache.stats().Misses; misses != 0 {
		t.Errorf("%d reads did not find their object in the cache", misses)
	}
}

func TestACacheIsFilledToItsBudgetAndNoFurther(t *testing.T) {
	s := openStore(t, memOptions(vfs.NewMem()))
	for n := range 20000 {
		if _, err := do(s, 0, fmt.Sprint("key", n), write{value: fmt.Sprintf("%01000d", n)}); err != nil {
			t.Fatal(err)
		}
	}
	s = reopen(t, s)
	s.warm() // beside the one that has begun with the store
	budget := int64(0)
	for i := range s.cache.shards {
		budget += s.cache.shards[i].budget
	}
	if used := s.cache.stats().Bytes; used > budget || used < budget/2 {
		t.Errorf("%d bytes are used, of %d", used, budget)
	}
}

// What a scan has seen never takes the place of what was written since, though the cache lets go of that.
func TestFillingTheCacheBringsNothingBack(t *testing.T) {
	const writers, keys, each = 4, 200, 10000
	opts := memOptions(vfs.NewMem())
	opts.checkpointBytes = 4 << 10
	s := openStore(t, opts)
	var writing, filling sync.WaitGroup
	done := make(chan struct{})
	for range 2 {
		filling.Go(func() {
			for {
				if _, _, _, err := s.warmSome(0); err != nil {
					t.Error(err)
				}
				select {
				case <-done:
					return
				default:
				}
			}
		})
	}
	filling.Go(func() { // the cache lets go of all, and has room again
		for n := 0; ; n++ {
			for i := range s.cache.shards {
				shard := &s.cache.shards[i]
				shard.mu.Lock()
				shard.budget = int64(n % 2 * 100000)
				shard.evict(s.cache)
				shard.mu.Unlock()
			}
			select {
			case <-done:
				return
			case <-time.After(50 * time.Microsecond):
			}
		}
	})
	for w := range writers {
		writing.Go(func() {
			for n := range each {
				var o version.Object
				seq, err := s.Update(0, []byte(fmt.Sprint("key", (n*7+w)%keys)), s.NowMS(), &o, increment{s})
				if err == nil && n%5 == 0 {
					err = s.Commit(seq)
				}
				if err != nil {
					t.Error(err)
					return
				}
			}
		})
	}
	writing.Wait()
	close(done)
	filling.Wait()
	sum := 0
	for k := range keys {
		n, _ := strconv.Atoi(read(s, 0, fmt.Sprint("key", k)))
		sum += n
	}
	if sum != writers*each {
		t.Errorf("%d increments are left of %d", sum, writers*each)
	}
}
