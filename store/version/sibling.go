package version

import (
	"bytes"
	"cmp"
)

// Sibling is one surviving value of a key, or the tombstone of a deleted one.
type Sibling struct {
	Dot     Dot
	Written HLC // birth of the value: above zero, at most the dot's HLC, and kept by a touch

	ExpireAtMS int64 // Unix milliseconds, 0: never. A tombstone has none.
	Tombstone  bool
	Payload    []byte // opaque; a tombstone has none
}

// DeadAt says whether a reader at that time sees no value: it was deleted, or has expired.
func (s *Sibling) DeadAt(nowMS int64) bool {
	return s.Tombstone || (s.ExpireAtMS != 0 && s.ExpireAtMS <= nowMS)
}

// compare orders siblings as last-write-wins does: positive where s wins against other.
func (s *Sibling) compare(other *Sibling) int {
	if c := cmp.Compare(s.Written, other.Written); c != 0 {
		return c
	}
	return s.Dot.Compare(other.Dot)
}

func (s *Sibling) equal(other *Sibling) bool {
	return s.Dot == other.Dot &&
		s.Written == other.Written &&
		s.ExpireAtMS == other.ExpireAtMS &&
		s.Tombstone == other.Tombstone &&
		bytes.Equal(s.Payload, other.Payload)
}

// bury makes a tombstone of an expired sibling.
func (s *Sibling) bury() { s.Tombstone, s.ExpireAtMS, s.Payload = true, 0, nil }
