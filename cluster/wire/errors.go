package wire

import (
	"errors"
	"strings"
	"unicode"
)

var (
	// ErrDown is returned by Send while the lane has no connection. Nothing was
	// sent.
	ErrDown = errors.New("no connection to the peer")
	// ErrOverloaded says that nothing was done because there was too much to do:
	// returned by Send where the lane is at its limits, and in a Reply where the
	// peer is.
	ErrOverloaded = errors.New("too many requests to the peer")
	// ErrTooLarge is returned by Send for a frame that the peer does not take on
	// this lane. In a Reply it says that the request was carried out, but the
	// answer does not fit: to be asked for on the lane Bulk.
	ErrTooLarge = errors.New("too large for the lane")
	// ErrTimeout is in a Reply when none came in time: the outcome is not known.
	// Returned by Send for a timeout that is not positive: nothing was sent.
	ErrTimeout = errors.New("the peer did not answer in time")
	// ErrLost is in a Reply when the connection broke: the outcome is not known.
	ErrLost = errors.New("the connection to the peer broke")
)

var (
	errSilent = errors.New("the peer owes replies and has been silent for too long")
	errStale  = errors.New("all requests come too late: a clock jumped, or this node does not keep up")
)

// A RefusedError says that a handshake was refused, by this side or by the peer.
type RefusedError struct {
	Reason string // printable, at most 256 bytes
	ByPeer bool
	cause  error
}

func (e *RefusedError) Error() string {
	if e.ByPeer {
		return "refused by the peer: " + e.Reason
	}
	return "peer refused: " + e.Reason
}

// Unwrap returns what Accept has returned.
func (e *RefusedError) Unwrap() error { return e.cause }

// printable makes text from a peer fit for a log.
func printable(text string) string {
	text = text[:min(len(text), reasonBytesMax)]
	return strings.Map(func(r rune) rune {
		if r == unicode.ReplacementChar || !unicode.IsPrint(r) {
			return '?'
		}
		return r
	}, text)
}
