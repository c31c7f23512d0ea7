package store

import (
	"fmt"
	"math/rand/v2"
	"strings"
	"testing"

	"github.com/cockroachdb/pebble/v2/vfs"
	"pgregory.net/rapid"
)

// overBudget reports whether a shard is over its budget though it holds
// something that it might have evicted.
func (s *cacheShard) overBudget(committed uint64) bool {
	if !s.over() {
		return false
	}
	for i := range s.entries {
		if s.entries[i].buf != nil && s.entries[i].seq <= committed {
			return true
		}
	}
	return false
}

// weigh counts what the shard holds.
func (s *cacheShard) weigh() (bytes int64, used int) {
	for i := range s.entries {
		if s.entries[i].buf != nil {
			bytes += int64(cap(s.entries[i].buf))
			used++
		}
	}
	return bytes, used
}

// The cache may forget, but what it says is what was put last; it forgets
// nothing that is not committed; and it keeps to its budget.
func TestTheCacheIsAMapThatForgets(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		type entry struct {
			object string
			seq    uint64
		}
		var committed, seq uint64
		c := newCache(cacheShards*1500, func() uint64 { return committed })
		model := map[string]entry{}
		check := func(key string, hash uint64) {
			want, known := model[key]
			object, _, gotSeq, found := c.get(hash, []byte(key))
			if found && (!known || string(object) != want.object || gotSeq != want.seq) {
				t.Fatalf("%q is %q of %d, want %q of %d", key, object, gotSeq, want.object, want.seq)
			}
			if !found && known && want.seq > committed {
				t.Fatalf("%q was forgotten with %d not committed, only %d", key, want.seq, committed)
			}
		}
		keyGen := rapid.IntRange(0, 60)
		// A few hashes in a few shards, so that keys share chains.
		hashOf := func(i int) uint64 { return uint64(i%3)<<58 | uint64(i%5) }
		t.Repeat(map[string]func(*rapid.T){
			"put": func(t *rapid.T) {
				i := keyGen.Draw(t, "key")
				key := strings.Repeat("k", i)
				object := strings.Repeat("o", rapid.IntRange(0, 400).Draw(t, "bytes"))
				put := entry{object: object}
				if rapid.Bool().Draw(t, "written") {
					seq++
					put.seq = seq
				} else if model[key].seq > committed {
					return // a load never replaces what is not committed
				}
				model[key] = put
				c.put(hashOf(i), 0, []byte(key+object), len(key), put.seq)
				if shard := c.shard(hashOf(i)); shard.overBudget(committed) {
					t.Fatalf("a shard has %d bytes of %d", shard.bytes, shard.budget)
				}
			},
			"get": func(t *rapid.T) {
				i := keyGen.Draw(t, "key")
				check(strings.Repeat("k", i), hashOf(i))
			},
			"commit": func(t *rapid.T) {
				committed += rapid.Uint64Range(0, seq-committed).Draw(t, "more")
			},
			"": func(*rapid.T) {
				for i := range 61 {
					check(strings.Repeat("k", i), hashOf(i))
				}
				for i := range c.shards {
					if bytes, used := c.shards[i].weigh(); bytes != c.shards[i].bytes || used != c.shards[i].index.used {
						t.Fatalf("shard %d has %d entries of %d bytes, and counts %d of %d", i, used, bytes, c.shards[i].index.used, c.shards[i].bytes)
					}
				}
			},
		})
	})
}

func TestTheCacheStaysWithinItsBudget(t *testing.T) {
	const budget = 1 << 20
	c := newCache(budget, func() uint64 { return 0 })
	r := rand.New(rand.NewPCG(1, 1))
	for i := range 50_000 {
		key := fmt.Sprint("key", i)
		c.put(c.hash(0, []byte(key)), 0, append([]byte(key), make([]byte, r.IntN(500))...), len(key), 0)
	}
	if got := c.stats(); got.Bytes > budget || got.Bytes < budget/2 {
		t.Errorf("%d bytes are cached with a budget of %d", got.Bytes, budget)
	}
	c.clear()
	if got := c.stats(); got.Bytes != 0 || got.Entries != 0 {
		t.Errorf("after clear: %+v", got)
	}
}

