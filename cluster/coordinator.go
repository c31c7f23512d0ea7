package cluster

import (
	"errors"
	"fmt"

	"cartwheel/cluster/quorum"
	"cartwheel/cluster/ring"
	"cartwheel/store"
	"cartwheel/store/version"
)

// A Coordinator runs reads and writes at the owners of their keys. It is safe
// for concurrent use.
//
// Reads and updates return a sequence: what they saw or changed may be
// acknowledged once Commit has returned for it. That lets all of a pipeline, and
// all pipelines that came in at once, share one commit.
type Coordinator struct {
	store *store.Store
	ring  *ring.Ring
}

// Open opens the local store and makes it the only node of a ring.
func Open(opts store.Options) (*Coordinator, error) {
	// Every owner has seen what this one has: whatever is dead may go at once.
	opts.Watermark = func(ring.Partition) version.HLC { return ^version.HLC(0) }
	s, err := store.Open(opts)
	if err != nil {
		return nil, err
	}
	r, err := ring.One(s.NodeID(), s.Partitions())
	if err != nil {
		return nil, errors.Join(err, s.Close())
	}
	return &Coordinator{store: s, ring: r}, nil
}

// Close commits and syncs everything. No other call may be under way or follow.
func (c *Coordinator) Close() error { return c.store.Close() }

// NodeID returns who this node is.
func (c *Coordinator) NodeID() ring.NodeID { return c.store.NodeID() }

// NowMS returns the wall clock in Unix milliseconds.
func (c *Coordinator) NowMS() int64 { return c.store.NowMS() }

// Prefetch says which keys are likely to be asked for next, at most
// store.PrefetchMax of them.
func (c *Coordinator) Prefetch(db uint8, keys [][]byte) { c.store.Prefetch(db, keys) }

// Read sets o to the object of a key as R owners have it; without siblings
// where the key is absent. The payloads must not be written to, and stay valid.
func (c *Coordinator) Read(db uint8, key []byte, need quorum.Need, o *version.Object) (seq uint64, err error) {
	if need != (quorum.Need{}) {
		if _, err := need.Reads(1); err != nil {
			return 0, wireError(err)
		}
	}
	seq, err = c.store.Get(db, key, o)
	return seq, wireError(err)
}

// Update changes the object of a key at its owners. o is memory to work in and
// is left as the change made it.
func (c *Coordinator) Update(db uint8, key []byte, need quorum.Need, nowMS int64, o *version.Object, change version.Change) (seq uint64, err error) {
	if need != (quorum.Need{}) {
		if _, err := need.Writes(1); err != nil {
			return 0, wireError(err)
		}
	}
	seq, err = c.store.Update(db, key, nowMS, o, change)
	return seq, wireError(err)
}

// UpdateTogether changes the objects of several different keys of one slot, all
// or none of them. apply says which it changed.
func (c *Coordinator) UpdateTogether(db uint8, keys [][]byte, nowMS int64, apply func(objects []version.Object, changed []bool)) (seq uint64, err error) {
	storeKeys := make([]store.Key, len(keys))
	for i, key := range keys {
		storeKeys[i] = store.NewKey(db, key)
	}
	seq, err = c.store.UpdateMany(storeKeys, nowMS, make([]version.Object, len(keys)), apply)
	return seq, wireError(err)
}

// Dot returns the identity of a new write: above floor, and above every one
// that this node has given before.
func (c *Coordinator) Dot(nowMS int64, floor version.HLC) (version.Dot, error) {
	hlc, err := c.store.NextHLC(nowMS, floor)
	if err != nil {
		return version.Dot{}, wireError(err)
	}
	return version.Dot{Incarnation: c.store.Incarnation(), HLC: hlc}, nil
}

// Knows says whether a client can have got that clock from this cluster: it
// names no incarnation that never was, and nothing from the future.
func (c *Coordinator) Knows(clock version.Clock, nowMS int64) bool {
	for _, entry := range clock {
		if !c.store.HadIncarnation(entry.Incarnation) {
			return false
		}
	}
	return clock.MaxHLC() <= c.store.LastHLC()
}

// Commit returns when everything up to a sequence is as durable as the sync
// mode says. On an error it is not known what of it will be there.
func (c *Coordinator) Commit(seq uint64) error { return wireError(c.store.Commit(seq)) }

// Committed returns the last sequence whose commit is done.
func (c *Coordinator) Committed() uint64 { return c.store.Committed() }

// Sync returns when all that was changed before is on the disk.
func (c *Coordinator) Sync() error { return wireError(c.store.Sync()) }

// Flush makes everything in some databases go, and commits that.
func (c *Coordinator) Flush(dbs []uint8) error {
	mark, err := c.store.NextHLC(c.store.NowMS(), 0)
	if err != nil {
		return wireError(err)
	}
	return wireError(c.store.Flush(dbs, mark))
}

// Explain returns where a key lives, and calls visit with what each of its
// owners holds.
func (c *Coordinator) Explain(db uint8, key []byte, visit func(node ring.NodeID, alive bool, o *version.Object, err error)) (seq, epoch uint64, p ring.Partition) {
	p = c.ring.PartitionOf(ring.SlotOf(key))
	for _, owner := range c.ring.Owners(p) {
		var o version.Object
		read, err := c.store.Get(db, key, &o)
		seq = max(seq, read)
		visit(owner, true, &o, wireError(err))
	}
	return seq, c.ring.Epoch(), p
}

// A WireError is an error with the code that clients go by.
type WireError struct {
	Code string // the first word of the reply
	Text string // what follows it
	err  error
}

func (e *WireError) Error() string { return fmt.Sprintf("%s %s", e.Code, e.Text) }
func (e *WireError) Unwrap() error { return e.err }

// wireError is the one place where errors get the words that clients see
// (design section 4).
func wireError(err error) error {
	switch {
	case err == nil:
		return nil
	case errors.Is(err, store.ErrDiskFull):
		return &WireError{"MISCONF", "The disk is full: writes are refused, reads go on. " + err.Error(), err}
	case errors.Is(err, store.ErrStopped):
		return &WireError{"MISCONF", "Writes are stopped until a restart, reads go on. " + err.Error(), err}
	case errors.Is(err, store.ErrCommit):
		return &WireError{"TIMEOUT", "The outcome is unknown: " + err.Error(), err}
	case errors.Is(err, store.ErrCorrupt):
		return &WireError{"ERR", "The stored value is corrupt and no other replica has it", err}
	case errors.Is(err, quorum.ErrNoReplicas):
		return &WireError{"NOREPLICAS", "Not enough replicas can answer", err}
	}
	return &WireError{"ERR", err.Error(), err}
}
