package store

import (
	"bytes"
	"cmp"
	"errors"
	"slices"

	"github.com/cockroachdb/pebble/v2"

	"cartwheel/cluster/ring"
)

// So many rows that Pebble does not have a scan looks at. Where there are more it
// has Pebble be given them first. That is dear: what clients write meanwhile is given to Pebble row by
// row then, and not once for the many times that it changes.
const (
	newerMax      = 4096 // objects
	newerOtherMax = 256  // others, which are in one chain: hints are scanned in many small steps
)

// newerRows returns the rows from lower up to upper that were committed before the call and that Pebble
// may not have, in their order. They are of the chains first to last. Not ok: these have more than left.
func (g *gathered) newerRows(first, last int, lower, upper []byte, left int) (rows []newerRow, ok bool) {
	g.mu.Lock()
	older := 0
	if w := g.writing; w != nil {
		if len(w.rows.gone) > 0 {
			left = -1
		} else {
			rows, left = w.rows.newer(nil, left, first, last, lower, upper)
		}
		older = len(rows)
	}
	if left >= 0 {
		rows, left = g.rows.newer(rows, left, first, last, lower, upper)
	}
	g.mu.Unlock()
	if left < 0 {
		return nil, false
	}
	for i := range rows[older:] {
		rows[older+i].order += 1 << 32
	}
	slices.SortFunc(rows, func(a, b newerRow) int {
		return cmp.Or(bytes.Compare(a.key, b.key), cmp.Compare(b.order, a.order))
	})
	return slices.CompactFunc(rows, func(a, b newerRow) bool { return bytes.Equal(a.key, b.key) }), true
}

// newerObjects is newerRows of objects' rows, by tokens.
func (g *gathered) newerObjects(first, last ring.Token) (rows []newerRow, ok bool) {
	lower, upper := tokenRange(prefixObject, first, last)
	return g.newerRows(tokenBucket(first), tokenBucket(last), lower, upper, newerMax)
}

// overlay calls visit with the rows of an iterator as the newer ones have changed them, in order, until it returns an
// error, and closes the iterator. The newer ones must have been looked for before the iterator was made: what a checkpoint gives to
// Pebble in between is in both.
func overlay(iter *pebble.Iterator, newer []newerRow, visit func(row, text []byte) error) (err error) {
	iter.First()
	for err == nil && (iter.Valid() || len(newer) > 0) {
		order := 1
		switch {
		case len(newer) == 0:
		case !iter.Valid():
			order = -1
		default:
			order = bytes.Compare(newer[0].key, iter.Key())
		}
		if order > 0 {
			err = visit(iter.Key(), iter.Value())
			iter.Next()
			continue
		}
		if order == 0 {
			iter.Next()
		}
		if !newer[0].remove {
			err = visit(newer[0].key, newer[0].value)
		}
		newer = newer[1:]
	}
	return errors.Join(err, iter.Error(), iter.Close())
}
