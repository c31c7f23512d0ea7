package store

import (
	"encoding/binary"
	"fmt"

	"cartwheel/cluster/ring"
)

// Databases is how many numbered databases there are.
const Databases = 16

// A Key names one object.
type Key struct {
	Token ring.Token
	DB    uint8
	User  []byte // the key as the client has it
}

// NewKey returns the key of those bytes in that database. It keeps user.
func NewKey(db uint8, user []byte) Key {
	return Key{Token: ring.TokenOf(user), DB: db, User: user}
}

// What Pebble holds, by the first byte of the key. Numbers are big-endian, so
// that byte order is number order.
//
//	o token(8) db(1) len(uvarint) key      an object
//	x expiry ms(8) token(8) db(1) len key  the object may be expired from then on
//	m db(1)                                a flush mark
//	q token(8) db(1) len key               the bytes of a corrupt object
//	c                                      the counters of a clean stop
//
// The length before the user's key leaves room behind it for the cells of
// collections, and keeps two keys of one token apart.
const (
	prefixObject     = 'o'
	prefixExpiry     = 'x'
	prefixMark       = 'm'
	prefixQuarantine = 'q'
	prefixCounters   = 'c'
)

func (k Key) appendTail(dst []byte) []byte {
	dst = binary.BigEndian.AppendUint64(dst, uint64(k.Token))
	dst = append(dst, k.DB)
	dst = binary.AppendUvarint(dst, uint64(len(k.User)))
	return append(dst, k.User...)
}

func (k Key) appendObject(dst []byte) []byte { return k.appendTail(append(dst, prefixObject)) }

func (k Key) appendQuarantine(dst []byte) []byte { return k.appendTail(append(dst, prefixQuarantine)) }

func (k Key) appendExpiry(dst []byte, expireAtMS int64) []byte {
	dst = append(dst, prefixExpiry)
	dst = binary.BigEndian.AppendUint64(dst, uint64(expireAtMS))
	return k.appendTail(dst)
}

// tailSizeMax bounds what appendTail adds to the user's key.
const tailSizeMax = 8 + 1 + binary.MaxVarintLen64

// parseObjectKey reads an object's row key; the result aliases row.
func parseObjectKey(row []byte) (Key, error) {
	if len(row) < 1 || row[0] != prefixObject {
		return Key{}, fmt.Errorf("row %x is not an object's", row)
	}
	return parseTail(row[1:])
}

// parseExpiryKey reads an expiry row's key; the result aliases row.
func parseExpiryKey(row []byte) (expireAtMS int64, k Key, err error) {
	if len(row) < 9 || row[0] != prefixExpiry {
		return 0, Key{}, fmt.Errorf("row %x is not an expiry's", row)
	}
	k, err = parseTail(row[9:])
	return int64(binary.BigEndian.Uint64(row[1:])), k, err
}

func parseTail(b []byte) (Key, error) {
	if len(b) < 10 {
		return Key{}, fmt.Errorf("storage key %x is too short", b)
	}
	n, width := binary.Uvarint(b[9:])
	if width <= 0 || n != uint64(len(b)-9-width) {
		return Key{}, fmt.Errorf("storage key %x has a wrong length", b)
	}
	return Key{Token: ring.Token(binary.BigEndian.Uint64(b)), DB: b[8], User: b[9+width:]}, nil
}

// appendTokenBound appends the least object row at or after a token.
func appendTokenBound(dst []byte, t ring.Token) []byte {
	return binary.BigEndian.AppendUint64(append(dst, prefixObject), uint64(t))
}

// prefixEnd is the first row after all that start with prefix.
func prefixEnd(prefix byte) []byte { return []byte{prefix + 1} }
