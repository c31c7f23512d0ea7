package sim

import (
	"bytes"
	"fmt"
	"math"
	"time"

	"cartwheel/cluster/ring"
	"cartwheel/store"
	"cartwheel/store/version"
)

// judgeStores compares what the owners hold, object by object, once they have converged.
func (w *world) judgeStores() {
	d := w.document()
	for p := range ring.Partition(d.Partitions) {
		owners := w.owners(d, p)
		first := contents(owners[0].p.c.Store(), p)
		for _, m := range owners[1:] {
			other := contents(m.p.c.Store(), p)
			for _, key := range sortedKeys(first) {
				if !bytes.Equal(first[key], other[key]) {
					w.violate("%s and %s hold different objects under %q, though their trees are the same", owners[0].name, m.name, key)
				}
			}
			for _, key := range sortedKeys(other) {
				if first[key] == nil {
					w.violate("%s holds an object under %q that %s has not, though their trees are the same", m.name, key, owners[0].name)
				}
			}
		}
	}
}

// margin is by how much clocks may differ.
const margin = 500 * time.Millisecond

// contents are the encoded objects of a partition that may not be forgotten yet.
func contents(s *store.Store, p ring.Partition) map[string][]byte {
	all := map[string][]byte{}
	err := visit(s, p, func(k store.Key, o *version.Object) {
		// What is about to expire is so on some clocks, and not on others.
		if o.Alive(s.NowMS()+margin.Milliseconds()) != nil || !s.Purgeable(k, o) && o.Alive(s.NowMS()-margin.Milliseconds()) == nil {
			all[fmt.Sprintf("%d/%s", k.DB, k.User)] = version.AppendObject(nil, o)
		}
	})
	if err != nil {
		all["error"] = []byte(err.Error())
	}
	return all
}

func visit(s *store.Store, p ring.Partition, each func(k store.Key, o *version.Object)) error {
	for leaf := range store.Leaves {
		err := s.ScanLeaf(p, leaf, func(k store.Key, o *version.Object) bool {
			if o != nil {
				each(k, o)
			}
			return true
		})
		if err != nil {
			return err
		}
	}
	return nil
}

// difference shows the first objects of a partition in which two machines differ, those
// that may be forgotten included.
func difference(a, b *machine, p ring.Partition) string {
	all := func(m *machine) map[string]string {
		shown := map[string]string{}
		there := m.p.c.Store()
		_ = there.Scan(0, math.MaxUint64, func(k store.Key, o *version.Object) bool {
			if o != nil && ring.PartitionOf(k.Token.Slot(), there.Partitions()) == p {
				shown[fmt.Sprintf("%d/%s", k.DB, k.User)] = fmt.Sprintf("%+v (to be forgotten: %v)", *o, there.Purgeable(k, o))
			}
			return true
		})
		return shown
	}
	ours, theirs := all(a), all(b)
	for _, key := range sortedKeys(ours) {
		if ours[key] != theirs[key] {
			return fmt.Sprintf(": %s is %s and %s, levels %v and %v", key, ours[key], theirs[key], a.p.c.Store().Levels(p), b.p.c.Store().Levels(p))
		}
	}
	for _, key := range sortedKeys(theirs) {
		if ours[key] == "" {
			return fmt.Sprintf(": %s is %s there only, levels %v and %v", key, theirs[key], a.p.c.Store().Levels(p), b.p.c.Store().Levels(p))
		}
	}
	return ""
}
