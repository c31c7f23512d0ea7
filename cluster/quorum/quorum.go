// Package quorum counts: how many owners a read or a write needs and whether
// the answers suffice. It is pure: it asks nobody.
package quorum

import "errors"

// ErrNoReplicas says that fewer owners can answer than were asked for. Nothing
// was applied.
var ErrNoReplicas = errors.New("not enough replicas can answer")

// A Need says how many replicas must answer one operation.
type Need struct {
	R, W   int  // 0: a majority of the owners
	Strict bool // only owners count, no fallbacks
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
