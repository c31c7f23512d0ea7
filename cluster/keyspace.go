package cluster

import (
	"bytes"
	"context"
	"encoding/binary"
	"fmt"
	"math/rand/v2"
	"strconv"

	"cartwheel/cluster/repair"
	"cartwheel/cluster/ring"
	"cartwheel/cluster/wire"
	"cartwheel/store"
	"cartwheel/store/version"
)

// Scan calls visit with the keys of one database from a token on, in token
// order, until visit returns false. On a ring of several nodes it merges what
// all reachable owners have, of which there must be a quorum, and the objects
// come without their payloads. A corrupt object comes as nil. What is passed is
// valid during the call.
func (c *Coordinator) Scan(db uint8, from ring.Token, visit func(t ring.Token, key []byte, o *version.Object) bool) error {
	if c.view.Load().alone {
		return c.scan(db, from, ^ring.Token(0), visit)
	}
	if c.view.Load().left {
		return wireError(errLeft)
	}
	return wireError(c.scanAll(db, from, visit))
}

// ScanOwned is Scan of this node's own objects, of the slots of which it is the
// first live owner.
func (c *Coordinator) ScanOwned(db uint8, from ring.Token, visit func(t ring.Token, key []byte, o *version.Object) bool) error {
	v := c.view.Load()
	if v.alone {
		return c.scan(db, from, ^ring.Token(0), visit)
	}
	more := true
	for p := v.ring.PartitionOf(from.Slot()); more && int(p) < len(v.places); p++ {
		if !v.places[p].leads() {
			continue
		}
		first, last := p.Span(len(v.places))
		err := c.scan(db, max(first, from), last, func(t ring.Token, key []byte, o *version.Object) bool {
			more = visit(t, key, o)
			return more
		})
		if err != nil {
			return err
		}
	}
	return nil
}

// leads reports that this node is the partition's first live owner.
func (p *place) leads() bool {
	for i, n := range p.nodes {
		if p.owners.Has(i) && up(n) {
			return n == nil
		}
	}
	return false
}

func (c *Coordinator) scan(db uint8, first, last ring.Token, visit func(t ring.Token, key []byte, o *version.Object) bool) error {
	err := c.store.Scan(first, last, func(k store.Key, o *version.Object) bool {
		return k.DB != db || visit(k.Token, k.User, o)
	})
	return wireError(err)
}

// Size returns how many keys a database has, how many of them expire, and the
// mean time to that, from counters that each partition's first live owner keeps.
// Until ready is closed, which after an unclean stop takes a scan in the
// background, this node's are too low.
func (c *Coordinator) Size(db uint8) (keys, expires, meanTTLMS int64, ready <-chan struct{}) {
	v := c.view.Load()
	var n store.Counts
	if v.alone {
		n = c.store.Counts(db)
	} else {
		n = c.sizeLed(v, db)
		for _, text := range c.askAll(v, up, opSize, []byte{db}) {
			n = addCounts(n, text)
		}
	}
	if n.Expires > 0 {
		meanTTLMS = max(0, n.ExpireAtMSSum/n.Expires-c.store.NowMS())
	}
	return max(0, n.Keys), max(0, n.Expires), meanTTLMS, c.store.CountsReady()
}

// SizeOwned is Size of the slots of which this node is the first live owner.
func (c *Coordinator) SizeOwned(db uint8) (keys int64, ready <-chan struct{}) {
	return max(0, c.sizeLed(c.view.Load(), db).Keys), c.store.CountsReady()
}

// sizeLed counts the keys of partitions of which this node is the first live
// owner.
func (c *Coordinator) sizeLed(v *view, db uint8) (sum store.Counts) {
	for p := range v.places {
		if v.places[p].leads() {
			n := c.store.PartitionCounts(db, ring.Partition(p))
			sum.Keys += n.Keys
			sum.Expires += n.Expires
			sum.ExpireAtMSSum += n.ExpireAtMSSum
		}
	}
	return sum
}

