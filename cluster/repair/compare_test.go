package repair

import (
	"bytes"
	"encoding/binary"
	"slices"
	"testing"

	"pgregory.net/rapid"

	"cartwheel/cluster/ring"
	"cartwheel/store"
	"cartwheel/store/version"
)

// storageKey is the tail of a row, as package store has it.
func storageKey(k store.Key) []byte {
	b := binary.BigEndian.AppendUint64(nil, uint64(k.Token))
	b = append(b, k.DB)
	b = binary.AppendUvarint(b, uint64(len(k.User)))
	return append(b, k.User...)
}

func TestKeysAreOrderedAsTheyAreStored(t *testing.T) {
	key := rapid.Custom(func(rt *rapid.T) store.Key {
		length := rapid.SampledFrom([]int{0, 1, 127, 128, 129, 255, 256, 300}).Draw(rt, "length")
		return store.Key{
			Token: ring.Token(rapid.IntRange(0, 1).Draw(rt, "token")),
			DB:    uint8(rapid.IntRange(0, 1).Draw(rt, "db")),
			User:  slices.Repeat([]byte{byte(rapid.IntRange(0, 1).Draw(rt, "byte"))}, length),
		}
	})
	rapid.Check(t, func(rt *rapid.T) {
		a, b := key.Draw(rt, "a"), key.Draw(rt, "b")
		if got, want := compareKeys(a, b), bytes.Compare(storageKey(a), storageKey(b)); got != want {
			rt.Errorf("%d, by the rows %d", got, want)
		}
	})
}

func TestLeavesAreThoseOfTheStore(t *testing.T) {
	w := newWorld(t, 1, nil)
	for i := range 100 {
		before := map[ring.Partition][64]uint64{}
		for p := range ring.Partition(testPartitions) {
			before[p] = w.nodes[0].store.Leaves(p)
		}
		w.nodes[0].set(keyOf(i), "v")
		k := store.NewKey(0, []byte(keyOf(i)))
		p := ring.PartitionOf(k.Token.Slot(), testPartitions)
		was, is := before[p], w.nodes[0].store.Leaves(p)
		leaf := leafOf(k.Token, p, testPartitions)
		for mode, want := range map[byte]leafMask{0: 1 << leaf, modeSums: 0xff << (leaf / leavesPerSum * leavesPerSum)} {
			in := reader{rest: appendNodes(nil, mode, allLeaves, &is)}
			if mask := differing(&in, mode, allLeaves, &was); mask != want || in.end() != nil {
				t.Fatalf("%s changed the leaves %b, in mode %d", keyOf(i), mask, mode)
			}
		}
	}
}

func TestTokenRangesAreTheLeavesOfTheMask(t *testing.T) {
	rapid.Check(t, func(rt *rapid.T) {
		partitions := 1 << rapid.IntRange(0, 14).Draw(rt, "partitions, log")
		p := ring.Partition(rapid.IntRange(0, partitions-1).Draw(rt, "partition"))
		first, last := p.Span(partitions)
		token := func(name string) ring.Token {
			return first + ring.Token(rapid.Uint64Range(0, uint64(last-first)).Draw(rt, name))
		}
		e := extent{partition: p, mask: leafMask(rapid.Uint64().Draw(rt, "mask"))}
		if rapid.Bool().Draw(rt, "from") {
			e.from = &store.Key{Token: token("from")}
		}
		if rapid.Bool().Draw(rt, "to") {
			e.to = &store.Key{Token: token("to")}
		}
		var ranges [][2]ring.Token
		e.tokenRanges(partitions, func(first, last ring.Token) bool {
			if n := len(ranges); n > 0 && first <= ranges[n-1][1] {
				rt.Fatalf("the range at %x overlaps that before it", first)
			}
			ranges = append(ranges, [2]ring.Token{first, last})
			return true
		})
		for _, probe := range []ring.Token{first, last, token("a"), token("b"), token("c")} {
			covered := slices.ContainsFunc(ranges, func(r [2]ring.Token) bool { return r[0] <= probe && probe <= r[1] })
			if in := e.has(store.Key{Token: probe}, partitions); in && !covered {
				rt.Fatalf("token %x of the extent is in no range", probe)
			}
			if covered && !e.mask.has(leafOf(probe, p, partitions)) {
				rt.Fatalf("token %x of another leaf is in a range", probe)
			}
		}
	})
}

