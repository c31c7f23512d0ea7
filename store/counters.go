package store

import (
	"encoding/binary"
	"errors"
	"slices"
	"sync"
	"sync/atomic"

	"github.com/cespare/xxhash/v2"
	"github.com/cockroachdb/pebble/v2"

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
	// setting is held by those who set counts rather than add to them.
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

// loadCounters takes the counts that a clean stop saved and removes them, since
// only a clean stop may leave them. It reports whether there were any.
func (s *Store) loadCounters() (bool, error) {
	row := []byte{prefixCounters}
	text, closer, err := s.db.Get(row)
	if errors.Is(err, pebble.ErrNotFound) {
		return false, nil
	}
	if err != nil {
		return false, err
	}
	text = slices.Clone(text)
	if err := closer.Close(); err != nil {
		return false, err
	}
	if err := s.db.Delete(row, pebble.Sync); err != nil {
		return false, err
	}
	return s.counters.decode(text), nil
}

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

// rebuildCounters counts the objects partition by partition:
//
//  1. under the partition's lock, commit what is open, take a snapshot, and set
//     the partition's counts to zero; changes go on to be added to them;
//  2. without the lock, scan the snapshot and add what is there.
//
// It goes on after an error, and returns the first.
func (s *Store) rebuildCounters() (failed error) {
	for p := range ring.Partition(s.node.Partitions) {
		if s.closing.Load() {
			break
		}
		if err := s.recount(p); err != nil && failed == nil {
			failed = err
		}
	}
	return failed
}

func (s *Store) recount(p ring.Partition) error {
	s.counters.setting.Lock()
	defer s.counters.setting.Unlock()
	first, last := p.Span(s.node.Partitions)
	lock := &s.locks[p]
	lock.Lock()
	if err := s.commitOpen(); err != nil {
		lock.Unlock()
		return err
	}
	snapshot := s.db.NewSnapshot()
	for db := range s.counters.byDB {
		s.counters.byDB[db][p].reset()
	}
	lock.Unlock()
	defer snapshot.Close()

	var found [Databases]Counts
	var o version.Object
	err := s.scanObjects(snapshot, first, last, func(k Key, text []byte) error {
		if _, err := s.decodeStored(k, text, &o); err != nil {
			found[k.DB].add(weighCorrupt(k))
			return nil
		}
		found[k.DB].add(weigh(k, &o))
		raise(&s.highest, o.MaxHLC())
		return nil
	})
	for db, n := range found {
		s.counters.add(p, uint8(db), n)
	}
	return err
}
