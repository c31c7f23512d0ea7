package resp

import (
	"bytes"
	"math"
)

// shortLength parses a whole line of a type byte, a number of one to nine
// digits, a CR and any byte: what all but hostile clients send. size is the
// line's, 0 when the line is anything else, or not all there.
func shortLength(line []byte) (n, size int) {
	if len(line) < len("$0\r\n") {
		return 0, 0
	}
	digit := line[1] - '0'
	if digit > 9 {
		return 0, 0
	}
	if line[2] == '\r' {
		return int(digit), len("$0\r\n")
	}
	if digit == 0 {
		return 0, 0
	}
	n = int(digit)
	for i, c := range line[2:min(len(line)-1, len("$123456789\r"))] {
		digit = c - '0'
		if digit > 9 {
			if c != '\r' {
				return 0, 0
			}
			return n, i + len("$1") + len("\r\n")
		}
		n = n*10 + int(digit)
	}
	return 0, 0
}

// length parses any line of a type byte and a number. size is the line's, 0
// when it is not all there, or so long that the reader failed with tooBig; ok
// tells whether it holds a number.
func (r *Reader) length(lim *Limits, tooBig ProtocolError) (n int64, size int, ok bool) {
	end := r.line('\r', lim, tooBig)
	if end < 0 {
		return 0, 0, false
	}
	n, ok = parseInt(r.s.buf[r.at+1 : r.at+max(end, 1)])
	return n, end + len("\r\n"), ok
}

// line returns where the line at r.at has its eol, counted from r.at: -1 when it
// is not there yet, or further off than allowed and the reader failed with
// tooBig. A CR must have the next byte behind it.
func (r *Reader) line(eol byte, lim *Limits, tooBig ProtocolError) int {
	line := r.s.buf[r.at:r.end]
	end := bytes.IndexByte(line[r.seek:], eol)
	if end < 0 {
		end = len(line)
	} else {
		end += r.seek
	}
	r.searched += end - r.seek
	r.seek = end
	switch {
	case end > lim.InlineBytesMax:
		r.fail(tooBig)
		return -1
	case end == len(line), eol == '\r' && end+1 == len(line):
		return -1
	}
	r.seek = 0
	return end
}

// parseInt is Redis's string2ll: decimal digits, perhaps behind a minus, with no
// zero in front, no plus and no space.
func parseInt(s []byte) (n int64, ok bool) {
	negative := len(s) > 0 && s[0] == '-'
	digits := s
	if negative {
		digits = s[1:]
	}
	if len(digits) == 0 || len(digits) > len("9223372036854775807") {
		return 0, false
	}
	if digits[0] == '0' && len(s) > 1 {
		return 0, false
	}
	var magnitude uint64 // 19 digits cannot overflow it
	for _, c := range digits {
		if c < '0' || c > '9' {
			return 0, false
		}
		magnitude = magnitude*10 + uint64(c-'0')
	}
	switch {
	case negative && magnitude <= -math.MinInt64:
		return -int64(magnitude), true
	case !negative && magnitude <= math.MaxInt64:
		return int64(magnitude), true
	}
	return 0, false
}
