package store

import (
	"fmt"
	"time"
)

// giveUp notes that Pebble will not write again, whatever it is asked: it may
// hold locks for ever. Pebble calls it with its own locks held.
func (s *Store) giveUp(err error) {
	first := s.broken.CompareAndSwap(false, true)
	s.fail(err)
	if first {
		close(s.gaveUp)
	}
}

// stallMax is how long commits may wait for Pebble while its background work
// fails again and again, before the writes are stopped.
const stallMax = 10 * time.Second

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

// CommitAll is Commit of all that has been changed, for what nobody waits for.
func (s *Store) CommitAll() error { return s.commitOpen() }

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

	err := s.commitRows(rows, committing)
	if failure := s.failure.Load(); failure != nil {
		err = *failure
	}
	if err != nil {
		s.fail(err)
		return &opError{ErrCommit, err}
	}
	rows.reset()
	s.open.mu.Lock()
	s.open.spare = rows
	s.open.mu.Unlock()
	s.committed.Store(committing)
	s.stats.commits.Add(1)
	return nil
}

// fail stops writes for good. Pebble calls it too, with its own locks held.
func (s *Store) fail(err error) {
	if s.failure.CompareAndSwap(nil, &err) {
		close(s.failed)
		s.forgetUncommitted()
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
	if err := s.syncLog(); err != nil {
		return &opError{ErrCommit, err}
	}
	return nil
}

// openStage gives the log its stage, where it is of use: not for who syncs often.
func (s *Store) openStage() {
	if s.opts.MapFile == nil || s.commitLog.byZeros {
		return
	}
	bytes := int(min(stageBytesMax, s.opts.MemoryBytes/32)) &^ (stagePage - 1)
	if err := s.commitLog.stageIn(bytes, s.opts.MapFile); err != nil {
		s.log.Warn().Err(err).Msg("the commit log has no stage: commits wait for the file system")
	}
}

// runDrain writes to the log what waits in its stage, when it is much.
func (s *Store) runDrain() {
	for {
		select {
		case <-s.stop:
			return
		case <-s.commitLog.full:
			s.drainLog()
		}
	}
}

// drainLog writes to the log what waits in its stage. A failure stops the writes.
func (s *Store) drainLog() {
	if err := s.commitLog.drain(); err != nil {
		s.fail(fmt.Errorf("write the commit log: %w", err))
	}
}

// syncLog makes durable what has been committed. A failure stops the writes.
func (s *Store) syncLog() error {
	if err := s.commitLog.sync(); err != nil {
		s.fail(err)
	}
	if err := s.failure.Load(); err != nil {
		return *err
	}
	return nil
}
