package store

import (
	"encoding/binary"
	"errors"
)

// The form of a commit in the log:
//
//  1. how many ranges go, a uvarint, and for each the first row and the one after
//     the last, as bytes
//  2. for each row that changes, in their order: its key, as bytes; a uvarint, 0
//     where it is removed, else 1 and the length of its value; the value
//
// Bytes have their length before them, a uvarint.

// errLogForm says that a sound record does not hold what encode writes.
var errLogForm = errors.New("a record is malformed")

func (b *rowBatch) encode(dst []byte) []byte {
	dst = binary.AppendUvarint(dst, uint64(len(b.gone)))
	for _, gone := range b.gone {
		dst = appendLogBytes(appendLogBytes(dst, gone[0]), gone[1])
	}
	for i := range b.count {
		r, key := b.at(i)
		dst = appendLogBytes(dst, key)
		if r.remove {
			dst = append(dst, 0)
			continue
		}
		dst = binary.AppendUvarint(dst, uint64(len(r.value))+1)
		dst = append(dst, r.value...)
	}
	return dst
}

func appendLogBytes(dst, b []byte) []byte {
	return append(binary.AppendUvarint(dst, uint64(len(b))), b...)
}

// decode adds the changes that form holds, which it keeps.
func (b *rowBatch) decode(form []byte) error {
	ranges, width := binary.Uvarint(form)
	if width <= 0 {
		return errLogForm
	}
	form = form[width:]
	for ; ranges > 0; ranges-- {
		from, rest, ok := takeLogBytes(form, 0)
		to, rest, ok2 := takeLogBytes(rest, 0)
		if !ok || !ok2 {
			return errLogForm
		}
		b.removeRange(from, to)
		form = rest
	}
	for len(form) > 0 {
		key, rest, ok := takeLogBytes(form, 0)
		if !ok || len(key) == 0 {
			return errLogForm
		}
		removed := len(rest) > 0 && rest[0] == 0
		value, rest, ok := takeLogBytes(rest, 1)
		if !ok {
			return errLogForm
		}
		b.add(append(b.key(), key...), value, removed)
		form = rest
	}
	return nil
}

// takeLogBytes takes bytes whose length is written as so much more than it is, or
// as 0 for none.
func takeLogBytes(form []byte, more uint64) (b, rest []byte, ok bool) {
	n, width := binary.Uvarint(form)
	if width <= 0 {
		return nil, nil, false
	}
	n -= min(n, more)
	form = form[width:]
	if n > uint64(len(form)) {
		return nil, nil, false
	}
	return form[:n:n], form[n:], true
}
