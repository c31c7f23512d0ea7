package store

import (
	"cmp"
	"errors"
	"fmt"
	"io"
	iofs "io/fs"
	"math/rand/v2"
	"slices"
	"sync"
	"sync/atomic"
	"syscall"
	"time"

	"github.com/cockroachdb/pebble/v2"
	"github.com/cockroachdb/pebble/v2/vfs"
	"github.com/rs/zerolog"

	"cartwheel/cluster/ring"
	"cartwheel/cluster/sabotage"
	"cartwheel/store/version"
)

var errNotExist = iofs.ErrNotExist

// A Store holds one node's objects. Its methods are safe for concurrent use.
//
// Locks are taken in this order: counters.setting, then locks[p] (several in ascending order), then
// commitMu, then hints.mu, then open.mu; nodeMu, suspects.mu, gathered.mu, the log's (syncing, then writing, then mu) and the caches' are innermost.
type Store struct {
	opts Options
	log  zerolog.Logger
	fs   vfs.FS
	db   *pebble.DB
	lock io.Closer // of the data directory

	nodeMu sync.Mutex
	node   nodeRecord // guarded by nodeMu, but for NodeID and Partitions, which never change
	// incarnations are node's, the present one last; the slice never changes.
	incarnations atomic.Pointer[[]version.Incarnation]
	continued    bool // the present one was there before this start
	lease        *lease
	driftLog     logLimit
	recordMu     sync.Mutex // held while a record is read or replaced

	cache     *cache
	counters  *counters
	trees     trees
	suspects  suspects
	marks     marks
	hints     hints
	dropped   dropped
	stability stability
	highest   atomic.Uint64 // HLC of all that is stored; known when the counts are ready
	locks     []sync.Mutex  // by partition: held while an object of it is read and changed

	open      openBatch
	commitMu  sync.Mutex    // held by the one who commits
	committed atomic.Uint64 // the last sequence whose commit is done
	commitLog *commitLog
	logLost   bool // replay has found that commits are missing

	gathered     gathered
	checkpointed atomic.Uint64 // the last sequence whose rows Pebble has
	checkpoints  sync.WaitGroup
	// checkpointBytes and logBytes are when there is a checkpoint.
	checkpointBytes int
	logBytes        int64
	opened          atomic.Bool  // what is above is set
	sublevels       atomic.Int32 // of Pebble's level 0
	tablesChanged   atomic.Bool  // since sublevels was noted
	awaiting        atomic.Int32 // who waits for a checkpoint

	failure atomic.Pointer[error] // why writes are stopped; nil: they are not
	failed  chan struct{}         // closed when they are
	broken  atomic.Bool           // Pebble itself gave up: it may hold locks for ever
	gaveUp  chan struct{}         // closed when it did
	// stalledSince is when, in Unix nanoseconds, a commit began to wait within
	// Pebble; 0: none does.
	stalledSince atomic.Int64
	waitingSince atomic.Int64 // likewise somebody for Pebble to flush
	stallMax     time.Duration
	disk         diskGauge
	stats        stats

	sweep      sweeper
	pace       atomic.Pointer[func(bytes int, took time.Duration) time.Duration] // nil: none
	closing    atomic.Bool
	stop       chan struct{}
	background sync.WaitGroup
}

// stats counts what INFO shows.
type stats struct {
	corrupt, swept, commits, drift, wideClocks atomic.Uint64
	// prefetched is what the last prefetch read, for it to have an effect that
	// no compiler removes.
	prefetched atomic.Uint64
}

// Open opens the store in opts.Dir, or makes one there. It blocks until the
// write-ahead log has been replayed.
func Open(opts Options) (_ *Store, err error) {
	opts = opts.withDefaults()
	s := &Store{opts: opts, log: opts.Log, fs: opts.FS, stop: make(chan struct{}), failed: make(chan struct{}), gaveUp: make(chan struct{}), stallMax: cmp.Or(opts.stallMax, stallMax)}
	if s.opts.Watermark == nil {
		s.opts.Watermark = func(p ring.Partition) version.HLC { return s.Levels(p).Purge }
	}
	if err := makeDir(s.fs, opts.Dir); err != nil {
		return nil, fmt.Errorf("make the data directory: %w", err)
	}
	if _, _, err := readNode(s.fs, opts.Dir); err != nil {
		return nil, err // before the lock leaves a file where it does not belong
	}
	if s.lock, err = s.fs.Lock(s.fs.PathJoin(opts.Dir, lockFile)); err != nil {
		return nil, lockError(err)
	}
	defer func() {
		if err != nil {
			err = errors.Join(err, s.lock.Close())
		}
	}()
	if err := s.openNode(); err != nil {
		return nil, err
	}
	wasClean := s.node.Clean
	hintCacheBytes := s.opts.MemoryBytes / 64
	s.cache = newCache(s.opts.MemoryBytes/2-hintCacheBytes, s.checkpointed.Load)
	s.hints.cache = newCache(hintCacheBytes, s.checkpointed.Load)
	if err := s.openPebble(); err != nil {
		return nil, err
	}
	if err := s.openState(wasClean); err != nil {
		if s.broken.Load() { // it would not end
			return nil, err
		}
		return nil, errors.Join(err, s.db.Close())
	}
	s.opened.Store(true)
	return s, nil
}

