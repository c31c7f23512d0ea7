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

// zero says that k is the zero Key, which names no object: the token of the empty
// key is not 0.
func (k Key) zero() bool { return k.Token == 0 && k.DB == 0 && len(k.User) == 0 }

// clone returns k with memory of its own.
func (k Key) clone() Key {
	k.User = append(make([]byte, 0, len(k.User)), k.User...)
	return k
}

// What Pebble holds, by the first byte of the key. Numbers are big-endian, so
// that byte order is number order.
//
//	o token(8) db(1) len(uvarint) key      an object
//	x expiry ms(8) token(8) db(1) len key  the object may be expired from then on
//	m db(1)                                a flush mark
//	q token(8) db(1) len key               the bytes of a corrupt object
//	h owner(20) token(8) db(1) len key     a hint: an object held for an absent owner
//	r owner(20) partition(4)               an owner is owed a repair of a partition
//	c                                      the counters of a clean stop
//	t db(1)                                the hash trees of a clean stop
//	l                                      how much of the commit log is in Pebble
//
// The length before the user's key leaves room behind it for the cells of
// collections, and keeps two keys of one token apart.
const (
	prefixObject     = 'o'
	prefixExpiry     = 'x'
	prefixMark       = 'm'
	prefixQuarantine = 'q'
	prefixHint       = 'h'
	prefixOwed       = 'r'
	prefixCounters   = 'c'
	prefixTrees      = 't'
	prefixLog        = 'l'
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

func (k Key) appendHint(dst []byte, owner ring.NodeID) []byte {
	return k.appendTail(append(append(dst, prefixHint), owner[:]...))
}

// parseHintKey reads a hint's row key; the result aliases row.
func parseHintKey(row []byte) (owner ring.NodeID, k Key, err error) {
	if len(row) < 1+len(owner) || row[0] != prefixHint {
		return owner, Key{}, fmt.Errorf("row %x is not a hint's", row)
	}
	copy(owner[:], row[1:])
	k, err = parseTail(row[1+len(owner):])
	return owner, k, err
}

func appendOwed(dst []byte, owner ring.NodeID, p ring.Partition) []byte {
	return binary.BigEndian.AppendUint32(append(append(dst, prefixOwed), owner[:]...), uint32(p))
}

func parseOwed(row []byte) (owner ring.NodeID, p ring.Partition, err error) {
	if len(row) != 1+len(owner)+4 || row[0] != prefixOwed {
		return owner, 0, fmt.Errorf("row %x is not of a repair that is owed", row)
	}
	copy(owner[:], row[1:])
	return owner, ring.Partition(binary.BigEndian.Uint32(row[1+len(owner):])), nil
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

// tokenRange returns the first row of a prefix whose tokens are first to last,
// and the one after the last.
func tokenRange(prefix byte, first, last ring.Token) (from, to []byte) {
	from = binary.BigEndian.AppendUint64([]byte{prefix}, uint64(first))
	if last == ^ring.Token(0) {
		return from, prefixEnd(prefix)
	}
	return from, binary.BigEndian.AppendUint64([]byte{prefix}, uint64(last+1))
}

// prefixEnd is the first row after all that start with prefix.
func prefixEnd(prefix byte) []byte { return []byte{prefix + 1} }
