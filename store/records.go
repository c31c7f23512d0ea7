package store

import (
	"encoding/binary"
	"errors"
	"fmt"
	"io"
	"regexp"

	"github.com/cespare/xxhash/v2"
)

// A record is a small file of the data directory: the ring document, what an
// acceptor has promised, known peers. It does not depend on Pebble, and is
// synced whatever the mode. Its form:
//
//  1. version, 1 byte: 1
//  2. checksum, 8 bytes, big endian: xxhash64 of what follows
//  3. the bytes
const (
	recordVersion  = 1
	recordHeader   = 1 + 8
	recordSuffix   = ".record"
	recordBytesMax = 64 << 20
)

var recordName = regexp.MustCompile(`^[a-z0-9-]{1,64}$`)

// ReadRecord returns what WriteRecord wrote last under a name; nil if it never
// did. A record that is damaged is ErrCorrupt.
func (s *Store) ReadRecord(name string) ([]byte, error) {
	if !recordName.MatchString(name) {
		return nil, fmt.Errorf("%q cannot name a record", name)
	}
	s.recordMu.Lock()
	defer s.recordMu.Unlock()
	f, err := s.fs.Open(s.fs.PathJoin(s.opts.Dir, name+recordSuffix))
	if errors.Is(err, errNotExist) {
		return nil, nil
	}
	if err != nil {
		return nil, fmt.Errorf("read the record %s: %w", name, err)
	}
	defer f.Close()
	text, err := io.ReadAll(io.LimitReader(f, recordHeader+recordBytesMax+1))
	if err != nil {
		return nil, fmt.Errorf("read the record %s: %w", name, err)
	}
	return decodeRecord(name, text)
}

func decodeRecord(name string, text []byte) ([]byte, error) {
	switch {
	case len(text) < recordHeader || len(text) > recordHeader+recordBytesMax:
		return nil, &opError{ErrCorrupt, fmt.Errorf("the record %s has %d bytes", name, len(text))}
	case text[0] != recordVersion:
		return nil, &opError{ErrCorrupt, fmt.Errorf("the record %s is of version %d", name, text[0])}
	case binary.BigEndian.Uint64(text[1:]) != xxhash.Sum64(text[recordHeader:]):
		return nil, &opError{ErrCorrupt, fmt.Errorf("the record %s has a wrong checksum", name)}
	}
	return text[recordHeader:], nil
}

// WriteRecord replaces a record. When it returns the new one is on the disk; on
// an error, or after a crash meanwhile, it is the old or the new one.
func (s *Store) WriteRecord(name string, b []byte) error {
	if !recordName.MatchString(name) {
		return fmt.Errorf("%q cannot name a record", name)
	}
	if len(b) > recordBytesMax {
		return fmt.Errorf("the record %s would have %d bytes, more than %d", name, len(b), recordBytesMax)
	}
	text := make([]byte, recordHeader, recordHeader+len(b))
	text[0] = recordVersion
	binary.BigEndian.PutUint64(text[1:], xxhash.Sum64(b))
	s.recordMu.Lock()
	defer s.recordMu.Unlock()
	if err := replaceFile(s.fs, s.opts.Dir, name+recordSuffix, append(text, b...)); err != nil {
		return fmt.Errorf("write the record %s: %w", name, err)
	}
	return nil
}
