package resp

import "sync"

// How much memory a Reader takes, in bytes unless named otherwise.
const (
	// bufferBytes is the buffer a Reader begins with and comes back to.
	bufferBytes = 16 << 10
	// readBytesMin is the least space that Buffer returns.
	readBytesMin = 4 << 10
	// aheadBytesMax is how long a request may be for its last announced length
	// to be believed, and allocated, before half of it has arrived.
	aheadBytesMax = 64 << 10
	// keepBytesMax is the largest buffer that is kept once it is empty.
	keepBytesMax = aheadBytesMax + readBytesMin
	// argsBegin and keepArgsMax are the same for the arguments, in arguments.
	argsBegin   = 64
	keepArgsMax = 1024

	argBytes, offsetBytes = 24, 8 // of a slice's header and an int
)

// scratch is the memory a Reader holds while it has bytes.
type scratch struct {
	buf []byte // len(buf) == cap(buf)

	// args are the arguments taken since the last Buffer, then those of the
	// request in progress.
	args [][]byte

	// offsets holds where each argument of the multibulk request in progress
	// begins, counted from the request's first byte: a request that moves
	// within the buffer, or to a larger one, makes its args anew from them.
	offsets []int
}

// idle holds scratch of the beginning size, for the readers that have none.
var idle = sync.Pool{New: func() any {
	return &scratch{
		buf:     make([]byte, bufferBytes),
		args:    make([][]byte, 0, argsBegin),
		offsets: make([]int, 0, argsBegin),
	}
}}

// Buffer returns space to read into, 4 KiB or more; tell Wrote how much of it
// was filled. It ends the validity of all arguments that Next returned.
//
// The buffer grows with what has arrived, not with what was announced: it is
// never larger than 16 KiB, or 68 KiB once a bulk that fits was announced, or
// twice the bytes that wait in it plus 8 KiB. It grows to a long request's exact
// size as soon as half of it is there. A large buffer is dropped when the
// request that needed it has been taken, whatever waits behind it.
func (r *Reader) Buffer(lim *Limits) []byte {
	if r.s == nil {
		r.s = idle.Get().(*scratch)
	}
	if r.start != r.end {
		r.makeRoom(lim)
		return r.s.buf[r.end:]
	}
	if !r.s.small() {
		r.s = idle.Get().(*scratch)
	}
	r.s.args = r.s.args[:0]
	r.first, r.start, r.at, r.end = 0, 0, 0, 0
	return r.s.buf
}

// Wrote tells that n bytes were read into the space of the last Buffer. Behind
// a protocol error they are dropped.
func (r *Reader) Wrote(n int) {
	if n < 0 || n > len(r.s.buf)-r.end {
		panic("resp: Wrote: not as many bytes as Buffer gave space for")
	}
	if r.err == nil {
		r.end += n
	}
}

// Buffered returns the number of bytes that wait to be taken as commands.
func (r *Reader) Buffered() int { return r.end - r.start }

// Size returns the bytes of memory held: the buffer and the argument slices.
func (r *Reader) Size() int {
	if r.s == nil {
		return 0
	}
	return len(r.s.buf) + cap(r.s.args)*argBytes + cap(r.s.offsets)*offsetBytes
}

// Release gives the memory back when nothing is buffered, and does nothing
// otherwise. It ends the validity of all arguments that Next returned: another
// Reader may be given the same memory. It costs little enough to be called
// whenever a connection's input has been drained.
func (r *Reader) Release() {
	if r.s == nil || r.start != r.end {
		return
	}
	if r.s.small() {
		r.s.args = r.s.args[:0]
		idle.Put(r.s)
	}
	r.s = nil
	r.first, r.start, r.at, r.end = 0, 0, 0, 0
}

// small tells whether s is worth keeping for the next request.
func (s *scratch) small() bool {
	return len(s.buf) <= keepBytesMax && cap(s.args) <= keepArgsMax && cap(s.offsets) <= keepArgsMax
}

// makeRoom leaves readBytesMin or more behind the unfinished request, with the
// least moving: none if there is room already, then down to the buffer's
// beginning, then to a larger buffer. The second happens at most once to a
// request, the third at doubling sizes, so all moving is linear in the input. So
// it stays where what the commands before left too large is changed for less,
// which happens at most once to a request.
func (r *Reader) makeRoom(lim *Limits) {
	s := r.s
	held := r.end - r.start
	if r.first > 0 { // once to a request, however many reads bring it
		kept := copy(s.args, s.args[r.first:])
		s.args, r.first = s.args[:kept], 0
		r.moved += kept * argBytes
		if max(cap(s.args), cap(s.offsets)) > max(keepArgsMax, 4*kept) {
			s.args = append(make([][]byte, 0, argsBegin), s.args...)
			s.offsets = append(make([]int, 0, argsBegin), s.offsets[:kept]...)
		}
	}
	switch modest := 2*held + 2*readBytesMin; {
	case len(s.buf) > max(keepBytesMax, modest):
		// The long request before this one needed it.
		smaller := make([]byte, max(bufferBytes, modest))
		copy(smaller, s.buf[r.start:r.end])
		s.buf = smaller
		clear(s.args[len(s.args):cap(s.args)])
	case len(s.buf)-r.end >= readBytesMin:
		return
	case len(s.buf)-held >= readBytesMin:
		copy(s.buf, s.buf[r.start:r.end])
	default:
		larger := make([]byte, r.grown(lim))
		copy(larger, s.buf[r.start:r.end])
		s.buf = larger
		clear(s.args[len(s.args):cap(s.args)]) // let go of the old buffer
	}
	r.moved += held + len(s.args)*argBytes
	r.at -= r.start
	r.start, r.end = 0, held
	for i, arg := range s.args {
		from, to := s.offsets[i], s.offsets[i]+len(arg)
		s.args[i] = s.buf[from:to:to]
	}
}

// grown returns the next size for a buffer that the unfinished request fills.
func (r *Reader) grown(lim *Limits) int {
	held := r.end - r.start
	size := 2 * len(r.s.buf)
	// The length of the request, as far as it is announced.
	request := r.at - r.start + r.wait
	if r.wait > 0 && (request <= aheadBytesMax || request/2 <= held) {
		if r.left == 1 {
			size = request + readBytesMin // there is no more to come
		} else {
			size = max(size, request+readBytesMin)
		}
	}
	// One request, and a line that has yet to prove too long, is all we need.
	if spare := size - readBytesMin - lim.InlineBytesMax; spare > lim.RequestBytesMax {
		size -= spare - lim.RequestBytesMax
	}
	return max(size, held+readBytesMin)
}
