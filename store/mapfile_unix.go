//go:build unix

package store

import (
	"errors"
	"os"

	"golang.org/x/sys/unix"
)

// MapFile maps a file of so many bytes, for this process and who opens it next. Its blocks
// are found: what is written to it needs none.
func MapFile(name string, size int) (m Mapping, err error) {
	f, err := os.OpenFile(name, os.O_RDWR|os.O_CREATE, 0o600)
	if err != nil {
		return m, err
	}
	defer func() { err = errors.Join(err, f.Close()) }()
	info, err := f.Stat()
	if err != nil {
		return m, err
	}
	if info.Size() != int64(size) {
		if err := f.Truncate(0); err != nil {
			return m, err
		}
		if _, err := f.Write(make([]byte, size)); err != nil {
			return m, err
		}
		if err := f.Sync(); err != nil {
			return m, err
		}
	}
	ring, err := unix.Mmap(int(f.Fd()), 0, size, unix.PROT_READ|unix.PROT_WRITE, unix.MAP_SHARED)
	if err != nil {
		return m, err
	}
	return Mapping{
		Ring:  ring,
		Ready: populate,
		Sync:  func() error { return unix.Msync(ring, unix.MS_SYNC) },
		Unmap: func() error { return unix.Munmap(ring) },
	}, nil
}
