package ring

import (
	"encoding/binary"
	"errors"
	"fmt"
	"math/bits"

	"github.com/cespare/xxhash/v2"
)

// ErrCorrupt: bytes that Append never wrote.
var ErrCorrupt = errors.New("corrupt ring document")

// ErrVersion: a document of a version that this program does not know, most
// likely written by a newer one.
var ErrVersion = errors.New("ring document of an unknown version")

// The form of a document on disk and on the wire. A uvarint is
// encoding/binary's, in its shortest form.
//
//  1. version, 1 byte: 1
//  2. checksum, 8 bytes, big endian: xxhash64(all that follows) + version
//  3. cluster id, 16 bytes; epoch, uvarint
//  4. logarithm to base 2 of the partitions, 1 byte; replicas, 1 byte
//  5. members
//     5.1 their number, uvarint
//     5.2 each member, by rising id: id, 20 bytes; state, 1 byte; weight, uvarint
//     5.3 its peer, client and cluster address and zone, each a length, uvarint, and text
//  6. owners of each partition: their number, 1 byte; each, its index among the members, uvarint
//  7. moves
//     7.1 their number, uvarint
//     7.2 each move, in order: partitions since that of the one before, uvarint
//     7.3 from and to: index among the members plus one, uvarint; 0 is none
//
// Every document has one form and every form one document: Decode refuses
// whatever Append would not write.
const (
	codecVersion = 1
	headerBytes  = 1 + 8

	memberBytesMin = len(NodeID{}) + 1 + 1 + 4
	moveBytesMin   = 3
)

// Append appends the document's form to dst. It panics on a document that is
// not valid in that it names owners that are no members.
func (d *Document) Append(dst []byte) []byte {
	start := len(dst)
	dst = append(dst, codecVersion, 0, 0, 0, 0, 0, 0, 0, 0)
	dst = append(dst, d.Cluster[:]...)
	dst = binary.AppendUvarint(dst, d.Epoch)
	dst = append(dst, byte(bits.TrailingZeros(uint(d.Partitions))), byte(d.Replicas))

	index := make(map[NodeID]uint64, len(d.Members)+1)
	index[NodeID{}] = 0
	dst = binary.AppendUvarint(dst, uint64(len(d.Members)))
	for i := range d.Members {
		dst = appendMember(dst, &d.Members[i])
		index[d.Members[i].ID] = uint64(i) + 1
	}
	for _, owners := range d.Owners {
		dst = append(dst, byte(len(owners)))
		for _, owner := range owners {
			dst = binary.AppendUvarint(dst, indexOf(index, owner)-1)
		}
	}
	dst = binary.AppendUvarint(dst, uint64(len(d.Moves)))
	previous := Partition(0)
	for _, m := range d.Moves {
		dst = binary.AppendUvarint(dst, uint64(m.Partition-previous))
		dst = binary.AppendUvarint(dst, indexOf(index, m.From))
		dst = binary.AppendUvarint(dst, indexOf(index, m.To))
		previous = m.Partition
	}
	binary.BigEndian.PutUint64(dst[start+1:], checksum(dst[start+headerBytes:]))
	return dst
}

func checksum(body []byte) uint64 { return xxhash.Sum64(body) + codecVersion }

func indexOf(index map[NodeID]uint64, id NodeID) uint64 {
	at, known := index[id]
	if !known {
		panic(fmt.Sprintf("ring: encoding a document in which %s owns something and is no member", id))
	}
	return at
}

func appendMember(dst []byte, m *Member) []byte {
	dst = append(dst, m.ID[:]...)
	dst = append(dst, byte(m.State))
	dst = binary.AppendUvarint(dst, uint64(m.Weight))
	for _, text := range []string{m.Peer, m.Client, m.Cluster, m.Zone} {
		dst = binary.AppendUvarint(dst, uint64(len(text)))
		dst = append(dst, text...)
	}
	return dst
}

