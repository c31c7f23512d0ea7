package wire

import (
	"encoding/binary"
	"errors"
	"slices"
)

// An Op says what a request asks for. Its values are the users' of this package.
type Op uint8

// A frame, integers big-endian:
//
//	 0  length    4  of what follows it
//	 4  id        8  the request's, the same in its reply
//	12  op        1
//	13  flags     1
//	14  epoch     8
//	22  HLC       8  in a clock frame the sender's clock
//	30  deadline  4  milliseconds the sender still gives it; in a reply the status
//	34  payload
const (
	lengthBytes = 4

	// HeaderBytes is what a frame has beside its payload.
	HeaderBytes = 34

	flagsAt    = 13
	hlcAt      = 22
	deadlineAt = 30
)

const (
	flagReply      = 1 << iota // a reply
	flagOverloaded             // in a reply: nothing was done, there was too much to do
	flagTooLarge               // in a reply: the answer does not fit
	flagClock                  // no request: the sender's clock, see transit
)

var (
	errFrameLength = errors.New("a frame's length is out of bounds")
	errFrameFlags  = errors.New("a frame has flags that do not belong here")
)

// A frame as it is on the wire. last is its last field before the payload.
type frame struct {
	id      uint64
	op      Op
	flags   uint8
	epoch   uint64
	hlc     uint64
	last    uint32
	payload []byte
}

// appendFrame appends f with parts as its payload; f.payload does not matter.
func appendFrame(dst []byte, f *frame, parts [][]byte) []byte {
	size := frameBytes(parts)
	at := len(dst)
	dst = slices.Grow(dst, size)[:at+HeaderBytes]
	b := dst[at:]
	binary.BigEndian.PutUint32(b[0:], uint32(size-lengthBytes))
	binary.BigEndian.PutUint64(b[4:], f.id)
	b[12] = byte(f.op)
	b[flagsAt] = f.flags
	binary.BigEndian.PutUint64(b[14:], f.epoch)
	binary.BigEndian.PutUint64(b[hlcAt:], f.hlc)
	binary.BigEndian.PutUint32(b[deadlineAt:], f.last)
	for _, part := range parts {
		dst = append(dst, part...)
	}
	return dst
}

func frameBytes(parts [][]byte) int {
	size := HeaderBytes
	for _, part := range parts {
		size += len(part)
	}
	return size
}

// parse reads a whole frame. The payload aliases b.
func (f *frame) parse(b []byte) {
	_ = b[HeaderBytes-1]
	f.id = binary.BigEndian.Uint64(b[4:])
	f.op = Op(b[12])
	f.flags = b[flagsAt]
	f.epoch = binary.BigEndian.Uint64(b[14:])
	f.hlc = binary.BigEndian.Uint64(b[hlcAt:])
	f.last = binary.BigEndian.Uint32(b[deadlineAt:])
	f.payload = b[HeaderBytes:len(b):len(b)]
}

// stamp makes requests ready to be written at nowMS. Until then a request's
// deadline is the low half of a point in time, and a clock frame has none.
func stamp(frames []byte, nowMS int64) {
	for len(frames) > 0 {
		if frames[flagsAt] == flagClock {
			binary.BigEndian.PutUint64(frames[hlcAt:], uint64(nowMS))
		} else {
			field := frames[deadlineAt:HeaderBytes]
			left := int32(binary.BigEndian.Uint32(field) - uint32(nowMS))
			binary.BigEndian.PutUint32(field, uint32(max(left, 0)))
		}
		frames = frames[lengthBytes+binary.BigEndian.Uint32(frames):]
	}
}
