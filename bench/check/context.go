package check

import (
	"encoding/base64"
	"encoding/binary"
	"errors"
	"fmt"
	"strconv"

	"github.com/cespare/xxhash/v2"
)

// Clock is a vector clock: incarnation -> the highest HLC seen of it.
type Clock map[uint64]uint64

// Dot is the identity of one write. The zero dot is not known.
type Dot struct{ Incarnation, HLC uint64 }

func (d Dot) known() bool { return d != Dot{} }

func (d Dot) String() string {
	return fmt.Sprintf("%016x@%d.%d", d.Incarnation, d.HLC>>16, d.HLC&0xffff)
}

// covers says whether the write is among what the clock has seen.
func (c Clock) covers(d Dot) bool { return d.HLC <= c[d.Incarnation] }

// descends says whether c has seen all that other has.
func (c Clock) descends(other Clock) bool {
	for incarnation, hlc := range other {
		if c[incarnation] < hlc {
			return false
		}
	}
	return true
}

const (
	contextVersion       = 1
	contextEntryBytes    = 16
	contextChecksumBytes = 8
)

// ParseContext reads the token that a node handed out for a key of database 0. The empty token is
// the empty clock. The form is that which store/version/context.go documents, read here anew so that
// the checkers do not share a mistake with the store: version, entries of incarnation and HLC by
// rising incarnation, xxhash64 of these seeded by that of the key; base64url.
func ParseContext(token, key string) (Clock, error) {
	if token == "" {
		return nil, nil
	}
	raw, err := base64.RawURLEncoding.Strict().DecodeString(token)
	if err != nil {
		return nil, fmt.Errorf("context %q: %w", token, err)
	}
	end := len(raw) - contextChecksumBytes
	if end < 1 || raw[0] != contextVersion || (end-1)%contextEntryBytes != 0 {
		return nil, fmt.Errorf("context %q: not of a known form", token)
	}
	digest := xxhash.NewWithSeed(xxhash.Sum64String(key))
	_, _ = digest.Write(raw[:end]) // never fails
	if digest.Sum64() != binary.BigEndian.Uint64(raw[end:]) {
		return nil, fmt.Errorf("context %q: damaged, or not of key %q", token, key)
	}
	clock, last := Clock{}, uint64(0)
	for at := 1; at < end; at += contextEntryBytes {
		incarnation, hlc := binary.BigEndian.Uint64(raw[at:]), binary.BigEndian.Uint64(raw[at+8:])
		if hlc == 0 || at > 1 && incarnation <= last {
			return nil, fmt.Errorf("context %q: entries not in order", token)
		}
		clock[incarnation], last = hlc, incarnation
	}
	return clock, nil
}

var errReturned = errors.New("the reply's context is not the given one and one dot")

// dotOf is the dot of an acknowledged write: what its reply's context has beyond the given one. Where
// the reply's context is the given one the dot is not known: a clock cannot express the own write
// without unseen ones of the same incarnation.
func dotOf(given, returned Clock) (Dot, error) {
	var dot Dot
	for incarnation, hlc := range returned {
		if hlc == given[incarnation] {
			continue
		}
		if hlc < given[incarnation] || dot.known() {
			return Dot{}, errReturned
		}
		dot = Dot{incarnation, hlc}
	}
	for incarnation := range given {
		if _, kept := returned[incarnation]; !kept {
			return Dot{}, errReturned
		}
	}
	return dot, nil
}

func itoa(n int) string { return strconv.Itoa(n) }
