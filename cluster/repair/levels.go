package repair

import (
	"slices"

	"cartwheel/cluster/ring"
	"cartwheel/store"
	"cartwheel/store/version"
)

// levelsOf returns what vouches for objects of some keys: the least of their
// partitions'. It is to be asked before the objects are read.
func (r *Repair) levelsOf(keys []store.Key, partitions int) (least store.Levels) {
	for i, k := range keys {
		l := r.opts.Store.Levels(ring.PartitionOf(k.Token.Slot(), partitions))
		if i == 0 {
			least = l
		}
		least.Stable, least.Purge = min(least.Stable, l.Stable), min(least.Purge, l.Purge)
	}
	return least
}

// distrust has those partitions be filled anew of which another owner has purged
// more than is stable here. An owner purges only what every owner has said that it
// has: so this node has forgotten it. It was rolled back, or wiped.
func (r *Repair) distrust(table *ring.Ring, purged map[ring.Partition]version.HLC) error {
	forgotten := map[ring.Partition]version.HLC{}
	for p, purge := range purged {
		l := r.opts.Store.Levels(p)
		if purge > l.Stable && slices.Contains(table.Owners(p), r.self) && (purge > l.Purge || !r.opts.Store.Refilling(p)) {
			forgotten[p] = purge
		}
	}
	if len(forgotten) == 0 {
		return nil
	}
	r.log.Warn().Int("partitions", len(forgotten)).
		Msg("other owners have purged what this node has still, or never had: it has forgotten something, and is filled anew")
	if err := r.opts.Store.Distrust(forgotten); err != nil {
		return err
	}
	r.poke()
	return nil
}

// forget takes from what is here the siblings of which the peer, which has
// everything, no longer knows.
func (x *exchange) forget(lacked []store.Key) error {
	m := x.newMerging(x.peerHas)
	for n, k := range lacked {
		if err := m.addObject(n, k, &version.Object{}, nil); err != nil {
			return err
		}
	}
	return x.merged(m)
}

// Forgot says that another owner has purged a partition up to an HLC, as a read has
// found out. It blocks until that is noted, where it is news.
func (r *Repair) Forgot(p ring.Partition, purged version.HLC) {
	err := r.distrust(r.opts.Peers.Ring(), map[ring.Partition]version.HLC{p: purged})
	if err != nil {
		r.log.Error().Err(err).Msg("cannot note that a partition is to be filled anew")
	}
}
