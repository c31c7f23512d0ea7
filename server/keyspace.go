package server

import (
	"cartwheel/cluster/quorum"
	"cartwheel/cluster/ring"
	"cartwheel/store/version"
)

// Keyspace is what commands run against. Package cluster's Coordinator
// documents the methods. Its errors have the words for the client where they
// implement wireError.
//
// Read, Update and Forward may have to wait for other nodes. Given someone to
// tell (done), they then return pending at once, and done is told from another
// goroutine, once Kick has been called; given nil, they block.
type Keyspace interface {
	NodeID() ring.NodeID
	NowMS() int64
	Topology() *ring.Topology

	Prefetch(db uint8, keys [][]byte)
	Route(key []byte, anyOwner bool) (to ring.NodeID, place Place)
	Read(db uint8, key []byte, need quorum.Need, o *version.Object, done Done) (seq uint64, pending bool, err error)
	Update(db uint8, key []byte, need quorum.Need, nowMS int64, o *version.Object, change version.Change, done Done) (seq uint64, pending bool, err error)
	UpdateTogether(db uint8, keys [][]byte, need quorum.Need, nowMS int64, apply func(objects []version.Object, changed []bool)) (seq uint64, err error)
	Forward(to ring.NodeID, f *Forwarded, done ForwardDone) error
	Kick()
	Dot(key []byte, clock version.Clock, nowMS int64, floor version.HLC) (version.Dot, error)
	Knows(clock version.Clock, nowMS int64) bool
	Saw(clock version.Clock)

	Commit(seq uint64) error
	CommitReplica(seq uint64) error
	Committed() uint64
	Sync() error

	Flush(dbs []uint8) error
	FlushMark(db uint8) version.HLC
	Scan(db uint8, from ring.Token, visit func(t ring.Token, key []byte, o *version.Object) bool) error
	ScanOwned(db uint8, from ring.Token, visit func(t ring.Token, key []byte, o *version.Object) bool) error
	Size(db uint8) (keys, expires, meanTTLMS int64, ready <-chan struct{})
	SizeOwned(db uint8) (keys int64, ready <-chan struct{})
	RandomKey(db uint8) ([]byte, error)
	Preference(key []byte) []ring.NodeID
	Explain(db uint8, key []byte, visit func(node ring.NodeID, alive bool, o *version.Object, err error)) (seq, epoch uint64, p ring.Partition)

	PlanRing(change ring.Change) (*ring.Plan, error)
	ApplyRing(change ring.Change, epoch uint64, force bool) (*ring.Plan, error)
	RingProgress() (*ring.Progress, error)
	// RingFigures returns names and values for INFO: of the moves that this node
	// sees to.
	RingFigures() [][2]string

	// Figures returns names and values for INFO, for a person to read.
	Figures() [][2]string
	// Limits returns names and values for CONFIG GET: what bounds the node below its
	// clients.
	Limits() [][2]string
}

// The types that both sides of a Keyspace know are in package quorum.
type (
	// Done is told how a read or an update ended.
	Done = quorum.Done
	// ForwardDone is told how a forwarded command ended.
	ForwardDone = quorum.ForwardDone
	// Forwarded is a command that another node is to run.
	Forwarded = quorum.Forwarded
	// Place says where a command on a key runs.
	Place = quorum.Place
)

// wireText returns an error as the client gets it.
func wireText(err error) string {
	return err.Error()
}
