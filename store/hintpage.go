package store

import (
	"bytes"
	"errors"

	"cartwheel/cluster/ring"
	"cartwheel/store/version"
)

// Hints calls visit with the hints for an owner whose keys come after from, in
// the order of the keys, until it returns false or has seen max of them or, with
// their forms, maxBytes. It returns where to go on from: the last key it passed,
// or the zero Key when there are no more. text is the form of o; what is passed
// is valid during the call. It sees what is committed.
//
// A hint that is corrupt is dropped, and a repair noted as owed.
func (s *Store) Hints(owner ring.NodeID, from Key, max, maxBytes int, visit func(k Key, o *version.Object, text []byte) bool) (next Key, err error) {
	prefix := append([]byte{prefixHint}, owner[:]...)
	var start []byte
	if !from.zero() {
		start = append(from.appendTail(nil), 0) // no row continues another's
	}
	var o version.Object
	var buf []byte
	var corrupt []Key
	seen, size := 0, 0
	err = s.scanPrefixAfter(s.checkpointAtLeisure, prefix, start, func(row, text []byte) error {
		_, k, err := parseHintKey(row)
		if err != nil {
			return err
		}
		flushed, err := s.decodeStored(k, text, &o)
		switch {
		case err != nil && len(corrupt) < sweepRows:
			corrupt = append(corrupt, k.clone())
			return nil
		case err != nil || len(o.Siblings) == 0:
			return nil
		case flushed:
			buf = version.AppendObject(buf[:0], &o)
			text = buf
		}
		seen++
		size += len(text)
		if !visit(k, &o, text) || seen >= max || size >= maxBytes {
			next = k.clone()
			return errStopScan
		}
		return nil
	})
	for _, k := range corrupt {
		if err := s.dropCorruptHint(owner, k); err != nil {
			return next, err
		}
	}
	if errors.Is(err, errStopScan) {
		err = nil
	}
	return next, err
}

// dropCorruptHint removes a hint that cannot be read, and notes that its owner
// is owed a repair.
func (s *Store) dropCorruptHint(owner ring.NodeID, k Key) error {
	if err := s.writable(true); err != nil {
		return err
	}
	lock := s.partitionLock(k.Token.Slot())
	lock.Lock()
	defer lock.Unlock()
	var o version.Object
	stored, _, err := s.loadHint(owner, k, &o)
	if !errors.Is(err, ErrCorrupt) || stored == 0 {
		return nil // it was replaced meanwhile, or its size is not known
	}
	if _, err := s.OweRepair(owner, s.partitionOf(k)); err != nil {
		return err
	}
	s.dropHint(owner, k, stored)
	return nil
}

// reclaimHints deletes the hints of which flush marks have left nothing.
func (s *Store) reclaimHints() error {
	if !s.hints.reclaim.Swap(false) {
		return nil
	}
	var start []byte
	for !s.closing.Load() {
		rows, err := s.flushedHints(start)
		if err == nil {
			err = s.dropFlushedHints(rows)
		}
		if err != nil {
			s.hints.reclaim.Store(true)
			return err
		}
		if len(rows) < sweepRows {
			return nil
		}
		start = append(rows[len(rows)-1][1:], 0)
	}
	return nil
}

// flushedHints returns copies of the first rows at or after start of which a
// flush has left nothing.
func (s *Store) flushedHints(start []byte) (rows [][]byte, err error) {
	var o version.Object
	err = s.scanPrefix([]byte{prefixHint}, start, func(row, text []byte) error {
		_, k, err := parseHintKey(row)
		if err != nil {
			return err
		}
		if _, err := s.decodeStored(k, text, &o); err != nil || len(o.Siblings) > 0 {
			return nil
		}
		if rows = append(rows, bytes.Clone(row)); len(rows) == sweepRows {
			return errStopScan
		}
		return nil
	})
	if errors.Is(err, errStopScan) {
		err = nil
	}
	return rows, err
}

func (s *Store) dropFlushedHints(rows [][]byte) error {
	for _, row := range rows {
		owner, k, err := parseHintKey(row)
		if err != nil {
			return err
		}
		if err := s.dropIfFlushed(owner, k); err != nil {
			return err
		}
	}
	return s.commitOpen()
}

func (s *Store) dropIfFlushed(owner ring.NodeID, k Key) error {
	lock := s.partitionLock(k.Token.Slot())
	lock.Lock()
	defer lock.Unlock()
	var o version.Object
	stored, _, err := s.loadHint(owner, k, &o)
	if err != nil || stored == 0 || len(o.Siblings) > 0 {
		return nil // it is another one by now
	}
	s.dropHint(owner, k, stored)
	return nil
}
