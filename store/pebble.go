package store

import (
	"bytes"
	"errors"
	"fmt"
	"io"
	"runtime"
	"time"

	"github.com/cockroachdb/pebble/v2"
	"github.com/cockroachdb/pebble/v2/bloom"
	"github.com/rs/zerolog"
)

// memtableBytesMax: a skiplist that outgrows the processor's caches makes every
// insertion wait for memory, which costs more than the flushes that a larger
// one saves. Measured from 4 to 128 MiB; with 32 MiB, pipelined SETs are a sixth
// slower.
const memtableBytesMax = 8 << 20

// openPebble opens the database below s.opts.Dir.
func (s *Store) openPebble() error {
	memory := s.opts.MemoryBytes
	memtable := min(memory/8, memtableBytesMax)
	if s.opts.memtableBytes != 0 {
		memtable = s.opts.memtableBytes
	}
	blocks := pebble.NewCache(memory/2 - 2*memtable)
	defer blocks.Unref()
	opts := &pebble.Options{
		FS:                          pacedFS{s.fs, s},
		Logger:                      pebbleLogger{s},
		FormatMajorVersion:          pebble.FormatNewest,
		DisableWAL:                  true, // there is the commit log
		Cache:                       blocks,
		MemTableSize:                uint64(memtable),
		MemTableStopWritesThreshold: memtablesMax,
		L0CompactionThreshold:       8,
		L0StopWritesThreshold:       sublevelsMax,
		LBaseMaxBytes:               max(64<<20, memory/2),
		MaxOpenFiles:                1000,
		BytesPerSync:                1 << 20,
		FlushDelayDeleteRange:       s.opts.dropDelay,
	}
	for i := range opts.Levels {
		opts.Levels[i].FilterPolicy = bloom.FilterPolicy(10)
	}
	opts.EventListener = s.pebbleEvents()
	db, err := pebble.Open(s.fs.PathJoin(s.opts.Dir, pebbleDir), opts)
	if err != nil {
		return fmt.Errorf("open the database: %w", err)
	}
	if failure := s.failure.Load(); failure != nil {
		return errors.Join(*failure, db.Close())
	}
	s.db = db
	return nil
}

// get returns a row, or pebble.ErrNotFound. It is DB.Get with the filters of all levels: that one goes without those of the
// lowest, where most rows are, and so reads a block for nearly each key that is new.
func (s *Store) get(row []byte) (text []byte, closer io.Closer, err error) {
	iter, err := s.db.NewIter(&pebble.IterOptions{UseL6Filters: true})
	if err != nil {
		return nil, nil, err
	}
	if iter.SeekPrefixGE(row) && bytes.Equal(iter.Key(), row) {
		text, err = iter.ValueAndErr()
	} else if err = iter.Error(); err == nil {
		err = pebble.ErrNotFound
	}
	if err != nil {
		_ = iter.Close() // says the same
		return nil, nil, err
	}
	return text, iter, nil
}

func (s *Store) pebbleEvents() *pebble.EventListener {
	return &pebble.EventListener{
		BackgroundError: s.pebbleBackgroundError,
		DataCorruption: func(info pebble.DataCorruptionInfo) {
			s.stats.corrupt.Add(1)
			s.log.Error().Str("table", info.Path).Err(info.Details).Msg("pebble: a table is corrupt")
		},
		WriteStallBegin: func(info pebble.WriteStallBeginInfo) {
			s.stalledSince.Store(time.Now().UnixNano())
			s.log.Warn().Str("reason", info.Reason).Msg("pebble: writes wait")
		},
		WriteStallEnd: func() { s.stalledSince.Store(0) },
		FlushEnd:      func(pebble.FlushInfo) { s.tablesChanged.Store(true) },
		CompactionEnd: func(pebble.CompactionInfo) { s.tablesChanged.Store(true) },
	}
}

// Where Pebble makes writers wait: for memtables of so many times their size to be flushed, and for level 0 to be
// compacted. A checkpoint goes to Pebble as one batch, which is there as a memtable of three or four times the usual size
// between two that may be all but empty and count as full; the next one has to wait for it.
const (
	memtablesMax = 8
	sublevelsMax = 24
)

// backgroundRetry is the pause before Pebble tries background work again.
const backgroundRetry = 10 * time.Millisecond

// pebbleBackgroundError is called by the goroutine whose flush or compaction
// failed. Pebble starts another at once when it returns, without end or pause,
// and each leaves a table behind where the manifest cannot be written. After a
// fatal error it ends the goroutine instead, so that there is no other; what it
// holds, Pebble's mutex, is released by its defers. An error that a commit has
// been waiting behind for too long is a fatal one.
func (s *Store) pebbleBackgroundError(err error) {
	s.log.Error().Err(err).Msg("pebble: background work failed")
	if s.waitedFor() > s.stallMax {
		s.giveUp(fmt.Errorf("pebble: writes have waited for %v for what fails: %w", s.stallMax, err))
	}
	if s.broken.Load() {
		runtime.Goexit()
	}
	time.Sleep(backgroundRetry)
}

// waitedFor is for how long somebody has been waiting for Pebble's background work.
func (s *Store) waitedFor() (longest time.Duration) {
	for _, since := range []int64{s.stalledSince.Load(), s.waitingSince.Load()} {
		if since != 0 {
			longest = max(longest, time.Since(time.Unix(0, since)))
		}
	}
	return longest
}

// pebbleLogger passes on what Pebble says. Pebble calls Fatalf where it cannot
// go on writing, and expects it not to return; here it stops the writes, and
// Commit does not acknowledge anything after.
type pebbleLogger struct{ s *Store }

func (l pebbleLogger) Infof(format string, args ...any) {
	if e := l.s.log.Debug(); e.Enabled() {
		e.Str("from", "pebble").Msgf(format, args...)
	}
}

func (l pebbleLogger) Errorf(format string, args ...any) {
	l.s.log.WithLevel(zerolog.ErrorLevel).Str("from", "pebble").Msgf(format, args...)
}

func (l pebbleLogger) Fatalf(format string, args ...any) {
	l.s.giveUp(fmt.Errorf("pebble: "+format, args...))
}
