package store

import (
	"encoding/binary"
	"errors"
	"fmt"
	"math/rand/v2"
	"sync"
	"time"

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
//  4. Whoever looks at Pebble's rows looks at what is gathered too (newerRows), or
//     calls Store.checkpoint first. So does a commit
//     by which ranges of rows go: it is given to Pebble before it ends.
//  5. With what it is given, in the same batch, Pebble notes how far in the log that
//     is. After an unclean stop it is given what is behind that: where a power cut left
//     it with more than the log, nothing older is put over it.
//
// A commit never waits within Pebble, but for a checkpoint where too much is gathered.
type gathered struct {
	mu      sync.Mutex     // guards what follows; innermost
	rows    *rowBatch      // since the last checkpoint began
	sooner  int            // 1024ths of what makes a checkpoint that the next comes before it is due: others each time, lest all replicas of a key write at once
	seq     uint64         // the last commit that is in the log
	writing *checkpointing // under way, or failed; nil: none is

	retiring chan struct{} // closed when the segments are retired that are to be; nil: none are
}

const (
	// checkpointBytesMax is how much is gathered between two checkpoints.
	checkpointBytesMax = 24 << 20
	// checkpointSooner is by how many 1024ths, at most, one comes sooner, be it for what is gathered or for the log.
	checkpointSooner = 256
	// logBytesMax is how long the log becomes before a checkpoint.
	logBytesMax = 128 << 20
	// logStallTimes as long, the log makes commits wait until it is retired.
	logStallTimes = 4
)

// commitRows makes a batch durable, and gathers it. The caller holds commitMu.
func (s *Store) commitRows(rows *rowBatch, seq uint64) error {
	if rows.empty() {
		return nil
	}
	if len(rows.gone) > 0 {
		return s.commitRanges(rows, seq)
	}
	if err := s.commitLog.append(rows); err != nil {
		return err
	}
	g := &s.gathered
	g.mu.Lock()
	if err := s.reached(seq); err != nil {
		g.mu.Unlock()
		return err
	}
	g.rows.gather(rows)
	bytes, retiring := g.rows.bytes, g.retiring
	most, longest := s.checkpointBytes-s.checkpointBytes/1024*g.sooner, s.logBytes-s.logBytes/1024*int64(g.sooner)
	g.mu.Unlock()
	length := s.commitLog.current.bytes
	if retiring != nil && length >= logStallTimes*s.logBytes {
		if err := s.awaitRetired(retiring); err != nil {
			return err
		}
		retiring = nil
	}
	if bytes < most && (length < longest || retiring != nil) {
		return nil
	}
	if c := g.underWay(); c != nil {
		if bytes < 2*most {
			return nil
		}
		if err := s.await(c); err != nil {
			return err
		}
	}
	_, err := s.beginCheckpoint(seq, retiring == nil)
	return err
}

// reached notes that the log has a commit, whose rows are now to be found among what is
// gathered. Not where writes have been stopped meanwhile: readers have then been given back
// what was before it. The caller holds gathered.mu.
func (s *Store) reached(seq uint64) error {
	if failure := s.failure.Load(); failure != nil {
		return *failure
	}
	s.gathered.seq = seq
	return nil
}

// commitRanges commits a batch by which ranges of rows go, when Pebble has all before,
// and gives it to Pebble.
func (s *Store) commitRanges(rows *rowBatch, seq uint64) error {
	if err := s.checkpointAll(); err != nil {
		return err
	}
	if err := s.commitLog.append(rows); err != nil {
		return err
	}
	c := &checkpointing{rows: rows, seq: seq, at: s.commitLog.position()}
	if err := s.start(c); err != nil {
		return err
	}
	return s.await(c)
}

// A checkpointing is one checkpoint.
type checkpointing struct {
	rows   *rowBatch   // nil: what is gathered when it starts
	seq    uint64      // the last commit whose rows these are
	at     logPosition // behind that
	retire uint64      // segments before that one are to be retired; 0: none
	done   chan struct{}
	err    error // set before done is closed

	wanted   chan struct{} // closed when somebody waits for it
	wantOnce sync.Once
}

// start begins a checkpoint, while none is under way.
func (s *Store) start(c *checkpointing) error {
	c.done, c.wanted = make(chan struct{}), make(chan struct{})
	g := &s.gathered
	g.mu.Lock()
	defer g.mu.Unlock()
	if c.rows == nil {
		c.rows, g.rows = g.rows, &rowBatch{}
		g.sooner = rand.IntN(checkpointSooner)
	} else if err := s.reached(c.seq); err != nil {
		return err
	}
	g.writing = c
	if c.retire != 0 {
		g.retiring = make(chan struct{})
	}
	s.checkpoints.Go(func() { s.run(c) })
	return nil
}

// beginCheckpoint begins a checkpoint of all commits up to seq, while none is under
// way, and begins the log anew where segments are to be retired. The caller holds
// commitMu.
func (s *Store) beginCheckpoint(seq uint64, retire bool) (*checkpointing, error) {
	c := &checkpointing{seq: seq, at: s.commitLog.position()}
	if retire {
		if err := s.commitLog.rotate(); err != nil {
			return nil, err
		}
		c.retire = s.commitLog.current.number
	}
	return c, s.start(c)
}

// run is the goroutine of a checkpoint. A failure stops the writes: what was gathered
// stays in memory, and in the log.
func (s *Store) run(c *checkpointing) {
	if c.err = s.write(c); c.err != nil {
		s.fail(c.err)
		close(c.done)
		return
	}
	g := &s.gathered
	g.mu.Lock()
	g.writing = nil
	g.mu.Unlock()
	close(c.done)
	if c.retire == 0 {
		return
	}
	if err := s.retire(c.retire); err != nil {
		s.fail(err)
		return
	}
	_ = s.commitLog.prepare(c.retire + 1) // else rotate does it, and says what it fails of
	g.mu.Lock()
	close(g.retiring)
	g.retiring = nil
	g.mu.Unlock()
}

// write gives rows to Pebble.
func (s *Store) write(c *checkpointing) (err error) {
	defer s.recoverPebble(&err)
	batch := s.db.NewBatchWithSize(c.rows.bytes + 16*c.rows.count)
	began := time.Now()
	err = c.rows.appendTo(batch, func() {
		if took := time.Since(began); took >= checkpointSlice {
			s.pauseCheckpoint(c, min(checkpointRests*took, pacedMax))
			began = time.Now()
		}
	})
	if err == nil {
		err = batch.Set([]byte{prefixLog}, c.at.encode(), nil)
	}
	if err == nil {
		err = batch.Commit(pebble.NoSync)
	}
	if err = errors.Join(err, batch.Close()); err != nil {
		return fmt.Errorf("checkpoint: %w", err)
	}
	s.checkpointed.Store(c.seq)
	s.cache.trimAfter(c.rows.bytes)
	s.hints.cache.trimAfter(c.rows.bytes)
	return nil
}

// A checkpoint that nobody waits for works for a slice of time and rests for some: others' requests are not to
// wait behind it, nor behind those of other nodes on the same machine.
const (
	checkpointSlice = 500 * time.Microsecond
	checkpointRests = 8
)

// pauseCheckpoint waits, where it may, until somebody wants the checkpoint.
func (s *Store) pauseCheckpoint(c *checkpointing, d time.Duration) {
	if s.mayRestFlushing() {
		s.sleep(d, c.wanted)
	}
}

// logKnown returns how much of the log Pebble has.
func (s *Store) logKnown() (p logPosition, err error) {
	text, closer, err := s.db.Get([]byte{prefixLog})
	if errors.Is(err, pebble.ErrNotFound) {
		return p, nil
	}
	if err != nil {
		return p, err
	}
	defer closer.Close()
	if len(text) != 16 {
		return p, fmt.Errorf("the row of the log has %d bytes", len(text))
	}
	return logPosition{binary.BigEndian.Uint64(text), int64(binary.BigEndian.Uint64(text[8:]))}, nil
}

// retire has Pebble make durable all that it was given, and retires segments.
func (s *Store) retire(before uint64) (err error) {
	defer s.recoverPebble(&err)
	flushed, err := s.db.AsyncFlush()
	if err != nil {
		return fmt.Errorf("flush: %w", err)
	}
	select {
	case <-flushed:
		return s.commitLog.retire(before)
	case <-s.gaveUp:
		return *s.failure.Load()
	}
}

// impatiently calls f, and returns early when Pebble gives up, which it does where its
// background work fails for stallMax while f waits.
func (s *Store) impatiently(f func() error) error {
	s.waitingSince.CompareAndSwap(0, time.Now().UnixNano())
	defer s.waitingSince.Store(0)
	done := make(chan error, 1)
	go func() { done <- f() }()
	select {
	case err := <-done:
		return err
	case <-s.gaveUp:
		return *s.failure.Load()
	}
}

// awaitRetired waits until segments are retired, or writes are stopped.
func (s *Store) awaitRetired(retired <-chan struct{}) error {
	s.waitingSince.CompareAndSwap(0, time.Now().UnixNano())
	defer s.waitingSince.Store(0)
	select {
	case <-retired:
		return nil
	case <-s.failed:
		return *s.failure.Load()
	}
}

// recoverPebble makes an error of a panic of Pebble's, which is how it says that it
// cannot go on.
func (s *Store) recoverPebble(err *error) {
	if r := recover(); r != nil {
		*err = fmt.Errorf("pebble: %v", r)
		s.giveUp(*err)
	}
}

// underWay returns the checkpoint that is under way, or has failed; nil: there is none.
func (g *gathered) underWay() *checkpointing {
	g.mu.Lock()
	defer g.mu.Unlock()
	return g.writing
}

// dueBy says whether Pebble may not know of an expiry row that is due by then.
func (g *gathered) dueBy(nowMS int64) bool {
	g.mu.Lock()
	defer g.mu.Unlock()
	due := func(rows *rowBatch) bool { return rows != nil && rows.soonestMS != 0 && rows.soonestMS <= nowMS }
	return due(g.rows) || g.writing != nil && due(g.writing.rows)
}

// await waits until Pebble has the rows of a checkpoint, or has given up. It need not rest any more.
func (s *Store) await(c *checkpointing) error {
	c.wantOnce.Do(func() { close(c.wanted) })
	s.awaiting.Add(1)
	defer s.awaiting.Add(-1)
	return s.awaitAtLeisure(c)
}

// awaitAtLeisure is await for work in the background.
func (s *Store) awaitAtLeisure(c *checkpointing) error {
	select {
	case <-c.done:
		return c.err
	case <-s.gaveUp:
		return *s.failure.Load()
	}
}

// checkpointAll has Pebble know all that is gathered. The caller holds commitMu.
func (s *Store) checkpointAll() error {
	for {
		c, err := s.nextCheckpoint()
		if c == nil || err != nil {
			return err
		}
		if err := s.await(c); err != nil {
			return err
		}
	}
}

// nextCheckpoint returns the checkpoint that is under way or, where there is none, one
// that it begins; nil where nothing is gathered. The caller holds commitMu.
func (s *Store) nextCheckpoint() (*checkpointing, error) {
	g := &s.gathered
	if c := g.underWay(); c != nil {
		return c, nil
	}
	g.mu.Lock()
	nothing, seq := g.rows.empty(), g.seq
	g.mu.Unlock()
	if nothing {
		s.checkpointed.Store(s.committed.Load())
		return nil, nil
	}
	return s.beginCheckpoint(seq, false)
}

// checkpoint makes what was committed before the call be among Pebble's rows. Commits go
// on meanwhile: a fill scans partition after partition, and clients would wait for each.
func (s *Store) checkpoint() error { return s.checkpointWith(s.await) }

// checkpointAtLeisure is checkpoint for work in the background.
func (s *Store) checkpointAtLeisure() error { return s.checkpointWith(s.awaitAtLeisure) }

func (s *Store) checkpointWith(await func(*checkpointing) error) error {
	for committed := s.committed.Load(); s.checkpointed.Load() < committed; {
		s.commitMu.Lock()
		c, err := s.nextCheckpoint()
		s.commitMu.Unlock()
		if err == nil && c != nil {
			err = await(c)
		}
		if err != nil {
			return &opError{ErrStopped, err}
		}
	}
	return nil
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
	known, err := s.logKnown()
	if err != nil {
		return err
	}
	gathered, reached := &rowBatch{}, known
	give := func(rows *rowBatch, at logPosition) error {
		gathered = &rowBatch{}
		return s.write(&checkpointing{rows: rows, at: at})
	}
	log, found, err := openLog(s.fs, s.opts.Dir, s.opts.Sync, known, func(rows *rowBatch, end logPosition) error {
		before := reached
		reached = end
		if len(rows.gone) > 0 {
			return errors.Join(give(gathered, before), give(rows, end))
		}
		if gathered.gather(rows); gathered.bytes >= s.checkpointBytes {
			return give(gathered, end)
		}
		return nil
	})
	if err != nil {
		return err
	}
	s.commitLog = log
	if found.gap || found.stray > 0 {
		s.logLost = true
		s.stats.corrupt.Add(1)
		s.log.Error().Bool("segments_missing", found.gap).Int64("bytes", found.stray).
			Msg("the commit log has commits behind a place that cannot be read: a power cut where it is not synced always, or a bad disk; they are left out")
	}
	if gathered.empty() && len(log.live) == 1 {
		return nil
	}
	if err := give(gathered, reached); err != nil {
		return err
	}
	return s.retire(log.current.number)
}

// forgetUncommitted takes from the caches, after a failure, what was not committed.
// Where Pebble does not have what was committed before it, that takes its place.
func (s *Store) forgetUncommitted() {
	var objects, hints []cached
	g := &s.gathered
	g.mu.Lock()
	var all []*rowBatch
	if g.writing != nil {
		all = append(all, g.writing.rows)
	}
	for _, rows := range append(all, g.rows) {
		for i := 0; rows != nil && i < rows.count; i++ {
			r, row := rows.at(i)
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
	// What is in the log will be there after a restart. It counts as committed, so
	// that it stays where it is.
	committed := max(s.committed.Load(), g.seq)
	s.committed.Store(committed)
	g.mu.Unlock()
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
