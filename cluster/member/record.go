package member

import (
	"bytes"
	"encoding/binary"
	"errors"
	"fmt"

	"github.com/cespare/xxhash/v2"

	"cartwheel/cluster/ring"
)

// counterMax bounds a ballot's counter, so that no peer can make it overflow.
const counterMax = 1 << 48

// A ballot orders the attempts to have one epoch decided. No two attempts share
// one. The zero ballot is below all others.
type ballot struct {
	counter  uint64
	proposer ring.NodeID
}

const ballotBytes = 8 + len(ring.NodeID{})

func (b ballot) none() bool { return b == ballot{} }

func (b ballot) less(other ballot) bool {
	if b.counter != other.counter {
		return b.counter < other.counter
	}
	return bytes.Compare(b.proposer[:], other.proposer[:]) < 0
}

func (b ballot) append(dst []byte) []byte {
	return append(binary.BigEndian.AppendUint64(dst, b.counter), b.proposer[:]...)
}

// ballotOf reads what append wrote: ballotBytes bytes.
func ballotOf(b []byte) ballot {
	return ballot{counter: binary.BigEndian.Uint64(b), proposer: ring.NodeID(b[8:])}
}

// A record is what an acceptor must never forget of the epoch that it helps to
// decide. Records are never changed in place.
type record struct {
	epoch    uint64
	promised ballot // it takes part in no lower one
	accepted ballot // of value; none where it has accepted nothing
	value    []byte // a document's form
}

// The form of a record on disk. Integers are big endian.
//
//  1. version, 1 byte: 1
//  2. checksum, 8 bytes: xxhash64 of all that follows
//  3. epoch, 8 bytes
//  4. promised, accepted: each counter, 8 bytes, and proposer, 20 bytes
//  5. value: the rest
const (
	recordVersion     = 1
	recordHeaderBytes = 1 + 8
	recordBytesMin    = recordHeaderBytes + 8 + 2*ballotBytes
)

var errRecord = errors.New("corrupt acceptor record")

func (r *record) append(dst []byte) []byte {
	start := len(dst)
	dst = append(dst, recordVersion, 0, 0, 0, 0, 0, 0, 0, 0)
	dst = binary.BigEndian.AppendUint64(dst, r.epoch)
	dst = r.promised.append(dst)
	dst = r.accepted.append(dst)
	dst = append(dst, r.value...)
	binary.BigEndian.PutUint64(dst[start+1:], xxhash.Sum64(dst[start+recordHeaderBytes:]))
	return dst
}

func decodeRecord(b []byte) (*record, error) {
	switch {
	case len(b) < recordBytesMin:
		return nil, fmt.Errorf("%w: %d bytes", errRecord, len(b))
	case b[0] != recordVersion:
		return nil, fmt.Errorf("%w: version %d is unknown", errRecord, b[0])
	case binary.BigEndian.Uint64(b[1:]) != xxhash.Sum64(b[recordHeaderBytes:]):
		return nil, fmt.Errorf("%w: wrong checksum", errRecord)
	}
	body := b[recordHeaderBytes:]
	r := &record{
		epoch:    binary.BigEndian.Uint64(body),
		promised: ballotOf(body[8:]),
		accepted: ballotOf(body[8+ballotBytes:]),
	}
	if value := b[recordBytesMin:]; len(value) > 0 {
		r.value = bytes.Clone(value)
	}
	if r.accepted.none() != (r.value == nil) {
		return nil, fmt.Errorf("%w: a value without a ballot, or a ballot without", errRecord)
	}
	return r, nil
}
