package sim

import (
	"math/rand/v2"
	"sync"
	"sync/atomic"
	"time"

	"github.com/cockroachdb/pebble/v2/vfs"
	"github.com/cockroachdb/pebble/v2/vfs/errorfs"
)

// A disk is what one process sees of its machine's: a file system in memory that knows
// what was synced. Syncs take their time. It can be slow, fill and fail.
type disk struct {
	vfs.FS
	slow    atomic.Bool
	full    atomic.Bool
	failing atomic.Bool // what is written or synced fails
	failed  atomic.Bool // it has failed since the process began
}

// syncMax is how long a sync takes at most on a disk that is slow.
const syncMax = 400 * time.Millisecond

// newDisk returns a disk that takes up to so long for a sync, while it is not slow.
func newDisk(under *vfs.MemFS, takes time.Duration, seed uint64) *disk {
	d := &disk{}
	var mu sync.Mutex
	r := rand.New(rand.NewPCG(seed, 0xd15c))
	d.FS = errorfs.Wrap(under, errorfs.InjectorFunc(func(op errorfs.Op) error {
		switch op.Kind {
		case errorfs.OpFileSync, errorfs.OpFileSyncData, errorfs.OpFileSyncTo:
			longest := takes
			if d.slow.Load() {
				longest = syncMax
			}
			if longest == 0 {
				break
			}
			mu.Lock()
			pause := time.Duration(r.Int64N(int64(longest)))
			mu.Unlock()
			time.Sleep(pause)
		}
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
