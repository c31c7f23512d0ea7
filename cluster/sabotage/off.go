//go:build !sabotage

package sabotage

// Built says whether this binary can be broken.
const Built = false

// On says whether the node has this flaw.
func On(Flaw) bool { return false }

// Once says whether the node has this flaw, and this is the one time in so many that it shows.
func Once(Flaw, uint64) bool { return false }
