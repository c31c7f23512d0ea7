package version

import (
	"encoding/base64"
	"encoding/binary"
	"errors"
	"fmt"

	"github.com/cespare/xxhash/v2"

	"cartwheel/cluster/sabotage"
)

// ErrContext: a token that AppendContext did not give out for this database and key.
var ErrContext = errors.New("invalid context")

// ContextEntriesMax bounds the clocks that ParseContext accepts.
const ContextEntriesMax = 1024

// A context token is base64url without padding of:
//
//  1. version, 1 byte: 1
//  2. each entry of the clock, by rising incarnation: incarnation, 8 bytes; HLC, 8 bytes, not zero
//  3. checksum, 8 bytes: xxhash64 of all before, seeded by xxhash64(key) + database
//
// Integers are big endian. The checksum finds accidents, a token pasted short or used for another key;
// whoever wants to forge one can, and gains nothing that a plain SET would not give.
const (
	contextVersion       = 1
	contextChecksumBytes = 8
	contextBytesMax      = 1 + ContextEntriesMax*entryBytes + contextChecksumBytes

	// contextBytesUsual is room for ten entries, more than which is counted as unusual.
	contextBytesUsual = 1 + 10*entryBytes + contextChecksumBytes
)

// contextEncoding is strict: it refuses stray bits in the last character.
var contextEncoding = base64.RawURLEncoding.Strict()

// AppendContext appends the token with which a client says that it has seen c of this key. For a usual
// clock it does not allocate where dst has the room. A clock of more than ContextEntriesMax entries
// makes a token that ParseContext refuses.
func AppendContext(dst []byte, c Clock, db uint8, key []byte) []byte {
	raw := append(make([]byte, 0, contextBytesUsual), contextVersion)
	raw = appendEntries(raw, c)
	raw = binary.BigEndian.AppendUint64(raw, contextChecksum(raw, db, key))
	return contextEncoding.AppendEncode(dst, raw)
}

// ParseContext reads back a token that AppendContext made for the same database and key; any other is
// ErrContext. It does not judge whether the clock's incarnations exist nor whether its HLCs are from
// the future. The empty token, which callers give another meaning, is an error here.
func ParseContext(token []byte, db uint8, key []byte) (Clock, error) {
	if len(token) > contextEncoding.EncodedLen(contextBytesMax) {
		return nil, fmt.Errorf("%w: more than %d entries", ErrContext, ContextEntriesMax)
	}
	raw, err := contextEncoding.AppendDecode(make([]byte, 0, contextBytesUsual), token)
	// The decoder skips line breaks, the length shows them.
	if err != nil || contextEncoding.EncodedLen(len(raw)) != len(token) {
		return nil, fmt.Errorf("%w: not base64url", ErrContext)
	}
	entriesEnd := len(raw) - contextChecksumBytes
	if entriesEnd < 1 || raw[0] != contextVersion || (entriesEnd-1)%entryBytes != 0 {
		return nil, fmt.Errorf("%w: not of a known form", ErrContext)
	}
	if binary.BigEndian.Uint64(raw[entriesEnd:]) != contextChecksum(raw[:entriesEnd], db, key) {
		return nil, fmt.Errorf("%w: damaged or of another key", ErrContext)
	}
	clock, valid := parseEntries(nil, raw[1:entriesEnd])
	if !valid {
		return nil, fmt.Errorf("%w: entries not in order", ErrContext)
	}
	return clock, nil
}

func contextChecksum(raw []byte, db uint8, key []byte) uint64 {
	if sabotage.On(sabotage.ContextOfAnotherKey) {
		key = nil
	}
	var digest xxhash.Digest
	digest.ResetWithSeed(xxhash.Sum64(key) + uint64(db))
	digest.Write(raw) // never fails
	return digest.Sum64()
}
