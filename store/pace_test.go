package store

import (
	"fmt"
	"strings"
	"testing"
	"time"

	"github.com/cockroachdb/pebble/v2/vfs"
)

// TestWorkInTheBackgroundGoesAtItsPace: sweeps, recounts and filling the cache say what they cost while they are at it, and not all at
// the end.
func TestWorkInTheBackgroundGoesAtItsPace(t *testing.T) {
	clock := newFakeClock(1_000_000)
	opts := memOptions(vfs.NewMem())
	opts.Now, opts.SweepInterval, opts.Watermark = clock.now, -1, everythingIsStable
	s := openStore(t, opts)
	const keys, valueBytes = 3 * sweepRows, 100
	value := strings.Repeat("v", valueBytes)
	for i := range keys {
		if err := commit(s, 0, fmt.Sprint("key", i), write{value: value, expireAtMS: 1_000_100}); err != nil {
			t.Fatal(err)
		}
	}
	var rests, total int
	s.SetPace(func(bytes int, _ time.Duration) time.Duration {
		rests++
		total += bytes
		return time.Nanosecond
	})
	if err := s.rebuildCounters(); err != nil {
		t.Fatal(err)
	}
	if rests != s.Partitions() || total < keys*valueBytes {
		t.Errorf("counting %d partitions anew rested %d times, for %d bytes", s.Partitions(), rests, total)
	}
	rests, total = 0, 0
	if err := s.checkpointOpen(); err != nil {
		t.Fatal(err)
	}
	s.warm()
	if rests < keys/warmRows || total < keys*valueBytes {
		t.Errorf("filling the cache with %d keys rested %d times, for %d bytes", keys, rests, total)
	}
	rests, total = 0, 0
	clock.ms.Add(60_000)
	if purged, err := s.Sweep(); err != nil || purged != keys {
		t.Fatalf("purged %d of %d: %v", purged, keys, err)
	}
	if rests != keys/sweepRows || total != keys*sweptBytes {
		t.Errorf("sweeping %d keys rested %d times, for %d bytes", keys, rests, total)
	}
}
