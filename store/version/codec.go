package version

import (
	"encoding/binary"
	"errors"
	"fmt"
	"math/bits"
	"slices"

	"github.com/cespare/xxhash/v2"
)

// ErrCorrupt: bytes that AppendObject never wrote.
var ErrCorrupt = errors.New("corrupt object")

// ErrVersion: an object of a version or a type that this program does not know, most likely written by a
// newer one. A flipped bit in the version byte looks the same.
var ErrVersion = errors.New("object of an unknown version")

// The form of an object on disk and on the wire. Integers of fixed size are big endian; a uvarint is
// encoding/binary's, in its shortest form.
//
//  1. version, 1 byte: 1
//  2. checksum, 4 bytes: the low 32 bits of xxhash64(all that follows) + version
//  3. type, 1 byte: 1 is a string; 0 only without siblings
//  4. clock
//     4.1 number of entries, uvarint
//     4.2 each entry, by rising incarnation: incarnation, 8 bytes; HLC, 8 bytes, not zero
//  5. siblings
//     5.1 their number, uvarint
//     5.2 each sibling, newest first, by falling (written, dot); no dot twice:
//     5.2.1 flags, 1 byte: 1 tombstone, 2 older, 4 touched, 8 expires; no others, 8 never with 1
//     5.2.2 index in the clock of the dot's incarnation, uvarint
//     5.2.3 if older: the dot's HLC, 8 bytes, below the clock entry's; else it is the clock entry's
//     5.2.4 if touched: written, 8 bytes, below the dot's HLC, not zero; else it is the dot's HLC
//     5.2.5 if it expires: Unix milliseconds, uvarint of the two's complement, not zero
//     5.2.6 if no tombstone: length of the payload, uvarint; payload
//
// Every object has one form and every form one object: Decode refuses whatever AppendObject would not
// write, so equal objects are equal bytes.
const (
	codecVersion = 1
	headerBytes  = 1 + 4 // version and checksum
	entryBytes   = 8 + 8

	flagTombstone = 1 << 0
	flagOlder     = 1 << 1
	flagTouched   = 1 << 2
	flagExpires   = 1 << 3
	flagsKnown    = flagTombstone | flagOlder | flagTouched | flagExpires

	olderSiblingBytesMin = 1 + 1 + 8 // flags, index, HLC: the dots of other siblings are in the clock
)

// AppendObject appends the object's form to dst. It does not allocate where dst has the room. It panics
// on an object that breaks the invariants, rather than write what nobody can read; only a dot that two
// siblings share, which neither Put nor Merge can make, is left for Decode to find.
func AppendObject(dst []byte, o *Object) []byte {
	if o.Type > TypeString || (o.Type == 0 && len(o.Siblings) > 0) {
		panic(fmt.Sprintf("version: encoding an object of type %d with %d siblings", o.Type, len(o.Siblings)))
	}
	dst = slices.Grow(dst, encodedBytesMax(o))
	start := len(dst)
	dst = append(dst, codecVersion, 0, 0, 0, 0, byte(o.Type))
	dst = binary.AppendUvarint(dst, uint64(len(o.Clock)))
	for i, entry := range o.Clock {
		if entry.HLC == 0 || (i > 0 && o.Clock[i-1].Incarnation >= entry.Incarnation) {
			panic("version: encoding an object whose clock is not sorted or has a zero")
		}
	}
	dst = appendEntries(dst, o.Clock)
	dst = binary.AppendUvarint(dst, uint64(len(o.Siblings)))
	for i := range o.Siblings {
		if i > 0 && o.Siblings[i-1].compare(&o.Siblings[i]) <= 0 {
			panic("version: encoding an object whose siblings are not sorted newest first")
		}
		dst = appendSibling(dst, &o.Siblings[i], o.Clock)
	}
	binary.BigEndian.PutUint32(dst[start+1:], checksum(dst[start+headerBytes:]))
	return dst
}

func appendSibling(dst []byte, s *Sibling, clock Clock) []byte {
	index, found := clock.search(s.Dot.Incarnation)
	if !found || clock[index].HLC < s.Dot.HLC {
		panic(fmt.Sprintf("version: encoding an object whose clock does not cover the dot (%016x, %v)", uint64(s.Dot.Incarnation), s.Dot.HLC))
	}
	if s.Written == 0 || s.Written > s.Dot.HLC || (s.Tombstone && (len(s.Payload) > 0 || s.ExpireAtMS != 0)) {
		panic("version: encoding a sibling that is against the rules of its fields")
	}
	flagsAt := len(dst)
	var flags byte
	dst = append(dst, 0)
	dst = binary.AppendUvarint(dst, uint64(index))
	if s.Dot.HLC != clock[index].HLC {
		flags |= flagOlder
		dst = binary.BigEndian.AppendUint64(dst, uint64(s.Dot.HLC))
	}
	if s.Written != s.Dot.HLC {
		flags |= flagTouched
		dst = binary.BigEndian.AppendUint64(dst, uint64(s.Written))
	}
	if s.ExpireAtMS != 0 {
		flags |= flagExpires
		dst = binary.AppendUvarint(dst, uint64(s.ExpireAtMS))
	}
	if s.Tombstone {
		flags |= flagTombstone
	} else {
		dst = binary.AppendUvarint(dst, uint64(len(s.Payload)))
		dst = append(dst, s.Payload...)
	}
	dst[flagsAt] = flags
	return dst
}

