package store

import (
	"encoding/binary"
	"errors"
	"runtime/debug"
)

func (l *commitLog) stageName() string { return l.fs.PathJoin(l.dir, stageFile) }

// stageIn has commits put in a stage from now on. Pebble has all that the last process has left
// there. No other call is under way.
func (l *commitLog) stageIn(bytes int, mapFile func(name string, size int) (Mapping, error)) error {
	m, err := mapFile(l.stageName(), bytes)
	if err != nil {
		return err
	}
	if err := syncDir(l.fs, l.dir); err != nil {
		return errors.Join(err, m.Unmap())
	}
	l.stage = &stage{Mapping: m}
	return nil
}

// room returns empty memory for a record: in the stage, where there is one, at the head.
func (l *commitLog) room() []byte {
	if l.stage == nil {
		return l.buf[:0]
	}
	free := l.stage.at(l.head.Load(), uint64(len(l.stage.Ring))-l.waiting())
	return free[:0:len(free)]
}

// waiting returns how many bytes are not in segments yet.
func (l *commitLog) waiting() uint64 { return uint64(max(0, int64(l.head.Load()-l.tail.Load()))) }

// put adds bytes to the current segment: in the stage, unless there is none or they are more than it is.
// inPlace says that they are at the stage's head already. The caller holds commitMu.
func (l *commitLog) put(b []byte, inPlace bool) error {
	n := uint64(len(b))
	if !inPlace {
		if l.stage == nil || n > uint64(len(l.stage.Ring)) {
			return l.writeThrough(b)
		}
		if l.waiting()+n > uint64(len(l.stage.Ring)) {
			if err := l.drain(); err != nil {
				return err
			}
		}
		l.stage.put(l.head.Load(), b)
	}
	l.current.bytes += int64(n)
	l.head.Add(n)
	if n >= stageLargeBytes && l.writing.TryLock() {
		defer l.writing.Unlock()
		return l.drainStage()
	}
	if l.waiting() >= stageDrainBytes {
		select {
		case l.full <- struct{}{}:
		default:
		}
	}
	return nil
}

// writeThrough adds bytes to the current segment in its file.
func (l *commitLog) writeThrough(b []byte) error {
	l.writing.Lock()
	defer l.writing.Unlock()
	if err := l.drainStage(); err != nil {
		return err
	}
	if err := l.write(l.current, b); err != nil {
		return err
	}
	l.current.bytes += int64(len(b))
	l.head.Add(uint64(len(b)))
	return nil
}

// drain writes to the segments what is in the stage. After an error nothing is written any more.
func (l *commitLog) drain() error {
	l.writing.Lock()
	defer l.writing.Unlock()
	return l.drainStage()
}

func (l *commitLog) drainStage() error {
	if l.stage != nil && l.torn == nil {
		l.torn = l.drainRing()
	}
	return l.torn
}

func (l *commitLog) drainRing() (err error) {
	defer l.stage.caught(debug.SetPanicOnFault(true), &err)
	for to := l.head.Load(); l.tail.Load() < to; {
		from, end := l.tail.Load(), to
		l.mu.Lock()
		at := len(l.live) - 1
		for ; l.live[at].place > from; at-- {
			end = l.live[at].place
		}
		g := l.live[at]
		l.mu.Unlock()
		b := l.stage.at(from, end-from) // files of the operating system's do not change what they are given
		if err := l.write(g, b, l.stage.Ring[:end-from-uint64(len(b))]); err != nil {
			return err
		}
	}
	return l.stage.prepare(l.head.Load())
}

// write writes whole records at the tail, which is in that segment, and moves the tail when all are written: the
// room of what is before it is used anew, and half of a record would be nowhere. The caller holds writing.
func (l *commitLog) write(g *segment, parts ...[]byte) error {
	bytes := 0
	for _, b := range parts {
		bytes += len(b)
	}
	if l.torn == nil {
		l.torn = l.extend(g, bytes)
	}
	for _, b := range parts {
		if l.torn == nil && len(b) > 0 {
			_, l.torn = g.file.Write(b)
		}
	}
	if l.torn == nil {
		g.dirty.Store(true) // after the write: a sync that came between has not synced it
		l.tail.Add(uint64(bytes))
	}
	return l.torn
}

// stagedHeader returns the header that the stage has, nil where there is none that is sound.
func (g *segment) stagedHeader(held *stage) []byte {
	if held == nil {
		return nil
	}
	header := held.get(g.place, logSegmentHeader)
	if binary.BigEndian.Uint64(header) != g.headerChecksum(header[8:]) || binary.BigEndian.Uint64(header[24:]) != g.place {
		return nil
	}
	return header
}

// stagedForm returns the form that the stage has for a place in the segment, nil where there is
// no sound record.
func (g *segment) stagedForm(held *stage, at int64) []byte {
	if held == nil {
		return nil
	}
	place := g.place + uint64(at)
	n := uint64(binary.BigEndian.Uint32(held.get(place+8, 4)))
	if n == 0 || logRecordHeader+n > uint64(len(held.Ring)) {
		return nil
	}
	record := held.get(place, logRecordHeader+n)
	if binary.BigEndian.Uint64(record) != g.checksum(at, record[8:]) {
		return nil
	}
	return record[logRecordHeader:]
}
