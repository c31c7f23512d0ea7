package store

import (
	"errors"
	"fmt"
	"sync"

	"github.com/cockroachdb/pebble/v2"
)

// Commits go to the commit log, and not to Pebble: an insertion into its skiplist costs
// more than all the rest of a SET, since it waits for memory once for each level.
//
//  1. A commit is a record of the log. What it changes is gathered in memory, the
//     last change of each row, and readers find it in the object caches, where it
//     stays until the next checkpoint.
//  2. A checkpoint writes what was gathered to Pebble, in one batch. A large one
//     Pebble takes as it is, sorted, and inserts it nowhere. A goroutine does
//     it while commits go on, one at a time.
//  3. There is a checkpoint when much has been gathered or the log is long. The log is
//     then begun anew, and when Pebble has flushed what it was given, the segments
//     before are retired.
//  4. Whoever looks at Pebble's rows calls Store.checkpoint first. So does a commit
//     by which ranges of rows go: it is given to Pebble before it ends.
//  5. After an unclean stop what the log holds is given to Pebble again, in order,
//     before anything else.
//
// A commit never waits within Pebble, but for a checkpoint where too much is gathered.
type gathered struct {
	mu      sync.Mutex    // guards what follows; innermost
	rows    *rowBatch     // since the last checkpoint began
	writing *rowBatch     // what a checkpoint writes; nil: there is none under way
	done    chan struct{} // closed when it has written that; nil: likewise

	retiring bool // a checkpoint that retires segments is not yet done with that
}

const (
	// checkpointBytesMax is how much is gathered between two checkpoints.
	checkpointBytesMax = 16 << 20
	// logBytesMax is how long the log becomes before a checkpoint.
	logBytesMax = 64 << 20
	// smallCheckpointBytes: one that Pebble does not flush at once.
	smallCheckpointBytes = 1 << 20
)

// commitRows makes a batch durable, and gathers it. The caller holds commitMu.
func (s *Store) commitRows(rows *rowBatch, seq uint64) error {
	if rows.empty() {
		return nil
	}
	if err := s.commitLog.append(rows); err != nil {
		return err
	}
	if len(rows.gone) > 0 {
		if err := s.checkpointAll(); err != nil {
			return err
		}
		return s.await(s.start(&checkpointing{rows: rows, seq: seq}))
	}
	g := &s.gathered
	g.mu.Lock()
	g.rows.gather(rows)
	bytes, retiring := g.rows.bytes, g.retiring
	g.mu.Unlock()
	long := s.commitLog.current.bytes >= s.logBytes && !retiring
	if !long && bytes < s.checkpointBytes {
		return nil
	}
	if done := g.underWay(); done != nil {
		if bytes < 2*s.checkpointBytes {
			return nil
		}
		if err := s.await(done); err != nil {
			return err
		}
	}
	_, err := s.beginCheckpoint(seq, !retiring)
	return err
}

// A checkpointing is one checkpoint.
type checkpointing struct {
	rows   *rowBatch // nil: what is gathered when it starts
	seq    uint64    // the last commit whose rows these are
	retire uint64    // segments before that one are to be retired; 0: none
	done   chan struct{}
}

// start begins a checkpoint, while none is under way, and returns what is closed when
// Pebble has its rows.
func (s *Store) start(c *checkpointing) <-chan struct{} {
	c.done = make(chan struct{})
	g := &s.gathered
	g.mu.Lock()
	if c.rows == nil {
		c.rows, g.rows = g.rows, &rowBatch{}
	}
	g.writing, g.done = c.rows, c.done
	g.retiring = g.retiring || c.retire != 0
	g.mu.Unlock()
	s.checkpoints.Go(func() { s.run(c) })
	return c.done
}

// beginCheckpoint begins a checkpoint of all commits up to seq, while none is under
// way, and begins the log anew where segments are to be retired. It returns what is
// closed when Pebble has them. The caller holds commitMu.
func (s *Store) beginCheckpoint(seq uint64, retire bool) (done <-chan struct{}, err error) {
	c := &checkpointing{seq: seq}
	if retire {
		if err := s.commitLog.rotate(); err != nil {
			return nil, err
		}
		c.retire = s.commitLog.current.number
	}
	return s.start(c), nil
}

