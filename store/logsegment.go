package store

import (
	"encoding/binary"
	"errors"
	"fmt"
	"math/rand/v2"
	"runtime/debug"
)

// rotate begins a new segment. The caller holds commitMu.
func (l *commitLog) rotate() error { return l.rotateTo(l.current.number + 1) }

func (l *commitLog) rotateTo(number uint64) (err error) {
	if l.stage != nil {
		defer l.stage.caught(debug.SetPanicOnFault(true), &err)
	}
	err = l.prepare(number)
	l.mu.Lock()
	next := l.ready
	l.mu.Unlock()
	if err == nil {
		err = next.measure()
	}
	if err == nil {
		before := l.position()
		next.place = l.head.Load()
		l.mu.Lock()
		l.live, l.ready = append(l.live, next), nil
		l.mu.Unlock()
		l.current = next
		err = l.put(next.header(before), false)
	}
	if err != nil {
		return fmt.Errorf("begin a segment of the commit log: %w", err)
	}
	return nil
}

// prepare makes the file of the segment of that number, which comes next, if it is not there
// yet: who rotates then waits for no disk, and clients not for it. Until it begins, its
// header is not sound. No rotate comes meanwhile.
func (l *commitLog) prepare(number uint64) error {
	l.mu.Lock()
	spare, ready := l.spare, l.ready
	if ready == nil {
		l.spare = ""
	}
	l.mu.Unlock()
	if ready != nil {
		return nil
	}
	next := &segment{number: number, name: l.fs.PathJoin(l.dir, logFileName(number)), seed: rand.Uint64()}
	var err error
	if spare != "" {
		next.file, err = l.fs.ReuseForWrite(spare, next.name, logCategory)
	} else {
		next.file, err = l.fs.Create(next.name, logCategory)
	}
	if err != nil {
		return err
	}
	if err := syncDir(l.fs, l.dir); err != nil {
		return errors.Join(err, next.file.Close())
	}
	l.mu.Lock()
	l.ready = next
	l.mu.Unlock()
	return nil
}

// measure notes how long the file is.
func (g *segment) measure() error {
	info, err := g.file.Stat()
	if err != nil {
		return err
	}
	g.extent.Store(max(info.Size(), logSegmentHeader))
	g.seen = g.extent.Load()
	return nil
}

// header is how a segment begins that goes on from a position.
func (g *segment) header(before logPosition) []byte {
	header := append(make([]byte, 8), before.encode()...)
	header = binary.BigEndian.AppendUint64(binary.BigEndian.AppendUint64(header, g.place), g.seed)
	binary.BigEndian.PutUint64(header, g.headerChecksum(header[8:]))
	return header
}

// retire removes the segments before the one of that number, whose commits Pebble
// has on the disk.
func (l *commitLog) retire(before uint64) error {
	if err := l.drain(); err != nil {
		return fmt.Errorf("write the commit log: %w", err)
	}
	l.syncing.Lock()
	defer l.syncing.Unlock()
	for {
		l.mu.Lock()
		if len(l.live) == 0 || l.live[0].number >= before {
			l.mu.Unlock()
			return nil
		}
		g := l.live[0]
		l.live = l.live[1:]
		l.mu.Unlock()
		if err := g.file.Close(); err != nil {
			return fmt.Errorf("close a segment of the commit log: %w", err)
		}
		// Each for itself: an older segment that a crash brings back must not be
		// replayed without the ones after it.
		if err := errors.Join(l.discard(g), syncDir(l.fs, l.dir)); err != nil {
			return err
		}
	}
}

// discard keeps the file of a segment to be used again, or removes it. The caller holds syncing.
func (l *commitLog) discard(g *segment) error {
	l.mu.Lock()
	hasSpare := l.spare != "" // only this gives it one
	l.mu.Unlock()
	if hasSpare || g.bytes > 2*logBytesMax {
		if err := l.fs.Remove(g.name); err != nil {
			return fmt.Errorf("remove a segment of the commit log: %w", err)
		}
		return nil
	}
	spare := l.fs.PathJoin(l.dir, logSparePrefix+logFileName(g.number))
	if err := l.fs.Rename(g.name, spare); err != nil {
		return fmt.Errorf("put a segment of the commit log by: %w", err)
	}
	l.mu.Lock()
	l.spare = spare
	l.mu.Unlock()
	return nil
}
