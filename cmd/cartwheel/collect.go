package main

import (
	"os"
	"runtime"
	"runtime/debug"
	"runtime/metrics"
	"time"
)

const (
	// besideBudget is what the process takes beside --memory before garbage is collected often.
	besideBudget = 200 << 20
	// gcPercent has the collector run rarely while there is room.
	gcPercent = 600
	// collectAt is how much of the way to where the heap should end is allocated when a
	// collection begins: much less than the runtime would wait for. One that begins late has
	// those that allocate, which is who serves clients, help it to be in time.
	collectAt    = 0.6
	collectEvery = 100 * time.Millisecond
)

// limitMemory makes the garbage collector run rarely while there is room, and
// often near the limit. GOGC and GOMEMLIMIT, where set, count.
func (s *serveCommand) limitMemory() {
	if os.Getenv("GOMEMLIMIT") == "" {
		debug.SetMemoryLimit(int64(s.Memory) + besideBudget)
	}
	if os.Getenv("GOGC") == "" {
		debug.SetGCPercent(gcPercent)
		go collectEarly()
	}
}

// collectEarly begins collections, for as long as the process runs.
func collectEarly() {
	heap := []metrics.Sample{{Name: "/memory/classes/heap/objects:bytes"}, {Name: "/gc/heap/live:bytes"}, {Name: "/gc/heap/goal:bytes"}}
	for range time.Tick(collectEvery) {
		metrics.Read(heap)
		if used, live, goal := heap[0].Value.Uint64(), heap[1].Value.Uint64(), heap[2].Value.Uint64(); early(used, live, goal) {
			runtime.GC()
		}
	}
}

// early says whether it is time for a collection, of a heap that has used bytes, had live ones
// after the last, and should not grow past goal.
func early(used, live, goal uint64) bool {
	return goal > live && float64(used) >= float64(live)+collectAt*float64(goal-live)
}
