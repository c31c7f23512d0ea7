package version

import (
	"cmp"
	"fmt"
)

const (
	counterBits     = 16
	millisecondsMax = 1<<(64-counterBits) - 1
)

// HLC is a hybrid logical clock reading: 48 bits of Unix milliseconds, then 16 of counter, so that
// comparing two as integers compares them in time. Zero is before every write.
type HLC uint64

// MakeHLC puts an HLC together. Milliseconds that do not fit (before 1970, after 10889) become the
// nearest that do.
func MakeHLC(ms int64, counter uint16) HLC {
	return HLC(clampMS(ms))<<counterBits | HLC(counter)
}

// Milliseconds is the Unix time in the HLC.
func (h HLC) Milliseconds() int64 { return int64(h >> counterBits) }

// Counter tells apart the HLCs of one millisecond.
func (h HLC) Counter() uint16 { return uint16(h) }

// String is "milliseconds.counter", both in decimal.
func (h HLC) String() string { return fmt.Sprintf("%d.%d", h.Milliseconds(), h.Counter()) }

func clampMS(ms int64) int64 { return min(max(ms, 0), millisecondsMax) }

// Incarnation names one life of one node's data: 64 random bits.
type Incarnation uint64

// Dot is the identity of one write: no two writes, of any keys, have the same.
type Dot struct {
	Incarnation Incarnation
	HLC         HLC
}

// Compare orders dots by HLC, then by incarnation: negative where d is the older.
func (d Dot) Compare(other Dot) int {
	if c := cmp.Compare(d.HLC, other.HLC); c != 0 {
		return c
	}
	return cmp.Compare(d.Incarnation, other.Incarnation)
}
