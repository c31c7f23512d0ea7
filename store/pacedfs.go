package store

import (
	"time"

	"github.com/cockroachdb/pebble/v2/vfs"
)

// Pebble flushes and compacts as fast as it can: some hundred milliseconds of a processor each few seconds, for which
// clients then wait, and on one machine for all its nodes'. So what it writes rests between slices of work, as
// long as it keeps up and nobody waits for it.
const (
	pacedBytes  = 64 << 10              // a slice
	pacedRests  = 7                     // as long as a slice took, so many times
	pacedMax    = 20 * time.Millisecond // a rest
	pacedLevels = 12                    // sublevels of level 0 from which it does not rest; Pebble compacts from 8 on
)

// pacedFS is a file system whose files are paced that Pebble flushes and compacts to.
type pacedFS struct {
	vfs.FS
	s *Store
}

func (fs pacedFS) Unwrap() vfs.FS { return fs.FS }

// Create is vfs.FS's.
func (fs pacedFS) Create(name string, category vfs.DiskWriteCategory) (vfs.File, error) {
	f, err := fs.FS.Create(name, category)
	if err != nil {
		return nil, err
	}
	switch category { // as Pebble names them
	case "pebble-memtable-flush":
		return &pacedFile{File: f, s: fs.s, mayRest: fs.s.mayRestFlushing, since: time.Now()}, nil
	case "pebble-compaction":
		return &pacedFile{File: f, s: fs.s, mayRest: fs.s.mayRest, since: time.Now()}, nil
	}
	return f, nil
}

type pacedFile struct {
	vfs.File
	s       *Store
	mayRest func() bool
	bytes   int
	since   time.Time // of the slice
}

// Write is vfs.File's.
func (f *pacedFile) Write(b []byte) (n int, err error) {
	n, err = f.File.Write(b)
	if f.bytes += n; f.bytes >= pacedBytes {
		if f.mayRest() {
			f.s.sleep(min(pacedRests*time.Since(f.since), pacedMax), nil)
		}
		f.bytes, f.since = 0, time.Now()
	}
	return n, err
}

// mayRest says whether work for Pebble has time: the store is open, Pebble is not behind with compactions, and nobody waits
// for it.
func (s *Store) mayRest() bool {
	return s.opened.Load() && s.sublevels.Load() < pacedLevels && s.awaiting.Load() == 0 && s.waitedFor() == 0
}

// mayRestFlushing is mayRest for checkpoints and flushes, until whose end memory holds what they write: they rest only
// while less than half of the next has been gathered.
func (s *Store) mayRestFlushing() bool {
	return s.mayRest() && !s.gathered.fillsUp(s.checkpointBytes)
}

// fillsUp says whether half of what makes a checkpoint is there.
func (g *gathered) fillsUp(checkpointBytes int) bool {
	g.mu.Lock()
	defer g.mu.Unlock()
	return g.rows.bytes >= checkpointBytes/2
}

// noteSublevels notes how far behind compactions are, where that may have changed.
func (s *Store) noteSublevels() {
	if s.tablesChanged.Swap(false) {
		s.sublevels.Store(s.db.Metrics().Levels[0].Sublevels)
	}
}
