package repair

import (
	"context"
	"encoding/binary"
	"errors"
	"fmt"
	"math/rand/v2"

	"cartwheel/cluster/ring"
	"cartwheel/store"
	"cartwheel/store/version"
)

// An exchange makes this node and a peer hold the same in some partitions.
//
//  1. Roots of all of them, in one message. Most often that is all.
//  2. For those that differ, in batches: sums of leaves, then the leaves below those that
//     differ, twice with a pause between, since what differs in one comparison
//     only was a write in flight.
//  3. For the leaves that differ, a pass: keys with the hashes of what this node
//     has, page by page. The peer answers with what it lacks, with the clock of
//     what differs, and with the objects that this node lacks.
//  4. Objects: what the peer lacks or is behind with, and what this node is
//     behind with. Each side merges what it gets, and makes it durable.
//
// Nothing of it is remembered: after a failure the next one finds in the trees
// how far this one came.
type exchange struct {
	*Repair
	peer  ring.NodeID
	table *ring.Ring
	mode  byte

	repaired int // objects that were changed, on either side
	busy     int // partitions that are in another exchange, here or there
	clean    map[ring.Partition]bool

	refused int                     // objects, by either side
	peerHas store.Levels            // the peer's, of the partition of the pass under way
	peerHad store.Levels            // and as it began
	settles map[ring.Partition]bool // clean also of what no tree or clock would show: see settledBy
	marks   uint64                  // the flush marks that it began with
	whole   bool                    // the trees of both show all
}

// leavesBatch is of how many partitions leaves are compared at once: at most 66 KiB.
const leavesBatch = 128

func (r *Repair) newExchange(peer ring.NodeID, table *ring.Ring, mode byte) *exchange {
	return &exchange{Repair: r, peer: peer, table: table, mode: mode, clean: map[ring.Partition]bool{}, settles: map[ring.Partition]bool{}}
}

// run compares the partitions, all but those that are in another exchange.
func (x *exchange) run(ctx context.Context, partitions []ring.Partition) error {
	if !x.treesReady() {
		return errNotReady
	}
	x.marks, x.whole = marksHash(x.opts.Store.FlushMarks()), x.opts.Store.TreesWhole()
	differ, err := x.roots(ctx, partitions)
	if err != nil {
		return err
	}
	for _, p := range partitions {
		x.clean[p], x.settles[p] = true, true
	}
	for _, p := range differ {
		delete(x.clean, p)
		delete(x.settles, p)
	}
	x.counters.differing.Store(int64(len(differ)))
	for _, batch := range batches(differ) {
		if err := x.runBatch(ctx, batch); err != nil {
			return err
		}
	}
	return nil
}

// batches cuts the partitions up, and begins anywhere among them, so that two
// peers of a node that is behind do not get in each other's way all along.
func batches(partitions []ring.Partition) (cut [][]ring.Partition) {
	for len(partitions) > 0 {
		n := min(len(partitions), leavesBatch)
		cut = append(cut, partitions[:n])
		partitions = partitions[n:]
	}
	rand.Shuffle(len(cut), func(i, j int) { cut[i], cut[j] = cut[j], cut[i] })
	return cut
}

func (x *exchange) runBatch(ctx context.Context, batch []ring.Partition) error {
	var engaged []ring.Partition
	for _, p := range batch {
		if x.engaged.begin(p, x.peer) {
			engaged = append(engaged, p)
		} else {
			x.busy++
		}
	}
	defer func() {
		for _, p := range engaged {
			x.engaged.end(p, x.peer)
		}
	}()
	masks, err := x.leavesTwice(ctx, engaged)
	if err != nil {
		return err
	}
	for i, p := range engaged {
		switch {
		case masks[i].busy:
			x.busy++
			continue
		case masks[i].differ != 0:
			refused := x.refused
			if err := x.pass(ctx, &extent{partition: p, mask: masks[i].differ}); err != nil {
				if errors.Is(err, errBusy) {
					x.busy++
					continue
				}
				return err
			}
			x.settles[p] = x.refused == refused
		default:
			x.settles[p] = true
		}
		x.clean[p] = true
	}
	_, err = x.call(ctx, x.peer, askRelease, func(dst []byte) []byte { return appendPartitions(dst, engaged) })
	return err
}

