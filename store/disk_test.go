package store

import (
	"errors"
	"sync/atomic"
	"testing"

	"github.com/cockroachdb/pebble/v2/vfs"
)

// A smallDisk says how much of it is free.
type smallDisk struct {
	vfs.FS
	free atomic.Uint64
}

func (d *smallDisk) GetDiskUsage(string) (vfs.DiskUsage, error) {
	return vfs.DiskUsage{AvailBytes: d.free.Load()}, nil
}

func TestAFullDiskRefusesWritesAndRecovers(t *testing.T) {
	const reserve = 1000
	disk := &smallDisk{FS: vfs.NewMem()}
	disk.free.Store(reserve)
	opts := memOptions(disk)
	opts.DiskReserveBytes, opts.Watermark = reserve, everythingIsStable
	s := openStore(t, opts)
	setFree := func(bytes uint64) {
		disk.free.Store(bytes)
		s.disk.update(s)
	}
	for _, key := range []string{"a", "b", "c"} {
		mustSet(t, s, 0, key, "v")
	}

	setFree(reserve - 1)
	if err := commit(s, 0, "a", write{value: "new"}); !errors.Is(err, ErrDiskFull) {
		t.Errorf("a set below the reserve: %v", err)
	}
	if _, err := updateMany(s, map[string]string{"a": "new"}); !errors.Is(err, ErrDiskFull) {
		t.Errorf("an UpdateMany below the reserve: %v", err)
	}
	if !errors.Is(s.Failure(), ErrDiskFull) {
		t.Errorf("the failure shown is %v", s.Failure())
	}
	wantRead(t, s, 0, "a", "v")
	if err := commit(s, 0, "a", write{tombstone: true}); err != nil {
		t.Errorf("a delete below the reserve: %v", err)
	}
	wantRead(t, s, 0, "a", "(absent)")

	setFree(reserve/2 - 1)
	if err := commit(s, 0, "b", write{tombstone: true}); !errors.Is(err, ErrDiskFull) {
		t.Errorf("a delete below half the reserve: %v", err)
	}
	wantRead(t, s, 0, "b", "v")
	forget(t, s)
	wantRead(t, s, 0, "b", "v")

	setFree(reserve)
	mustSet(t, s, 0, "b", "new")
	if s.Failure() != nil {
		t.Errorf("the failure shown is %v", s.Failure())
	}
	if got := s.Stats().DiskFree; got != reserve {
		t.Errorf("DiskFree is %d, want %d", got, reserve)
	}
}

// A delete that must leave a tombstone takes space rather than free it.
func TestATombstoneIsAWriteToAFullDisk(t *testing.T) {
	disk := &smallDisk{FS: vfs.NewMem()}
	disk.free.Store(1 << 40)
	opts := memOptions(disk)
	opts.DiskReserveBytes = 1000
	s := openStore(t, opts)
	mustSet(t, s, 0, "a", "v")
	disk.free.Store(999)
	s.disk.update(s)
	if err := commit(s, 0, "a", write{tombstone: true}); !errors.Is(err, ErrDiskFull) {
		t.Errorf("got %v", err)
	}
	wantRead(t, s, 0, "a", "v")
}
