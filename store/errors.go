package store

import (
	"errors"
	"fmt"

	"cartwheel/store/version"
)

var (
	// ErrDiskFull refuses a write because the file system has less than the
	// reserve free. Nothing was applied.
	ErrDiskFull = errors.New("the disk is full")
	// ErrStopped refuses a write because an earlier commit failed. Nothing was
	// applied.
	ErrStopped = errors.New("writes are stopped after a failed commit")
	// ErrDisk refuses a write because what has to be on the disk before it could not
	// be written there. Nothing was applied.
	ErrDisk = errors.New("the disk fails")
	// ErrCommit says that the commit of a write failed: it may or may not be
	// there after a restart.
	ErrCommit = errors.New("the commit failed")
	// ErrCorrupt says that what is stored under a key fails its checksum, or
	// that the table that holds it cannot be read.
	ErrCorrupt = errors.New("the stored object is corrupt")
	// ErrDrift refuses an HLC, and what came with it, because it is further ahead
	// of the wall clock than Options.MaxClockDrift. Nothing was applied.
	ErrDrift = version.ErrDrift
	// ErrHintsFull says that a hint was not kept because hints have reached
	// Options.HintBytesMax. That a repair is owed in its place was noted.
	ErrHintsFull = errors.New("there is no room for more hints")
	// ErrLocked says that another process uses the data directory.
	ErrLocked = errors.New("the data directory is in use by another process")
	// ErrForeign says that a directory holds something, but not a store.
	ErrForeign = errors.New("the directory is not empty and is not a Cartwheel data directory")
)

// opError is an error of one of the kinds above with its cause.
type opError struct {
	kind  error
	cause error
}

func (e *opError) Error() string   { return fmt.Sprintf("%v: %v", e.kind, e.cause) }
func (e *opError) Unwrap() []error { return []error{e.kind, e.cause} }
