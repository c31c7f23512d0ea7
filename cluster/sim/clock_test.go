package sim

import (
	"sync"
	"time"
)

// A clock is what a machine believes the time to be: the world's, ahead or behind, and
// drifting.
type clock struct {
	mu    sync.Mutex
	since time.Time     // guarded by mu: when ahead was set
	ahead time.Duration // guarded by mu
	drift float64       // guarded by mu: seconds a second
}

func (c *clock) now() time.Time {
	c.mu.Lock()
	defer c.mu.Unlock()
	return time.Now().Add(c.aheadNow())
}

func (c *clock) aheadNow() time.Duration {
	if c.since.IsZero() {
		return c.ahead
	}
	return c.ahead + time.Duration(c.drift*float64(time.Since(c.since)))
}

// set makes the clock be ahead by that much, and drift from there.
func (c *clock) set(ahead time.Duration, drift float64) {
	c.mu.Lock()
	defer c.mu.Unlock()
	c.since, c.ahead, c.drift = time.Now(), ahead, drift
}
