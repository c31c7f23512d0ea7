package cluster

import (
	"encoding/binary"
	"maps"
	"slices"
	"sync"
	"sync/atomic"

	"github.com/cespare/xxhash/v2"

	"cartwheel/store"
	"cartwheel/store/version"
)

const databases = store.Databases

// A status is what a node says of itself from time to time:
//
//	flush marks 16 x 8, hints 8, their bytes 8, its incarnation 8, the hash of the set
//	of the incarnations that it knows of 8, the rate that its clients leave to work in the
//	background 8, then some or all of those incarnations: incarnation 8, highest HLC that
//	it has seen of it 8
type status struct {
	hints, hintBytes int64
}

const statusBytes = databases*8 + 40

// Every node tells every other one what it knows of incarnations, of which there are
// as many as nodes, and more. Where both know the same ones and these are more than
// livesShortMax, it tells only what it has seen of the other's own, and all in one of
// livesFullEvery pings.
const (
	livesShortMax  = 64
	livesFullEvery = 32
)

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

// appendStatus says how this node is to a peer; nil is several.
func (c *Coordinator) appendStatus(dst []byte, to *peer, full bool) []byte {
	dst = appendMarks(dst, c.store.FlushMarks())
	held := c.held()
	dst = binary.BigEndian.AppendUint64(dst, uint64(held.hints))
	dst = binary.BigEndian.AppendUint64(dst, uint64(held.hintBytes))
	dst = binary.BigEndian.AppendUint64(dst, uint64(c.store.Incarnation()))
	hash, count := c.lives.set()
	dst = binary.BigEndian.AppendUint64(dst, hash)
	dst = binary.BigEndian.AppendUint64(dst, uint64(c.clientsRate()))
	switch {
	case to == nil:
		return dst
	case full || count <= livesShortMax || to.knows.Load() != hash:
		return c.lives.append(dst)
	}
	return c.lives.appendOne(dst, version.Incarnation(to.incarnation.Load()))
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
	incarnation := binary.BigEndian.Uint64(b[databases*8+16:])
	p.incarnation.Store(incarnation)
	p.knows.Store(binary.BigEndian.Uint64(b[databases*8+24:]))
	p.clientsRate.Store(int64(binary.BigEndian.Uint64(b[databases*8+32:])))
	c.lives.saw(version.Clock{{Incarnation: version.Incarnation(incarnation)}})
	return c.takeLives(b[statusBytes:])
}

// lives are the incarnations that this cluster is known to have had, with the
// highest HLC that has been seen of each. It only grows.
type lives struct {
	mu    sync.Mutex // held by those who add one
	seen  atomic.Pointer[map[version.Incarnation]*atomic.Uint64]
	hash  atomic.Uint64 // of the incarnations, whatever their HLCs
	dirty atomic.Bool   // not all of it is saved
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
	l.hash.Store(l.hash.Load() ^ hashOfLife(d.Incarnation))
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

// hashOfLife is such that the XOR of several stands for the set of them.
func hashOfLife(i version.Incarnation) uint64 {
	return xxhash.Sum64(binary.BigEndian.AppendUint64(nil, uint64(i)))
}

// set returns a hash of the set of the incarnations and how many there are.
func (l *lives) set() (hash uint64, count int) { return l.hash.Load(), len(*l.seen.Load()) }

// appendOne appends one incarnation, if it is known.
func (l *lives) appendOne(dst []byte, i version.Incarnation) []byte {
	if highest, known := l.of(i); known {
		dst = binary.BigEndian.AppendUint64(dst, uint64(i))
		dst = binary.BigEndian.AppendUint64(dst, uint64(highest))
	}
	return dst
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
