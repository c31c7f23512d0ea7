//go:build sabotage

package sabotage

import (
	"os"
	"slices"
	"sync/atomic"
)

// Built says whether this binary can be broken.
const Built = true

// chosen is the flaw of this process.
var chosen atomic.Pointer[Flaw]

func init() { Choose(Flaw(os.Getenv(Variable))) }

// Choose breaks all nodes of this process in a way; in none where it is empty. A name that
// is none must not pass for a sound node.
func Choose(f Flaw) {
	if f != "" && !slices.Contains(Flaws(), f) {
		panic(Variable + " names no flaw: " + string(f))
	}
	count.Store(0)
	chosen.Store(&f)
}

var count atomic.Uint64

// On says whether the node has this flaw.
func On(f Flaw) bool { return f == *chosen.Load() }

// Once says whether the node has this flaw, and this is the one time in so many that it shows.
func Once(f Flaw, in uint64) bool { return On(f) && count.Add(1)%in == 0 }
