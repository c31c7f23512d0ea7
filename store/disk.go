package store

import (
	"fmt"
	"sync/atomic"
	"time"
)

// diskGauge watches the free space, so that writes are refused while Pebble can
// still finish what it has begun.
type diskGauge struct {
	free  atomic.Uint64
	state atomic.Int32
}

const (
	diskRoomy   = iota
	diskTight   // below the reserve: only writes that free space
	diskFull    // below a half of it: none
	diskUnknown = diskRoomy
)

const diskInterval = 250 * time.Millisecond

func (d *diskGauge) update(s *Store) {
	usage, err := s.fs.GetDiskUsage(s.opts.Dir)
	if err != nil {
		d.state.Store(diskUnknown)
		return
	}
	d.free.Store(usage.AvailBytes)
	reserve := uint64(max(0, s.opts.DiskReserveBytes))
	state := int32(diskRoomy)
	switch {
	case usage.AvailBytes < reserve/2:
		state = diskFull
	case usage.AvailBytes < reserve:
		state = diskTight
	}
	if before := d.state.Swap(state); (before == diskRoomy) != (state == diskRoomy) {
		s.log.Warn().Uint64("free_bytes", usage.AvailBytes).Uint64("reserve_bytes", reserve).
			Bool("writes_refused", state != diskRoomy).Msg("disk space")
	}
}

// spare returns how much may be taken of the disk that is not needed: a small part of what is free above the reserve.
func (d *diskGauge) spare(reserveBytes int64) int64 {
	return max(0, int64(d.free.Load())-max(0, reserveBytes)) / 16
}

func (d *diskGauge) check(onlyDeletes bool) error {
	switch state := d.state.Load(); {
	case state == diskRoomy, state == diskTight && onlyDeletes:
		return nil
	}
	return &opError{ErrDiskFull, fmt.Errorf("%d bytes are free", d.free.Load())}
}
