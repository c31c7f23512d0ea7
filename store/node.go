package store

import (
	"crypto/rand"
	"encoding/binary"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"slices"

	"github.com/cockroachdb/pebble/v2/vfs"

	"cartwheel/cluster/ring"
	"cartwheel/cluster/sabotage"
	"cartwheel/store/version"
)

// nodeRecord is who this node is and which HLCs it may have issued. It lives in
// a file of its own, replaced whole and synced, because the write-ahead log is
// not synced at once in every mode.
type nodeRecord struct {
	Format     int         `json:"format"`
	NodeID     ring.NodeID `json:"node_id"`
	Partitions int         `json:"partitions"`
	// Incarnations are all that this directory has had, the present one last.
	Incarnations []version.Incarnation `json:"incarnations"`
	// Lease is an upper bound of the HLCs issued.
	Lease version.HLC `json:"lease"`
	// Highest is the highest HLC in what is stored, noted at a clean stop.
	Highest version.HLC `json:"highest"`
	// LeaseAtStart is what Lease was at the last start: while they are the same,
	// nothing has been written since.
	LeaseAtStart version.HLC `json:"lease_at_start"`
	// Clean says whether it was stopped cleanly.
	Clean bool `json:"clean"`
}

const (
	nodeFormat        = 2
	nodeFile          = "NODE"
	newSuffix         = ".new" // of a file that is to replace another
	lockFile          = "lock"
	pebbleDir         = "db"
	partitionsDefault = 1024
)

func newNodeRecord(partitions int) nodeRecord {
	if partitions == 0 {
		partitions = partitionsDefault
	}
	rec := nodeRecord{Format: nodeFormat, Partitions: partitions, Clean: true}
	_, _ = rand.Read(rec.NodeID[:]) // never fails, by its documentation
	rec.newIncarnation()
	return rec
}

func (rec *nodeRecord) newIncarnation() {
	var b [8]byte
	_, _ = rand.Read(b[:])
	rec.Incarnations = append(rec.Incarnations, version.Incarnation(binary.BigEndian.Uint64(b[:])))
}

// makeDir makes dir and what is missing above it, durably.
func makeDir(fs vfs.FS, dir string) error {
	if _, err := fs.Stat(dir); !errors.Is(err, errNotExist) {
		return err
	}
	parent := fs.PathDir(dir)
	if parent != dir {
		if err := makeDir(fs, parent); err != nil {
			return err
		}
	}
	if err := fs.MkdirAll(dir, 0o755); err != nil {
		return err
	}
	return syncDir(fs, parent)
}

func syncDir(fs vfs.FS, dir string) error {
	d, err := fs.OpenDir(dir)
	if err != nil {
		return err
	}
	return errors.Join(d.Sync(), d.Close())
}

// readNode reads the record of dir. In an empty directory it returns none and
// no error.
func readNode(fs vfs.FS, dir string) (rec nodeRecord, found bool, err error) {
	f, err := fs.Open(fs.PathJoin(dir, nodeFile))
	if errors.Is(err, errNotExist) {
		names, err := fs.List(dir)
		if err != nil {
			return rec, false, fmt.Errorf("list %s: %w", dir, err)
		}
		for _, name := range names {
			// What a first start leaves that was interrupted, and what a fresh
			// file system has.
			if !slices.Contains([]string{lockFile, nodeFile + newSuffix, "lost+found"}, name) {
				return rec, false, fmt.Errorf("%w: it has %q", ErrForeign, name)
			}
		}
		return rec, false, nil
	}
	if err != nil {
		return rec, false, err
	}
	defer f.Close()
	text, err := io.ReadAll(f)
	if err != nil {
		return rec, false, fmt.Errorf("read %s: %w", nodeFile, err)
	}
	if err := json.Unmarshal(text, &rec); err != nil {
		return rec, false, fmt.Errorf("%w: %s: %w", ErrForeign, nodeFile, err)
	}
	if rec.Format != nodeFormat {
		return rec, false, fmt.Errorf("the data directory has format %d, and this program reads format %d", rec.Format, nodeFormat)
	}
	if len(rec.Incarnations) == 0 {
		return rec, false, fmt.Errorf("%w: %s names no incarnation", ErrForeign, nodeFile)
	}
	return rec, true, nil
}

// write replaces the record of dir, durably.
func (rec *nodeRecord) write(fs vfs.FS, dir string) error {
	text, err := json.Marshal(rec)
	if err != nil {
		return err
	}
	return replaceFile(fs, dir, nodeFile, append(text, '\n'))
}

// replaceFile writes a file of dir whole, durably: after a crash it is the one
// before or the new one.
func replaceFile(fs vfs.FS, dir, name string, text []byte) error {
	newName := fs.PathJoin(dir, name+newSuffix)
	f, err := fs.Create(newName, vfs.WriteCategoryUnspecified)
	if err != nil {
		return err
	}
	_, err = f.Write(text)
	err = errors.Join(err, f.Sync(), f.Close())
	if err != nil {
		return fmt.Errorf("write %s: %w", newName, err)
	}
	if err := fs.Rename(newName, fs.PathJoin(dir, name)); err != nil {
		return err
	}
	return syncDir(fs, dir)
}

// openNode reads or makes the node's record, and notes durably that the store
// is running: after a crash a new incarnation begins here.
func (s *Store) openNode() error {
	rec, found, err := readNode(s.fs, s.opts.Dir)
	if err != nil {
		return err
	}
	begins := false // a life of this data
	switch {
	case !found:
		rec, begins = newNodeRecord(s.opts.Partitions), true
	case s.opts.Partitions != 0 && s.opts.Partitions != rec.Partitions:
		return fmt.Errorf("the data directory was created with %d partitions, not %d", rec.Partitions, s.opts.Partitions)
	case !rec.Clean && rec.Lease != rec.LeaseAtStart && !sabotage.On(sabotage.DotsReused):
		// Not only where acknowledged writes may be lost: one that other
		// replicas have, and this one forgot before it was on the disk, must
		// not look like one that this one has seen.
		rec.newIncarnation()
		begins = true
	}
	if _, err := ring.One(rec.NodeID, rec.Partitions); err != nil {
		return fmt.Errorf("%s: %w", nodeFile, err)
	}
	s.node, s.continued = rec, !begins
	s.incarnations.Store(&rec.Incarnations)
	running := rec
	running.Clean, running.LeaseAtStart = false, rec.Lease
	if err := running.write(s.fs, s.opts.Dir); err != nil {
		return err
	}
	s.node.LeaseAtStart = rec.Lease
	s.lease = newLease(rec.Lease, s.opts.MaxClockDrift, s.persistLease, func(err error) {
		s.log.Error().Err(err).Msg("cannot persist the clock's lease")
	})
	return nil
}

func (s *Store) persistLease(bound version.HLC) error {
	s.nodeMu.Lock()
	defer s.nodeMu.Unlock()
	s.node.Lease, s.node.Clean = bound, false
	return s.writeNode()
}

// writeNode makes the node's record durable; the caller holds nodeMu.
func (s *Store) writeNode() error {
	if err := s.node.write(s.fs, s.opts.Dir); err != nil {
		return &opError{ErrDisk, err}
	}
	return nil
}
