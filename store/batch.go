package store

import (
	"bytes"
	"cmp"
	"encoding/binary"
	"math/rand/v2"
	"slices"
	"sync"

	"github.com/cockroachdb/pebble/v2"

	"cartwheel/cluster/ring"
)

// openBatch gathers the changes that the next commit makes durable.
//
//  1. Whoever changes an object appends to the open batch under mu, while
//     holding the object's partition lock: the batches, and what is within
//     them, are in the order of the changes.
//  2. Whoever needs a change durable calls Commit with the batch's sequence.
//     The first to get commitMu closes the open batch, opens the spare and
//     commits; the others find, when they get it, that it has been done.
//     While one commits, the next batch fills: commits group by themselves.
type openBatch struct {
	mu    sync.Mutex
	rows  *rowBatch
	spare *rowBatch
	seq   uint64 // of rows
}

// batchBytesMax is the size past which whoever adds to a batch commits it.
const batchBytesMax = 4 << 20

// A rowBatch is a batch before Pebble sees it. Only the last change of each row
// counts, and Pebble gets the rows in their order: an insertion into its
// skiplist then begins near the one before, which halves what it costs.
type rowBatch struct {
	pages []*rowPage
	count int        // of the rows in them
	order []rowOrder // memory for sorted
	bytes int
	// gone are the ranges of rows that go, before rows: pairs of the first row
	// and the one after the last.
	gone [][2][]byte
	// soonestMS is when the first expiry row in it is due; 0: there is none.
	soonestMS int64
	// What gather has made has chains of rows: one for each of tokenBuckets of
	// objects' rows, and one for each first byte of the others.
	chains *[tokenBuckets + 256]rowChain
	// index finds objects' rows, by a hash of their tokens; for gather.
	index   *[gatherShards]index
	fetched uint64 // nothing: so that fetch is not left out
}

// gatherShards is in how many parts the index of a gathered batch is: each grows by itself.
const gatherShards = 64

// gatherSeed is not known to who chooses keys: tokens alone are.
var gatherSeed = rand.Uint64()

type rowChain struct {
	last  int32 // a row's index, and 1; 0: there is none
	count int32
}

// A rowPage is some rows: a batch that grows does not move those that it has, which
// takes milliseconds where they are many.
type rowPage struct {
	rows []rowChange // rowsPerPage at most
	keys []byte      // of the rows, one after the other
}

const (
	rowsPerPage = 256
	// pageKeepBytes is how much memory for keys an empty page keeps, or begins with.
	pageKeepBytes = 64 << 10
)

type rowChange struct {
	from, to int    // the key in its page's keys
	value    []byte // must not change any more
	remove   bool
	before   int32 // in its chain, as last
}

// rowsPerPause is how often, at least, a pause is offered between rows.
const rowsPerPause = 128

// rowOrder is a row's place: the first bytes of its key decide nearly always.
type rowOrder struct {
	head  uint64
	index int32
}

// key returns memory in which to append the key of the next row; add it at
// once.
func (b *rowBatch) key() []byte { return b.page().keys }

// page returns the page of the next row.
func (b *rowBatch) page() *rowPage {
	if b.count == len(b.pages)*rowsPerPage {
		p := &rowPage{}
		if n := len(b.pages); n > 0 {
			p.rows = make([]rowChange, 0, rowsPerPage)
			p.keys = make([]byte, 0, min(len(b.pages[n-1].keys), pageKeepBytes))
		}
		b.pages = append(b.pages, p)
	}
	return b.pages[b.count/rowsPerPage]
}

// at returns a row and its key.
func (b *rowBatch) at(i int) (*rowChange, []byte) {
	p := b.pages[i/rowsPerPage]
	r := &p.rows[i%rowsPerPage]
	return r, p.keys[r.from:r.to]
}

// set and remove add a change of the row whose key was appended to key().
func (b *rowBatch) set(keys, value []byte) { b.add(keys, value, false) }
func (b *rowBatch) remove(keys []byte)     { b.add(keys, nil, true) }

func (b *rowBatch) add(keys, value []byte, remove bool) {
	from := len(b.page().keys)
	if key := keys[from:]; key[0] == prefixExpiry && len(key) >= 9 {
		b.expires(int64(binary.BigEndian.Uint64(key[1:])))
	}
	b.push(keys, rowChange{from: from, to: len(keys), value: value, remove: remove})
}

