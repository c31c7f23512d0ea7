package quorum

import "errors"

// ErrMoved says that the node is no owner of the key any more. Nothing was
// applied: the command is to be routed again.
var ErrMoved = errors.New("the ring has changed meanwhile")

// A Place says where a command on a key is to run.
type Place uint8

const (
	// Alone: here, and no other node holds the key.
	Alone Place = iota
	// Here: this node is an owner, and there are others.
	Here
	// Away: at another node.
	Away
)

// Done is told, once and from any goroutine, how a read or an update ended.
type Done interface {
	Done(seq uint64, err error)
}

// A Forwarded command runs at another node, as if a client had sent it there.
type Forwarded struct {
	DB    uint8
	RESP3 bool
	Need  Need
	Args  [][]byte
	// Again says that it may be run once more, elsewhere, where it is not known
	// whether it was run.
	Again bool
}

// ForwardDone is told, once and from any goroutine, how a forwarded command
// ended: by its reply, of which the memory is the callee's, or by an error.
type ForwardDone interface {
	ForwardDone(reply []byte, err error)
}

// A Poller watches sockets for others by the goroutine that serves clients, which then need not be
// told of what came by them: that would cost a switch of goroutines each time.
type Poller interface {
	// Watch has w called by that goroutine until stop, and once more at each again. The descriptor stays open, and
	// the caller's, at least until stop has returned, which waits until w is not called any more, or gone is closed:
	// then the poller has ended. A poller that has ended before returns nil.
	Watch(fd int, w Watched) (again, stop func(), gone <-chan struct{})
}

// A Watched reads a socket. Neither method may block.
type Watched interface {
	// Ready is called when there may be something to read, edge-triggered; hup says that the other
	// side may have closed. It reads once, and is called again soon where it says that there is more.
	// Where due is not 0, what it has done waits for that commit.
	Ready(hup bool) (more bool, due uint64)
	// Done is called once for each commit that Ready has asked for, when that is made or has failed. It says
	// whether there is more to be read.
	Done(err error) (more bool)
}

// An Executor runs the commands that other nodes forward. respond is called once,
// from any goroutine, at the latest by the Settle that follows the command's end;
// the reply's memory is the caller's again after respond. Settle blocks on a commit where Ended says
// that commands have ended since the last one.
type Executor interface {
	Execute(f *Forwarded, respond func(reply []byte, err error))
	Ended() bool
	Settle()
}
