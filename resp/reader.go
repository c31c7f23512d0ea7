// Package resp frames the requests of Redis clients and writes replies to them,
// in RESP2 and RESP3. It bounds what a client can make the server hold before
// it holds it.
//
// It does no I/O: whoever owns the socket reads into a Reader's buffer, takes
// whole commands out, and writes a Writer's buffer. It knows no command.
package resp

import "math"

// Reader takes whole commands out of a stream of bytes, by the rules of Redis
// 7.2 (networking.c, processInlineBuffer and processMultibulkBuffer). The zero
// value is ready for a new stream. One goroutine at a time may use it.
//
//	for {
//		n, err := conn.Read(r.Buffer(lim))
//		r.Wrote(n)
//		...
//		for {
//			args, err := r.Next(lim)
//			...
//		}
//	}
//
// How the stream is cut into reads never changes what is parsed, nor what it
// costs: between calls a Reader remembers how many arguments it has, how long
// the next one is, and how much of an unfinished line it has searched.
type Reader struct {
	s *scratch // nil while nothing is held

	start int // where the request in progress begins; all before it is taken
	at    int // the next byte to parse; start <= at <= end
	end   int // the end of what has arrived

	seek  int // bytes of the unfinished line at at that were searched for its end
	left  int // arguments still to come; 0 between requests
	wait  int // bytes of the bulk at at, CRLF included; 0 when its length is to come
	first int // index in s.args of the first argument of the request in progress

	err error // final

	// For the test that all work is linear in the input: bytes of lines
	// searched, and bytes moved to make room, arguments' headers included, ever.
	searched, moved int
}

// Next returns the next whole command, of one argument or more. It returns nil,
// nil when it needs more bytes, and a ProtocolError, from then on for ever,
// when what came is no request. It never blocks.
//
// The arguments alias the buffer. They, and the slice that holds them, are
// valid until the next call of Buffer or Release: all commands of a pipeline
// can be taken and held together. They may be written to, and appending to one
// does not reach its neighbours.
//
// The limits are those of the moment: take the command behind an AUTH only when
// the AUTH has been carried out.
func (r *Reader) Next(lim *Limits) (args [][]byte, err error) {
	if r.end-r.at < r.wait {
		return nil, r.err
	}
	for r.at < r.end {
		var whole bool
		switch {
		case r.left > 0:
			whole = r.bulks(lim)
		case r.s.buf[r.at] == '*':
			whole = r.multibulk(lim) && r.bulks(lim)
		default:
			whole = r.inline(lim)
		}
		if !whole {
			return nil, r.err
		}
		r.start = r.at
		if args = r.s.args[r.first:]; len(args) > 0 { // else an empty request
			r.first += len(args)
			return args[:len(args):len(args)], nil
		}
	}
	return nil, nil
}

// multibulk parses "*<count>\r\n". It tells whether the line was there.
func (r *Reader) multibulk(lim *Limits) bool {
	r.s.offsets = r.s.offsets[:0]
	count, size := 0, 0
	if r.seek == 0 {
		count, size = shortLength(r.s.buf[r.at:r.end])
	}
	if size == 0 || count > lim.elementsMax() {
		var long int64
		var ok bool
		if long, size, ok = r.length(lim, errMultibulkCountString); size == 0 {
			return false
		}
		switch {
		case !ok || long > int64(lim.ElementsMax) || long > math.MaxInt32:
			return r.fail(errMultibulkLength)
		case long > int64(lim.elementsMax()):
			return r.fail(errMultibulkLengthUnauthenticated)
		}
		count = int(max(long, 0)) // *0 and *-1 are empty requests
	}
	r.at += size
	r.left = count
	return true
}

// bulks parses the arguments still to come. It tells whether all were there.
//
// This is the hot path: the state is in locals until it must stop.
func (r *Reader) bulks(lim *Limits) bool {
	var (
		s       = r.s
		buf     = s.buf[:r.end]
		args    = s.args
		offsets = s.offsets
		at      = r.at
		left    = r.left
		wait    = r.wait
		bulkMax = lim.bulkBytesMax()
	)
	for left > 0 {
		if wait == 0 {
			n, size := 0, 0
			if r.seek == 0 && at < len(buf) && buf[at] == '$' {
				n, size = shortLength(buf[at:])
			}
			if size == 0 || n > bulkMax {
				r.at = at
				if n, size = r.bulkLength(lim); size == 0 {
					break
				}
			}
			at += size
			if n > lim.RequestBytesMax-len("\r\n")-(at-r.start) {
				return r.fail(errRequestTooLarge)
			}
			wait = n + len("\r\n")
		}
		if len(buf)-at < wait {
			break
		}
		// As in Redis, what is in the CRLF's place is skipped unseen.
		end := at + wait - len("\r\n")
		args = append(args, buf[at:end:end])
		offsets = append(offsets, at-r.start)
		at += wait
		wait = 0
		left--
	}
	if r.err != nil {
		return false
	}
	s.args, s.offsets = args, offsets
	r.at, r.left, r.wait = at, left, wait
	return left == 0
}

// bulkLength parses "$<length>\r\n" at r.at, and returns the size of the line:
// 0 when it is not there, or there is an error.
func (r *Reader) bulkLength(lim *Limits) (n, size int) {
	long, size, ok := r.length(lim, errBulkCountString)
	switch {
	case size == 0:
	case r.s.buf[r.at] != '$':
		r.fail(errExpectedDollar(r.s.buf[r.at]))
	case !ok || long < 0 || long > int64(lim.BulkBytesMax):
		r.fail(errBulkLength)
	case long > int64(lim.bulkBytesMax()):
		r.fail(errBulkLengthUnauthenticated)
	default:
		return int(long), size
	}
	return 0, 0
}

// inline parses a command on a line. It tells whether the line was there.
func (r *Reader) inline(lim *Limits) bool {
	end := r.line('\n', lim, errInlineTooBig)
	if end < 0 {
		return false
	}
	if end+1 > lim.RequestBytesMax {
		return r.fail(errRequestTooLarge)
	}
	line := r.s.buf[r.at : r.at+end]
	if end > 0 && line[end-1] == '\r' {
		line = line[:end-1]
	}
	args, ok := splitInline(r.s.args, line)
	if !ok {
		return r.fail(errUnbalancedQuotes)
	}
	r.s.args = args
	r.at += end + 1
	return true
}

// fail makes err the end of the stream. It returns false.
func (r *Reader) fail(err ProtocolError) bool {
	r.err = err
	r.start, r.at = r.end, r.end
	r.left, r.wait = 0, math.MaxInt
	return false
}
