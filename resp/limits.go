package resp

// Limits bounds one request. Next and Buffer only read it, so one Limits may
// serve many readers; to change a limit, make a new one and swap the pointer.
// A zero field is a limit of zero: begin with DefaultLimits.
type Limits struct {
	// BulkBytesMax is the longest argument (proto-max-bulk-len). Default 512 MiB.
	BulkBytesMax int

	// ElementsMax is the most arguments of one request, except for an inline
	// command, which its line bounds, as in Redis. Default 1024*1024.
	// Redis 7 allows 2^31-1, and so a header of 13 bytes to announce them.
	ElementsMax int

	// RequestBytesMax is the longest request, its framing included. Default
	// 1 GiB, what Redis has for client-query-buffer-limit.
	RequestBytesMax int

	// InlineBytesMax is how many bytes may come before the end of a line,
	// whether the line is an inline command or announces a length. Default
	// 64 KiB, what Redis has for PROTO_INLINE_MAX_SIZE.
	InlineBytesMax int

	// Unauthenticated holds requests to 10 arguments of 16 KiB. Default false.
	// A connection sets it until its AUTH has been carried out.
	Unauthenticated bool
}

// What a client may send before it is authenticated, as in Redis.
const (
	unauthenticatedBulkBytesMax = 16 << 10
	unauthenticatedElementsMax  = 10
)

// DefaultLimits returns the defaults documented at each field.
func DefaultLimits() Limits {
	return Limits{
		BulkBytesMax:    512 << 20,
		ElementsMax:     1024 * 1024,
		RequestBytesMax: 1 << 30,
		InlineBytesMax:  64 << 10,
	}
}

// bulkBytesMax is the longest argument this client may send.
func (l *Limits) bulkBytesMax() int {
	if l.Unauthenticated {
		return min(l.BulkBytesMax, unauthenticatedBulkBytesMax)
	}
	return l.BulkBytesMax
}

// elementsMax is the most arguments this client may send.
func (l *Limits) elementsMax() int {
	if l.Unauthenticated {
		return min(l.ElementsMax, unauthenticatedElementsMax)
	}
	return l.ElementsMax
}

// ProtocolError says why a client's bytes are not a request. After one, where
// the next request would begin is unknown, so the client is told and cut off.
type ProtocolError string

// Error returns what follows "-ERR " on the wire, without CR or LF.
func (e ProtocolError) Error() string { return string(e) }

// The texts are Redis's, but for the last one: Redis closes the connection
// without a word there.
const (
	errMultibulkLength                = ProtocolError("Protocol error: invalid multibulk length")
	errMultibulkLengthUnauthenticated = ProtocolError("Protocol error: unauthenticated multibulk length")
	errMultibulkCountString           = ProtocolError("Protocol error: too big mbulk count string")
	errBulkLength                     = ProtocolError("Protocol error: invalid bulk length")
	errBulkLengthUnauthenticated      = ProtocolError("Protocol error: unauthenticated bulk length")
	errBulkCountString                = ProtocolError("Protocol error: too big bulk count string")
	errInlineTooBig                   = ProtocolError("Protocol error: too big inline request")
	errUnbalancedQuotes               = ProtocolError("Protocol error: unbalanced quotes in request")
	errRequestTooLarge                = ProtocolError("Protocol error: request too large")
)

// errExpectedDollar names the byte that came in place of '$'. CR and LF are
// shown as spaces, as Redis does, for they would end the reply's line.
func errExpectedDollar(got byte) ProtocolError {
	if got == '\r' || got == '\n' {
		got = ' '
	}
	return ProtocolError([]byte{
		'P', 'r', 'o', 't', 'o', 'c', 'o', 'l', ' ', 'e', 'r', 'r', 'o', 'r', ':', ' ',
		'e', 'x', 'p', 'e', 'c', 't', 'e', 'd', ' ', '\'', '$', '\'', ',', ' ', 'g', 'o', 't', ' ', '\'', got, '\'',
	})
}
