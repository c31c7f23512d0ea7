package version

import (
	"encoding/binary"
	"slices"
)

// fields reads an encoding from the front. After a field that the input does not hold in full, or a
// uvarint longer than it need be, cut is set and every further field is zero.
type fields struct {
	rest []byte
	cut  bool
}

func (f *fields) byte() byte {
	if len(f.rest) == 0 {
		f.cut = true
		return 0
	}
	b := f.rest[0]
	f.rest = f.rest[1:]
	return b
}

func (f *fields) uint64() uint64 {
	b := f.take(8)
	if f.cut {
		return 0
	}
	return binary.BigEndian.Uint64(b)
}

func (f *fields) uvarint() uint64 {
	x, n := binary.Uvarint(f.rest)
	if n <= 0 || (n > 1 && f.rest[n-1] == 0) {
		*f = fields{cut: true}
		return 0
	}
	f.rest = f.rest[n:]
	return x
}

// take aliases the input.
func (f *fields) take(n uint64) []byte {
	if n > uint64(len(f.rest)) {
		*f = fields{cut: true}
		return nil
	}
	taken := f.rest[:n:n]
	f.rest = f.rest[n:]
	return taken
}

// sibling reads one into s and says what is wrong with it, if anything is.
func (f *fields) sibling(s *Sibling, clock Clock) (fault string) {
	flags := f.byte()
	index := f.uvarint()
	if f.cut {
		return "cut short"
	}
	if flags&^flagsKnown != 0 {
		return "unknown flags"
	}
	if index >= uint64(len(clock)) {
		return "its dot is of an incarnation that the clock does not have"
	}
	*s = Sibling{Dot: clock[index], Tombstone: flags&flagTombstone != 0}
	if flags&flagOlder != 0 {
		if s.Dot.HLC = HLC(f.uint64()); s.Dot.HLC >= clock[index].HLC {
			return "its dot's HLC is not older than the clock's"
		}
	}
	s.Written = s.Dot.HLC
	if flags&flagTouched != 0 {
		if s.Written = HLC(f.uint64()); s.Written >= s.Dot.HLC {
			return "written is not before its dot"
		}
	}
	if flags&flagExpires != 0 {
		s.ExpireAtMS = int64(f.uvarint())
	}
	if !s.Tombstone {
		s.Payload = f.take(f.uvarint())
	}
	switch {
	case f.cut:
		return "cut short"
	case s.Written == 0:
		return "an HLC is zero"
	case flags&flagExpires != 0 && (s.ExpireAtMS == 0 || s.Tombstone):
		return "its expiry is zero or a tombstone's"
	}
	return ""
}

func appendEntries(dst []byte, clock Clock) []byte {
	for _, entry := range clock {
		dst = binary.BigEndian.AppendUint64(dst, uint64(entry.Incarnation))
		dst = binary.BigEndian.AppendUint64(dst, uint64(entry.HLC))
	}
	return dst
}

// parseEntries reads as many clock entries as b holds into clock's memory. They are not valid unless
// they are in order and none is zero. b has no remainder.
func parseEntries(clock Clock, b []byte) (_ Clock, valid bool) {
	clock = slices.Grow(clock[:0], len(b)/entryBytes)
	for ; len(b) > 0; b = b[entryBytes:] {
		entry := Dot{Incarnation(binary.BigEndian.Uint64(b)), HLC(binary.BigEndian.Uint64(b[8:]))}
		if entry.HLC == 0 || (len(clock) > 0 && clock[len(clock)-1].Incarnation >= entry.Incarnation) {
			return clock, false
		}
		clock = append(clock, entry)
	}
	return clock, true
}

// repeatsDot says whether two siblings have the same dot. Neither the time nor the memory that it takes
// gets out of hand, however many a peer sends: many are sorted by dot, in place, and sorted back.
func repeatsDot(siblings []Sibling) bool {
	const fewEnough = 32
	if len(siblings) <= fewEnough {
		for i := range siblings {
			for j := range i {
				if siblings[i].Dot == siblings[j].Dot {
					return true
				}
			}
		}
		return false
	}

	slices.SortFunc(siblings, func(a, b Sibling) int { return a.Dot.Compare(b.Dot) })
	repeated := false
	for i := range siblings[1:] {
		repeated = repeated || siblings[i].Dot == siblings[i+1].Dot
	}
	slices.SortFunc(siblings, func(a, b Sibling) int { return b.compare(&a) })
	return repeated
}
