package store

import (
	"fmt"

	"github.com/cockroachdb/pebble/v2"
)

// openSeq returns the sequence of the batch that is open.
func (s *Store) openSeq() uint64 {
	s.open.mu.Lock()
	defer s.open.mu.Unlock()
	return s.open.seq
}

// commitOpen commits the batch that is open, if there is anything in it, and all
// before it.
func (s *Store) commitOpen() error {
	s.open.mu.Lock()
	seq := s.open.seq
	if s.open.rows.empty() {
		seq--
	}
	s.open.mu.Unlock()
	return s.Commit(seq)
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
	rows, committing := s.open.rows, s.open.seq
	s.open.rows, s.open.spare = s.open.spare, nil
	s.open.seq++
	s.open.mu.Unlock()

	err := s.apply(rows)
	if failure := s.failure.Load(); failure != nil {
		err = *failure
	}
	if err != nil {
		s.fail(err)
		return &opError{ErrCommit, err}
	}
	bytes := rows.bytes
	rows.reset()
	s.open.mu.Lock()
	s.open.spare = rows
	s.open.mu.Unlock()
	s.committed.Store(committing)
	s.stats.commits.Add(1)
	s.cache.trimAfter(bytes)
	return nil
}

// apply commits one batch. Pebble panics over a log that it cannot write.
func (s *Store) apply(rows *rowBatch) (err error) {
	defer func() {
		if r := recover(); r != nil {
			s.broken.Store(true)
			err = fmt.Errorf("pebble: %v", r)
		}
	}()
	if rows.empty() {
		return nil
	}
	batch := s.db.NewBatchWithSize(rows.bytes + 16*len(rows.rows))
	if err := rows.appendTo(batch); err != nil {
		return err
	}
	if err := batch.Commit(pebble.Sync); err != nil {
		return err
	}
	return batch.Close()
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
	if err := s.commitOpen(); err != nil {
		return err
	}
	s.wal.syncDirty()
	if err := s.failure.Load(); err != nil {
		return &opError{ErrCommit, *err}
	}
	return nil
}