func appendCounts(dst []byte, n store.Counts) []byte {
	for _, count := range []int64{n.Keys, n.Expires, n.ExpireAtMSSum} {
		dst = binary.BigEndian.AppendUint64(dst, uint64(count))
	}
	return dst
}

func addCounts(n store.Counts, text []byte) store.Counts {
	if len(text) != 24 {
		return n
	}
	n.Keys += int64(binary.BigEndian.Uint64(text))
	n.Expires += int64(binary.BigEndian.Uint64(text[8:]))
	n.ExpireAtMSSum += int64(binary.BigEndian.Uint64(text[16:]))
	return n
}

// RandomKey returns a key of the database that is alive, or nil where it finds
// none. Keys of a partition are drawn by the gap before them, partitions by
// the keys they have, and nodes by the keys of which they are the first live
// owner.
func (c *Coordinator) RandomKey(db uint8) (key []byte, err error) {
	v := c.view.Load()
	switch {
	case v.alone:
		return c.randomOf(v, db)
	case v.left:
		return nil, wireError(errLeft)
	}
	type candidate struct {
		p    *peer // nil: this node
		keys int64
	}
	all := []candidate{{nil, c.sizeLed(v, db).Keys}}
	for p, text := range c.askAll(v, up, opSize, []byte{db}) {
		all = append(all, candidate{p, addCounts(store.Counts{}, text).Keys})
	}
	for len(all) > 0 {
		total := int64(0)
		for _, one := range all {
			total += max(0, one.keys)
		}
		if total == 0 {
			return nil, nil
		}
		left, at := rand.Int64N(total), 0
		for ; left >= max(0, all[at].keys); at++ {
			left -= max(0, all[at].keys)
		}
		if p := all[at].p; p == nil {
			key, err = c.randomOf(v, db)
		} else {
			key, err = c.call(context.Background(), p, wire.Small, opRandom, v.epoch, []byte{db})
		}
		if err == nil && len(key) > 0 {
			return key, nil
		}
		all = append(all[:at], all[at+1:]...)
	}
	return nil, wireError(err)
}

// randomOf draws from the partitions of which this node is the first live owner.
func (c *Coordinator) randomOf(v *view, db uint8) (key []byte, err error) {
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
		p, some := c.randomPartition(v, db)
		if !some {
			break
		}
		first, last := p.Span(len(v.places))
		middle := first + ring.Token(rand.Uint64())&(last-first) // a power of two, less one
		if err := c.scan(db, middle, last, alive); err != nil || key != nil {
			return key, err
		}
		if err := c.scan(db, first, middle, alive); err != nil || key != nil {
			return key, err
		}
	}
	err = c.ScanOwned(db, 0, alive)
	return key, err
}

func (c *Coordinator) randomPartition(v *view, db uint8) (p ring.Partition, some bool) {
	count := func(p int) int64 {
		if !v.alone && !v.places[p].leads() {
			return 0
		}
		return max(0, c.store.PartitionCounts(db, ring.Partition(p)).Keys)
	}
	total := int64(0)
	for p := range v.places {
		total += count(p)
	}
	if total <= 0 {
		return 0, false
	}
	left := rand.Int64N(total)
	for p := range v.places {
		if left -= count(p); left < 0 {
			return ring.Partition(p), true
		}
	}
	return 0, false
}

// Preference returns the preference list of a key's partition.
func (c *Coordinator) Preference(key []byte) []ring.NodeID {
	v := c.view.Load()
	return v.ring.Preference(v.partition(key))
}

// Explain returns where a key lives, and calls visit with what each of its
// owners holds.
func (c *Coordinator) Explain(db uint8, key []byte, visit func(node ring.NodeID, alive bool, o *version.Object, err error)) (seq, epoch uint64, p ring.Partition) {
	v := c.view.Load()
	p = v.partition(key)
	pl := &v.places[p]
	ask := get{any: true, db: db, key: key}
	for i, id := range pl.ids {
		var o version.Object
		n := pl.nodes[i]
		if i == pl.self {
			read, err := c.store.Get(db, key, &o)
			seq = max(seq, read)
			visit(id, true, &o, wireError(err))
			continue
		}
		if !n.up() {
			visit(id, false, &o, errDown)
			continue
		}
		text, err := c.call(context.Background(), n, wire.Small, opGet, v.epoch, ask.append(nil))
		if err == nil {
			_, text, err = cutLevels(text)
		}
		if err == nil && len(text) > 0 {
			err = o.Decode(bytes.Clone(text))
		}
		visit(id, true, &o, wireError(err))
	}
	return seq, v.epoch, p
}

