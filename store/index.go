package store

// An index finds places in a slice by a hash: open addressing, linear probing. Its
// slots are what a lookup waits for, so they are small and a prefetch can read them
// before. The low 32 bits of a hash are what it goes by; others who have the same are found, too.
type index struct {
	slots []uint64 // the place and 1, and the low half of its hash; 0: free
	used  int
}

const (
	indexSlotsMin = 64
	noPlace       = int32(-1)
)

// home is where the search for a hash begins.
func (x *index) home(hash uint64) uint32 { return uint32(hash) & uint32(len(x.slots)-1) }

// next returns a place of a hash, noPlace where there is none any more, and where to go
// on; begin at home.
func (x *index) next(hash uint64, at uint32) (place int32, after uint32) {
	for mask := uint32(len(x.slots) - 1); len(x.slots) > 0; at++ {
		slot := x.slots[at&mask]
		if slot == 0 {
			break
		}
		if uint32(slot) == uint32(hash) {
			return int32(slot>>32) - 1, at + 1
		}
	}
	return noPlace, at
}

// touch reads the slot at which the search for a hash begins.
func (x *index) touch(hash uint64) uint64 {
	if len(x.slots) == 0 {
		return 0
	}
	return x.slots[x.home(hash)]
}

// add adds a place, which is not there yet.
func (x *index) add(hash uint64, place int32) {
	if 4*(x.used+1) > 3*len(x.slots) {
		before := x.slots
		x.slots = make([]uint64, max(indexSlotsMin, 2*len(before)))
		for _, slot := range before {
			if slot != 0 {
				x.put(slot)
			}
		}
	}
	x.put(uint64(place+1)<<32 | uint64(uint32(hash)))
	x.used++
}

func (x *index) put(slot uint64) {
	mask := uint32(len(x.slots) - 1)
	at := uint32(slot) & mask
	for x.slots[at] != 0 {
		at = (at + 1) & mask
	}
	x.slots[at] = slot
}

// remove takes out a place, which is there.
func (x *index) remove(hash uint64, place int32) {
	mask := uint32(len(x.slots) - 1)
	hole := x.find(hash, place)
	for at := (hole + 1) & mask; x.slots[at] != 0; at = (at + 1) & mask {
		// One that is found by way of the hole moves into it.
		if home := uint32(x.slots[at]) & mask; (at-home)&mask >= (at-hole)&mask {
			x.slots[hole], hole = x.slots[at], at
		}
	}
	x.slots[hole] = 0
	x.used--
}

// find returns the slot of a place.
func (x *index) find(hash uint64, place int32) uint32 {
	mask := uint32(len(x.slots) - 1)
	at := x.home(hash)
	for want := uint64(place+1)<<32 | uint64(uint32(hash)); x.slots[at] != want; {
		at = (at + 1) & mask
	}
	return at
}