// run is the goroutine of a checkpoint. A failure stops the writes: what was gathered
// stays in memory, and in the log.
func (s *Store) run(c *checkpointing) {
	err := s.syncBefore(c)
	if err == nil {
		err = s.write(c)
	}
	if err != nil {
		s.fail(err)
		return // whoever waits is told by failed
	}
	g := &s.gathered
	g.mu.Lock()
	g.writing, g.done = nil, nil
	g.mu.Unlock()
	close(c.done)
	if c.retire == 0 {
		return
	}
	if err := s.retire(c.retire); err != nil {
		s.fail(err)
		return
	}
	g.mu.Lock()
	g.retiring = false
	g.mu.Unlock()
}

// syncBefore syncs the log before Pebble makes durable what is in it: else a power
// cut could leave later commits, and an earlier state of the same rows to be replayed
// over them. What is small stays in Pebble's memory until more comes.
func (s *Store) syncBefore(c *checkpointing) error {
	if c.retire == 0 && c.rows.bytes < smallCheckpointBytes {
		return nil
	}
	return s.commitLog.sync()
}

// write gives rows to Pebble.
func (s *Store) write(c *checkpointing) (err error) {
	defer s.recoverPebble(&err)
	batch := s.db.NewBatchWithSize(c.rows.bytes + 16*len(c.rows.rows))
	err = c.rows.appendTo(batch)
	if err == nil {
		err = batch.Commit(pebble.NoSync)
	}
	if err = errors.Join(err, batch.Close()); err != nil {
		return fmt.Errorf("checkpoint: %w", err)
	}
	s.checkpointed.Store(c.seq)
	s.cache.trimAfter(c.rows.bytes)
	return nil
}

// retire has Pebble make durable all that it was given, and retires segments.
func (s *Store) retire(before uint64) (err error) {
	defer s.recoverPebble(&err)
	if err := s.db.Flush(); err != nil {
		return fmt.Errorf("flush: %w", err)
	}
	return s.commitLog.retire(before)
}

// recoverPebble makes an error of a panic of Pebble's, which is how it says that it
// cannot go on.
func (s *Store) recoverPebble(err *error) {
	if r := recover(); r != nil {
		*err = fmt.Errorf("pebble: %v", r)
		s.giveUp(*err)
	}
}

// underWay returns what is closed when the checkpoint that is under way has written
// all; nil: there is none.
func (g *gathered) underWay() <-chan struct{} {
	g.mu.Lock()
	defer g.mu.Unlock()
	return g.done
}

// dueBy says whether Pebble may not know of an expiry row that is due by then.
func (g *gathered) dueBy(nowMS int64) bool {
	g.mu.Lock()
	defer g.mu.Unlock()
	due := func(rows *rowBatch) bool { return rows != nil && rows.soonestMS != 0 && rows.soonestMS <= nowMS }
	return due(g.rows) || due(g.writing)
}

// await waits until done is closed or writes are stopped.
func (s *Store) await(done <-chan struct{}) error {
	select {
	case <-done:
		return nil
	case <-s.failed:
		return *s.failure.Load()
	}
}

// checkpointAll has Pebble know all that is gathered. The caller holds commitMu.
func (s *Store) checkpointAll() error {
	g := &s.gathered
	if done := g.underWay(); done != nil {
		if err := s.await(done); err != nil {
			return err
		}
	}
	g.mu.Lock()
	nothing := g.rows.empty()
	g.mu.Unlock()
	seq := s.committed.Load()
	if nothing {
		s.checkpointed.Store(seq)
		return nil
	}
	done, err := s.beginCheckpoint(seq, false)
	if err != nil {
		return err
	}
	return s.await(done)
}

