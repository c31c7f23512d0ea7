package store

import (
	"strconv"
	"time"

	"cartwheel/store/version"
)

// Limits returns the names and values of what bounds the store, for CONFIG GET: bytes,
// unless the name says otherwise.
func (s *Store) Limits() [][2]string {
	limits := []struct {
		name  string
		value int64
	}{
		{"store-cache-bytes-max", s.opts.MemoryBytes / 2},
		{"store-batch-bytes-max", batchBytesMax},
		{"store-checkpoint-bytes-max", int64(s.checkpointBytes)},
		{"store-log-bytes-max", s.logBytes},
		{"store-log-reserve-bytes-max", min(reserveBytesMax, s.logBytes)},
		{"store-log-bytes-most", logStallTimes * s.logBytes}, // where commits wait
		{"store-memtables-max", memtablesMax},
		{"store-sublevels-max", sublevelsMax},
		{"store-record-bytes-max", recordBytesMax},
		{"store-stall-ms-max", int64(s.stallMax / time.Millisecond)},
		{"store-disk-reserve-bytes", s.opts.DiskReserveBytes},
		{"hint-bytes-max", s.hints.bytesMax},
		{"max-clock-drift-ms", int64(s.opts.MaxClockDrift / time.Millisecond)},
		{"context-entries-max", version.ContextEntriesMax},
	}
	shown := make([][2]string, len(limits))
	for i, l := range limits {
		shown[i] = [2]string{l.name, strconv.FormatInt(l.value, 10)}
	}
	return shown
}
