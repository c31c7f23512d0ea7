package store

import (
	"bytes"
	"errors"

	"github.com/cockroachdb/pebble/v2"

	"cartwheel/cluster/ring"
	"cartwheel/store/version"
)

// errStopScan ends a scan early.
var errStopScan = errors.New("stop")

// scanObjects calls visit with the object rows of the tokens first to last, as the newer ones have
// changed them. What it passes is valid during the call.
func (s *Store) scanObjects(from pebble.Reader, newer *newerRows, first, last ring.Token, visit func(k Key, text []byte) error) error {
	lower, upper := tokenRange(prefixObject, first, last)
	iter, err := from.NewIter(&pebble.IterOptions{LowerBound: lower, UpperBound: upper})
	if err != nil {
		return err
	}
	return overlay(iter, newer, func(row, text []byte) error {
		k, err := parseObjectKey(row)
		if err != nil {
			return err
		}
		return visit(k, text)
	})
}

// Scan calls visit with the objects of the tokens first to last, in token
// order, until visit returns false. A corrupt object is passed as nil: its key
// is known. It sees what is committed; what it passes is valid during the call.
func (s *Store) Scan(first, last ring.Token, visit func(k Key, o *version.Object) bool) error {
	var o version.Object
	newer, ok := s.gathered.newerObjects(first, last)
	if !ok {
		if err := s.checkpoint(); err != nil {
			return err
		}
	}
	err := s.scanObjects(s.db, newer, first, last, func(k Key, text []byte) error {
		object := &o
		if _, err := s.decodeStored(k, text, &o); err != nil {
			s.stats.corrupt.Add(1)
			object = nil
		} else if len(o.Siblings) == 0 {
			return nil // a flush has hidden it
		}
		if !visit(k, object) {
			return errStopScan
		}
		return nil
	})
	if errors.Is(err, errStopScan) {
		return nil
	}
	return err
}

// scanPrefix calls visit with the committed rows, but for objects', that begin with prefix, from
// the first at or after from, until it returns an error.
func (s *Store) scanPrefix(prefix, from []byte, visit func(row, text []byte) error) error {
	return s.scanPrefixAfter(s.checkpoint, prefix, from, visit)
}

// scanPrefixAfter is scanPrefix with the checkpoint that it makes, where too much is gathered.
func (s *Store) scanPrefixAfter(checkpoint func() error, prefix, from []byte, visit func(row, text []byte) error) error {
	lower, upper := bytes.Clone(append(prefix[:len(prefix):len(prefix)], from...)), after(prefix)
	chain := tokenBuckets + int(prefix[0])
	newer, ok := s.gathered.newer(chain, chain, lower, upper)
	if !ok {
		if err := checkpoint(); err != nil {
			return err
		}
	}
	iter, err := s.db.NewIter(&pebble.IterOptions{LowerBound: lower, UpperBound: upper})
	if err != nil {
		return err
	}
	return overlay(iter, newer, visit)
}

// after returns the least row after all that begin with prefix.
func after(prefix []byte) []byte {
	end := bytes.Clone(prefix)
	for i := len(end) - 1; i >= 0; i-- {
		if end[i]++; end[i] != 0 {
			return end[:i+1]
		}
	}
	return nil
}
