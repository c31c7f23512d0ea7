package store

import (
	"errors"
	"fmt"
	"io"
	"runtime/debug"
	"unsafe"

	"github.com/cockroachdb/pebble/v2/vfs"
)

// A stage is where commits wait until they are written to the log's segments: memory that
// a killed process leaves to its next start, since it is a file that is mapped. So a commit
// is as durable as if it had been written, and who commits waits for no file system: a
// write to a file waits while the journal is written that its time of change belongs to,
// some milliseconds often, hundreds sometimes.
//
// It is a ring, and the log one line of bytes through all its segments: what is at a place
// of that is in the ring at the place modulo its length, until what comes so much later
// takes its room. Nothing says how far it is filled: where a segment's file has no sound
// record any more, the ring has the next, or it has not been committed. The checksum of a
// record is of where it belongs, so that nothing else can pass for it, whatever a power cut
// may have left there.
type stage struct {
	Mapping
	prepared uint64 // the place up to where the ring is made ready; commitLog.writing guards it
}

// A Mapping is a file that is mapped.
type Mapping struct {
	Ring  []byte
	Ready func(part []byte) error // finds what a first write to its pages needs
	Sync  func() error
	Unmap func() error
}

const (
	stageFile     = "stage"
	stageBytesMax = 4 << 20
	stagePage     = 4096
	// stageDrainBytes is how much waits before it is written, but for who syncs: little enough to be in a
	// processor's cache still.
	stageDrainBytes = 64 << 10
	// stageLargeBytes is how large a commit is to be written at once by who commits: that is less work than to
	// have another thread do it.
	stageLargeBytes = 4 << 10
	// stageReadyBytes is how far ahead of what is put the ring is made ready.
	stageReadyBytes = 256 << 10
)

// at returns the ring from a place on, to so many bytes behind it or to the ring's end.
func (s *stage) at(place, bytes uint64) []byte {
	from := place % uint64(len(s.Ring))
	return s.Ring[from:min(from+bytes, uint64(len(s.Ring)))]
}

func (s *stage) put(place uint64, b []byte) {
	n := copy(s.at(place, uint64(len(b))), b)
	copy(s.Ring, b[n:])
}

// get returns bytes that were put, in memory of their own.
func (s *stage) get(place, bytes uint64) []byte {
	b := append(make([]byte, 0, bytes), s.at(place, bytes)...)
	return append(b, s.Ring[:int(bytes)-len(b)]...)
}

// prepare makes ready what is behind a place: who is the first to write to a page after it
// was written to the disk may wait as for a file.
func (s *stage) prepare(place uint64) error {
	s.prepared = max(s.prepared, place&^(stagePage-1)+stagePage)
	for end := (place + min(stageReadyBytes, uint64(len(s.Ring))/2)) &^ (stagePage - 1); s.prepared < end; {
		part := s.at(s.prepared, end-s.prepared)
		if err := s.Ready(part); err != nil {
			return fmt.Errorf("the commit log's stage: %w", err)
		}
		s.prepared += uint64(len(part))
	}
	return nil
}

// caught makes an error of what happens where the ring cannot be read from or written to the disk: a
// fault. It is deferred by who puts, with what SetPanicOnFault returned.
func (s *stage) caught(before bool, err *error) {
	debug.SetPanicOnFault(before)
	switch r := recover().(type) {
	case nil:
	case interface{ Addr() uintptr }:
		if from := uintptr(unsafe.Pointer(&s.Ring[0])); r.Addr() < from || r.Addr()-from >= uintptr(len(s.Ring)) {
			panic(r)
		}
		*err = fmt.Errorf("the commit log's stage: %v", r)
	default:
		panic(r)
	}
}

// readStage reads what the last process has left in its stage; nil: it had none.
func readStage(fs vfs.FS, name string) (*stage, error) {
	f, err := fs.Open(name)
	if errors.Is(err, errNotExist) {
		return nil, nil
	}
	if err != nil {
		return nil, err
	}
	ring, err := io.ReadAll(f)
	if err = errors.Join(err, f.Close()); err != nil || len(ring) == 0 {
		return nil, err
	}
	return &stage{Mapping: Mapping{Ring: ring}}, nil
}
