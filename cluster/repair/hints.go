package repair

import (
	"context"
	"slices"

	"cartwheel/cluster/ring"
	"cartwheel/cluster/sabotage"
	"cartwheel/store"
	"cartwheel/store/version"
)

// Replay of hints (design section 8):
//
//  1. Hints for an owner go to it, page by page, while it is up. One is removed
//     when the owner has it durably, and only if it is still what was sent.
//  2. Where the ring has changed and the node owns a key's partition no more, its
//     hint goes to the present owners instead: to all of them, to this node too if it
//     is one. So the hints of a node that is down are looked through once an epoch.
//  3. What an owner refuses, because it is from the future, or cannot take stays
//     for a later replay, and does not hold up what comes behind it.
//  4. Nothing is remembered of a replay that was interrupted: what is still there
//     was not acknowledged, and to send it twice does no harm.

// hintsPage is how many hints are read at once.
const hintsPage = 1024

// A hint is one that is about to be replayed.
type hint struct {
	key    store.Key
	text   []byte
	object version.Object // of text
	to     []ring.NodeID
	kept   bool // not all of to have it
	waits  bool // for its owner, which is down
}

// replay replays the hints for an owner, and reports whether some stay.
func (r *Repair) replay(ctx context.Context, owner ring.NodeID) (stay bool, err error) {
	table := r.opts.Peers.Ring()
	var from store.Key
	swept := true
	for {
		page, next, err := r.readHints(table, owner, from)
		if err != nil {
			return true, err
		}
		if err := r.replayPage(ctx, page); err != nil {
			return true, err
		}
		removed, err := r.removeHints(owner, page)
		if err != nil {
			return true, err
		}
		stay = stay || removed < len(page)
		for _, h := range page {
			swept = swept && (!h.kept || h.waits)
		}
		if len(next.User) == 0 && next.Token == 0 && next.DB == 0 {
			break
		}
		if r.opts.Peers.Ring() != table {
			return true, errNotOwner // they may have other destinations by now
		}
		from = next
	}
	if swept {
		r.mu.Lock()
		r.swept[owner] = table.Epoch()
		r.mu.Unlock()
	}
	return stay, nil
}

func (r *Repair) readHints(table *ring.Ring, owner ring.NodeID, from store.Key) (page []*hint, next store.Key, err error) {
	var fault error
	next, err = r.opts.Store.Hints(owner, from, hintsPage, pageBytesMax, func(k store.Key, _ *version.Object, text []byte) bool {
		k.User = slices.Clone(k.User)
		h := &hint{key: k, text: slices.Clone(text)}
		if fault = h.object.DecodeTrusted(h.text); fault != nil {
			return false
		}
		p := ring.PartitionOf(k.Token.Slot(), table.Partitions())
		h.to = r.destinations(table, owner, p)
		h.kept = len(h.to) == 0
		h.waits = h.kept && holds(table, p, owner)
		page = append(page, h)
		return true
	})
	if err == nil {
		err = fault
	}
	return page, next, err
}

// destinations returns where hints of a partition for an owner go: to nobody for
// now, where one of these nodes is down.
func (r *Repair) destinations(table *ring.Ring, owner ring.NodeID, p ring.Partition) []ring.NodeID {
	to := []ring.NodeID{owner}
	if !holds(table, p, owner) {
		to = holders(table, p)
	}
	for _, id := range to {
		if !r.up(id) {
			return nil
		}
	}
	return to
}

// holders returns the owners of a partition and those that are becoming owners.
func holders(table *ring.Ring, p ring.Partition) []ring.NodeID {
	all := slices.Clone(table.Owners(p))
	for _, id := range table.Next(p) {
		if !slices.Contains(all, id) {
			all = append(all, id)
		}
	}
	return all
}

// replayPage sends each hint to its destinations.
func (r *Repair) replayPage(ctx context.Context, page []*hint) error {
	if sabotage.On(sabotage.HintsDropped) {
		return nil
	}
	groups := map[ring.NodeID][]*hint{}
	var order []ring.NodeID
	for _, h := range page {
		for _, to := range h.to {
			if groups[to] == nil {
				order = append(order, to)
			}
			groups[to] = append(groups[to], h)
		}
	}
	for _, to := range order {
		var err error
		if to == r.self {
			err = r.replayHere(groups[to])
		} else {
			err = r.replayTo(ctx, to, groups[to])
		}
		if err != nil {
			return err
		}
	}
	return nil
}

func (r *Repair) replayHere(hints []*hint) error {
	m := r.newMerging(store.Levels{}) // hints are vouched for by nobody
	for n, h := range hints {
		if err := m.addObject(n, h.key, &h.object, nil); err != nil {
			return err
		}
	}
	for _, n := range m.refused {
		hints[n].kept = true
	}
	return m.commit()
}

func (r *Repair) replayTo(ctx context.Context, to ring.NodeID, hints []*hint) error {
	for len(hints) > 0 {
		var page objectsPage // vouched for by nobody
		if sabotage.On(sabotage.HintAfterPurge) {
			page.levels.Stable = store.Everything
		}
		n := 0
		for n < len(hints) && page.add(hints[n].key, hints[n].text) {
			n++
		}
		o, err := r.push(ctx, to, &page)
		if err != nil {
			return err
		}
		for i, h := range hints[:n] {
			h.kept = h.kept || o.refused[i]
		}
		hints = hints[n:]
	}
	return nil
}

func (r *Repair) removeHints(owner ring.NodeID, page []*hint) (removed int, err error) {
	var seq uint64
	for _, h := range page {
		if h.kept {
			continue
		}
		done, err := r.opts.Store.RemoveHint(owner, h.key, &h.object)
		if err != nil {
			return removed, err
		}
		seq = max(seq, done)
		removed++
	}
	r.counters.replayed.Add(uint64(removed))
	r.counters.hintsKept.Add(uint64(len(page) - removed))
	return removed, r.opts.Store.Commit(seq)
}
