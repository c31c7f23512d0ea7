package cluster

import (
	"encoding/binary"
	"maps"
	"slices"
	"sync"
	"sync/atomic"

	"cartwheel/store"
	"cartwheel/store/version"
)

const databases = store.Databases

// A status is what a node says of itself from time to time:
//
//	flush marks 16 x 8, hints 8, their bytes 8, then every incarnation that it
//	knows of: incarnation 8, highest HLC that it has seen of it 8
type status struct {
	hints, hintBytes int64
}

const statusBytes = databases*8 + 16

func appendMarks(dst []byte, marks [databases]version.HLC) []byte {
	for _, mark := range marks {
		dst = binary.BigEndian.AppendUint64(dst, uint64(mark))
	}
	return dst
}

func parseMarks(b []byte) (marks [databases]version.HLC, ok bool) {
	if len(b) < databases*8 {
		return marks, false
	}
	for db := range marks {
		marks[db] = version.HLC(binary.BigEndian.Uint64(b[8*db:]))
	}
	return marks, true
}

func (c *Coordinator) appendStatus(dst []byte) []byte {
	dst = appendMarks(dst, c.store.FlushMarks())
	held := c.held()
	dst = binary.BigEndian.AppendUint64(dst, uint64(held.hints))
	dst = binary.BigEndian.AppendUint64(dst, uint64(held.hintBytes))
	return c.lives.append(dst)
}

// takeStatus takes what a peer says of itself.
func (c *Coordinator) takeStatus(p *peer, b []byte) error {
	marks, ok := parseMarks(b)
	if !ok || len(b) < statusBytes {
		return errMessage
	}
	if err := c.store.RaiseMarks(marks); err != nil {
		return err
	}
	s := &status{
		hints:     int64(binary.BigEndian.Uint64(b[databases*8:])),
		hintBytes: int64(binary.BigEndian.Uint64(b[databases*8+8:])),
	}
	if was := p.status.Load(); was == nil || *was != *s {
		p.status.Store(s)
		c.changed.Add(1)
	}
	return c.takeLives(b[statusBytes:])
}

// lives are the incarnations that this cluster is known to have had, with the
// highest HLC that has been seen of each. It only grows.
type lives struct {
	mu    sync.Mutex // held by those who add one
	seen  atomic.Pointer[map[version.Incarnation]*atomic.Uint64]
	dirty atomic.Bool // not all of it is saved
}

// livesMax is how many incarnations a node keeps in mind.
const livesMax = 1 << 13

// saw notes what an object says of incarnations.
func (l *lives) saw(clock version.Clock) {
	seen := *l.seen.Load()
	for _, d := range clock {
		if ofHint(d.Incarnation) {
			continue
		}
		if highest := seen[d.Incarnation]; highest != nil {
			l.raise(highest, d.HLC)
		} else {
			l.add(d)
			seen = *l.seen.Load()
		}
	}
}

func (l *lives) raise(highest *atomic.Uint64, to version.HLC) {
	for {
		was := highest.Load()
		if was >= uint64(to) {
			return
		}
		if highest.CompareAndSwap(was, uint64(to)) {
			if !l.dirty.Load() {
				l.dirty.Store(true)
			}
			return
		}
	}
}

func (l *lives) add(d version.Dot) {
	l.mu.Lock()
	defer l.mu.Unlock()
	old := *l.seen.Load()
	if old[d.Incarnation] != nil || len(old) >= livesMax {
		return
	}
	more := maps.Clone(old)
	more[d.Incarnation] = new(atomic.Uint64)
	more[d.Incarnation].Store(uint64(d.HLC))
	l.seen.Store(&more)
	l.dirty.Store(true)
}

// of returns the highest HLC that has been seen of an incarnation, and whether
// there ever was that one.
func (l *lives) of(i version.Incarnation) (highest version.HLC, known bool) {
	h := (*l.seen.Load())[i]
	if h == nil {
		return 0, false
	}
	return version.HLC(h.Load()), true
}

func (l *lives) append(dst []byte) []byte {
	seen := *l.seen.Load()
	for _, i := range slices.Sorted(maps.Keys(seen)) {
		dst = binary.BigEndian.AppendUint64(dst, uint64(i))
		dst = binary.BigEndian.AppendUint64(dst, seen[i].Load())
	}
	return dst
}

// take reads what append wrote.
func (l *lives) take(b []byte) error {
	if len(b)%16 != 0 || len(b)/16 > livesMax {
		return errMessage
	}
	for ; len(b) > 0; b = b[16:] {
		l.saw(version.Clock{{
			Incarnation: version.Incarnation(binary.BigEndian.Uint64(b)),
			HLC:         version.HLC(binary.BigEndian.Uint64(b[8:])),
		}})
	}
	return nil
}

// recordLives is where they are kept.
const recordLives = "incarnations"

func (c *Coordinator) loadLives() error {
	c.lives.seen.Store(&map[version.Incarnation]*atomic.Uint64{})
	text, err := c.store.ReadRecord(recordLives)
	if err != nil {
		return err
	}
	return c.lives.take(text)
}

func (c *Coordinator) saveLives() {
	if !c.lives.dirty.Swap(false) {
		return
	}
	if err := c.store.WriteRecord(recordLives, c.lives.append(nil)); err != nil {
		c.lives.dirty.Store(true)
		c.log.Error().Err(err).Msg("cannot save the incarnations")
	}
}

// takeLives takes the incarnations that a peer knows of. It may know of writes of
// this node's that this node has forgotten.
func (c *Coordinator) takeLives(b []byte) error {
	if err := c.lives.take(b); err != nil {
		return err
	}
	if highest, known := c.lives.of(c.store.Incarnation()); known {
		return c.store.SeenOfMe(highest)
	}
	return nil
}

// saw notes the incarnations of an object that has come from a peer.
func (c *Coordinator) saw(clock version.Clock) { c.lives.saw(clock) }