func lockError(err error) error {
	var errno syscall.Errno
	if errors.As(err, &errno) && errno != syscall.EAGAIN {
		return fmt.Errorf("write in the data directory: %w", err)
	}
	return fmt.Errorf("%w (%w)", ErrLocked, err)
}

// openState makes ready what lives in memory beside Pebble.
func (s *Store) openState(wasClean bool) error {
	q := s.node.Partitions
	s.locks = make([]sync.Mutex, q)
	s.open.seq = 1
	s.gathered.rows, s.gathered.sooner = &rowBatch{}, rand.IntN(checkpointSooner)
	s.checkpointBytes = cmp.Or(s.opts.checkpointBytes, int(min(s.opts.MemoryBytes/10, checkpointBytesMax)))
	s.logBytes = cmp.Or(s.opts.LogBytes, min(s.opts.MemoryBytes/2, logBytesMax))
	if err := s.impatiently(s.replayLog); err != nil {
		return fmt.Errorf("replay the commit log: %w", err)
	}
	s.commitLog.byZeros = s.opts.Sync == SyncAlways || s.opts.SyncedOften
	s.commitLog.extendsBy = int(min(extendBytesMax, max(s.logBytes/4, 1)))
	s.openStage()
	s.open.rows, s.open.spare = &rowBatch{}, &rowBatch{}
	s.counters = newCounters(q)
	s.trees.init(q)
	s.disk.update(s)
	if err := s.loadStability(); err != nil {
		return fmt.Errorf("read what is stable: %w", err)
	}
	if s.logLost {
		if err := s.forgetAllStable(); err != nil {
			return fmt.Errorf("forget what was stable: %w", err)
		}
	}
	if err := s.loadMarks(); err != nil {
		return fmt.Errorf("read the flush marks: %w", err)
	}
	if err := s.loadHints(); err != nil {
		return fmt.Errorf("count the hints: %w", err)
	}
	saved, err := s.loadCounters()
	if err != nil {
		return fmt.Errorf("read the counters: %w", err)
	}
	if wasClean && (saved || s.isEmpty()) || sabotage.On(sabotage.TreesNotRebuilt) {
		s.highest.Store(uint64(s.node.Highest))
		close(s.counters.ready)
	} else {
		s.background.Go(s.runRebuild)
	}
	s.tablesChanged.Store(true)
	s.background.Go(s.warm)
	s.every(time.Second, func() {
		if s.syncLog() == nil {
			s.commitLog.reserve(s.disk.spare(s.opts.DiskReserveBytes), s.logBytes)
		}
	}, s.opts.Sync == SyncEverysec)
	s.every(time.Second, func() { s.drainLog() }, s.opts.Sync == SyncNo)
	s.background.Go(s.runDrain)
	s.every(time.Duration(s.lease.spanMS)*time.Millisecond/4+1, func() { s.lease.keepAhead(s.NowMS()) }, true)
	s.every(diskInterval, func() { s.disk.update(s) }, true)
	s.every(time.Second, s.noteSublevels, true)
	s.every(s.opts.dropDelay, s.compactDropped, true)
	s.every(s.opts.SweepInterval, s.runSweep, s.opts.SweepInterval > 0)
	return nil
}

func (s *Store) runRebuild() {
	started := time.Now()
	err := s.rebuildCounters()
	if s.closing.Load() {
		return
	}
	if err != nil {
		s.counters.partial.Store(true)
		s.log.Error().Err(err).Msg("cannot count all keys")
	}
	close(s.counters.ready)
	s.log.Info().Str("took", time.Since(started).Round(time.Millisecond).String()).Msg("keys counted after an unclean stop")
}

// every calls f at intervals until the store closes.
func (s *Store) every(interval time.Duration, f func(), enabled bool) {
	if !enabled {
		return
	}
	s.background.Go(func() {
		tick := time.NewTicker(interval)
		defer tick.Stop()
		for {
			select {
			case <-s.stop:
				return
			case <-tick.C:
				f()
			}
		}
	})
}

// isEmpty reports that no object is stored.
func (s *Store) isEmpty() bool {
	iter, err := s.db.NewIter(&pebble.IterOptions{LowerBound: []byte{prefixObject}, UpperBound: prefixEnd(prefixObject)})
	if err != nil {
		return false
	}
	empty := !iter.First()
	return iter.Close() == nil && empty
}