// checkpoint makes what was committed before the call be among Pebble's rows. Commits go
// on meanwhile: a fill scans partition after partition, and clients would wait for each.
func (s *Store) checkpoint() error {
	for committed := s.committed.Load(); s.checkpointed.Load() < committed; {
		done, err := s.nextCheckpoint()
		if err == nil {
			err = s.await(done)
		}
		if err != nil {
			return &opError{ErrStopped, err}
		}
	}
	return nil
}

// nextCheckpoint returns what is closed when the checkpoint is done that is under
// way or, where there is none, one that it begins.
func (s *Store) nextCheckpoint() (done <-chan struct{}, err error) {
	s.commitMu.Lock()
	defer s.commitMu.Unlock()
	g := &s.gathered
	if done := g.underWay(); done != nil {
		return done, nil
	}
	g.mu.Lock()
	nothing := g.rows.empty()
	g.mu.Unlock()
	seq := s.committed.Load()
	if nothing {
		s.checkpointed.Store(seq)
		ended := make(chan struct{})
		close(ended)
		return ended, nil
	}
	return s.beginCheckpoint(seq, false)
}

// checkpointRange makes the rows from one up to another that were committed before
// the call be among Pebble's.
func (s *Store) checkpointRange(from, to []byte) error {
	if !s.gathered.touches(from, to) {
		return nil
	}
	return s.checkpoint()
}

// touches says whether Pebble may not know of a change of a row from one up to
// another.
func (g *gathered) touches(from, to []byte) bool {
	g.mu.Lock()
	defer g.mu.Unlock()
	return g.rows.touches(from, to) || g.writing != nil && g.writing.touches(from, to)
}

// checkpointOpen makes what has been changed be among Pebble's rows.
func (s *Store) checkpointOpen() error {
	if err := s.commitOpen(); err != nil {
		return err
	}
	return s.checkpoint()
}

// replayLog gives Pebble what an unclean stop has left in the log.
func (s *Store) replayLog() error {
	gathered := &rowBatch{}
	give := func(rows *rowBatch) error {
		err := s.write(&checkpointing{rows: rows})
		gathered = &rowBatch{}
		return err
	}
	log, err := openLog(s.fs, s.opts.Dir, s.opts.Sync, func(rows *rowBatch) error {
		if len(rows.gone) > 0 {
			return errors.Join(give(gathered), give(rows))
		}
		gathered.gather(rows)
		if gathered.bytes >= s.checkpointBytes {
			return give(gathered)
		}
		return nil
	})
	if err != nil {
		return err
	}
	s.commitLog = log
	if err := give(gathered); err != nil {
		return err
	}
	if len(log.live) > 1 {
		return s.retire(log.current.number)
	}
	return nil
}

// forgetUncommitted takes from the caches, after a failure, what was not committed.
// Where Pebble does not have what was committed before it, that takes its place.
func (s *Store) forgetUncommitted() {
	var objects, hints []cached
	g := &s.gathered
	g.mu.Lock()
	for _, rows := range []*rowBatch{g.writing, g.rows} {
		for i := 0; rows != nil && i < len(rows.rows); i++ {
			r := &rows.rows[i]
			row := rows.keys[r.from:r.to]
			switch row[0] {
			case prefixObject:
				if k, err := parseObjectKey(row); err == nil {
					buf := append(append(make([]byte, 0, len(k.User)+len(r.value)), k.User...), r.value...)
					objects = append(objects, cached{s.cache.hash(k.DB, k.User), buf, len(k.User)})
				}
			case prefixHint:
				if owner, k, err := parseHintKey(row); err == nil {
					key := hintCacheKey(owner, k)
					hints = append(hints, cached{s.hints.hash(key), append(key, r.value...), len(key)})
				}
			}
		}
	}
	g.mu.Unlock()
	committed := s.committed.Load()
	s.cache.rollBack(committed, objects)
	s.hints.cache.rollBack(committed, hints)
}

// checkpointsEnded waits until none is under way, and reports that; or that Pebble
// has given up, which may hold one for ever.
func (s *Store) checkpointsEnded() bool {
	ended := make(chan struct{})
	go func() {
		s.checkpoints.Wait()
		close(ended)
	}()
	select {
	case <-ended:
		return true
	case <-s.gaveUp:
		return false
	}
}
