package repair

import (
	"context"
	"encoding/binary"
	"slices"
	"sync/atomic"
	"time"

	"cartwheel/cluster/ring"
	"cartwheel/store/version"
)

// A node that starts may have been rolled back: then it has still what others have
// purged, and what it answers alone (R=1) nobody corrects. So:
//
//  1. When it starts, it doubts each partition until another owner has shown what that
//     one has purged of it. From then on what was forgotten is known to be (distrust).
//  2. While it doubts a partition it does not answer reads of it as an owner, as long
//     as there is another owner that is up to be asked. Alone it does: a node whose peers
//     are dead must serve.
//  3. Doubts end after a time in any case. Others are asked even then, as soon as they
//     are up: exchanges, which find the same, need trees.
//  4. Both sides show what they have purged by one message, which waits for no other work.
type shown struct {
	rows  []atomic.Bool // by partition: another owner has shown its purge; nil: the node is new
	since time.Time
	over  atomic.Bool
	all   *ring.Ring // of which there is nothing to be shown any more; guarded by Repair.mu
}

const (
	doubtMax = 2 * time.Second
	// shownWithin is how long a node that starts waits for the others before it serves
	// its own clients.
	shownWithin = 500 * time.Millisecond
	shownEvery  = 5 * time.Millisecond
)

// begin begins to doubt, where there is a ring already.
func (s *shown) begin(table *ring.Ring, now time.Time) {
	if table == nil {
		s.over.Store(true)
		return
	}
	s.rows, s.since = make([]atomic.Bool, table.Partitions()), now
}

// Doubts says whether this node is not to answer reads of a partition as its owner,
// since it may have forgotten what others know. It is quick.
func (r *Repair) Doubts(p ring.Partition) bool {
	if r.shown.over.Load() || r.shown.rows[p].Load() {
		return false
	}
	if r.opts.Now().Sub(r.shown.since) > doubtMax {
		r.shown.over.Store(true)
		return false
	}
	return slices.ContainsFunc(r.opts.Peers.Ring().Owners(p), func(id ring.NodeID) bool {
		return id != r.self && r.opts.Peers.Up(id)
	})
}

// WaitShown returns when others have shown what they have purged of all that this node
// owns, or when it has waited long enough for them.
func (r *Repair) WaitShown(ctx context.Context) {
	for range shownWithin / shownEvery {
		if len(r.unshown(r.opts.Peers.Ring())) == 0 || r.sleep(ctx, shownEvery) != nil {
			return
		}
	}
}

// unshown returns the partitions by the other owners that have yet to show what they
// have purged of them.
func (r *Repair) unshown(table *ring.Ring) map[ring.NodeID][]ring.Partition {
	by := map[ring.NodeID][]ring.Partition{}
	if r.shown.rows == nil {
		return by
	}
	for p := range ring.Partition(table.Partitions()) {
		owners := table.Owners(p)
		if r.shown.rows[p].Load() || !slices.Contains(owners, r.self) {
			continue
		}
		for _, id := range owners {
			if id != r.self {
				by[id] = append(by[id], p)
			}
		}
	}
	return by
}

// planShown wants who is up asked what they have purged; the caller holds mu.
func (r *Repair) planShown(table *ring.Ring, now time.Time) {
	if r.shown.all == table {
		return
	}
	by := r.unshown(table)
	if len(by) == 0 {
		r.shown.all = table
	}
	for id := range by {
		if r.opts.Peers.Up(id) {
			r.schedule.want(task{shownTask, id}, now)
		}
	}
}

// askShown tells a peer what this node has purged of what it doubts, and hears the same.
func (r *Repair) askShown(ctx context.Context, peer ring.NodeID) error {
	table := r.opts.Peers.Ring()
	asked := r.unshown(table)[peer]
	if len(asked) == 0 {
		return nil
	}
	in, err := r.call(ctx, peer, askPurges, func(dst []byte) []byte { return r.appendPurges(dst, asked) })
	if err != nil {
		return err
	}
	purged := in.purges(table.Partitions())
	if err := replyOf(peer, in); err != nil {
		return err
	}
	return r.tookPurges(table, purged)
}

// purges answers what this node has purged of the partitions that the peer names, which
// says what it has purged itself.
func (s *service) purges() error {
	theirs := s.in.purges(s.table.Partitions())
	if err := s.in.end(); err != nil {
		return err
	}
	var asked []ring.Partition
	for p := range theirs {
		if !s.owns(p) {
			return errNotOwner
		}
		asked = append(asked, p)
	}
	slices.Sort(asked)
	s.out = s.appendPurges(s.out, asked)
	return s.tookPurges(s.table, theirs)
}

// tookPurges takes what an owner has purged. That is noted before the doubts end.
func (r *Repair) tookPurges(table *ring.Ring, purged map[ring.Partition]version.HLC) error {
	if err := r.distrust(table, purged); err != nil {
		return err
	}
	for p := range purged {
		if r.shown.rows != nil {
			r.shown.rows[p].Store(true)
		}
	}
	return nil
}

// appendPurges adds, for each partition: partition, purge 8.
func (r *Repair) appendPurges(dst []byte, partitions []ring.Partition) []byte {
	for _, p := range partitions {
		dst = binary.AppendUvarint(dst, uint64(p))
		dst = binary.BigEndian.AppendUint64(dst, uint64(r.opts.Store.Levels(p).Purge))
	}
	return dst
}

func (in *reader) purges(partitions int) map[ring.Partition]version.HLC {
	purged := map[ring.Partition]version.HLC{}
	for len(in.rest) > 0 && !in.bad {
		p := in.partition(partitions)
		purged[p] = version.HLC(in.uint64())
	}
	return purged
}
