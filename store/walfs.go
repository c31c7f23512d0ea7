package store

import (
	"sync"
	"sync/atomic"

	"github.com/cockroachdb/pebble/v2/vfs"
)

// walFS gives Pebble's write-ahead log the durability that was asked for and
// keeps its failures from Pebble, which ends the process over them.
//
//  1. SyncAlways: Sync is the file's own.
//  2. SyncEverysec: Sync returns at once, the bytes being with the operating
//     system already; syncDirty, called once a second, does it really. Closing
//     a log syncs it first, so that no later log is ever durable before an
//     earlier one: Pebble takes a torn log that is not the last for corruption.
//  3. SyncNo: the same without syncDirty.
//  4. The first error of any log write is given to onFail, and from then on
//     writes to logs are swallowed, and new logs are not created on disk. The
//     log so far ends in at most one torn record, which recovery drops; nothing
//     written later was acknowledged, since onFail stops the store.
type walFS struct {
	vfs.FS
	mode   SyncMode
	onFail func(error)
	failed atomic.Bool

	mu   sync.Mutex
	live map[*walFile]struct{} // guarded by mu: logs open for writing
}

const walCategory vfs.DiskWriteCategory = "pebble-wal"

func newWALFS(fs vfs.FS, mode SyncMode, onFail func(error)) *walFS {
	return &walFS{FS: fs, mode: mode, onFail: onFail, live: make(map[*walFile]struct{})}
}

func (fs *walFS) Create(name string, category vfs.DiskWriteCategory) (vfs.File, error) {
	if category != walCategory {
		return fs.FS.Create(name, category)
	}
	return fs.open(func() (vfs.File, error) { return fs.FS.Create(name, category) })
}

func (fs *walFS) ReuseForWrite(oldname, newname string, category vfs.DiskWriteCategory) (vfs.File, error) {
	if category != walCategory {
		return fs.FS.ReuseForWrite(oldname, newname, category)
	}
	return fs.open(func() (vfs.File, error) { return fs.FS.ReuseForWrite(oldname, newname, category) })
}

func (fs *walFS) open(create func() (vfs.File, error)) (vfs.File, error) {
	if !fs.failed.Load() {
		f, err := create()
		if err == nil {
			w := &walFile{File: f, fs: fs}
			fs.mu.Lock()
			fs.live[w] = struct{}{}
			fs.mu.Unlock()
			return w, nil
		}
		fs.fail(err)
	}
	return vfs.NewMem().Create("discarded", walCategory)
}

func (fs *walFS) fail(err error) {
	if fs.failed.CompareAndSwap(false, true) {
		fs.onFail(err)
	}
}

// syncDirty syncs the logs that have been written since they were synced.
func (fs *walFS) syncDirty() {
	fs.mu.Lock()
	files := make([]*walFile, 0, len(fs.live))
	for f := range fs.live {
		files = append(files, f)
	}
	fs.mu.Unlock()
	for _, f := range files {
		f.syncIfDirty()
	}
}

// A walFile is one log. Pebble writes it from one goroutine.
type walFile struct {
	vfs.File
	fs    *walFS
	dirty atomic.Bool

	mu     sync.Mutex // held over syncs and Close
	closed bool       // guarded by mu
}

func (f *walFile) Write(p []byte) (int, error) {
	if f.fs.failed.Load() {
		return len(p), nil
	}
	if _, err := f.File.Write(p); err != nil {
		f.fs.fail(err)
	}
	f.dirty.Store(true) // after the write: a sync that came between has not synced it
	return len(p), nil
}

// Preallocate is best effort: a log grows without it.
func (f *walFile) Preallocate(offset, length int64) error {
	_ = f.File.Preallocate(offset, length)
	return nil
}

func (f *walFile) Sync() error     { return f.syncAs(f.File.Sync) }
func (f *walFile) SyncData() error { return f.syncAs(f.File.SyncData) }

// SyncTo reports that it syncs nothing, so that Pebble calls SyncData.
func (f *walFile) SyncTo(int64) (bool, error) { return false, nil }

func (f *walFile) syncAs(sync func() error) error {
	if f.fs.mode != SyncAlways || f.fs.failed.Load() {
		return nil
	}
	if err := sync(); err != nil {
		f.fs.fail(err)
	}
	return nil
}

func (f *walFile) syncIfDirty() {
	f.mu.Lock()
	defer f.mu.Unlock()
	if f.closed || !f.dirty.Swap(false) || f.fs.failed.Load() {
		return
	}
	if err := f.File.SyncData(); err != nil {
		f.fs.fail(err)
	}
}

func (f *walFile) Close() error {
	if f.fs.mode != SyncAlways {
		f.syncIfDirty()
	}
	f.fs.mu.Lock()
	delete(f.fs.live, f)
	f.fs.mu.Unlock()

	f.mu.Lock()
	defer f.mu.Unlock()
	f.closed = true
	if err := f.File.Close(); err != nil {
		f.fs.fail(err)
	}
	return nil
}
