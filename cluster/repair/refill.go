package repair

import (
	"bytes"
	"context"
	"slices"

	"cartwheel/cluster/ring"
	"cartwheel/store"
	"cartwheel/store/version"
)

// A partition of which this node has forgotten something is filled anew:
//
//  1. That is noted durably, and with it what the others have purged: from then on what
//     is at or below that comes only from those who have everything, be it by a late
//     frame, a hint or an exchange.
//  2. This node does not answer reads of it as an owner. It takes writes.
//  3. An exact pass over all of it is made with each other owner that is up, a majority
//     of them at least. It brings them what they lack, of which they leave out what they
//     know to be superseded; brings here what is missing; and takes from what is here what a
//     peer that has everything does not show (store.Store.Merge): its end was forgotten.
//     Nothing has to be dropped for that, and no write that comes meanwhile is lost.
//  4. Then it is stable up to the least level of those who had everything. If none of the
//     others had, and all of them were asked, there is nobody who knows more.
//     A pass with one of them counts only if nothing doubtful has come since it began.
type refill struct {
	from map[ring.NodeID]refillPass // those with which a pass was made
}

// A refillPass is one, as it was when the pass began.
type refillPass struct {
	levels store.Levels // the other node's
	doubts uint64       // here
}

// refilling returns the partitions of this node that are to be filled anew.
func (r *Repair) refilling(table *ring.Ring) (all []ring.Partition) {
	for p := range ring.Partition(table.Partitions()) {
		if r.opts.Store.Refilling(p) && slices.Contains(table.Owners(p), r.self) {
			all = append(all, p)
		}
	}
	return all
}

// refillSources returns the nodes that passes are still to be made with, and this one
// where something has only to be ended, since who is up has changed; the caller holds mu.
func (r *Repair) refillSources(table *ring.Ring, refilling []ring.Partition) (sources []ring.NodeID) {
	for _, p := range refilling {
		if _, enough := r.refilled(table, p); enough && !slices.Contains(sources, r.self) {
			sources = append(sources, r.self)
		}
		for _, owner := range table.Owners(p) {
			if owner != r.self && r.opts.Peers.Up(owner) && !r.refillDone(p, owner) && !slices.Contains(sources, owner) {
				sources = append(sources, owner)
			}
		}
	}
	slices.SortFunc(sources, func(a, b ring.NodeID) int { return bytes.Compare(a[:], b[:]) })
	return sources
}

// refillDone says whether a pass was made with that node; the caller holds mu.
func (r *Repair) refillDone(p ring.Partition, source ring.NodeID) bool {
	f := r.refills[p]
	if f == nil {
		return false
	}
	pass, done := f.from[source]
	return done && r.counts(p, pass)
}

// counts says whether a pass need not be made again.
func (r *Repair) counts(p ring.Partition, pass refillPass) bool {
	return pass.levels.Stable < r.opts.Store.Levels(p).Purge || pass.doubts == r.opts.Store.Doubts(p)
}

// refillFrom makes the passes with one other owner, and ends what has had all of
// its passes. It reports whether it has made one.
func (r *Repair) refillFrom(ctx context.Context, source ring.NodeID) (progress bool, err error) {
	table := r.opts.Peers.Ring()
	for _, p := range r.refilling(table) {
		r.mu.Lock()
		done := source == r.self || r.ring != table || r.refillDone(p, source) || !slices.Contains(table.Owners(p), source)
		r.mu.Unlock()
		if done {
			continue
		}
		doubts := r.opts.Store.Doubts(p)
		x := r.newExchange(source, table, modeExact)
		if err := x.pass(ctx, &extent{partition: p, mask: allLeaves}); err != nil {
			return progress, err
		}
		progress = true
		r.mu.Lock()
		if r.ring == table {
			if r.refills[p] == nil {
				r.refills[p] = &refill{from: map[ring.NodeID]refillPass{}}
			}
			r.refills[p].from[source] = refillPass{x.peerHad, doubts}
		}
		r.mu.Unlock()
	}
	return progress, r.endRefills(table)
}

func (r *Repair) endRefills(table *ring.Ring) error {
	filled := map[ring.Partition]store.Filled{}
	r.mu.Lock()
	for _, p := range r.refilling(table) {
		if f, enough := r.refilled(table, p); enough && r.ring == table {
			filled[p] = f
		}
	}
	r.mu.Unlock()
	if len(filled) == 0 {
		return nil
	}
	trusted, err := r.opts.Store.Trust(filled)
	if err != nil || len(trusted) == 0 {
		return err
	}
	r.mu.Lock()
	for _, p := range trusted {
		delete(r.refills, p)
	}
	r.mu.Unlock()
	r.counters.refilled.Add(uint64(len(trusted)))
	r.log.Info().Int("partitions", len(trusted)).Msg("what was not trusted has been filled anew")
	return nil
}

// refilled says whether a partition has had its passes, and up to where it is stable
// then; the caller holds mu.
func (r *Repair) refilled(table *ring.Ring, p ring.Partition) (_ store.Filled, enough bool) {
	doubts := r.opts.Store.Doubts(p) // first: those of the passes are compared with it, or later ones
	f := r.refills[p]
	if f == nil {
		f = &refill{}
	}
	purged := r.opts.Store.Levels(p).Purge
	to := version.HLC(store.Everything)
	others, missing := 0, 0
	for _, owner := range table.Owners(p) {
		if owner == r.self {
			continue
		}
		others++
		pass, done := f.from[owner]
		done = done && r.counts(p, pass)
		switch {
		case done && pass.levels.Stable >= purged:
			to = min(to, pass.levels.Stable)
		case !done && r.opts.Peers.Up(owner):
			return store.Filled{}, false
		case !done:
			missing++
		}
	}
	switch {
	case others == 0:
		to = purged // nobody knows more
	case others-missing < others/2+1:
		return store.Filled{}, false
	case to == store.Everything:
		return store.Filled{Stable: purged, Doubts: doubts}, missing == 0
	}
	return store.Filled{Stable: to, Doubts: doubts}, true
}