// FlushMark returns the HLC at and below which what was written in a database is flushed.
func (c *Coordinator) FlushMark(db uint8) version.HLC { return c.store.FlushMark(db) }

// Flush makes everything in some databases go, here and at all live nodes. The
// others hear of it before they exchange any data.
func (c *Coordinator) Flush(dbs []uint8) error {
	v := c.view.Load()
	if v.left {
		return wireError(errLeft)
	}
	if !v.alone {
		c.askAll(v, reachable, opPing, c.appendStatus(nil, nil, false)) // so that the mark is above all that they have acknowledged
	}
	mark, err := c.store.NextHLC(c.store.NowMS(), 0)
	if err != nil {
		return wireError(err)
	}
	if err := c.store.Flush(dbs, mark); err != nil {
		return wireError(err)
	}
	if v.alone {
		return nil
	}
	return wireError(c.spreadMarks(v))
}

// Figures returns what INFO shows of this node's store.
func (c *Coordinator) Figures() [][2]string {
	st := c.store.Stats()
	number := func(n uint64) string { return strconv.FormatUint(n, 10) }
	m := st.Pebble
	figures := [][2]string{
		{"node_id", c.store.NodeID().String()},
		{"incarnation", fmt.Sprintf("%016x", uint64(c.store.Incarnation()))},
		{"ring_epoch", number(c.view.Load().epoch)},
		{"ring_partitions", strconv.Itoa(c.store.Partitions())},
		{"read_repairs", number(c.stats.readRepairs.Load())},
		{"stamped_anew", number(c.stats.restamps.Load())},
		{"hints_kept", number(c.stats.hints.Load())},
		{"stand_ins_asked", number(c.stats.standIns.Load())},
		{"hints_stranded", number(c.stats.stranded.Load())},
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
	if r := c.repairing.Load(); r != nil {
		figures = append(figures, repairFigures(r.Figures())...)
	}
	return append(figures, c.stabilityFigures()...)
}

// repairFigures are what INFO shows of the work in the background.
func repairFigures(f repair.Figures) [][2]string {
	number := func(n uint64) string { return strconv.FormatUint(n, 10) }
	signed := func(n int64) string { return strconv.FormatInt(n, 10) }
	return [][2]string{
		{"repair_tasks_running", strconv.Itoa(f.Running)},
		{"repair_exchanges", number(f.Exchanges)},
		{"repair_partitions_differing", signed(f.Differing)},
		{"repair_partitions_owed", strconv.Itoa(f.Owed)},
		{"repair_objects", number(f.Repaired)},
		{"repair_objects_refused", number(f.Refused)},
		{"repair_hints_replayed", number(f.HintsReplayed)},
		{"repair_hints_kept", number(f.HintsKept)},
		{"repair_moves_filling", strconv.Itoa(f.Filling)},
		{"repair_moves_filled", number(f.Filled)},
		{"repair_fill_bytes", number(f.FillBytes)},
		{"repair_partitions_dropped", number(f.Dropped)},
		{"repair_partitions_foreign", signed(f.Foreign)},
		{"repair_bytes_sent", number(f.BytesSent)},
		{"repair_bytes_received", number(f.BytesReceived)},
		{"repair_failures", number(f.Failures)},
		{"repair_rate_bytes", signed(f.Rate)},
		{"repair_foreground_p99_usec", signed(f.P99.Microseconds())},
		{"repair_foreground_calm_usec", signed(f.Calm.Microseconds())},
	}
}
