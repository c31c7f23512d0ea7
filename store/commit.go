package store

import (
	"fmt"
	"sync"

	"github.com/cockroachdb/pebble/v2"
)

// openBatch gathers the changes that the next commit makes durable.
//
//  1. Whoever changes an object appends to the open batch under open.mu, while
//     holding the object's partition lock: the batches, and what is within
//     them, are in the order of the changes.
//  2. Whoever needs a change durable calls Commit with the batch's sequence.
//     The first to get commitMu closes the open batch, opens the spare and
//     commits; the others find, when they get it, that it has been done.
//     While one commits, the next batch fills: commits group by themselves.
type openBatch struct {
	mu    sync.Mutex
	batch *pebble.Batch
	spare *pebble.Batch
	seq   uint64 // of batch
	row   []byte // memory to build row keys in
}

// batchBytesMax is the size past which whoever adds to a batch commits it.
const batchBytesMax = 4 << 20

// openSeq returns the sequence of the batch that is open.
func (s *Store) openSeq() uint64 {
	s.open.mu.Lock()
	defer s.open.mu.Unlock()
	return s.open.seq
}

// Committed returns the last sequence whose commit is done.
func (s *Store) Committed() uint64 { return s.committed.Load() }

// Commit returns when the changes of sequence seq, and all before it, are as
// durable as the mode says.
func (s *Store) Commit(seq uint64) error {
	if s.committed.Load() >= seq {
		return nil
	}
	s.commitMu.Lock()
	defer s.commitMu.Unlock()
	if s.committed.Load() >= seq {
		return nil
	}
	if err := s.failure.Load(); err != nil {
		return &opError{ErrCommit, *err}
	}
	s.open.mu.Lock()
	batch, committing := s.open.batch, s.open.seq
	s.open.batch, s.open.spare = s.open.spare, nil
	s.open.seq++
	s.open.mu.Unlock()

	err := s.apply(batch)
	if failure := s.failure.Load(); failure != nil {
		err = *failure
	}
	if err != nil {
		s.fail(err)
		return &opError{ErrCommit, err}
	}
	if batch.Len() > batchBytesMax {
		_ = batch.Close()
		batch = s.db.NewBatch()
	} else {
		batch.Reset()
	}
	s.open.mu.Lock()
	s.open.spare = batch
	s.open.mu.Unlock()
	s.committed.Store(committing)
	s.stats.commits.Add(1)
	return nil
}

// apply commits one batch. Pebble panics over a log that it cannot write.
func (s *Store) apply(batch *pebble.Batch) (err error) {
	defer func() {
		if r := recover(); r != nil {
			s.broken.Store(true)
			err = fmt.Errorf("pebble: %v", r)
		}
	}()
	if batch.Empty() {
		return nil
	}
	return s.db.Apply(batch, pebble.Sync)
}

// fail stops writes for good. Pebble calls it too, with its own locks held.
func (s *Store) fail(err error) {
	if s.failure.CompareAndSwap(nil, &err) {
		s.cache.clear() // it holds what was not committed
		s.log.Error().Err(err).Msg("a commit failed: writes are stopped until a restart, reads go on")
	}
}

// writable says whether a write may begin. onlyDeletes is for one that frees
// space.
func (s *Store) writable(onlyDeletes bool) error {
	if err := s.failure.Load(); err != nil {
		return &opError{ErrStopped, *err}
	}
	return s.disk.check(onlyDeletes)
}

// Failure returns why writes are stopped, or nil.
func (s *Store) Failure() error {
	if err := s.failure.Load(); err != nil {
		return *err
	}
	return s.disk.check(false)
}

// Sync returns when everything changed before the call is on the disk, whatever
// the mode.
func (s *Store) Sync() error {
	if err := s.Commit(s.openSeq()); err != nil {
		return err
	}
	s.wal.syncDirty()
	if err := s.failure.Load(); err != nil {
		return &opError{ErrCommit, *err}
	}
	return nil
}
