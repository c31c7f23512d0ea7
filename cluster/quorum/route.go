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

// An Executor runs the commands that other nodes forward. respond is called once,
// from any goroutine, at the latest by the Settle that follows the command's end;
// the reply's memory is the caller's again after respond.
type Executor interface {
	Execute(f *Forwarded, respond func(reply []byte, err error))
	Settle()
}
