package wire

import (
	"encoding/binary"
	"errors"
)

// ErrFields is returned for a payload that ends too early or has a length that
// exceeds it.
var ErrFields = errors.New("malformed payload")

// Fields takes a payload apart from front to back. When it ends too early all
// further fields are zero, and Err says so: check once, after the last field.
// The bytes it returns alias the payload. The zero value has no fields.
type Fields struct {
	rest []byte
	bad  bool
}

// FieldsOf returns the fields of payload.
func FieldsOf(payload []byte) Fields { return Fields{rest: payload} }

// Err returns ErrFields if a field was missing.
func (f *Fields) Err() error {
	if f.bad {
		return ErrFields
	}
	return nil
}

// Rest returns how many bytes are left.
func (f *Fields) Rest() int { return len(f.rest) }

// Fixed takes n bytes.
func (f *Fields) Fixed(n int) []byte {
	if n < 0 || n > len(f.rest) {
		f.bad, f.rest = true, nil
		return nil
	}
	b := f.rest[:n:n]
	f.rest = f.rest[n:]
	return b
}

// Uint8 takes one byte.
func (f *Fields) Uint8() uint8 {
	if b := f.Fixed(1); b != nil {
		return b[0]
	}
	return 0
}

// Uint32 takes four bytes, big-endian.
func (f *Fields) Uint32() uint32 {
	if b := f.Fixed(4); b != nil {
		return binary.BigEndian.Uint32(b)
	}
	return 0
}

// Uint64 takes eight bytes, big-endian.
func (f *Fields) Uint64() uint64 {
	if b := f.Fixed(8); b != nil {
		return binary.BigEndian.Uint64(b)
	}
	return 0
}

// Uvarint takes what binary.AppendUvarint has written.
func (f *Fields) Uvarint() uint64 {
	v, n := binary.Uvarint(f.rest)
	if n <= 0 {
		f.bad, f.rest = true, nil
		return 0
	}
	f.rest = f.rest[n:]
	return v
}

// Bytes takes what AppendBytes has written.
func (f *Fields) Bytes() []byte {
	n := f.Uvarint()
	if n > uint64(len(f.rest)) {
		f.bad, f.rest = true, nil
		return nil
	}
	return f.Fixed(int(n))
}

// AppendBytes appends b behind its length.
func AppendBytes(dst, b []byte) []byte {
	dst = binary.AppendUvarint(dst, uint64(len(b)))
	return append(dst, b...)
}