// What is read again and again stays, whatever else passes through.
func TestTheCacheKeepsWhatIsRead(t *testing.T) {
	c := newCache(1<<20, func() uint64 { return 0 })
	hot := []byte("hot")
	c.put(c.hash(0, hot), 0, append(hot, "value"...), len(hot), 0)
	for i := range 100_000 {
		key := fmt.Sprint("key", i)
		c.put(c.hash(0, []byte(key)), 0, []byte(key+"value"), len(key), 0)
		if _, _, _, found := c.get(c.hash(0, hot), hot); !found {
			t.Fatalf("the key that is always read was evicted after %d others", i)
		}
	}
}

// Values that must stay until they are committed do not stay for ever, even
// where nothing else passes through their part of the cache.
func TestTheCacheKeepsToItsBudgetOverLargeValues(t *testing.T) {
	s := openStore(t, memOptions(vfs.NewMem()))
	for i := range 200 {
		mustSet(t, s, 0, fmt.Sprint("key", i), strings.Repeat("v", 512<<10))
	}
	if got := s.Stats().Cache.Bytes; got > memoryBytesMin/2 {
		t.Errorf("%d bytes are cached with a budget of %d", got, memoryBytesMin/2)
	}
	wantRead(t, s, 0, "key199", strings.Repeat("v", 512<<10))
}

// An entry's slice has room for the object and little more: it is what the
// cache's budget pays for.
func TestAnEntryIsHardlyLargerThanItsObject(t *testing.T) {
	s := openStore(t, memOptions(vfs.NewMem()))
	for name, w := range map[string]write{
		"plain": {value: strings.Repeat("v", 100)}, "expiring": {value: strings.Repeat("v", 100), expireAtMS: 1 << 62},
		"deleted": {tombstone: true}, "large": {value: strings.Repeat("v", 1<<15)}, "empty": {},
	} {
		if err := commit(s, 0, name, w); err != nil {
			t.Fatal(err)
		}
		object, _, _, found := s.cache.get(s.cache.hash(0, []byte(name)), []byte(name))
		if extra := cap(object) - len(object); !found || extra > 48+len(object)/4 {
			t.Errorf("%s: %d bytes to spare behind %d", name, extra, len(object))
		}
	}
}

// What was read before an entry went must not take its place: it may be older.
func TestACacheIsNotFilledWithWhatItMayHaveLetGoOf(t *testing.T) {
	c := newCache(cacheShards*1000, func() uint64 { return 10 })
	key := []byte("key")
	hash := c.hash(0, key)
	entry := func(value string) []byte { return append([]byte("key"), value...) }
	released := c.released()
	c.put(hash, 1, entry("newer"), len(key), 9)
	if !c.warm(hash, 1, entry("older"), len(key), &released) {
		t.Error("there is room")
	}
	if got, _, _, _ := c.get(hash, key); string(got) != "newer" {
		t.Errorf("it has %q", got)
	}
	c.drop(0, 1)
	c.warm(hash, 1, entry("older"), len(key), &released)
	if got, _, _, found := c.get(hash, key); found {
		t.Errorf("it has %q", got)
	}
	released = c.released()
	if !c.warm(hash, 1, entry("last"), len(key), &released) {
		t.Error("nothing has gone since")
	}
	if got, _, seq, _ := c.get(hash, key); string(got) != "last" || seq != 0 {
		t.Errorf("it has %q of commit %d", got, seq)
	}
	released = c.released()
	c.drop(7, 7)
	c.warm(c.hash(0, []byte("dropped")), 7, []byte("dropped"), len("dropped"), &released)
	if c.stats().Entries != 1 {
		t.Error("what was dropped is back, though nothing was there when it was")
	}
}
