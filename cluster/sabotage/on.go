//go:build sabotage

package sabotage

import (
	"os"
	"slices"
	"sync/atomic"
)

// Built says whether this binary can be broken.
const Built = true

// chosen is the flaw of this process. A name that is none must not pass for a sound node.
var chosen = func() Flaw {
	f := Flaw(os.Getenv(Variable))
	if f != "" && !slices.Contains(Flaws(), f) {
		panic(Variable + " names no flaw: " + string(f))
	}
	return f
}()

var count atomic.Uint64

// On says whether the node has this flaw.
func On(f Flaw) bool { return f == chosen }

// Once says whether the node has this flaw, and this is the one time in so many that it shows.
func Once(f Flaw, in uint64) bool { return f == chosen && count.Add(1)%in == 0 }
