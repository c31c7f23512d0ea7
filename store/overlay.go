package store

import (
	"bytes"
	"cmp"
	"errors"
	"slices"

	"github.com/cockroachdb/pebble/v2"

	"cartwheel/cluster/ring"
)

// newerRows are the rows of a range that were committed before a scan and that Pebble may not have, in order.
// They are looked up a chain at a time, as the scan gets there, in what was gathered when it began:
// that does not lose rows when it is given to Pebble. What has been gathered since may be among them, or not.
type newerRows struct {
	g            *gathered
	batches      []*rowBatch // the older first
	chain, last  int         // what is to be looked up next, and last
	lower, upper []byte
	rows         []newerRow // looked up, and not passed yet
	memory       []newerRow
}

// A newerRow is a row as Pebble may not have it yet.
type newerRow struct {
	key, value []byte
	remove     bool
	order      int64 // of several of one key the highest counts
}

// newerMax is how many rows of one chain a scan looks up. Where there are more it has
// Pebble be given them first. That is dear: what clients write meanwhile is given to Pebble row by
// row then, and not once for the many times that it changes.
const newerMax = 256

// newer returns the rows from lower up to upper, which are in the chains first to last. Not ok: they are not to be had
// before Pebble has been given what is gathered.
func (g *gathered) newer(first, last int, lower, upper []byte) (n *newerRows, ok bool) {
	n = &newerRows{g: g, chain: first, last: last, lower: lower, upper: upper}
	g.mu.Lock()
	defer g.mu.Unlock()
	if g.writing != nil {
		n.batches = append(n.batches, g.writing.rows)
	}
	n.batches = append(n.batches, g.rows)
	for _, b := range n.batches {
		if len(b.gone) > 0 || b.longest(first, last) > newerMax {
			return nil, false
		}
	}
	return n, true
}

// newerObjects is newer of objects' rows, by tokens.
func (g *gathered) newerObjects(first, last ring.Token) (n *newerRows, ok bool) {
	lower, upper := tokenRange(prefixObject, first, last)
	return g.newer(tokenBucket(first), tokenBucket(last), lower, upper)
}

// first returns the first row that is left, or nil.
func (n *newerRows) first() *newerRow {
	if len(n.rows) == 0 && n.chain <= n.last {
		n.lookUp()
	}
	if len(n.rows) == 0 {
		return nil
	}
	return &n.rows[0]
}

func (n *newerRows) pass() { n.rows = n.rows[1:] }

// lookUp finds the rows of the next chain that has some.
func (n *newerRows) lookUp() {
	rows := n.memory[:0]
	n.g.mu.Lock()
	for ; n.chain <= n.last && len(rows) == 0; n.chain++ {
		for i, b := range n.batches {
			rows = b.chained(rows, n.chain, n.lower, n.upper, int64(i)<<32)
		}
	}
	n.g.mu.Unlock()
	n.memory = rows
	slices.SortFunc(rows, func(a, b newerRow) int {
		return cmp.Or(bytes.Compare(a.key, b.key), cmp.Compare(b.order, a.order))
	})
	n.rows = slices.CompactFunc(rows, func(a, b newerRow) bool { return bytes.Equal(a.key, b.key) })
}

// lookUpAll finds all rows now.
func (n *newerRows) lookUpAll() {
	var all []newerRow
	for n.chain <= n.last {
		n.lookUp()
		all = append(all, n.rows...)
	}
	n.rows = all
}

// overlay calls visit with the rows of an iterator as the newer ones have changed them, in order, until it returns an
// error, and closes the iterator. The newer ones, nil for none, must have been asked for before the iterator was made: what
// a checkpoint gives to Pebble in between is in both. It is no snapshot of all rows: each is as it was at some time since.
func overlay(iter *pebble.Iterator, newer *newerRows, visit func(row, text []byte) error) (err error) {
	if newer == nil {
		newer = &newerRows{last: -1}
	}
	for iter.First(); err == nil && iter.Error() == nil; {
		row := newer.first()
		if row == nil && !iter.Valid() {
			break
		}
		order := 1
		switch {
		case row == nil:
		case !iter.Valid():
			order = -1
		default:
			order = bytes.Compare(row.key, iter.Key())
		}
		if order > 0 {
			err = visit(iter.Key(), iter.Value())
			iter.Next()
			continue
		}
		if order == 0 {
			iter.Next()
		}
		if !row.remove {
			err = visit(row.key, row.value)
		}
		newer.pass()
	}
	return errors.Join(err, iter.Error(), iter.Close())
}
