// Package quorum counts: how many owners a read or a write needs and whether
// the answers suffice. It is pure: it asks nobody.
package quorum

import (
	"errors"

	"cartwheel/store/version"
)

// ErrNoReplicas says that fewer owners can answer than were asked for. Nothing
// was applied.
var ErrNoReplicas = errors.New("not enough replicas can answer")

// A Need says how many replicas must answer one operation.
type Need struct {
	R, W   int  // 0: a majority of the owners
	Strict bool // only owners count, no fallbacks
	Span   Span // of what is written
}

// A Span is when a command counts as having written: after After and, unless that is zero,
// not after Before, whenever it is run.
//
// It makes a command that may be run twice, at two nodes, be one write. The node that
// forwards it lets the second begin where the first has ended, so the second wins, however
// late the first comes about; and what is written after the command has been answered wins
// over the second, and so over both.
type Span struct{ After, Before version.HLC }

// Written returns when a write with a dot of that HLC counts as written. It is late, and not to be
// done, where what it would overwrite was written after the span.
func (s Span) Written(dot, latest version.HLC) (written version.HLC, late bool) {
	if s.Before == 0 {
		return dot, false
	}
	return min(dot, s.Before), latest >= s.Before
}

// Majority returns the least number of n owners that is more than a half.
func Majority(n int) int { return n/2 + 1 }

// Reads returns how many of n owners a read needs.
func (need Need) Reads(n int) (int, error) { return resolve(need.R, n) }

// Writes returns how many of n owners a write needs.
func (need Need) Writes(n int) (int, error) { return resolve(need.W, n) }

func resolve(asked, n int) (int, error) {
	switch {
	case asked == 0:
		return Majority(n), nil
	case asked > n:
		return 0, ErrNoReplicas
	}
	return asked, nil
}