// Decode returns the document that b is the form of, valid, or ErrCorrupt or
// ErrVersion. It allocates at most a small multiple of len(b), and keeps none of
// b.
func Decode(b []byte) (*Document, error) {
	switch {
	case len(b) > 0 && b[0] != codecVersion:
		return nil, fmt.Errorf("%w: version %d", ErrVersion, b[0])
	case len(b) < headerBytes:
		return nil, fmt.Errorf("%w: %d bytes have no header", ErrCorrupt, len(b))
	case binary.BigEndian.Uint64(b[1:]) != checksum(b[headerBytes:]):
		return nil, fmt.Errorf("%w: wrong checksum", ErrCorrupt)
	}
	f := fields{rest: b[headerBytes:]}
	d := &Document{}
	copy(d.Cluster[:], f.take(uint64(len(d.Cluster))))
	d.Epoch = f.uvarint()
	logPartitions := f.byte()
	d.Replicas = int(f.byte())
	if f.cut || logPartitions > slotBits {
		return nil, fmt.Errorf("%w: it has no beginning", ErrCorrupt)
	}
	d.Partitions = 1 << logPartitions
	f.members(d)
	f.owners(d)
	f.moves(d)
	if f.cut || len(f.rest) > 0 {
		return nil, fmt.Errorf("%w: too short or too long", ErrCorrupt)
	}
	if err := d.Validate(); err != nil {
		return nil, fmt.Errorf("%w: %w", ErrCorrupt, err)
	}
	return d, nil
}

// fields reads a form from the front. After a field that it does not hold in
// full, or that cannot be, cut is set and every further field is zero.
type fields struct {
	rest []byte
	cut  bool
}

func (f *fields) fail() { *f = fields{cut: true} }

func (f *fields) byte() byte {
	b := f.take(1)
	if f.cut {
		return 0
	}
	return b[0]
}

func (f *fields) uvarint() uint64 {
	x, n := binary.Uvarint(f.rest)
	if n <= 0 || n > 1 && f.rest[n-1] == 0 {
		f.fail()
		return 0
	}
	f.rest = f.rest[n:]
	return x
}

// take aliases the input.
func (f *fields) take(n uint64) []byte {
	if n > uint64(len(f.rest)) {
		f.fail()
		return nil
	}
	taken := f.rest[:n]
	f.rest = f.rest[n:]
	return taken
}

// number reads how many elements follow, each of at least so many bytes.
func (f *fields) number(elementBytesMin int) int {
	n := f.uvarint()
	if n > uint64(len(f.rest)/elementBytesMin) {
		f.fail()
		return 0
	}
	return int(n)
}

func (f *fields) members(d *Document) {
	n := f.number(memberBytesMin)
	d.Members = make([]Member, n)
	for i := range d.Members {
		m := &d.Members[i]
		copy(m.ID[:], f.take(uint64(len(m.ID))))
		m.State = State(f.byte())
		m.Weight = int(min(f.uvarint(), WeightMax+1))
		for _, text := range []*string{&m.Peer, &m.Client, &m.Cluster, &m.Zone} {
			*text = string(f.take(f.uvarint()))
		}
	}
}

func (f *fields) owners(d *Document) {
	const rowBytesMin = 2
	if d.Partitions > len(f.rest)/rowBytesMin {
		f.fail()
		return
	}
	d.Owners = make([][]NodeID, d.Partitions)
	for p := range d.Owners {
		n := int(f.byte())
		if n > len(f.rest) || n > ReplicasMax {
			f.fail()
			return
		}
		row := make([]NodeID, n)
		for i := range row {
			row[i] = f.member(d, f.uvarint())
		}
		d.Owners[p] = row
	}
}

// member returns the id at an index among the members.
func (f *fields) member(d *Document, at uint64) NodeID {
	if at >= uint64(len(d.Members)) {
		f.fail()
		return NodeID{}
	}
	return d.Members[at].ID
}

func (f *fields) moves(d *Document) {
	n := f.number(moveBytesMin)
	if n == 0 {
		return
	}
	d.Moves = make([]Move, n)
	previous := Partition(0)
	for i := range d.Moves {
		m := &d.Moves[i]
		previous += Partition(min(f.uvarint(), Slots))
		m.Partition = previous
		for _, id := range []*NodeID{&m.From, &m.To} {
			if at := f.uvarint(); at > 0 {
				*id = f.member(d, at-1)
			}
		}
	}
}
