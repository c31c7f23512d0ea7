package cluster

import (
	"math/bits"
	"sync/atomic"
	"time"
)

// A foreground is how long, of late, clients have waited for other nodes: what the
// admission of background work is steered by. Background work slows the replicas
// that answer down, and the processors, and both show in it.
//
// It is of counts in slots of time, each of which is used anew when its time has
// come round. Whoever counts at the moment of that may be missed or counted twice,
// which no percentile shows.
type foreground struct {
	slots [foregroundSlots]foregroundSlot
}

const (
	foregroundSlots    = 16
	foregroundSlotTime = 100 * time.Millisecond // a slot's time

	// The p99 is of the latest slots that have enough to tell one, or of all; of
	// fewer than the least there is none.
	foregroundEnough = 500
	foregroundLeast  = 50
	foregroundFresh  = 5 // slots that are looked at in any case

	// A bucket is an eighth of a power of two, from 16 us on.
	foregroundFirst   = 14 // power of two, in ns
	foregroundEighths = 3  // bits
	foregroundBuckets = 20 << foregroundEighths
)

type foregroundSlot struct {
	time   atomic.Int64 // the number of its slot of time
	counts [foregroundBuckets]atomic.Uint32
}

// waited counts one client that has waited, now being an uptime.
func (f *foreground) waited(now, d time.Duration) {
	number := int64(now/foregroundSlotTime) + 1 // 0: never used
	s := &f.slots[number%foregroundSlots]
	if was := s.time.Load(); was != number && s.time.CompareAndSwap(was, number) {
		for i := range s.counts {
			s.counts[i].Store(0)
		}
	}
	s.counts[foregroundBucket(d)].Add(1)
}

func foregroundBucket(d time.Duration) int {
	power := bits.Len64(uint64(max(d, 0))) - 1
	if power < foregroundFirst {
		return 0
	}
	eighth := int(d>>(power-foregroundEighths)) & (1<<foregroundEighths - 1)
	return min((power-foregroundFirst)<<foregroundEighths|eighth, foregroundBuckets-1)
}

// foregroundEnd is the time that a bucket ends at.
func foregroundEnd(bucket int) time.Duration {
	power, eighth := foregroundFirst+bucket>>foregroundEighths, bucket&(1<<foregroundEighths-1)
	return time.Duration(1<<foregroundEighths+eighth+1) << (power - foregroundEighths)
}

// p99 returns what 99 of 100 did not wait longer than; 0: there are too few to say.
func (f *foreground) p99(now time.Duration) time.Duration {
	var counts [foregroundBuckets]uint32
	number := int64(now/foregroundSlotTime) + 1
	all := uint32(0)
	for back := range int64(foregroundSlots) {
		if number-back <= 0 || back >= foregroundFresh && all >= foregroundEnough {
			break
		}
		s := &f.slots[(number-back)%foregroundSlots]
		if s.time.Load() != number-back {
			continue
		}
		for i := range counts {
			n := s.counts[i].Load()
			counts[i] += n
			all += n
		}
	}
	if all < foregroundLeast {
		return 0
	}
	beyond := all / 100
	for i := foregroundBuckets - 1; i >= 0; i-- {
		if counts[i] > beyond {
			return foregroundEnd(i)
		}
		beyond -= counts[i]
	}
	return 0
}

// foregroundP99 is what background work is steered by.
func (c *Coordinator) foregroundP99() time.Duration { return c.foreground.p99(c.uptime()) }

// clientsRate returns what the clients of this node leave to background work, in bytes a
// second; 0: it has none.
func (c *Coordinator) clientsRate() int64 {
	if r := c.repairing.Load(); r != nil {
		return r.ClientsRate()
	}
	return 0
}

// peersRate returns the least that those of a live peer do.
func (c *Coordinator) peersRate() (least int64) {
	for _, p := range c.view.Load().peers {
		if rate := p.clientsRate.Load(); rate > 0 && p.up() && (least == 0 || rate < least) {
			least = rate
		}
	}
	return least
}
