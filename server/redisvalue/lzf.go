package redisvalue

import (
	"math"
	"sync"
)

// LZF is the compression of RDB files, by Marc Lehmann (liblzf). A compressed string is a sequence of
//
//	000LLLLL <L+1 bytes>           a run of literal bytes
//	LLLooooo oooooooo              L+2 bytes again from o+1 bytes back, L in 1..6
//	111ooooo LLLLLLLL oooooooo     L+9 bytes again from o+1 bytes back
//
// Any choice of runs can be read back. lzfCompress chooses as liblzf 3.6 does in Redis's
// configuration, so that DUMP gives the same bytes:
//
//   - A table remembers the last place of every hash of three bytes. One candidate is tried, no chain.
//   - The first byte of the input is never referred to: place 0 marks an empty slot.
//   - Of the places inside a match only the last two are remembered.
//   - Output that does not save four bytes is given up, at the same checks as in the original, which
//     ask for more room than they use.
const (
	lzfLiteralsMax = 32
	lzfOffsetMax   = 1 << 13
	lzfMatchMax    = 264
	lzfSlots       = 1 << 16

	// lzfExpansionMax bounds what one compressed byte stands for: three of them give lzfMatchMax.
	lzfExpansionMax = lzfMatchMax / 3
)

// lzfTable maps a hash of three bytes to where they were last seen. 256 KiB, so it is pooled.
type lzfTable [lzfSlots]uint32

var lzfTables = sync.Pool{New: func() any { return new(lzfTable) }}

// remember notes that the three bytes at in[at] were seen there and returns where before, or 0.
func (t *lzfTable) remember(in []byte, at int) (before int) {
	three := uint32(in[at])<<16 | uint32(in[at+1])<<8 | uint32(in[at+2])
	slot := (three>>8 - three*5) % lzfSlots
	before, t[slot] = int(t[slot]), uint32(at)
	return before
}

// lzfCompress appends the compressed form of in to dst. It reports false, and dst is as it was, if
// that would not save four bytes.
func lzfCompress(dst, in []byte) ([]byte, bool) {
	if len(in) <= 4 || len(in) > math.MaxUint32 {
		return dst, false
	}
	table := lzfTables.Get().(*lzfTable)
	defer lzfTables.Put(table)
	clear(table[:])

	out := lzfWriter{dst: dst, start: len(dst), room: len(in) - 4}
	out.begin()
	at := 0
	for at < len(in)-2 {
		ref := table.remember(in, at)
		if ref == 0 || at-ref > lzfOffsetMax || [3]byte(in[ref:]) != [3]byte(in[at:]) {
			if out.used() >= out.room {
				return dst, false
			}
			out.literal(in[at])
			at++
			continue
		}
		if !out.roomForMatch() {
			return dst, false
		}
		length := lzfMatchLen(in, ref, at)
		out.match(at-ref-1, length)
		at += length
		if at >= len(in)-2 {
			break
		}
		table.remember(in, at-2)
		table.remember(in, at-1)
	}
	if out.used()+3 > out.room {
		return dst, false
	}
	for _, c := range in[at:] {
		out.literal(c)
	}
	out.end()
	return out.dst, true
}

// lzfMatchLen returns how many bytes at ref are repeated at at, of which the first three are known
// to be. It leaves the last two bytes of the input for literals, except that a match of three is
// never given up, and that liblzf looks at sixteen bytes at once and then takes one more.
func lzfMatchLen(in []byte, ref, at int) int {
	most := min(len(in)-at-2, lzfMatchMax)
	if most > 16 {
		most = max(most, 19)
	}
	length := 3
	for length < most && in[ref+length] == in[at+length] {
		length++
	}
	return length
}

// lzfWriter writes runs and matches behind dst[:start]. A run's length is written when it ends: its
// place is kept by begin.
type lzfWriter struct {
	dst      []byte
	start    int
	room     int
	literals int // in the run that is open
}

func (w *lzfWriter) used() int { return len(w.dst) - w.start }

func (w *lzfWriter) begin() {
	w.dst = append(w.dst, 0)
	w.literals = 0
}

func (w *lzfWriter) literal(c byte) {
	w.dst = append(w.dst, c)
	w.literals++
	if w.literals == lzfLiteralsMax {
		w.end()
		w.begin()
	}
}

// end closes the run, or takes its place back if it is empty.
func (w *lzfWriter) end() {
	if w.literals == 0 {
		w.dst = w.dst[:len(w.dst)-1]
		return
	}
	w.dst[len(w.dst)-w.literals-1] = byte(w.literals - 1)
}

func (w *lzfWriter) roomForMatch() bool {
	used := w.used()
	if w.literals == 0 {
		used--
	}
	return used+4 < w.room
}

func (w *lzfWriter) match(offset, length int) {
	w.end()
	if length < 9 {
		w.dst = append(w.dst, byte(offset>>8|(length-2)<<5), byte(offset))
	} else {
		w.dst = append(w.dst, byte(offset>>8|7<<5), byte(length-9), byte(offset))
	}
	w.begin()
}

// lzfDecompress returns the size bytes that in stands for, or false if it does not stand for
// exactly as many. It allocates size bytes, and nothing where in is too short to give them.
func lzfDecompress(in []byte, size int) ([]byte, bool) {
	if size/lzfExpansionMax > len(in) {
		return nil, false
	}
	out := make([]byte, 0, size)
	for len(in) > 0 {
		control := int(in[0])
		in = in[1:]
		if control < lzfLiteralsMax {
			length := control + 1
			if length > len(in) || length > size-len(out) {
				return nil, false
			}
			out = append(out, in[:length]...)
			in = in[length:]
			continue
		}
		length := control>>5 + 2
		if length == 9 {
			if len(in) == 0 {
				return nil, false
			}
			length += int(in[0])
			in = in[1:]
		}
		if len(in) == 0 {
			return nil, false
		}
		ref := len(out) - (control&31<<8 | int(in[0])) - 1
		in = in[1:]
		if ref < 0 || length > size-len(out) {
			return nil, false
		}
		// The match may reach into what it is writing, so that it goes on repeating itself.
		for ; length > 0; length, ref = length-1, ref+1 {
			out = append(out, out[ref])
		}
	}
	return out, len(out) == size
}
