package wire

import (
	"encoding/binary"
	"io"
)

const (
	readBytesMin  = 16 << 10  // what a connection's buffer has at first,
	readBytesFull = 128 << 10 // grows to where reads fill it,
	readBytesKeep = 1 << 20   // and keeps when a long frame is gone
	readsEmptyMax = 100
)

// A frameReader takes frames out of a stream. It holds no more memory than
// twice the bytes that have arrived and not been taken, or readBytesKeep.
type frameReader struct {
	frameBytesMax int

	buf        []byte
	start, end int  // what has arrived and is not taken
	full       bool // the last read had no more room
}

// fill reads once. The payloads of all frames taken before become invalid.
func (r *frameReader) fill(src io.Reader) (n int, err error) {
	r.room()
	for range readsEmptyMax {
		n, err = src.Read(r.buf[r.end:])
		if n > 0 {
			r.end += n
			r.full = r.end == len(r.buf)
			return n, nil // an error comes again
		}
		if err != nil {
			return 0, err
		}
	}
	return 0, io.ErrNoProgress
}

// room makes room for the next read.
func (r *frameReader) room() {
	size := max(len(r.buf), readBytesMin)
	held := r.end - r.start
	need := r.need()
	switch {
	case held == len(r.buf) && held > 0:
		size = min(2*size, max(need, readBytesFull))
	case r.full && size < readBytesFull:
		size *= 2
	case size > readBytesKeep && max(held, need) < readBytesKeep/2:
		size = readBytesMin
		for size <= max(held, need) {
			size *= 2
		}
	}
	if size != len(r.buf) {
		buf := make([]byte, size)
		copy(buf, r.buf[r.start:r.end])
		r.buf = buf
	} else if r.start > 0 {
		copy(r.buf, r.buf[r.start:r.end])
	}
	r.start, r.end = 0, held
}

// need returns the size of the frame that has begun to arrive, 0 if it is not
// known. next has found it within bounds.
func (r *frameReader) need() int {
	if r.end-r.start < lengthBytes {
		return 0
	}
	return lengthBytes + int(binary.BigEndian.Uint32(r.buf[r.start:]))
}

// next takes a frame if a whole one is there. Its payload is valid until the
// next fill. After an error the stream is of no use.
func (r *frameReader) next(f *frame) (ok bool, err error) {
	b := r.buf[r.start:r.end]
	if len(b) < lengthBytes {
		return false, nil
	}
	length := uint64(binary.BigEndian.Uint32(b))
	if length < HeaderBytes-lengthBytes || length > uint64(r.frameBytesMax-lengthBytes) {
		return false, errFrameLength
	}
	size := lengthBytes + int(length)
	if len(b) < size {
		return false, nil
	}
	f.parse(b[:size])
	r.start += size
	return true, nil
}