// Close commits and syncs everything, saves the counters and notes a clean
// stop. No other call may be under way or follow. After a failed commit it
// returns why, and the stop is not a clean one.
func (s *Store) Close() error {
	s.closing.Store(true)
	close(s.stop)
	s.background.Wait()
	s.lease.wait()
	err := s.Commit(s.openSeq())
	if err == nil {
		err = s.saveCounters()
	}
	if err == nil {
		err = s.checkpoint()
	}
	if s.broken.Load() || !s.checkpointsEnded() { // Pebble keeps its own lock of the directory until the process ends
		return errors.Join(err, s.commitLog.close(), s.lock.Close())
	}
	if err == nil {
		err = s.impatiently(func() error { return s.retire(s.commitLog.current.number + 1) })
	}
	if err = errors.Join(err, s.commitLog.close()); s.broken.Load() {
		return errors.Join(err, s.lock.Close())
	}
	err = errors.Join(err, s.db.Close())
	if failure := s.failure.Load(); failure != nil && err == nil {
		err = &opError{ErrCommit, *failure}
	}
	if err == nil {
		err = s.noteCleanStop()
	}
	return errors.Join(err, s.lock.Close())
}

func (s *Store) noteCleanStop() error {
	s.nodeMu.Lock()
	defer s.nodeMu.Unlock()
	s.node.Clean, s.node.Lease = true, s.lease.gen.Last()
	s.node.Highest = version.HLC(s.highest.Load())
	return s.node.write(s.fs, s.opts.Dir)
}

// NodeID returns who this node is.
func (s *Store) NodeID() ring.NodeID { return s.node.NodeID }

// Partitions returns Q.
func (s *Store) Partitions() int { return s.node.Partitions }

// Incarnation returns the present life of this node's data. It may be another
// than a moment before: for a dot, ask for it after its HLC.
func (s *Store) Incarnation() version.Incarnation {
	all := *s.incarnations.Load()
	return all[len(all)-1]
}

// Continued says whether the store was opened under an incarnation that it had before.
// An old copy of a directory that was stopped by the book looks like that, too.
func (s *Store) Continued() bool { return s.continued }

// HadIncarnation reports whether this directory ever had that incarnation.
func (s *Store) HadIncarnation(i version.Incarnation) bool {
	return slices.Contains(*s.incarnations.Load(), i)
}

// NextHLC issues an HLC above floor and above every one issued before, over
// restarts too. It blocks on an fsync when it is the first in 10 s.
func (s *Store) NextHLC(nowMS int64, floor version.HLC) (version.HLC, error) {
	return s.lease.next(nowMS, floor)
}

// LoneHLC is NextHLC where more are not expected soon: what would keep the next from
// blocking on an fsync is not done.
func (s *Store) LoneHLC(nowMS int64) (version.HLC, error) { return s.lease.issue(nowMS, 0) }

// LastHLC returns the greatest HLC issued or observed.
func (s *Store) LastHLC() version.HLC { return s.lease.gen.Last() }

// MaxClockDrift is how far a foreign HLC may be ahead of the wall clock.
func (s *Store) MaxClockDrift() time.Duration { return s.opts.MaxClockDrift }

// NowMS returns the wall clock in Unix milliseconds.
func (s *Store) NowMS() int64 { return s.opts.Now().UnixMilli() }

// raise makes a at least to.
func raise(a *atomic.Uint64, to version.HLC) {
	for {
		was := a.Load()
		if was >= uint64(to) || a.CompareAndSwap(was, uint64(to)) {
			return
		}
	}
}

func (s *Store) partitionLock(slot ring.Slot) *sync.Mutex {
	return &s.locks[ring.PartitionOf(slot, s.node.Partitions)]
}

// Stats is what INFO shows of the store.
type Stats struct {
	Cache        CacheStats
	Corrupt      uint64 // objects and tables that failed their checksums when read
	Swept        uint64 // expired objects purged
	Commits      uint64 // groups of writes made durable together
	DriftRefused uint64 // foreign HLCs refused for being too far ahead
	WideClocks   uint64 // writes of objects whose clock has more than 10 entries
	DiskFree     uint64 // bytes
	Pebble       *pebble.Metrics
}

// Stats returns the present figures.
func (s *Store) Stats() Stats {
	return Stats{
		Cache:        s.cache.stats(),
		Corrupt:      s.stats.corrupt.Load(),
		Swept:        s.stats.swept.Load(),
		Commits:      s.stats.commits.Load(),
		DriftRefused: s.stats.drift.Load(),
		WideClocks:   s.stats.wideClocks.Load(),
		DiskFree:     s.disk.free.Load(),
		Pebble:       s.db.Metrics(),
	}
}
