package wire

import (
	"cmp"
	"strconv"
	"sync/atomic"
	"time"
)

// A Lane is one of the connections of a Link. What is long goes by another one
// than what must be fast.
type Lane uint8

// The lanes of a Link.
const (
	Small Lane = iota
	Bulk
	LaneCount // how many there are
)

func (l Lane) String() string {
	if l == Small {
		return "small"
	}
	return "bulk"
}

// Limits bound one lane at one of its ends. Zero fields are as defaultLimits has
// them.
type Limits struct {
	// FrameBytesMax is the longest frame, header included, that this end takes
	// or sends. The other end is told, and sends none that is longer. At least 16 KiB,
	// below 2 GiB.
	FrameBytesMax int
	// InFlightMax is how many requests a Link has sent and waits for, and how
	// many of a connection's a Handler has deferred.
	InFlightMax int
	// BytesMax is how many bytes of frames a Link has in flight, how many wait to
	// be written at either end, and how many the replies to one batch have. At
	// least FrameBytesMax.
	BytesMax int
}

// The longest ring document that is valid, of 4,096 members, has 7 MiB.
var defaultLimits = [LaneCount]Limits{
	Small: {FrameBytesMax: 8 << 20, InFlightMax: 32 << 10, BytesMax: 64 << 20},
	Bulk:  {FrameBytesMax: 512<<20 + 1<<20, InFlightMax: 1 << 10, BytesMax: 512<<20 + 1<<20},
}

const (
	frameBytesLeast = 16 << 10
	frameBytesMost  = 1<<31 - 1
)

func (l Limits) orDefault(lane Lane) Limits {
	byDefault := defaultLimits[lane]
	l.FrameBytesMax = cmp.Or(l.FrameBytesMax, byDefault.FrameBytesMax)
	l.FrameBytesMax = min(max(l.FrameBytesMax, frameBytesLeast), frameBytesMost)
	l.InFlightMax = cmp.Or(l.InFlightMax, byDefault.InFlightMax)
	l.BytesMax = max(cmp.Or(l.BytesMax, byDefault.BytesMax), l.FrameBytesMax)
	return l
}

// The other limits, of time and of what surrounds the frames.
const (
	handshakeTimeout  = 5 * time.Second // both the handshake and, before it, the dialing
	extensionBytesMax = 64 << 10
	reasonBytesMax    = 256
	redialMin         = 50 * time.Millisecond
	redialMax         = time.Second
	writeTimeout      = 10 * time.Second // in which a peer must take writeBytesMax
	writeBytesMax     = 128 << 10
	silenceMax        = 5 * time.Second // without a byte from a peer that owes a reply
	requestTimeoutMax = 24 * time.Hour
	serveBacklogMax   = 64 << 10 // replies that may wait while more requests are read
)

// Counters count what has happened on any number of Links and served
// connections. They only grow.
type Counters struct {
	BytesIn, BytesOut atomic.Uint64
	Reads, Writes     atomic.Uint64 // from and to connections
	TimedOut          atomic.Uint64 // requests sent that no reply came to in time
	Lost              atomic.Uint64 // requests sent whose connection broke
	LateReplies       atomic.Uint64 // replies that nobody waited for any more
	LateRequests      atomic.Uint64 // requests not handed over: past their deadline
	Overloaded        atomic.Uint64 // requests refused: Send's and Defer's
	TooLarge          atomic.Uint64 // replies that were too large to be sent
	Refused           atomic.Uint64 // handshakes that were
}

// Shown returns the names and values of what bounds a Link and a served connection
// whose Limits are the defaults, for CONFIG GET: bytes, unless the name says otherwise.
func Shown() [][2]string {
	var shown [][2]string
	add := func(name string, value int64) {
		shown = append(shown, [2]string{name, strconv.FormatInt(value, 10)})
	}
	for lane, l := range defaultLimits {
		prefix := "peer-" + Lane(lane).String()
		add(prefix+"-frame-bytes-max", int64(l.FrameBytesMax))
		add(prefix+"-requests-max", int64(l.InFlightMax))
		add(prefix+"-bytes-max", int64(l.BytesMax))
	}
	add("peer-hello-bytes-max", extensionBytesMax)
	add("peer-handshake-ms-max", handshakeTimeout.Milliseconds())
	add("peer-redial-ms-max", redialMax.Milliseconds())
	add("peer-write-ms-max", writeTimeout.Milliseconds())
	add("peer-silence-ms-max", silenceMax.Milliseconds())
	add("peer-backlog-bytes-max", serveBacklogMax)
	return shown
}
