package cluster

import (
	"fmt"
	"math/rand/v2"
	"strconv"

	"cartwheel/cluster/ring"
	"cartwheel/store"
	"cartwheel/store/version"
)

// Scan calls visit with the keys of one database from a token on, in token
// order, until visit returns false. A corrupt object comes as nil. What is
// passed is valid during the call.
func (c *Coordinator) Scan(db uint8, from ring.Token, visit func(t ring.Token, key []byte, o *version.Object) bool) error {
	return c.scan(db, from, ^ring.Token(0), visit)
}

func (c *Coordinator) scan(db uint8, first, last ring.Token, visit func(t ring.Token, key []byte, o *version.Object) bool) error {
	err := c.store.Scan(first, last, func(k store.Key, o *version.Object) bool {
		return k.DB != db || visit(k.Token, k.User, o)
	})
	return wireError(err)
}

// Size returns how many keys a database has, how many of them expire, and the
// mean time to that. Until ready is closed, which after an unclean stop takes a
// scan in the background, they are too low.
func (c *Coordinator) Size(db uint8) (keys, expires, meanTTLMS int64, ready <-chan struct{}) {
	n := c.store.Counts(db)
	if n.Expires > 0 {
		meanTTLMS = max(0, n.ExpireAtMSSum/n.Expires-c.store.NowMS())
	}
	return max(0, n.Keys), max(0, n.Expires), meanTTLMS, c.store.CountsReady()
}

// RandomKey returns a key of the database that is alive, or nil where it finds
// none. Keys of a partition are drawn by the gap before them, partitions by
// the keys they have.
func (c *Coordinator) RandomKey(db uint8) (key []byte, err error) {
	nowMS := c.store.NowMS()
	alive := func(_ ring.Token, k []byte, o *version.Object) bool {
		if o == nil || o.Alive(nowMS) == nil {
			return true
		}
		key = append(make([]byte, 0, len(k)), k...)
		return false
	}
	const tries = 16 // of partitions in which all may have expired
	for range tries {
		p, some := c.randomPartition(db)
		if !some {
			break
		}
		first, last := p.Span(c.ring.Partitions())
		middle := first + ring.Token(rand.Uint64())&(last-first) // a power of two, less one
		if err := c.scan(db, middle, last, alive); err != nil || key != nil {
			return key, err
		}
		if err := c.scan(db, first, middle, alive); err != nil || key != nil {
			return key, err
		}
	}
	err = c.Scan(db, 0, alive)
	return key, err
}

func (c *Coordinator) randomPartition(db uint8) (p ring.Partition, some bool) {
	total := c.store.Counts(db).Keys
	if total <= 0 {
		return 0, false
	}
	left := rand.Int64N(total)
	for p := range ring.Partition(c.ring.Partitions()) {
		left -= c.store.PartitionCounts(db, p).Keys
		if left < 0 {
			return p, true
		}
	}
	return 0, false
}

// Figures returns what INFO shows of this node's store.
func (c *Coordinator) Figures() [][2]string {
	st := c.store.Stats()
	number := func(n uint64) string { return strconv.FormatUint(n, 10) }
	m := st.Pebble
	return [][2]string{
		{"node_id", c.store.NodeID().String()},
		{"incarnation", fmt.Sprintf("%016x", uint64(c.store.Incarnation()))},
		{"ring_epoch", number(c.ring.Epoch())},
		{"ring_partitions", strconv.Itoa(c.ring.Partitions())},
		{"cache_hits", number(st.Cache.Hits)},
		{"cache_misses", number(st.Cache.Misses)},
		{"cache_objects", strconv.Itoa(st.Cache.Entries)},
		{"cache_bytes", strconv.FormatInt(st.Cache.Bytes, 10)},
		{"commits", number(st.Commits)},
		{"expired_keys_purged", number(st.Swept)},
		{"corrupt_reads", number(st.Corrupt)},
		{"clock_drift_refused", number(st.DriftRefused)},
		{"wide_clocks_written", number(st.WideClocks)},
		{"disk_free_bytes", number(st.DiskFree)},
		{"disk_used_bytes", number(m.DiskSpaceUsage())},
		{"compactions", strconv.FormatInt(m.Compact.Count, 10)},
		{"compaction_debt_bytes", number(m.Compact.EstimatedDebt)},
		{"memtable_bytes", number(m.MemTable.Size)},
	}
}
