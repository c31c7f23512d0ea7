package repair

import (
	"errors"

	"cartwheel/store"
	"cartwheel/store/version"
)

// A merging joins a page of objects from elsewhere into what is stored here, in
// one commit.
type merging struct {
	store   Store
	nowMS   int64
	remote  version.Object
	result  version.Object
	seq     uint64
	count   int
	changed int
	from    store.Levels // of where the objects come from
	refused []int        // numbers of objects from the future
}

// One that has itself forgotten is not believed about what is deleted.
func (r *Repair) newMerging(from store.Levels) *merging {
	if from.Stable < from.Purge {
		from.Purge = 0
	}
	return &merging{store: r.opts.Store, from: from, nowMS: r.opts.Store.NowMS()}
}

// add merges the object of that number. It is in place when commit has returned.
func (m *merging) add(n int, k store.Key, text []byte) error {
	if err := m.remote.Decode(text); err != nil {
		return err
	}
	return m.addObject(n, k, &m.remote, text)
}

// addObject is add of an object whose form may be at hand.
func (m *merging) addObject(n int, k store.Key, remote *version.Object, form []byte) error {
	m.count++
	seq, changed, err := m.store.MergeFormed(k.DB, k.User, m.nowMS, remote, form, &m.result, m.from)
	if errors.Is(err, store.ErrDrift) {
		m.refused = append(m.refused, n)
		return nil
	}
	if err != nil {
		return err
	}
	m.seq = max(m.seq, seq)
	if changed {
		m.changed++
	}
	return nil
}

// commit makes all that was added durable.
func (m *merging) commit() error { return m.store.Commit(m.seq) }

func isCorrupt(err error) bool { return errors.Is(err, store.ErrCorrupt) }
