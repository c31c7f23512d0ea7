// Package store keeps versioned objects durably on one node: Pebble below, an
// object cache before it, counters by partition and a sweeper beside it. It
// does not decide what a write means (package version does), who owns a key or
// how many replicas must answer (package cluster does).
package store

import (
	"fmt"
	"time"

	"github.com/cockroachdb/pebble/v2/vfs"
	"github.com/rs/zerolog"

	"cartwheel/cluster/ring"
	"cartwheel/store/version"
)

// SyncMode says what an acknowledged write has survived.
type SyncMode uint8

const (
	// SyncEverysec acknowledges when the operating system has the bytes and
	// syncs once a second: a killed process loses nothing, a power cut at most
	// a second.
	SyncEverysec SyncMode = iota
	// SyncAlways acknowledges after an fsync, grouped.
	SyncAlways
	// SyncNo acknowledges when the operating system has the bytes and leaves
	// the rest to it.
	SyncNo
)

var syncModes = [...]string{SyncEverysec: "everysec", SyncAlways: "always", SyncNo: "no"}

func (m SyncMode) String() string { return syncModes[m] }

// UnmarshalText reads a mode as the command line has it.
func (m *SyncMode) UnmarshalText(text []byte) error {
	for mode, name := range syncModes {
		if name == string(text) {
			*m = SyncMode(mode)
			return nil
		}
	}
	return fmt.Errorf("must be one of always, everysec, no, but is %q", text)
}

// MarshalText writes the mode as the command line has it.
func (m SyncMode) MarshalText() ([]byte, error) { return []byte(m.String()), nil }

// Options configures a store. The zero value of a field means its default.
type Options struct {
	// Dir is the data directory. It is made if it is not there.
	Dir string
	// FS is the file system that holds Dir. Default: the operating system's.
	FS vfs.FS
	// Now is the wall clock. Default: time.Now.
	Now func() time.Time
	// Sync is the durability mode. Default: SyncEverysec.
	Sync SyncMode
	// SyncedOften says that Sync is called for many commits.
	SyncedOften bool
	// MemoryBytes is the budget of caches and memtables: a half of it is the
	// object cache, with a 64th for hints, a quarter, but not more than 16 MiB,
	// two memtables, and the rest Pebble's block cache.
	// Default: 256 MiB. At least 16 MiB.
	MemoryBytes int64
	// DiskReserveBytes is the free space of the file system below which writes
	// are refused; those that only delete go on down to a half of it.
	// Default: 128 MiB.
	DiskReserveBytes int64
	// HintBytesMax bounds what the rows of all hints come to. Default: an eighth
	// of what the disk has free when the store is opened, but at most 1 GiB.
	HintBytesMax int64
	// Partitions is Q, fixed when the directory is created; 0 there means 1024,
	// and in an existing directory whatever it was created with.
	Partitions int
	// MaxClockDrift is how far a foreign HLC may be ahead of the wall clock.
	// Default: 500 ms.
	MaxClockDrift time.Duration
	// Watermark returns the HLC at or below which dead objects of a partition
	// may be purged and clocks pruned (design section 9). It must be cheap,
	// and safe for concurrent use. Default: the partition's Levels' Purge.
	Watermark func(ring.Partition) version.HLC
	// SweepInterval is the pause between two sweeps. Default: 250 ms.
	// Negative: the owner of the store calls Sweep itself.
	SweepInterval time.Duration
	// SweepRetry is how long after it was due an object is looked at again that could
	// not be purged or read; from then on after as long as that has been so, up to 60
	// times this. Default: a minute.
	SweepRetry time.Duration
	// dropDelay is how long what DropPartition and FLUSHALL drop may keep its
	// room on the disk for want of other writes. Default: 10 s; a test sets it.
	dropDelay time.Duration
	// memtableBytes is the size of a memtable where a test sets it, stallMax likewise
	// for how long Pebble's background work may fail while somebody waits for it.
	memtableBytes int64
	stallMax      time.Duration
	// LogBytes is how long the commit log becomes before a checkpoint. Default: a half of
	// MemoryBytes, but not more than 128 MiB.
	LogBytes int64
	// checkpointBytes is how much is gathered before a checkpoint, where a test sets it.
	checkpointBytes int
	// MapFile maps a file of FS for the commit log's stage. Nil: there is no stage. Default: that of the
	// operating system, where FS is.
	MapFile func(name string, size int) (Mapping, error)
	// Log receives what the store and Pebble have to say. Default: nothing.
	Log zerolog.Logger
}

const memoryBytesMin = 16 << 20

func (o Options) withDefaults() Options {
	if o.FS == nil {
		o.FS, o.MapFile = vfs.Default, MapFile
	}
	if o.Now == nil {
		o.Now = time.Now
	}
	if o.MemoryBytes == 0 {
		o.MemoryBytes = 256 << 20
	}
	o.MemoryBytes = max(o.MemoryBytes, memoryBytesMin)
	if o.DiskReserveBytes == 0 {
		o.DiskReserveBytes = 128 << 20
	}
	if o.MaxClockDrift == 0 {
		o.MaxClockDrift = 500 * time.Millisecond
	}
	if o.dropDelay == 0 {
		o.dropDelay = 10 * time.Second
	}
	if o.SweepRetry == 0 {
		o.SweepRetry = sweepRetryMS * time.Millisecond
	}
	if o.SweepInterval == 0 {
		o.SweepInterval = 250 * time.Millisecond
	}
	return o
}
