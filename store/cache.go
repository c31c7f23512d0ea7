package store

import (
	"bytes"
	"hash/maphash"
	"math/bits"
	"sync"

	"cartwheel/cluster/ring"
)

// A cache holds encoded objects, and the knowledge that a key is absent, within
// a budget of bytes. It is written through: what is still to be committed is in it
// already, and stays until a checkpoint has given it to Pebble.
//
//  1. A key's hash picks a shard and, by its index, an entry there.
//  2. An entry holds key and object in one slice that is never changed, so a
//     reader may keep what get returned.
//  3. Over budget, a hand goes round the shard's entries (CLOCK): one that was
//     read since the hand last came by is spared once, one whose sequence is
//     not checkpointed yet is spared until it is.
//
// The hash is seeded by process, so that nobody can choose keys that collide.
type cache struct {
	seed         maphash.Seed
	shards       [cacheShards]cacheShard
	checkpointed func() uint64 // the last sequence that need not stay
	// entryBytesMax is the size of the largest entry that is kept: one larger
	// would push out too many others.
	entryBytesMax int
}

const (
	cacheShards = 64
	// entryOverhead is what an entry costs beside its slice: the entry itself,
	// its share of the index and of the allocator's rounding.
	entryOverhead = 104
	// pinnedMax is how many entries whose checkpoint is still to come an eviction
	// passes before it gives up until the next.
	pinnedMax = 256
)

type cacheShard struct {
	mu      sync.Mutex
	index   index // of the entries in use
	entries []cacheEntry
	free    int32 // chain of entries not in use
	hand    int
	bytes   int64
	budget  int64
	hits    uint64
	misses  uint64
	let     uint64   // how often entries have gone
	_       [16]byte // keeps two shards' locks off one cache line
}

type cacheEntry struct {
	hash   uint64
	token  ring.Token // of the key: MD5 costs more than the rest of a lookup
	buf    []byte     // key, then the encoded object; nil: not in use
	keyLen uint32
	next   int32 // while it is free
	seq    uint64
	read   bool
}

func newCache(budget int64, checkpointed func() uint64) *cache {
	share := budget / cacheShards
	c := &cache{seed: maphash.MakeSeed(), checkpointed: checkpointed, entryBytesMax: int(min(share/2, 1<<20))}
	for i := range c.shards {
		c.shards[i].budget = share
		c.shards[i].reset()
	}
	return c
}

func (s *cacheShard) reset() {
	s.index = index{}
	s.entries, s.free, s.hand, s.bytes = nil, noPlace, 0, 0
	s.let++
}

func (c *cache) hash(db uint8, key []byte) uint64 {
	return maphash.Bytes(c.seed, key) ^ uint64(db)*0x9e3779b97f4a7c15
}

func (c *cache) shard(hash uint64) *cacheShard { return &c.shards[hash>>58] }

// get returns the encoded object of key, which is empty where the key is known
// to be absent, the key's token and the sequence that wrote the object.
func (c *cache) get(hash uint64, key []byte) (object []byte, token ring.Token, seq uint64, found bool) {
	s := c.shard(hash)
	s.mu.Lock()
	i := s.find(hash, key)
	if i == noPlace {
		s.misses++
		s.mu.Unlock()
		return nil, 0, 0, false
	}
	s.hits++
	e := &s.entries[i]
	e.read = true
	object, token, seq = e.buf[e.keyLen:], e.token, e.seq
	s.mu.Unlock()
	return object, token, seq, true
}

