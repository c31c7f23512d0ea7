package version

import (
	"errors"
	"fmt"
	"sync/atomic"
	"time"
)

// ErrDrift: an HLC is too far ahead of this node's time to be believed.
var ErrDrift = errors.New("HLC is too far ahead of local time")

// Generator issues the HLCs of one node's writes. It is safe for concurrent use.
//
// It keeps no lease itself: who owns the data directory makes durable an upper bound on what Next
// has returned before using it in a dot, and starts the next life's Generator at that bound.
type Generator struct {
	last       atomic.Uint64 // the highest HLC issued, observed or started from; it only grows
	driftMaxMS int64
}

// NewGenerator starts a generator whose every HLC is above start. Observe refuses what is more than
// driftMax ahead, in whole milliseconds.
func NewGenerator(start HLC, driftMax time.Duration) *Generator {
	g := &Generator{driftMaxMS: driftMax.Milliseconds()}
	g.last.Store(uint64(start))
	return g
}

// Next returns an HLC strictly above everything it returned or observed before and above floor, and
// no less than the wall time. A full counter carries into the milliseconds.
//
// It panics where no HLC is above floor. A floor from outside has passed Observe, which refuses
// such a thing.
func (g *Generator) Next(wallMS int64, floor HLC) HLC {
	now := MakeHLC(wallMS, 0)
	for {
		last := g.last.Load()
		next := max(HLC(last), floor) + 1
		if next == 0 {
			panic("version: no HLC is left above the floor")
		}
		next = max(next, now)
		if g.last.CompareAndSwap(last, uint64(next)) {
			return next
		}
	}
}

// Observe makes everything Next returns from now on be above h, an HLC that another node or a client
// showed. One that is more than driftMax ahead of the wall time is ErrDrift and moves nothing. One
// at or below Last is never refused: it moves nothing either, and a node whose wall clock was set
// back must still take back what it issued itself.
func (g *Generator) Observe(h HLC, wallMS int64) error {
	for {
		last := g.last.Load()
		if uint64(h) <= last {
			return nil
		}
		if ahead := h.Milliseconds() - clampMS(wallMS); ahead > g.driftMaxMS {
			return fmt.Errorf("%w: by %d ms, at most %d ms are allowed", ErrDrift, ahead, g.driftMaxMS)
		}
		if g.last.CompareAndSwap(last, uint64(h)) {
			return nil
		}
	}
}

// Last is the highest HLC that was issued, observed or started from.
func (g *Generator) Last() HLC { return HLC(g.last.Load()) }
