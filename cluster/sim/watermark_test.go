package sim

import (
	"slices"

	"cartwheel/cluster/ring"
	"cartwheel/store"
	"cartwheel/store/version"
)

// siblingsMax is how many of them a key may have.
const siblingsMax = 100

// judgeWatermarks holds that up to what any owner of a partition takes for stable, every
// owner has what any other has, or knows that it was superseded. It looks at the disks.
// A machine that has lost something may take for stable what it lacks, until it learns of it.
// To look takes time where a disk is slow: of who has ceased to be an owner meanwhile, or has
// learnt that it is to be filled anew, nothing is held.
func (w *world) judgeWatermarks() {
	d := w.document()
	if d == nil || w.budget.lossy && w.budget.losses == 0 {
		return
	}
	for p := range ring.Partition(d.Partitions) {
		var owners []*machine
		stable := version.HLC(0)
		for _, m := range w.owners(d, p) {
			s := m.p.c.Store()
			if s.Failure() == nil && !s.Refilling(p) {
				owners = append(owners, m)
				stable = max(stable, s.Levels(p).Stable)
			}
		}
		for _, m := range owners {
			err := visit(m.p.c.Store(), p, func(k store.Key, o *version.Object) {
				if len(o.Siblings) > siblingsMax {
					w.violate("%s holds %d siblings of %q", m.name, len(o.Siblings), k.User)
				}
				for i := range o.Siblings {
					if s := &o.Siblings[i]; s.Dot.HLC <= stable {
						w.judgeStable(owners, p, m, k, s)
					}
				}
			})
			if err != nil {
				w.note("%s cannot be looked at: %v", m.name, err)
			}
		}
	}
}

// judgeStable holds that all owners know of a sibling.
func (w *world) judgeStable(owners []*machine, p ring.Partition, holder *machine, k store.Key, s *version.Sibling) {
	for _, m := range owners {
		there := m.p.c.Store()
		var o version.Object
		if _, err := there.Get(k.DB, k.User, &o); err != nil {
			continue // the disk fails
		}
		flushed := there.FlushMarks()[k.DB] >= s.Written
		dead := s.Tombstone || s.ExpireAtMS != 0 && s.ExpireAtMS <= there.NowMS()+margin.Milliseconds()
		forgotten := dead && s.Dot.HLC <= there.Levels(p).Purge
		if o.Clock.Covers(s.Dot) || flushed || forgotten {
			continue
		}
		if now := w.document(); now != nil && slices.Contains(now.Owners[p], m.p.c.NodeID()) && !there.Refilling(p) {
			w.violate("%s holds %v of %q, which is stable, and %s knows nothing of it", holder.name, s.Dot, k.User, m.name)
		}
	}
}
