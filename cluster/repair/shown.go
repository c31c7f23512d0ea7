package repair

import (
	"context"
	"encoding/binary"
	"maps"
	"slices"
	"sync"
	"sync/atomic"
	"time"

	"cartwheel/cluster/ring"
	"cartwheel/store/version"
)

// A node that starts may have been rolled back: then it has still what others have
// purged, and what it answers alone (R=1) nobody corrects. So:
//
//  1. When it starts, it doubts each partition until every other owner that is up has shown
//     what that one has purged of it: one alone may have been rolled back, too. From then
//     on what was forgotten is known to be (distrust).
//  2. While it doubts a partition it does not answer reads of it as an owner, as long
//     as there is another owner that is up to be asked, or of which it has yet to find out
//     whether it is. Alone it does: a node whose peers are dead must serve.
//  3. Doubts end after a time in any case. Others are asked even then, as soon as they
//     are up: exchanges, which find the same, need trees.
//  4. Both sides show what they have purged by one message, which waits for no other work.
type shown struct {
	since time.Time
	over  atomic.Bool

	mu      sync.Mutex
	by      map[ring.NodeID][]bool // what each has shown, by partition; nil: the node is new
	done    []bool                 // all owners of a partition have: who becomes one later has nothing to show
	of      *ring.Ring             // which unshown is for
	unshown map[ring.NodeID]map[ring.Partition]bool
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
	s.by, s.done, s.since = map[ring.NodeID][]bool{}, make([]bool, table.Partitions()), now
}

// Doubts says whether this node is not to answer reads of a partition as its owner,
// since it may have forgotten what others know. It is quick.
func (r *Repair) Doubts(p ring.Partition) bool {
	if r.shown.over.Load() {
		return false
	}
	if r.opts.Now().Sub(r.shown.since) > doubtMax {
		r.shown.over.Store(true)
		return false
	}
	r.shown.mu.Lock()
	defer r.shown.mu.Unlock()
	for id, unshown := range r.unshown(r.opts.Peers.Ring()) {
		if unshown[p] && r.mayShow(id) {
			return true
		}
	}
	return false
}

// mayShow says whether that node is up or, for all that is known so soon after the start, may be.
func (r *Repair) mayShow(id ring.NodeID) bool {
	return r.opts.Peers.Up(id) || !r.opts.Peers.Tried(id) && r.opts.Now().Sub(r.shown.since) < shownWithin
}

// WaitShown returns when all others that are up have shown what they have purged of what
// this node owns, and each partition was shown by one, or when it has waited long enough.
func (r *Repair) WaitShown(ctx context.Context) {
	for range shownWithin / shownEvery {
		if r.allShown() || r.sleep(ctx, shownEvery) != nil {
			return
		}
	}
}

func (r *Repair) allShown() bool {
	table := r.opts.Peers.Ring()
	r.shown.mu.Lock()
	defer r.shown.mu.Unlock()
	by := r.unshown(table)
	for id := range by {
		if r.mayShow(id) {
			return false
		}
	}
	for _, unshown := range by {
		for p := range unshown {
			if !slices.ContainsFunc(table.Owners(p), func(id ring.NodeID) bool { return id != r.self && !by[id][p] }) {
				return false
			}
		}
	}
	return true
}

// unshown returns, by the other owners, the partitions of which each has yet to show what
// it has purged. The caller holds shown.mu.
func (r *Repair) unshown(table *ring.Ring) map[ring.NodeID]map[ring.Partition]bool {
	s := &r.shown
	if s.by == nil || s.of == table {
		return s.unshown
	}
	s.of, s.unshown = table, map[ring.NodeID]map[ring.Partition]bool{}
	for p := range ring.Partition(table.Partitions()) {
		owners := table.Owners(p)
		if s.done[p] || !slices.Contains(owners, r.self) {
			continue
		}
		for _, id := range owners {
			if id == r.self || s.by[id] != nil && s.by[id][p] {
				continue
			}
			if s.unshown[id] == nil {
				s.unshown[id] = map[ring.Partition]bool{}
			}
			s.unshown[id][p] = true
		}
	}
	return s.unshown
}

// planShown wants who is up asked what they have purged.
func (r *Repair) planShown(table *ring.Ring, now time.Time) {
	r.shown.mu.Lock()
	defer r.shown.mu.Unlock()
	for id := range r.unshown(table) {
		if r.opts.Peers.Up(id) {
			r.schedule.want(task{shownTask, id}, now)
		}
	}
}

// askShown tells a peer what this node has purged of what it doubts, and hears the same.
func (r *Repair) askShown(ctx context.Context, peer ring.NodeID) error {
	table := r.opts.Peers.Ring()
	r.shown.mu.Lock()
	asked := slices.Sorted(maps.Keys(r.unshown(table)[peer]))
	r.shown.mu.Unlock()
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
	return r.tookPurges(table, peer, purged)
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
	return s.tookPurges(s.table, s.from, theirs)
}

// tookPurges takes what an owner has purged. That is noted before the doubts end.
func (r *Repair) tookPurges(table *ring.Ring, peer ring.NodeID, purged map[ring.Partition]version.HLC) error {
	if err := r.distrust(table, purged); err != nil {
		return err
	}
	s := &r.shown
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.by == nil {
		return nil
	}
	if s.by[peer] == nil {
		s.by[peer] = make([]bool, table.Partitions())
	}
	for p := range purged {
		s.by[peer][p] = true
		delete(s.unshown[peer], p)
		s.done[p] = s.done[p] || !slices.ContainsFunc(table.Owners(p), func(id ring.NodeID) bool {
			return id != r.self && (s.by[id] == nil || !s.by[id][p])
		})
	}
	if len(s.unshown[peer]) == 0 {
		delete(s.unshown, peer)
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
