package store

import (
	"slices"
	"testing"

	"pgregory.net/rapid"
)

// An index finds just the places that were added with a hash, or with one of the same
// low half, and were not removed.
func TestAnIndexFindsWhatWasAdded(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		var x index
		model := map[int32]uint64{}
		// Few homes, next to each other and at the end of the slots, so that searches run into one another.
		hashes := rapid.Custom(func(t *rapid.T) uint64 {
			home := rapid.Uint64Range(0, 9).Draw(t, "home") - 5
			return rapid.Uint64Range(0, 2).Draw(t, "above")<<32 | rapid.Uint64Range(0, 2).Draw(t, "low")<<20 | home&(1<<20-1)
		})
		check := func(hash uint64) {
			var got, want []int32
			for place, at := x.next(hash, x.home(hash)); place != noPlace; place, at = x.next(hash, at) {
				got = append(got, place)
			}
			for place, of := range model {
				if uint32(of) == uint32(hash) {
					want = append(want, place)
				}
			}
			slices.Sort(got)
			slices.Sort(want)
			if !slices.Equal(got, want) {
				t.Fatalf("%x is at %v, want %v", hash, got, want)
			}
		}
		for place := range int32(rapid.IntRange(0, 300).Draw(t, "steps")) {
			hash := hashes.Draw(t, "hash")
			x.add(hash, place)
			model[place] = hash
			if len(model) > 0 && rapid.IntRange(0, 2).Draw(t, "remove") > 0 {
				gone := rapid.Int32Range(0, place).Draw(t, "gone")
				if of, is := model[gone]; is {
					x.remove(of, gone)
					delete(model, gone)
					check(of)
				}
			}
			check(hash)
			if x.used != len(model) {
				t.Fatalf("it has %d places, want %d", x.used, len(model))
			}
		}
	})
}
