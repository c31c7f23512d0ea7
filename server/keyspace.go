package server

import (
	"cartwheel/cluster/quorum"
	"cartwheel/cluster/ring"
	"cartwheel/store/version"
)

// Keyspace is what commands run against. Package cluster's Coordinator
// documents the methods. Its errors have the words for the client where they
// implement wireError.
type Keyspace interface {
	NodeID() ring.NodeID
	NowMS() int64

	Prefetch(db uint8, keys [][]byte)
	Read(db uint8, key []byte, need quorum.Need, o *version.Object) (seq uint64, err error)
	Update(db uint8, key []byte, need quorum.Need, nowMS int64, o *version.Object, change version.Change) (seq uint64, err error)
	UpdateTogether(db uint8, keys [][]byte, nowMS int64, apply func(objects []version.Object, changed []bool)) (seq uint64, err error)
	Dot(nowMS int64, floor version.HLC) (version.Dot, error)
	Knows(clock version.Clock, nowMS int64) bool

	Commit(seq uint64) error
	Committed() uint64
	Sync() error

	Flush(dbs []uint8) error
	Scan(db uint8, from ring.Token, visit func(t ring.Token, key []byte, o *version.Object) bool) error
	Size(db uint8) (keys, expires, meanTTLMS int64, ready <-chan struct{})
	RandomKey(db uint8) ([]byte, error)
	Explain(db uint8, key []byte, visit func(node ring.NodeID, alive bool, o *version.Object, err error)) (seq, epoch uint64, p ring.Partition)

	// Figures returns names and values for INFO, for a person to read.
	Figures() [][2]string
}

// wireText returns an error as the client gets it.
func wireText(err error) string {
	return err.Error()
}
