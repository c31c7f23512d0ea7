package store

import (
	"fmt"
	"strconv"
	"sync"
	"sync/atomic"
	"testing"

	"github.com/cockroachdb/pebble/v2/vfs"

	"cartwheel/store/version"
)

// An increment adds one to the number under a key.
type increment struct{ s *Store }

func (increment) Blind() bool { return false }

func (c increment) Apply(o *version.Object) bool {
	n := 0
	if w := o.Winner(); w != nil {
		n, _ = strconv.Atoi(string(w.Payload))
	}
	return write{s: c.s, value: fmt.Sprint(n + 1)}.Apply(o)
}

// Neither a cache too small for what is open, nor flushes of another database,
// nor the sweeper and the recount lose an update or show an older value.
func TestConcurrentUpdatesAreNeitherLostNorSeenGoingBack(t *testing.T) {
	const writers, increments, keys = 8, 300, 5
	opts := memOptions(vfs.NewMem())
	opts.SweepInterval, opts.Watermark = 1_000_000, everythingIsStable
	s := openStore(t, opts)
	for i := range s.cache.shards {
		s.cache.shards[i].budget = 200
	}
	key := func(i int) string { return fmt.Sprint("key", i%keys) }
	var done atomic.Bool
	var writing, others sync.WaitGroup
	for w := range writers {
		writing.Go(func() {
			var o version.Object
			for i := range increments {
				seq, err := s.Update(0, []byte(key(w+i)), s.NowMS(), &o, increment{s})
				if err == nil && i%3 == 0 {
					err = s.Commit(seq)
				}
				if err != nil {
					t.Errorf("update: %v", err)
					return
				}
			}
		})
	}
	for range 2 {
		others.Go(func() {
			seen := map[string]int{}
			for i := 0; !done.Load(); i++ {
				n, _ := strconv.Atoi(read(s, 0, key(i)))
				if n < seen[key(i)] {
					t.Errorf("%s went back from %d to %d", key(i), seen[key(i)], n)
					return
				}
				seen[key(i)] = n
			}
		})
	}
	others.Go(func() {
		for i := 0; !done.Load(); i++ {
			if err := commit(s, 5, fmt.Sprint("other", i%50), write{value: "v", expireAtMS: s.NowMS() + 2}); err != nil {
				t.Errorf("set: %v", err)
				return
			}
			if i%10 != 0 {
				continue
			}
			mark, err := s.NextHLC(s.NowMS(), 0)
			if err == nil {
				err = s.Flush([]uint8{5}, mark)
			}
			if err != nil {
				t.Errorf("flush: %v", err)
				return
			}
			s.Stats()
		}
	})
	others.Go(func() {
		for !done.Load() {
			if err := s.rebuildCounters(); err != nil {
				t.Errorf("count: %v", err)
				return
			}
		}
	})
	writing.Wait()
	done.Store(true)
	others.Wait()
	total := 0
	s = reopen(t, s)
	for i := range keys {
		n, err := strconv.Atoi(read(s, 0, key(i)))
		if err != nil {
			t.Fatal(err)
		}
		total += n
	}
	if total != writers*increments {
		t.Errorf("%d increments are left of %d", total, writers*increments)
	}
	if n := s.Counts(0).Keys; n != keys {
		t.Errorf("%d keys are counted, want %d", n, keys)
	}
}