// someObject is an object with that many writes of one node.
func someObject(writes int) *version.Object {
	o := new(version.Object)
	for i := range writes {
		h := version.HLC(i + 1)
		o.Put(o.Clock, version.Sibling{Dot: version.Dot{Incarnation: 7, HLC: h}, Written: h, Payload: []byte("v")})
	}
	return o
}

// A walk must find every difference, whatever the two sides have, and say where
// it stops.
func TestAWalkFindsAllDifferences(t *testing.T) {
	rapid.Check(t, func(rt *rapid.T) {
		side := func(name string) map[int]int { // key -> version
			return rapid.MapOf(rapid.IntRange(0, 30), rapid.IntRange(1, 3)).Draw(rt, name)
		}
		caller, callee := side("caller"), side("callee")
		key := func(i int) store.Key { return store.Key{Token: ring.Token(i), User: []byte{byte(i)}} }
		c := &comparison{}
		pushOnly := rapid.Bool().Draw(rt, "push only")
		if pushOnly {
			c.mode = modePushOnly
		}
		for i := range 31 {
			if v, has := caller[i]; has {
				c.entries = append(c.entries, entry{key(i), someObject(v).Hash()})
			}
		}
		w := walk{c: c}
		scanned, limit := 0, rapid.IntRange(1, 31).Draw(rt, "room for")
		for i := range 31 {
			v, has := callee[i]
			if !has {
				continue
			}
			if scanned++; scanned > limit {
				w.keys = scanKeysMax
			}
			if !w.visit(key(i), someObject(v)) {
				break
			}
		}
		w.end()

		reached := 31
		if w.reached != nil {
			reached = int(w.reached.Token)
		}
		found := map[int]int{}
		in := reader{rest: w.out}
		for len(in.rest) > 0 {
			switch kind := int(in.byte()); kind {
			case findWanted:
				found[int(c.entries[in.index(len(c.entries))].key.User[0])] = kind
			case findDiffers:
				i := int(c.entries[in.index(len(c.entries))].key.User[0])
				found[i] = kind
				if clock := in.clock(); !clock.Equal(someObject(callee[i]).Clock) {
					rt.Fatalf("clock %v", clock)
				}
			case findObject:
				in.byte()
				found[int(in.bytes()[0])] = kind
				in.bytes()
			}
		}
		if err := in.end(); err != nil {
			rt.Fatal(err)
		}
		for i := range reached {
			mine, theirs, want := caller[i], callee[i], 0
			switch {
			case mine != 0 && theirs == 0:
				want = findWanted
			case mine == 0 && theirs != 0 && !pushOnly:
				want = findObject
			case mine != 0 && theirs != 0 && mine != theirs:
				want = findDiffers
			}
			if found[i] != want {
				rt.Errorf("key %d: finding %d, not %d", i, found[i], want)
			}
			delete(found, i)
		}
		if len(found) != 0 {
			rt.Errorf("found beyond %d: %v", reached, found)
		}
	})
}

func TestWhoIsBehindIsSeenInTheClocks(t *testing.T) {
	clock := func(entries ...version.HLC) (c version.Clock) {
		for i, h := range entries {
			if h != 0 {
				c = append(c, version.Dot{Incarnation: version.Incarnation(i), HLC: h})
			}
		}
		return c
	}
	for _, c := range []struct {
		own, theirs version.Clock
		want        need
	}{
		{clock(2), clock(1), needPush},
		{clock(1), clock(1, 1), needPull},
		{clock(2, 1), clock(1, 2), needPush | needPull},
		{clock(1, 1), clock(1, 1), needPush | needPull},
		{clock(), clock(1), needPull},
	} {
		if got := needOf(c.own, c.theirs); got != c.want {
			t.Errorf("own %v, theirs %v: %b, not %b", c.own, c.theirs, got, c.want)
		}
	}
}
