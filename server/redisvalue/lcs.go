package redisvalue

import (
	"context"
	"errors"
	"math"
)

var (
	// ErrLCSTooLong says that a string is longer than LCS can count.
	ErrLCSTooLong = errors.New("String too long for LCS") //lint:ignore ST1005 Redis's words
	// ErrLCSTooLarge says that LCS would use more memory than it may.
	ErrLCSTooLarge = errors.New("Insufficient memory, failed allocating transient memory for LCS") //lint:ignore ST1005 Redis's words
)

// LCSMatch is a run of bytes that two strings have in common, its ends both counted.
type LCSMatch struct {
	AStart, AEnd uint32
	BStart, BEnd uint32
}

// Len returns the number of bytes in the run.
func (m LCSMatch) Len() int64 { return int64(m.AEnd) - int64(m.AStart) + 1 }

// LCSResult is a longest common subsequence and the runs it consists of, from the last to the
// first, as LCS IDX lists them. Where several are longest it is the one that Redis finds.
type LCSResult struct {
	Sequence []byte
	Matches  []LCSMatch
}

// LCSLen is LCS LEN: the length of a longest common subsequence. It takes len(a)*len(b) steps and
// two rows of numbers as wide as b; more than bytesMax bytes of these are ErrLCSTooLarge. ctx is
// looked at once in a row, and its error returned.
func LCSLen(ctx context.Context, a, b []byte, bytesMax int64) (int, error) {
	if err := checkLCSLen(a, b); err != nil {
		return 0, err
	}
	if lcsRowBytes(b) > bytesMax {
		return 0, ErrLCSTooLarge
	}
	return fillLCS(ctx, a, b, nil)
}

// LCS is LCS and LCS IDX: of the matches it returns those of minMatchLen bytes at least. Time and
// ctx are as in LCSLen. The memory grows with len(a)*len(b)/8: where Redis keeps a number of four
// bytes for every pair of bytes, the way back needs one bit. All of it that can exceed bytesMax is
// ErrLCSTooLarge, before any is allocated.
func LCS(ctx context.Context, a, b []byte, minMatchLen, bytesMax int64) (LCSResult, error) {
	if err := checkLCSLen(a, b); err != nil {
		return LCSResult{}, err
	}
	const perByteOfResult = 1 + 16*2 // the sequence, and the matches with append's room to grow
	fixed := lcsRowBytes(b) + perByteOfResult*int64(min(len(a), len(b)))
	rowBytes := int64(rowWords(b)) * 8
	if fixed > bytesMax || len(a) > 0 && rowBytes > (bytesMax-fixed)/int64(len(a)) {
		return LCSResult{}, ErrLCSTooLarge
	}
	up := make([]uint64, len(a)*rowWords(b))
	length, err := fillLCS(ctx, a, b, up)
	if err != nil {
		return LCSResult{}, err
	}
	return walkLCS(a, b, up, length, minMatchLen), nil
}

func checkLCSLen(a, b []byte) error {
	if len(a) >= math.MaxUint32-1 || len(b) >= math.MaxUint32-1 {
		return ErrLCSTooLong
	}
	return nil
}

func lcsRowBytes(b []byte) int64 { return 2 * 4 * (int64(len(b)) + 1) }

// rowWords is how many words of bits there are for each byte of a.
func rowWords(b []byte) int { return (len(b) + 63) / 64 }

// fillLCS returns the length of the subsequence, by the rows of the textbook's table: after the row
// of a[i], row[j+1] is the length for a[:i+1] and b[:j+1]. Where up is given it notes in bit (i, j),
// for two bytes that differ, whether leaving out a[i] is the better way; on equality it is not, which
// is Redis's choice.
func fillLCS(ctx context.Context, a, b []byte, up []uint64) (int, error) {
	above, row := make([]uint32, len(b)+1), make([]uint32, len(b)+1)
	for i, c := range a {
		if err := ctx.Err(); err != nil {
			return 0, err
		}
		var bits []uint64
		if up != nil {
			bits = up[i*rowWords(b):][:rowWords(b)]
		}
		for j, d := range b {
			switch {
			case c == d:
				row[j+1] = above[j] + 1
			case above[j+1] > row[j]:
				row[j+1] = above[j+1]
				if bits != nil {
					bits[j/64] |= 1 << (j % 64)
				}
			default:
				row[j+1] = row[j]
			}
		}
		above, row = row, above
	}
	return int(above[len(b)]), nil
}

// walkLCS goes back from the ends of both strings to the beginning of one.
func walkLCS(a, b []byte, up []uint64, length int, minMatchLen int64) LCSResult {
	result := LCSResult{Sequence: make([]byte, length)}
	i, j := len(a), len(b)
	for i > 0 && j > 0 {
		if a[i-1] != b[j-1] {
			if up[(i-1)*rowWords(b)+(j-1)/64]>>((j-1)%64)&1 != 0 {
				i--
			} else {
				j--
			}
			continue
		}
		m := LCSMatch{AEnd: uint32(i - 1), BEnd: uint32(j - 1)}
		for i > 0 && j > 0 && a[i-1] == b[j-1] {
			i, j, length = i-1, j-1, length-1
			result.Sequence[length] = a[i]
		}
		m.AStart, m.BStart = uint32(i), uint32(j)
		if m.Len() >= minMatchLen {
			result.Matches = append(result.Matches, m)
		}
	}
	return result
}
