package sim

import (
	"math/rand/v2"
	"sync/atomic"

	"github.com/cockroachdb/pebble/v2/vfs"
	"github.com/cockroachdb/pebble/v2/vfs/errorfs"
)

// A disk is what one process sees of its machine's: a file system in memory that knows
// what was synced. It can fill and fail.
type disk struct {
	vfs.FS
	full    atomic.Bool
	failing atomic.Bool // what is written or synced fails
	failed  atomic.Bool // it has failed since the process began
}

func newDisk(under *vfs.MemFS) *disk {
	d := &disk{}
	d.FS = errorfs.Wrap(under, errorfs.InjectorFunc(func(op errorfs.Op) error {
		if d.failing.Load() && op.Kind.ReadOrWrite() == errorfs.OpIsWrite {
			d.failed.Store(true)
			return errorfs.ErrInjected
		}
		return nil
	}))
	return d
}

const diskBytes = 1 << 30

func (d *disk) GetDiskUsage(string) (vfs.DiskUsage, error) {
	free := uint64(diskBytes)
	if d.full.Load() {
		free = 0
	}
	return vfs.DiskUsage{AvailBytes: free, TotalBytes: diskBytes, UsedBytes: diskBytes - free}, nil
}

// What is left of a disk's content after a process was killed, and after its machine has
// lost its power.
func afterKill(fs *vfs.MemFS, r *rand.Rand) *vfs.MemFS {
	return fs.CrashClone(vfs.CrashCloneCfg{UnsyncedDataPercent: 100, RNG: r})
}

func afterPowerCut(fs *vfs.MemFS, r *rand.Rand) *vfs.MemFS {
	return fs.CrashClone(vfs.CrashCloneCfg{UnsyncedDataPercent: r.IntN(3) * 50, RNG: r})
}
