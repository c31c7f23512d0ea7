//go:build unix

package store

import (
	"errors"
	"os"

	"golang.org/x/sys/unix"
)

// mapFile maps a file of so many bytes, for this process and who opens it next. Its blocks
// are found: what is written to it needs none.
func mapFile(name string, size int) (file []byte, unmap func() error, err error) {
	f, err := os.OpenFile(name, os.O_RDWR|os.O_CREATE, 0o600)
	if err != nil {
		return nil, nil, err
	}
	defer func() { err = errors.Join(err, f.Close()) }()
	info, err := f.Stat()
	if err != nil {
		return nil, nil, err
	}
	if info.Size() != int64(size) {
		if err := f.Truncate(0); err != nil {
			return nil, nil, err
		}
		if _, err := f.Write(make([]byte, size)); err != nil {
			return nil, nil, err
		}
		if err := f.Sync(); err != nil {
			return nil, nil, err
		}
	}
	file, err = unix.Mmap(int(f.Fd()), 0, size, unix.PROT_READ|unix.PROT_WRITE, unix.MAP_SHARED)
	if err != nil {
		return nil, nil, err
	}
	return file, func() error { return unix.Munmap(file) }, nil
}
