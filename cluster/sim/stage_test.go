package sim

import (
	"errors"
	"io"
	"slices"

	"github.com/cockroachdb/pebble/v2/vfs"

	"cartwheel/store"
)

// A stage is a file on a machine's disk that a process has mapped, for its commit log.
type stage struct {
	files *vfs.MemFS // the disk, as it was when the process began
	name  string     // "": nothing is mapped
	ring  []byte
}

// mapFile maps a file for its process, with what it has. One process maps one file.
func (s *stage) mapFile(name string, size int) (store.Mapping, error) {
	ring, err := s.read(name)
	if err != nil {
		return store.Mapping{}, err
	}
	if len(ring) != size {
		ring = make([]byte, size)
		f, err := s.files.Create(name, vfs.WriteCategoryUnspecified)
		if err != nil {
			return store.Mapping{}, err
		}
		_, err = f.Write(slices.Clone(ring))
		if err := errors.Join(err, f.Sync(), f.Close()); err != nil {
			return store.Mapping{}, err
		}
	}
	s.name, s.ring = name, ring
	nothing := func() error { return nil }
	return store.Mapping{Ring: ring, Ready: func([]byte) error { return nil }, Sync: s.sync, Unmap: nothing}, nil
}

func (s *stage) read(name string) (ring []byte, err error) {
	f, err := s.files.Open(name)
	if err != nil {
		return nil, nil // it is the first
	}
	ring, err = io.ReadAll(f)
	return ring, errors.Join(err, f.Close())
}

// write has the disk's file have what is mapped, as the operating system has it: not synced.
func (s *stage) write() error {
	if s.name == "" {
		return nil
	}
	f, err := s.files.OpenReadWrite(s.name, vfs.WriteCategoryUnspecified)
	if err != nil {
		return err
	}
	_, err = f.WriteAt(slices.Clone(s.ring), 0)
	return errors.Join(err, f.Close())
}

func (s *stage) sync() error {
	if err := s.write(); err != nil {
		return err
	}
	f, err := s.files.Open(s.name)
	if err != nil {
		return err
	}
	return errors.Join(f.Sync(), f.Close())
}

// onDisk returns the machine's files, with what a process has in its stage now.
func (m *machine) onDisk() *vfs.MemFS {
	if m.p != nil {
		if err := m.p.stage.write(); err != nil {
			m.w.violate("the stage of %s cannot be written: %v", m.name, err)
		}
	}
	return m.files
}
