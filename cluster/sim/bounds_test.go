package sim

// memoryBytes is each node's budget. Its log is short, so that much happens while one follows another.
const (
	memoryBytes = 16 << 20
	logBytes    = 256 << 10
)

// judgeBounds holds that no node keeps more hints than it may, nor more objects in memory than
// its budget: half of that is for them, and what waits for a checkpoint may exceed it.
func (w *world) judgeBounds() {
	for _, m := range w.machines {
		if !m.up() {
			continue
		}
		s, hints := m.p.c.Store(), int64(0)
		for _, held := range s.HintOwners() {
			hints += held.Bytes
		}
		if most := w.plan.hintBytes; most > 0 && hints > most {
			w.violate("%s holds %d bytes of hints, of %d", m.name, hints, most)
		}
		if cached := s.Stats().Cache.Bytes; cached > memoryBytes {
			w.violate("%s holds %d bytes of objects in memory, with a budget of %d", m.name, cached, memoryBytes)
		}
	}
}