// Decode makes o what AppendObject encoded, in o's own memory where it suffices: with more to spare it
// allocates at most a small multiple of len(b). The payloads alias b. On an error, ErrCorrupt or
// ErrVersion, o is empty.
func (o *Object) Decode(b []byte) error {
	if len(b) > headerBytes && b[0] == codecVersion && binary.BigEndian.Uint32(b[1:]) != checksum(b[headerBytes:]) {
		o.Reset()
		return fmt.Errorf("%w: wrong checksum", ErrCorrupt)
	}
	return o.DecodeTrusted(b)
}

// DecodeTrusted is Decode without the checksum, for bytes that this process encoded or verified itself.
func (o *Object) DecodeTrusted(b []byte) error {
	o.Reset()
	if err := o.decode(b); err != nil {
		o.Reset()
		return err
	}
	return nil
}

func (o *Object) decode(b []byte) error {
	if len(b) > 0 && b[0] != codecVersion {
		return fmt.Errorf("%w: version %d", ErrVersion, b[0])
	}
	if len(b) < headerBytes+1 {
		return fmt.Errorf("%w: %d bytes have no header", ErrCorrupt, len(b))
	}
	o.Type = Type(b[headerBytes])
	if o.Type > TypeString {
		return fmt.Errorf("%w: type %d", ErrVersion, o.Type)
	}
	f := fields{rest: b[headerBytes+1:]}

	entries := f.uvarint()
	if entries > uint64(len(f.rest)/entryBytes) {
		f.cut = true
	}
	if f.cut {
		return fmt.Errorf("%w: clock cut short", ErrCorrupt)
	}
	var valid bool
	if o.Clock, valid = parseEntries(o.Clock, f.take(entries*entryBytes)); !valid {
		return fmt.Errorf("%w: clock not in order", ErrCorrupt)
	}

	siblings := f.uvarint()
	if siblings > entries+uint64(len(f.rest)/olderSiblingBytesMin) {
		f.cut = true
	}
	if f.cut {
		return fmt.Errorf("%w: siblings cut short", ErrCorrupt)
	}
	if siblings > 0 && o.Type == 0 {
		return fmt.Errorf("%w: siblings of no type", ErrCorrupt)
	}
	o.Siblings = slices.Grow(o.Siblings, int(siblings))
	for i := range int(siblings) {
		o.Siblings = o.Siblings[:i+1]
		if fault := f.sibling(&o.Siblings[i], o.Clock); fault != "" {
			return fmt.Errorf("%w: sibling %d: %s", ErrCorrupt, i, fault)
		}
		if i > 0 && o.Siblings[i-1].compare(&o.Siblings[i]) <= 0 {
			return fmt.Errorf("%w: sibling %d: not older than the one before", ErrCorrupt, i)
		}
	}
	if len(f.rest) > 0 {
		return fmt.Errorf("%w: %d bytes follow it", ErrCorrupt, len(f.rest))
	}
	if repeatsDot(o.Siblings) {
		return fmt.Errorf("%w: two siblings with one dot", ErrCorrupt)
	}
	return nil
}

func checksum(body []byte) uint32 { return uint32(xxhash.Sum64(body) + codecVersion) }

// encodedBytesMax bounds the encoding, a few bytes a sibling too high, so that AppendObject grows dst
// once or never.
func encodedBytesMax(o *Object) int {
	clockUvarint := uvarintBytes(uint64(len(o.Clock)))
	total := headerBytes + 1 + clockUvarint + entryBytes*len(o.Clock) + uvarintBytes(uint64(len(o.Siblings)))
	for i := range o.Siblings {
		s := &o.Siblings[i]
		total += 1 + clockUvarint + 8
		if s.Written != s.Dot.HLC {
			total += 8
		}
		if s.ExpireAtMS != 0 {
			total += uvarintBytes(uint64(s.ExpireAtMS))
		}
		total += uvarintBytes(uint64(len(s.Payload))) + len(s.Payload)
	}
	return total
}

func uvarintBytes(x uint64) int { return (bits.Len64(x|1) + 6) / 7 }
