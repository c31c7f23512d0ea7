package store

import (
	"errors"

	"golang.org/x/sys/unix"
)

// populate makes pages that are mapped as ready as a first write to each would. It fails where that write
// would be a fault; for want of memory, or before Linux 5.14, it does nothing.
func populate(part []byte) error {
	err := unix.Madvise(part, unix.MADV_POPULATE_WRITE)
	if errors.Is(err, unix.EFAULT) || errors.Is(err, unix.EHWPOISON) || errors.Is(err, unix.EIO) {
		return err
	}
	return nil
}
