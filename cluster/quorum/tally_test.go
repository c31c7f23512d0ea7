package quorum

import (
	"testing"

	"pgregory.net/rapid"
)

// Whatever W of the owners and of the owners to be acknowledge a write, R of
// either meet one of them, where R and W are majorities.
func TestAWriteMeetsReadsBeforeAndAfterAMove(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		owners := Set(rapid.Uint64Range(1, 255).Draw(t, "owners"))
		next := Set(rapid.Uint64Range(1, 255).Draw(t, "owners to be"))
		write := NewTally(owners, Majority(owners.Len()), next, Majority(next.Len()))
		for i := range 8 {
			if rapid.Bool().Draw(t, "acknowledges") {
				write.Ack(i)
			}
		}
		asked := Set(rapid.Uint64Range(0, 255).Draw(t, "asked"))
		for _, set := range []Set{owners, next} {
			read := NewTally(set, Majority(set.Len()), 0, 0)
			for i := range 8 {
				if asked.Has(i) {
					read.Ack(i)
				}
			}
			if write.Enough() && read.Enough() && write.acked&asked&set == 0 {
				t.Fatalf("a read of %b among %b misses a write at %b", asked, set, write.acked)
			}
		}
	})
}

func TestHopelessIsWhenNoAnswersToComeSuffice(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		owners, next := Set(rapid.Uint64Range(0, 15).Draw(t, "owners")), Set(rapid.Uint64Range(0, 15).Draw(t, "next"))
		tally := NewTally(owners, rapid.IntRange(0, owners.Len()).Draw(t, "W"), next, rapid.IntRange(0, next.Len()).Draw(t, "W of next"))
		for i := range 4 {
			switch rapid.IntRange(0, 2).Draw(t, "answer") {
			case 0:
				tally.Ack(i)
			case 1:
				tally.Fail(i)
			}
		}
		best := tally
		for i := range 4 {
			if !best.failed.Has(i) {
				best.Ack(i)
			}
		}
		if tally.Hopeless() == best.Enough() {
			t.Fatalf("%+v: hopeless %v, but at best enough is %v", tally, tally.Hopeless(), best.Enough())
		}
	})
}
