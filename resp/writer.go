package resp

import "strconv"

// Writer appends replies to Buf, which is its owner's to send, cut and reuse.
// Nothing but the growth of Buf allocates. One goroutine at a time may use it.
//
// The RESP3 types have the RESP2 shapes that Redis gives them when RESP3 is
// false.
type Writer struct {
	Buf   []byte
	RESP3 bool
}

// OK appends the reply of a command that has nothing else to say.
func (w *Writer) OK() { w.Buf = append(w.Buf, "+OK\r\n"...) }

// Simple appends a simple string. CR and LF become spaces.
func (w *Writer) Simple(text string) { w.line('+', text) }

// Error appends an error: its code and its text, as in "ERR syntax error". CR
// and LF become spaces.
func (w *Writer) Error(text string) { w.line('-', text) }

// line appends a reply that ends at the first CRLF.
func (w *Writer) line(kind byte, text string) {
	w.Buf = append(w.Buf, kind)
	begin := len(w.Buf)
	w.Buf = append(w.Buf, text...)
	for i, c := range w.Buf[begin:] {
		if c == '\r' || c == '\n' {
			w.Buf[begin+i] = ' '
		}
	}
	w.Buf = append(w.Buf, '\r', '\n')
}

// Int appends an integer.
func (w *Writer) Int(n int64) { w.Buf = appendHeader(w.Buf, ':', n) }

// Bulk appends a bulk string.
func (w *Writer) Bulk(b []byte) {
	buf := appendHeader(w.Buf, '$', int64(len(b)))
	buf = append(buf, b...)
	w.Buf = append(buf, '\r', '\n')
}

// BulkString is Bulk for a string.
func (w *Writer) BulkString(s string) {
	buf := appendHeader(w.Buf, '$', int64(len(s)))
	buf = append(buf, s...)
	w.Buf = append(buf, '\r', '\n')
}

// Null appends the reply for a value that is not there.
func (w *Writer) Null() {
	if w.RESP3 {
		w.Buf = append(w.Buf, "_\r\n"...)
		return
	}
	w.Buf = append(w.Buf, "$-1\r\n"...)
}

// NullArray appends the reply for an array that is not there.
func (w *Writer) NullArray() {
	if w.RESP3 {
		w.Buf = append(w.Buf, "_\r\n"...)
		return
	}
	w.Buf = append(w.Buf, "*-1\r\n"...)
}

// Array begins an array: the next n replies are its elements.
func (w *Writer) Array(n int) { w.Buf = appendHeader(w.Buf, '*', int64(n)) }

// Map begins a map: the next 2n replies are its keys, each before its value. In
// RESP2 it is an array of 2n.
func (w *Writer) Map(n int) {
	if w.RESP3 {
		w.Buf = appendHeader(w.Buf, '%', int64(n))
		return
	}
	w.Array(2 * n)
}

// Set begins a set of n elements. In RESP2 it is an array.
func (w *Writer) Set(n int) { w.aggregate('~', n) }

// Push begins a message of n elements that answers no request. In RESP2 it is an
// array.
func (w *Writer) Push(n int) { w.aggregate('>', n) }

func (w *Writer) aggregate(kind byte, n int) {
	if !w.RESP3 {
		kind = '*'
	}
	w.Buf = appendHeader(w.Buf, kind, int64(n))
}

// Bool appends a truth value. In RESP2 it is the integer 1 or 0.
func (w *Writer) Bool(b bool) {
	text := ":0\r\n"
	switch {
	case w.RESP3 && b:
		text = "#t\r\n"
	case w.RESP3:
		text = "#f\r\n"
	case b:
		text = ":1\r\n"
	}
	w.Buf = append(w.Buf, text...)
}

// Double appends a floating-point number in Redis's digits. In RESP2 it is a
// bulk string.
func (w *Writer) Double(f float64) {
	if w.RESP3 {
		w.Buf = append(appendDouble(append(w.Buf, ','), f), '\r', '\n')
		return
	}
	var digits [doubleBytesMax]byte
	w.Bulk(appendDouble(digits[:0], f))
}

// Verbatim appends text in a format of three letters, such as "txt". In RESP2 it
// is a bulk string of the text alone.
func (w *Writer) Verbatim(format, text string) {
	if !w.RESP3 {
		w.BulkString(text)
		return
	}
	if len(format) != 3 {
		panic("resp: Verbatim: a format has three letters")
	}
	buf := appendHeader(w.Buf, '=', int64(len(format)+len(":")+len(text)))
	buf = append(buf, format...)
	buf = append(buf, ':')
	buf = append(buf, text...)
	w.Buf = append(buf, '\r', '\n')
}

// appendHeader appends a type byte, a number and CRLF.
func appendHeader(b []byte, kind byte, n int64) []byte {
	if uint64(n) < 10 {
		return append(b, kind, '0'+byte(n), '\r', '\n')
	}
	b = append(b, kind)
	b = strconv.AppendInt(b, n, 10)
	return append(b, '\r', '\n')
}
