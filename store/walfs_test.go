package store

import (
	"testing"

	"github.com/cockroachdb/pebble/v2/vfs"
)

// A logFS hands out one log that tells what was synced of it.
type logFS struct {
	vfs.FS
	log *logFile
}

func (fs logFS) Create(name string, category vfs.DiskWriteCategory) (vfs.File, error) {
	return fs.log, nil
}

type logFile struct {
	vfs.File
	during          func() // called within each write
	written, synced int
}

func (f *logFile) Write(p []byte) (int, error) {
	f.during()
	f.written += len(p)
	return len(p), nil
}

func (f *logFile) SyncData() error { f.synced = f.written; return nil }
func (f *logFile) Sync() error     { return f.SyncData() }
func (f *logFile) Close() error    { return nil }

func newLog(t *testing.T, mode SyncMode) (*walFS, vfs.File, *logFile) {
	t.Helper()
	log := &logFile{during: func() {}}
	fs := newWALFS(logFS{log: log}, mode, func(err error) { t.Errorf("failed: %v", err) })
	f, err := fs.Create("000001.log", walCategory)
	if err != nil {
		t.Fatal(err)
	}
	return fs, f, log
}

func TestEverysecASyncDuringAWriteDoesNotHideIt(t *testing.T) {
	fs, f, log := newLog(t, SyncEverysec)
	_, _ = f.Write([]byte("first"))
	log.during = fs.syncDirty
	_, _ = f.Write([]byte("second"))
	fs.syncDirty()
	if log.synced != log.written {
		t.Errorf("%d bytes of %d are synced a tick after they were written", log.synced, log.written)
	}
}

func TestPebbleSyncsAreRealOnlyInAlways(t *testing.T) {
	for mode, want := range map[SyncMode]int{SyncAlways: 1, SyncEverysec: 0, SyncNo: 0} {
		_, f, log := newLog(t, mode)
		_, _ = f.Write([]byte("x"))
		if err := f.SyncData(); err != nil || log.synced != want {
			t.Errorf("%v: %d bytes synced, want %d: %v", mode, log.synced, want, err)
		}
	}
}

func TestAClosedLogIsSynced(t *testing.T) {
	for _, mode := range []SyncMode{SyncEverysec, SyncNo} {
		_, f, log := newLog(t, mode)
		_, _ = f.Write([]byte("x"))
		if err := f.Close(); err != nil || log.synced != 1 {
			t.Errorf("%v: %d bytes synced: %v", mode, log.synced, err)
		}
	}
}