// push adds a row whose key is at the end of keys, which its page gets.
func (b *rowBatch) push(keys []byte, r rowChange) {
	p := b.page()
	p.keys = keys
	p.rows = append(p.rows, r)
	b.count++
	b.bytes += r.to - r.from + len(r.value)
}

// removeRange makes all rows from one up to another go, those in the batch too.
// It keeps both.
func (b *rowBatch) removeRange(from, to []byte) {
	b.gone = append(b.gone, [2][]byte{from, to})
	b.bytes += len(from) + len(to)
	before := *b
	b.pages, b.count = nil, 0
	for i := range before.count {
		if r, key := before.at(i); bytes.Compare(key, from) < 0 || bytes.Compare(key, to) >= 0 {
			b.add(append(b.key(), key...), r.value, r.remove)
		}
	}
	b.bytes = before.bytes // a little too much
}

// tokenBuckets is how finely a gathered batch knows what it has.
const tokenBuckets = 4096

func tokenBucket(t ring.Token) int { return int(t >> (64 - 12)) }

// longest returns how many rows the longest of some chains has.
func (b *rowBatch) longest(first, last int) (count int32) {
	if b.chains == nil {
		return 0
	}
	for n := first; n <= last; n++ {
		count = max(count, b.chains[n].count)
	}
	return count
}

// chained appends the rows of a chain from lower up to upper. The later ones have the higher order, above after.
func (b *rowBatch) chained(rows []newerRow, chain int, lower, upper []byte, after int64) []newerRow {
	if b.chains == nil {
		return rows
	}
	for at := b.chains[chain].last; at != 0; {
		r, key := b.at(int(at - 1))
		if bytes.Compare(key, lower) >= 0 && bytes.Compare(key, upper) < 0 {
			rows = append(rows, newerRow{key, r.value, r.remove, after + int64(at)})
		}
		at = r.before
	}
	return rows
}

// empty reports that there is nothing to commit.
func (b *rowBatch) empty() bool { return b.count == 0 && len(b.gone) == 0 }

// appendTo adds the last change of each row to a batch of Pebble's, in the
// order of the keys, and pauses from time to time.
func (b *rowBatch) appendTo(to *pebble.Batch, pause func()) error {
	for _, gone := range b.gone {
		if err := to.DeleteRange(gone[0], gone[1], nil); err != nil {
			return err
		}
	}
	if b.chains == nil {
		b.order = slices.Grow(b.order[:0], b.count)
		for i := range b.count {
			b.order = append(b.order, b.orderOf(i))
		}
		return b.appendSorted(to, pause)
	}
	for prefix := range 256 {
		if prefix == prefixObject {
			if err := b.appendChains(to, b.chains[:tokenBuckets], pause); err != nil {
				return err
			}
		}
		if err := b.appendChains(to, b.chains[tokenBuckets+prefix:][:1], pause); err != nil {
			return err
		}
	}
	return nil
}

func (b *rowBatch) appendChains(to *pebble.Batch, chains []rowChain, pause func()) error {
	for _, chain := range chains {
		b.order = b.order[:0]
		for at := chain.last; at != 0; {
			r, _ := b.at(int(at - 1))
			b.order = append(b.order, b.orderOf(int(at-1)))
			at = r.before
		}
		if err := b.appendSorted(to, pause); err != nil {
			return err
		}
	}
	return nil
}

// orderOf returns the place of a row.
func (b *rowBatch) orderOf(i int) rowOrder {
	var head [8]byte
	_, key := b.at(i)
	copy(head[:], key)
	return rowOrder{binary.BigEndian.Uint64(head[:]), int32(i)}
}

// appendSorted sorts the rows whose places are in order, and adds them.
func (b *rowBatch) appendSorted(to *pebble.Batch, pause func()) error {
	b.sort()
	for i, o := range b.order {
		if i%rowsPerPause == 0 {
			pause()
		}
		r, key := b.at(int(o.index))
		if i+1 < len(b.order) && b.order[i+1].head == o.head {
			if _, next := b.at(int(b.order[i+1].index)); bytes.Equal(key, next) {
				continue
			}
		}
		var err error
		if r.remove {
			err = to.Delete(key, nil)
		} else {
			err = to.Set(key, r.value, nil)
		}
		if err != nil {
			return err
		}
	}
	return nil
}

