package sim

import (
	"encoding/binary"
	"slices"
)

// A framer cuts what one side of a peer's connection sends into whole messages of the
// handshake and then into whole frames, as package wire documents them.
type framer struct {
	sent int // whole messages
	rest []byte
}

// What the handshake is, by bytes: a hail, and then messages of kind 1, length 4, body and
// proof 32, three from each side.
const (
	hailBytes         = 4 + 1 + 32
	handshakeMessages = 4
	frameHeaderBytes  = 34
)

// cut returns the messages and frames that b completes.
func (f *framer) cut(b []byte) (units [][]byte) {
	f.rest = append(f.rest, b...)
	for {
		size := f.size()
		if size == 0 || size > len(f.rest) {
			return units
		}
		units = append(units, slices.Clone(f.rest[:size]))
		f.rest = f.rest[size:]
		f.sent++
	}
}

// size returns how long the next unit is, 0 if that is not known yet.
func (f *framer) size() int {
	switch {
	case f.sent == 0:
		return hailBytes
	case f.sent < handshakeMessages && len(f.rest) >= 5:
		return 1 + 4 + int(binary.BigEndian.Uint32(f.rest[1:])) + 32
	case f.sent >= handshakeMessages && len(f.rest) >= 4:
		return 4 + int(binary.BigEndian.Uint32(f.rest))
	}
	return 0
}

// What the fields of a frame's header are.
const (
	opAt        = 12
	flagsAt     = 13
	flagReply   = 1
	opPut       = 1
	opGet       = 2
	opPing      = 4
	opAgreement = 6
	opRepair    = 8
)

// mayStray says whether a unit may come late or twice: a frame whose effect must be the
// same if it is carried out again. A command that is forwarded is not one: it reaches
// its node at most once, because nobody sends it again.
func mayStray(unit []byte) bool {
	if len(unit) < frameHeaderBytes || binary.BigEndian.Uint32(unit) != uint32(len(unit)-4) {
		return false // of the handshake
	}
	if unit[flagsAt]&flagReply != 0 {
		return true
	}
	switch unit[opAt] {
	case opPut, opGet, opPing, opAgreement, opRepair:
		return unit[flagsAt] == 0
	}
	return false
}