// prefetch loads into the processor's caches what get will look at, and returns the
// tokens of the keys that are there, 0 for others. Each get alone waits three times, for
// the index, the entry and the object; the waits of many overlap where nothing between
// them needs the outcome, nor takes a lock: those are all taken before.
func (c *cache) prefetch(hashes []uint64) (tokens [PrefetchMax]ring.Token, touched uint64) {
	var shards uint64 // bit set of those to be locked, in their order
	for _, hash := range hashes {
		shards |= 1 << (hash >> 58)
	}
	for rest := shards; rest != 0; rest &= rest - 1 {
		c.shards[bits.TrailingZeros64(rest)].mu.Lock()
	}
	for _, hash := range hashes {
		touched ^= c.shard(hash).index.touch(hash)
	}
	var at [PrefetchMax]int32
	for i, hash := range hashes {
		x := &c.shard(hash).index
		at[i], _ = x.next(hash, x.home(hash))
	}
	for i, hash := range hashes {
		if at[i] != noPlace {
			tokens[i] = c.shard(hash).entries[at[i]].token
		}
	}
	for i, hash := range hashes {
		if at[i] == noPlace {
			continue
		}
		if buf := c.shard(hash).entries[at[i]].buf; len(buf) > 0 {
			touched ^= uint64(buf[0]) ^ uint64(buf[len(buf)/2])
		}
	}
	for rest := shards; rest != 0; rest &= rest - 1 {
		c.shards[bits.TrailingZeros64(rest)].mu.Unlock()
	}
	return tokens, touched
}

// put stores buf, which is the key and then its object and which the cache
// keeps. seq is the commit that makes it durable, 0 where Pebble has it.
func (c *cache) put(hash uint64, token ring.Token, buf []byte, keyLen int, seq uint64) {
	if buf == nil { // the empty key, absent: a nil buf would mark the entry as free
		buf = []byte{}
	}
	s := c.shard(hash)
	s.mu.Lock()
	defer s.mu.Unlock()
	i := s.find(hash, buf[:keyLen])
	if i == noPlace {
		i = s.insert(hash)
	} else {
		s.bytes -= int64(cap(s.entries[i].buf))
	}
	e := &s.entries[i]
	e.buf, e.token, e.keyLen, e.seq = buf, token, uint32(keyLen), seq
	s.bytes += int64(cap(buf))
	s.evict(c)
}

// released says how often each shard has let go of entries.
func (c *cache) released() (times [cacheShards]uint64) {
	for i := range c.shards {
		s := &c.shards[i]
		s.mu.Lock()
		times[i] = s.let
		s.mu.Unlock()
	}
	return times
}

// warm stores what Pebble had when released was called, unless there is something of the key, or may have been since.
// It reports false where there is no room.
func (c *cache) warm(hash uint64, token ring.Token, buf []byte, keyLen int, released *[cacheShards]uint64) bool {
	s := c.shard(hash)
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.bytes+int64(s.index.used+1)*entryOverhead+int64(cap(buf)) > s.budget {
		return false
	}
	if s.let != released[hash>>58] || len(buf) > c.entryBytesMax || s.find(hash, buf[:keyLen]) != noPlace {
		return true
	}
	e := &s.entries[s.insert(hash)]
	e.buf, e.token, e.keyLen = buf, token, uint32(keyLen)
	s.bytes += int64(cap(buf))
	return true
}

// trimAfter evicts what had to stay over the budget until a checkpoint of so many
// bytes. What small ones leave is left to later puts.
func (c *cache) trimAfter(bytes int) {
	if bytes < c.entryBytesMax {
		return
	}
	for i := range c.shards {
		s := &c.shards[i]
		s.mu.Lock()
		s.evict(c)
		s.mu.Unlock()
	}
}

// A cached is what an entry holds: a key and its object in one slice.
type cached struct {
	hash   uint64
	buf    []byte
	keyLen int
}

// rollBack takes back what was not committed: the last of what was, where it is among
// gathered, takes its place, else it is forgotten, since Pebble has what was. For each
// key a reader finds one or the other.
func (c *cache) rollBack(committed uint64, gathered []cached) {
	byShard := make(map[*cacheShard][]cached, cacheShards)
	for _, g := range gathered {
		s := c.shard(g.hash)
		byShard[s] = append(byShard[s], g)
	}
	for i := range c.shards {
		c.shards[i].rollBack(committed, byShard[&c.shards[i]])
	}
}