func (b *rowBatch) sort() {
	slices.SortFunc(b.order, func(x, y rowOrder) int {
		if c := cmp.Compare(x.head, y.head); c != 0 {
			return c
		}
		_, first := b.at(int(x.index))
		_, second := b.at(int(y.index))
		if c := bytes.Compare(first, second); c != 0 {
			return c
		}
		return cmp.Compare(x.index, y.index)
	})
}

// reset empties the batch and keeps its memory, unless that is large.
func (b *rowBatch) reset() {
	if b.bytes > batchBytesMax {
		*b = rowBatch{}
		return
	}
	for n := 0; n*rowsPerPage < b.count; n++ {
		p := b.pages[n]
		clear(p.rows) // so that the values can be collected
		p.rows, p.keys = p.rows[:0], p.keys[:0]
		if cap(p.keys) > pageKeepBytes {
			p.keys = nil
		}
	}
	b.count, b.bytes, b.gone, b.soonestMS = 0, 0, nil, 0
}

func (b *rowBatch) expires(atMS int64) {
	if atMS != 0 && (b.soonestMS == 0 || atMS < b.soonestMS) {
		b.soonestMS = atMS
	}
}

// fetchedRows is how many rows gather waits for the memory of at once.
const fetchedRows = 32

// fetch hashes the tokens of some rows of a batch, and reads what gather will read for
// them. One by one, it would wait for memory several times for each.
func (b *rowBatch) fetch(from *rowBatch, first int, hashes *[fetchedRows]uint64) {
	var places [fetchedRows]int32
	n := min(from.count-first, fetchedRows)
	for i := range n {
		hashes[i] = 0
		if _, key := from.at(first + i); isObjectRow(key) {
			hashes[i] = mix(binary.BigEndian.Uint64(key[1:]), gatherSeed)
		}
		b.fetched ^= b.index[hashes[i]>>58].touch(hashes[i])
	}
	for i, hash := range hashes[:n] {
		x := &b.index[hash>>58]
		places[i], _ = x.next(hash, x.home(hash))
	}
	var keys [fetchedRows]int
	for i, place := range places[:n] {
		if place != noPlace {
			keys[i] = b.pages[place/rowsPerPage].rows[place%rowsPerPage].from
		}
	}
	for i, place := range places[:n] {
		if place != noPlace {
			b.fetched ^= uint64(b.pages[place/rowsPerPage].keys[keys[i]])
		}
	}
}

func isObjectRow(key []byte) bool { return key[0] == prefixObject && len(key) >= 9 }

// gather adds the changes of another batch, which has no ranges, to this one, which
// has been made by gather only. An object's row that is in it already is replaced.
func (b *rowBatch) gather(from *rowBatch) {
	if b.index == nil {
		b.index = new([gatherShards]index)
		b.chains = new([tokenBuckets + 256]rowChain)
	}
	b.expires(from.soonestMS)
	var hashes [fetchedRows]uint64
	for i := range from.count {
		if i%fetchedRows == 0 {
			b.fetch(from, i, &hashes)
		}
		r, key := from.at(i)
		at, chain := int32(b.count), &b.chains[tokenBuckets+int(key[0])]
		if isObjectRow(key) {
			hash := hashes[i%fetchedRows]
			if old := b.gathered(hash, key); old != nil {
				b.bytes += len(r.value) - len(old.value)
				old.value, old.remove = r.value, r.remove
				continue
			}
			chain = &b.chains[tokenBucket(ring.Token(binary.BigEndian.Uint64(key[1:])))]
			b.index[hash>>58].add(hash, at)
		}
		keys := append(b.key(), key...)
		b.push(keys, rowChange{len(keys) - len(key), len(keys), r.value, r.remove, chain.last})
		chain.last = at + 1
		chain.count++
	}
}

// gathered returns an object's row that is in the batch, nil where it is not.
func (b *rowBatch) gathered(hash uint64, key []byte) *rowChange {
	x := &b.index[hash>>58]
	for place, at := x.next(hash, x.home(hash)); place != noPlace; place, at = x.next(hash, at) {
		if r, same := b.at(int(place)); bytes.Equal(key, same) {
			return r
		}
	}
	return nil
}
