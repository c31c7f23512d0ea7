package member

import (
	"encoding/binary"
	"errors"
	"fmt"

	"cartwheel/cluster/ring"
)

// A kind says what a message asks or answers.
type kind uint8

const (
	// Requests.
	prepare   kind = iota + 1 // promise me this ballot, and show what you have accepted under accepted
	accept                    // accept value under this ballot
	committed                 // value is committed
	fetch                     // what is newer than epoch?

	// Replies.
	promise  // promised; accepted is what was accepted before, value too if it was asked for
	vote     // accepted
	refusal  // accepted is the higher ballot that has been promised
	newer    // a newer document is committed; to a fetch, value is that
	abstain  // neither for nor against; value is the reason, a text
	behind   // prepare again, with the base: it is not known here yet
	kindLast = behind
)

// A message is a request to an acceptor or its reply. A reply bears the epoch and
// the ballot of its request.
type message struct {
	kind     kind
	cluster  ring.ClusterID
	epoch    uint64 // that is to be decided
	ballot   ballot
	accepted ballot
	baseSum  uint64 // checksum of the proposer's document, epoch-1
	base     []byte // that document, with the prepare of who is behind
	value    []byte
}

// The form of a message. Integers are big endian.
//
//  1. version, 1 byte: 1; kind, 1 byte
//  2. cluster id, 16 bytes; epoch, 8 bytes
//  3. ballot, accepted: each counter, 8 bytes, and proposer, 20 bytes
//  4. checksum of the base, 8 bytes; length of the base, 4 bytes; base
//  5. value: the rest
const (
	messageVersion     = 1
	messageHeaderBytes = 2 + len(ring.ClusterID{}) + 8 + 2*ballotBytes + 8 + 4

	// messageBytesMax is well above two of the largest documents.
	messageBytesMax = 32 << 20
)

var errMessage = errors.New("malformed message")

func (m *message) append(dst []byte) []byte {
	dst = append(dst, messageVersion, byte(m.kind))
	dst = append(dst, m.cluster[:]...)
	dst = binary.BigEndian.AppendUint64(dst, m.epoch)
	dst = m.ballot.append(dst)
	dst = m.accepted.append(dst)
	dst = binary.BigEndian.AppendUint64(dst, m.baseSum)
	dst = binary.BigEndian.AppendUint32(dst, uint32(len(m.base)))
	dst = append(dst, m.base...)
	return append(dst, m.value...)
}

// decodeMessage aliases b.
func decodeMessage(b []byte) (message, error) {
	switch {
	case len(b) < messageHeaderBytes || len(b) > messageBytesMax:
		return message{}, fmt.Errorf("%w: %d bytes", errMessage, len(b))
	case b[0] != messageVersion:
		return message{}, fmt.Errorf("%w: version %d is unknown", errMessage, b[0])
	case b[1] == 0 || kind(b[1]) > kindLast:
		return message{}, fmt.Errorf("%w: kind %d is unknown", errMessage, b[1])
	}
	m := message{kind: kind(b[1])}
	rest := b[2:]
	rest = rest[copy(m.cluster[:], rest):]
	m.epoch = binary.BigEndian.Uint64(rest)
	rest = rest[8:]
	m.ballot, m.accepted = ballotOf(rest), ballotOf(rest[ballotBytes:])
	rest = rest[2*ballotBytes:]
	m.baseSum = binary.BigEndian.Uint64(rest)
	baseBytes := uint64(binary.BigEndian.Uint32(rest[8:]))
	rest = rest[12:]
	switch {
	case baseBytes > uint64(len(rest)):
		return message{}, fmt.Errorf("%w: it is cut short", errMessage)
	case m.ballot.counter > counterMax || m.accepted.counter > counterMax:
		return message{}, fmt.Errorf("%w: a ballot is out of bounds", errMessage)
	}
	m.base, m.value = rest[:baseBytes], rest[baseBytes:]
	return m, nil
}