func (s *cacheShard) rollBack(committed uint64, gathered []cached) {
	s.mu.Lock()
	defer s.mu.Unlock()
	last := make(map[int32]cached)
	for _, g := range gathered {
		if i := s.find(g.hash, g.buf[:g.keyLen]); i != noPlace && s.entries[i].seq > committed {
			last[i] = g
		}
	}
	for i := range s.entries {
		e := &s.entries[i]
		g, is := last[int32(i)]
		switch {
		case is:
			s.bytes += int64(cap(g.buf) - cap(e.buf))
			e.buf, e.seq = g.buf, committed
		case e.buf != nil && e.seq > committed:
			s.remove(int32(i))
		}
	}
}

// clear forgets all. The caller sees to it that nothing in it is still needed.
func (c *cache) clear() {
	for i := range c.shards {
		s := &c.shards[i]
		s.mu.Lock()
		s.reset()
		s.mu.Unlock()
	}
}

// drop forgets the keys of the tokens first to last. The caller sees to it that
// nothing of them is still needed.
func (c *cache) drop(first, last ring.Token) {
	for i := range c.shards {
		s := &c.shards[i]
		s.mu.Lock()
		s.let++
		for j := range s.entries {
			if e := &s.entries[j]; e.buf != nil && first <= e.token && e.token <= last {
				s.remove(int32(j))
			}
		}
		s.mu.Unlock()
	}
}

func (s *cacheShard) find(hash uint64, key []byte) int32 {
	for i, at := s.index.next(hash, s.index.home(hash)); i != noPlace; i, at = s.index.next(hash, at) {
		e := &s.entries[i]
		if e.hash == hash && bytes.Equal(e.buf[:e.keyLen], key) {
			return i
		}
	}
	return noPlace
}

func (s *cacheShard) insert(hash uint64) int32 {
	i := s.free
	if i != noPlace {
		s.free = s.entries[i].next
	} else {
		i = int32(len(s.entries))
		s.entries = append(s.entries, cacheEntry{})
	}
	s.entries[i] = cacheEntry{hash: hash}
	s.index.add(hash, i)
	return i
}

func (s *cacheShard) over() bool { return s.bytes+int64(s.index.used)*entryOverhead > s.budget }

// evict makes room, in at most two rounds of the hand: one takes the marks away
// and the next the entries.
func (s *cacheShard) evict(c *cache) {
	if !s.over() {
		return
	}
	checkpointed := c.checkpointed()
	pinned := 0
	for range 2 * len(s.entries) {
		if !s.over() || pinned > pinnedMax {
			return
		}
		i := s.hand
		s.hand = (s.hand + 1) % len(s.entries)
		e := &s.entries[i]
		switch {
		case e.buf == nil:
		case e.seq > checkpointed:
			pinned++
		case e.read && len(e.buf) <= c.entryBytesMax:
			e.read = false
		default:
			s.remove(int32(i))
		}
	}
}

func (s *cacheShard) remove(i int32) {
	e := &s.entries[i]
	s.index.remove(e.hash, i)
	s.bytes -= int64(cap(e.buf))
	s.let++
	*e = cacheEntry{next: s.free}
	s.free = i
}

// CacheStats is what INFO shows of the object cache.
type CacheStats struct {
	Hits, Misses uint64
	Entries      int
	Bytes        int64 // of keys and objects, with the cache's own overhead
}

func (c *cache) stats() CacheStats {
	var sum CacheStats
	for i := range c.shards {
		s := &c.shards[i]
		s.mu.Lock()
		sum.Hits += s.hits
		sum.Misses += s.misses
		sum.Entries += s.index.used
		sum.Bytes += s.bytes + int64(s.index.used)*entryOverhead
		s.mu.Unlock()
	}
	return sum
}
