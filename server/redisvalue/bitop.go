package redisvalue

import "encoding/binary"

// BitOperation is one of the operations of BITOP.
type BitOperation uint8

// The operations of Redis 7.2.
const (
	BitAnd BitOperation = iota
	BitOr
	BitXor
	BitNot
)

// BitOp is BITOP: it combines the sources bit by bit into a new string, as long as the longest of
// them; the shorter ones count as followed by zeros. BitNot inverts the first source and takes no
// other. Without sources, or with empty ones only, the result is nil: Redis deletes the target.
func BitOp(op BitOperation, srcs ...[]byte) []byte {
	longest := 0
	for _, src := range srcs {
		longest = max(longest, len(src))
	}
	if longest == 0 {
		return nil
	}
	dst := make([]byte, longest)
	copy(dst, srcs[0])
	if op == BitNot {
		notInto(dst)
		return dst
	}
	for _, src := range srcs[1:] {
		switch op {
		case BitAnd:
			andInto(dst, src)
		case BitOr:
			orInto(dst, src)
		case BitXor:
			xorInto(dst, src)
		}
	}
	return dst
}

// The loops below take eight bytes at a time, in whichever order: no bit leaves its place.

func andInto(dst, src []byte) {
	clear(dst[len(src):])
	for ; len(src) >= 8; dst, src = dst[8:], src[8:] {
		binary.LittleEndian.PutUint64(dst, binary.LittleEndian.Uint64(dst)&binary.LittleEndian.Uint64(src))
	}
	for i, c := range src {
		dst[i] &= c
	}
}

func orInto(dst, src []byte) {
	for ; len(src) >= 8; dst, src = dst[8:], src[8:] {
		binary.LittleEndian.PutUint64(dst, binary.LittleEndian.Uint64(dst)|binary.LittleEndian.Uint64(src))
	}
	for i, c := range src {
		dst[i] |= c
	}
}

func xorInto(dst, src []byte) {
	for ; len(src) >= 8; dst, src = dst[8:], src[8:] {
		binary.LittleEndian.PutUint64(dst, binary.LittleEndian.Uint64(dst)^binary.LittleEndian.Uint64(src))
	}
	for i, c := range src {
		dst[i] ^= c
	}
}

func notInto(dst []byte) {
	for ; len(dst) >= 8; dst = dst[8:] {
		binary.LittleEndian.PutUint64(dst, ^binary.LittleEndian.Uint64(dst))
	}
	for i := range dst {
		dst[i] = ^dst[i]
	}
}
