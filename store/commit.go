package store

import (
	"errors"
	"fmt"
	"time"

	"github.com/cockroachdb/pebble/v2"
)

// A committer hands batches to Pebble from a goroutine of its own, for the sake
// of one moment: a commit waits inside Pebble while too much is unflushed, and
// if Pebble then gives up flushing, for ever. Whoever waits for the committer is
// told by gaveUp and goes on; the committer, and what it holds within Pebble,
// stay as they are until the process ends. While so little is unflushed that a
// commit cannot have to wait, it is made at once: two switches between goroutines
// cost more than it.
type committer struct {
	work   chan *rowBatch // one at a time, under commitMu
	done   chan error
	gaveUp chan struct{} // closed when Pebble has given up
	ended  chan struct{} // closed when the goroutine has ended
}

func newCommitter() committer {
	return committer{
		work:   make(chan *rowBatch),
		done:   make(chan error, 1),
		gaveUp: make(chan struct{}),
		ended:  make(chan struct{}),
	}
}

// runCommitter serves until work is closed.
func (s *Store) runCommitter() {
	defer close(s.committer.ended)
	for rows := range s.committer.work {
		s.committer.done <- s.apply(rows)
	}
}

// applyUnlessGaveUp is apply by the committer, for one who holds commitMu.
func (s *Store) applyUnlessGaveUp(rows *rowBatch) error {
	switch {
	case rows.empty():
		return nil
	case s.unflushed.Load() < unflushedFew && !s.crowded.Load() && !s.broken.Load():
		return s.apply(rows)
	}
	select {
	case s.committer.work <- rows:
	case <-s.committer.gaveUp:
		return errGaveUp
	}
	select {
	case err := <-s.committer.done:
		return err
	case <-s.committer.gaveUp:
		return errGaveUp
	}
}

// unflushedFew is how many memtables may wait to be flushed while a commit is made
// at once. It fills one more at most, and waits for room from the fifth on.
const unflushedFew = memtablesMax - 2

var errGaveUp = errors.New("pebble gave up")

// giveUp notes that Pebble will not write again, whatever it is asked: it may
// hold locks for ever. Pebble calls it with its own locks held.
func (s *Store) giveUp(err error) {
	first := s.broken.CompareAndSwap(false, true)
	s.fail(err)
	if first {
		close(s.committer.gaveUp)
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

	err := s.applyUnlessGaveUp(rows)
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
			err = fmt.Errorf("pebble: %v", r)
			s.giveUp(err)
		}
	}()
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
		s.hints.cache.clear()
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
