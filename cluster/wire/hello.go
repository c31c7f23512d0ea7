package wire

import (
	"encoding/binary"
	"errors"
)

// Version is the version of the protocol that this package speaks.
const Version = 2

// An Identity is what a node says of itself in a handshake, and how it judges
// what the other says. The functions are called once a handshake or less, by the
// goroutine that shakes hands.
type Identity struct {
	// Secret is the cluster's, which both sides prove to know. Empty without one.
	Secret []byte
	// Hello returns what this node is now. The fields SeenHLC, Lane and
	// FrameBytesMax are filled in for it. Required.
	Hello func() Hello
	// Seen returns the highest HLC this node has seen of an incarnation, the
	// peer's. Nil for 0.
	Seen func(incarnation uint64) (hlc uint64)
	// Accept returns why the peer is refused (a foreign cluster, a node id that
	// another process has), or nil. The text goes to the peer. It is called when
	// the peer has proved the secret and all of its Hello is known. Nil for none
	// refused.
	Accept func(peer *Hello) error
}

// A Hello is what one node says to another when they connect.
type Hello struct {
	Cluster     [16]byte
	Node        [20]byte // a ring.NodeID
	Run         [8]byte  // random for each process, to find two with one node id
	Incarnation uint64
	Epoch       uint64     // of the ring
	Marks       [16]uint64 // flush marks, HLCs, by database
	Extension   []byte     // opaque, at most 64 KiB

	SeenHLC       uint64 // the highest HLC that who says this has seen of the other's incarnation
	Lane          Lane
	FrameBytesMax int // the longest frame that it takes on this lane
}

const (
	helloFixedBytes = 16 + 20 + 8 + 8 + 8 + 16*8 + 8 + 1 + 4
	helloBytesMax   = helloFixedBytes + binary.MaxVarintLen32 + extensionBytesMax
)

var (
	errExtension = errors.New("the extension of a hello is longer than 64 KiB")
	errHello     = errors.New("malformed hello")
)

func (h *Hello) append(dst []byte) ([]byte, error) {
	if len(h.Extension) > extensionBytesMax {
		return nil, errExtension
	}
	dst = append(dst, h.Cluster[:]...)
	dst = append(dst, h.Node[:]...)
	dst = append(dst, h.Run[:]...)
	dst = binary.BigEndian.AppendUint64(dst, h.Incarnation)
	dst = binary.BigEndian.AppendUint64(dst, h.Epoch)
	for _, mark := range h.Marks {
		dst = binary.BigEndian.AppendUint64(dst, mark)
	}
	dst = binary.BigEndian.AppendUint64(dst, h.SeenHLC)
	dst = append(dst, byte(h.Lane))
	dst = binary.BigEndian.AppendUint32(dst, uint32(h.FrameBytesMax))
	return AppendBytes(dst, h.Extension), nil
}

// parseHello reads what append has written. It keeps nothing of b.
func parseHello(b []byte) (*Hello, error) {
	h := new(Hello)
	fields := FieldsOf(b)
	copy(h.Cluster[:], fields.Fixed(len(h.Cluster)))
	copy(h.Node[:], fields.Fixed(len(h.Node)))
	copy(h.Run[:], fields.Fixed(len(h.Run)))
	h.Incarnation = fields.Uint64()
	h.Epoch = fields.Uint64()
	for i := range h.Marks {
		h.Marks[i] = fields.Uint64()
	}
	h.SeenHLC = fields.Uint64()
	h.Lane = Lane(fields.Uint8())
	frameBytesMax := fields.Uint32()
	extension := fields.Bytes()
	if fields.Err() != nil || fields.Rest() > 0 || len(extension) > extensionBytesMax ||
		h.Lane >= LaneCount || frameBytesMax < frameBytesLeast {
		return nil, errHello
	}
	h.FrameBytesMax = int(min(frameBytesMax, frameBytesMost))
	h.Extension = append(h.Extension, extension...)
	return h, nil
}