// roots returns the partitions whose roots differ.
func (x *exchange) roots(ctx context.Context, partitions []ring.Partition) (differ []ring.Partition, err error) {
	in, err := x.call(ctx, x.peer, askRoots, func(dst []byte) []byte {
		for _, p := range partitions {
			dst = binary.AppendUvarint(dst, uint64(p))
			dst = binary.BigEndian.AppendUint64(dst, x.opts.Store.Root(p))
			dst = appendLevels(dst, x.opts.Store.Levels(p))
		}
		return dst
	})
	if err != nil {
		return nil, err
	}
	x.whole = in.byte() != 0 && x.whole
	purged := map[ring.Partition]version.HLC{}
	next := 0
	for len(in.rest) > 0 {
		p, differs, purge := in.partition(x.table.Partitions()), in.byte() != 0, in.uint64()
		if in.bad || int(p) < next {
			in.fail()
			break
		}
		next = int(p) + 1
		if differs {
			differ = append(differ, p)
		}
		purged[p] = version.HLC(purge)
	}
	if err := x.replied(in); err != nil {
		return nil, err
	}
	return differ, x.distrust(x.table, purged)
}

// replied reports a reply that was malformed.
func (x *exchange) replied(in *reader) error {
	if err := in.end(); err != nil {
		return fmt.Errorf("the reply of %s: %w", x.peer, err)
	}
	return nil
}

// A leafDifference says which leaves of a partition differ.
type leafDifference struct {
	busy   bool // with another exchange: it is not known
	differ leafMask
}

// leavesTwice returns the leaves of each partition that differ now and after a
// pause.
func (x *exchange) leavesTwice(ctx context.Context, partitions []ring.Partition) ([]leafDifference, error) {
	before := make([]leafDifference, len(partitions))
	for i := range before {
		before[i].differ = allLeaves
	}
	if err := x.leaves(ctx, x.mode|modeSums, partitions, before); err != nil {
		return nil, err
	}
	for n := range 2 {
		if n > 0 {
			if err := x.sleep(ctx, x.opts.LeafPause); err != nil {
				return nil, err
			}
		}
		if err := x.leaves(ctx, x.mode, partitions, before); err != nil {
			return nil, err
		}
	}
	return before, nil
}

// leaves compares the leaves that differed so far, or their sums.
func (x *exchange) leaves(ctx context.Context, mode byte, partitions []ring.Partition, found []leafDifference) error {
	var asked []int
	for i := range found {
		if !found[i].busy && found[i].differ != 0 {
			asked = append(asked, i)
		}
	}
	if len(asked) == 0 {
		return nil
	}
	in, err := x.call(ctx, x.peer, askLeaves, func(dst []byte) []byte {
		dst = append(dst, mode)
		for _, i := range asked {
			dst = binary.AppendUvarint(dst, uint64(partitions[i]))
			dst = binary.BigEndian.AppendUint64(dst, uint64(found[i].differ))
			leaves := x.opts.Store.Leaves(partitions[i])
			dst = appendNodes(dst, mode, found[i].differ, &leaves)
		}
		return dst
	})
	if err != nil {
		return err
	}
	for _, i := range asked {
		found[i].busy = in.byte() != 0
		found[i].differ &= leafMask(in.uint64())
	}
	return x.replied(in)
}

// pass compares all that both sides have in an extent, page by page, and brings
// each what it lacks. It moves extent.from along, so that one that failed can go
// on.
func (x *exchange) pass(ctx context.Context, e *extent) error {
	for {
		c := comparison{extent: *e, mode: x.mode, levels: x.opts.Store.Levels(e.partition)}
		if err := x.list(&c); err != nil {
			return err
		}
		in, err := x.call(ctx, x.peer, askCompare, c.append)
		if err != nil {
			return err
		}
		if x.mode&(modeExact|modePushOnly) == modeExact {
			x.counters.fillBytes.Add(uint64(len(in.rest)))
		}
		reached, err := x.settle(ctx, &c, in)
		if err != nil {
			return err
		}
		if reached == nil {
			reached = c.to
		}
		if reached == nil {
			return nil
		}
		if e.from != nil && compareKeys(*reached, *e.from) <= 0 {
			return fmt.Errorf("the reply of %s goes back: %w", x.peer, errMessage)
		}
		e.from = reached
	}
}

// list fills a comparison with what this node has, as much as one message holds,
// and sets where it ends.
func (x *exchange) list(c *comparison) error {
	if c.mode&modeExact != 0 && c.from == nil {
		if err := x.opts.Store.CommitAll(); err != nil {
			return err
		}
	}
	size, scanned := 0, 0
	return x.scan(&c.extent, x.table.Partitions(), func(k store.Key, o *version.Object) bool {
		if len(c.entries) == entriesMax || size >= entriesBytesMax || scanned >= scanBytesMax {
			k.User = append([]byte(nil), k.User...)
			c.to = &k
			return false
		}
		if o == nil {
			return true // corrupt: the peer's replaces it
		}
		k.User = append([]byte(nil), k.User...)
		c.entries = append(c.entries, entry{k, o.Hash()})
		size += len(k.User) + 12
		scanned += objectBytes(o)
		return true
	})
}
