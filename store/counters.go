package store

import (
	"encoding/binary"
	"sync"
	"sync/atomic"

	"github.com/cespare/xxhash/v2"

	"cartwheel/cluster/ring"
	"cartwheel/store/version"
)

// Counts is what the store keeps count of in a database.
type Counts struct {
	Keys    int64 // whose winning sibling is not a tombstone; expired ones until they are swept
	Expires int64 // those of Keys that have an expiry
	Bytes   int64 // of keys and values, tombstones' keys too
	// ExpireAtMSSum is the sum of the expiries, for an average.
	ExpireAtMSSum int64
}

func (c *Counts) add(d Counts) {
	c.Keys += d.Keys
	c.Expires += d.Expires
	c.Bytes += d.Bytes
	c.ExpireAtMSSum += d.ExpireAtMSSum
}

// minus returns what changes when an object of the weight old becomes one of
// the weight c.
func (c Counts) minus(old Counts) Counts {
	return Counts{
		Keys:          c.Keys - old.Keys,
		Expires:       c.Expires - old.Expires,
		Bytes:         c.Bytes - old.Bytes,
		ExpireAtMSSum: c.ExpireAtMSSum - old.ExpireAtMSSum,
	}
}

// weigh returns what one object counts for.
func weigh(k Key, o *version.Object) Counts {
	w := o.Winner()
	if w == nil {
		return Counts{}
	}
	c := Counts{Bytes: int64(len(k.User))}
	for i := range o.Siblings {
		c.Bytes += int64(len(o.Siblings[i].Payload))
	}
	if !w.Tombstone {
		c.Keys = 1
		if w.ExpireAtMS != 0 {
			c.Expires, c.ExpireAtMSSum = 1, w.ExpireAtMS
		}
	}
	return c
}

// weighCorrupt returns what an object counts for that cannot be decoded.
func weighCorrupt(k Key) Counts { return Counts{Keys: 1, Bytes: int64(len(k.User))} }

// counters hold the counts of each partition and database. One partition's are
// changed under its lock and read by anyone.
type counters struct {
	byDB [Databases][]partitionCounts
	// ready is closed when the counts are right, or as right as they get.
	ready chan struct{}
	// partial says that not all could be counted: a table cannot be read.
	partial atomic.Bool
	// setting is held by those who set counts, or leaves of the hash trees, rather
	// than add to them.
	setting sync.Mutex
}

type partitionCounts struct{ keys, expires, bytes, expireAtMSSum atomic.Int64 }

func newCounters(partitions int) *counters {
	c := &counters{ready: make(chan struct{})}
	for db := range c.byDB {
		c.byDB[db] = make([]partitionCounts, partitions)
	}
	return c
}

func (c *counters) add(p ring.Partition, db uint8, d Counts) {
	n := &c.byDB[db][p]
	if d.Keys != 0 {
		n.keys.Add(d.Keys)
	}
	if d.Expires != 0 {
		n.expires.Add(d.Expires)
	}
	if d.Bytes != 0 {
		n.bytes.Add(d.Bytes)
	}
	if d.ExpireAtMSSum != 0 {
		n.expireAtMSSum.Add(d.ExpireAtMSSum)
	}
}

func (n *partitionCounts) load() Counts {
	return Counts{n.keys.Load(), n.expires.Load(), n.bytes.Load(), n.expireAtMSSum.Load()}
}

func (n *partitionCounts) reset() {
	n.keys.Store(0)
	n.expires.Store(0)
	n.bytes.Store(0)
	n.expireAtMSSum.Store(0)
}

func (c *counters) sum(db uint8) Counts {
	var sum Counts
	for p := range c.byDB[db] {
		sum.add(c.byDB[db][p].load())
	}
	return sum
}

// Counts returns the counts of a database. Until CountsReady it misses the
// partitions that have not been counted yet.
func (s *Store) Counts(db uint8) Counts { return s.counters.sum(db) }

// PartitionCounts returns the counts of one partition of a database.
func (s *Store) PartitionCounts(db uint8, p ring.Partition) Counts {
	return s.counters.byDB[db][p].load()
}

// CountsReady is closed when the counts are right, which after an unclean stop
// takes a scan in the background. What that cannot read stays uncounted.
func (s *Store) CountsReady() <-chan struct{} { return s.counters.ready }

// encode writes the counts that are not zero and a checksum.
func (c *counters) encode() []byte {
	var b []byte
	for db := range c.byDB {
		for p := range c.byDB[db] {
			n := c.byDB[db][p].load()
			if n == (Counts{}) {
				continue
			}
			for _, v := range [...]int64{int64(db), int64(p), n.Keys, n.Expires, n.Bytes, n.ExpireAtMSSum} {
				b = binary.AppendVarint(b, v)
			}
		}
	}
	return binary.BigEndian.AppendUint64(b, xxhash.Sum64(b))
}

// decode sets the counts, or reports that b is not what encode wrote.
func (c *counters) decode(b []byte) bool {
	if len(b) < 8 {
		return false
	}
	body, sum := b[:len(b)-8], binary.BigEndian.Uint64(b[len(b)-8:])
	if xxhash.Sum64(body) != sum {
		return false
	}
	for len(body) > 0 {
		var v [6]int64
		for i := range v {
			n, width := binary.Varint(body)
			if width <= 0 {
				return false
			}
			v[i], body = n, body[width:]
		}
		c.add(ring.Partition(v[1]), uint8(v[0]), Counts{v[2], v[3], v[4], v[5]})
	}
	return true
}
