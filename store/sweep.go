package store

import (
	"bytes"
	"encoding/binary"
	"errors"
	"time"

	"github.com/cockroachdb/pebble/v2"

	"cartwheel/store/version"
)

// sweeper deletes what has expired. It goes by the expiry rows, in time order:
//
//  1. Every object that will expire has an expiry row, at or before that time
//     or at a time to which the sweeper moved it, and so has a deleted one that
//     must stay until the watermark passes it. An update adds a row only
//     where there was none or the time came nearer: a session that is
//     touched again and again costs no rows.
//  2. A row whose time has come is looked at under its object's lock. The
//     object is gone or no longer expires: the row is deleted. It expires
//     later, may not be purged yet or cannot be read: the row is moved.
//     Otherwise object and row are deleted. Of one that may not be purged yet
//     what has expired is buried, and so counted no more, once it has for all.
//  3. Rows already swept leave Pebble tombstones at the head of the range, so
//     the next sweep starts a minute before where the last one ended, and from
//     the beginning only after a start.
//  4. Until the first row that is not due, Pebble is not looked at again, unless a checkpoint
//     has brought it more.
type sweeper struct { // read and written by the one who sweeps
	fromMS int64
	nextMS int64  // no row that Pebble has is due before
	known  uint64 // what was checkpointed when that was found out
}

const (
	sweepRows = 512 // rows looked at under one commit
	sweepLag  = time.Minute
	sweepView = 10 * time.Second // how far ahead a sweep looks for what is due next
	// The defaults of Options.SweepRetry and of what it grows to. The watermark may
	// stand still for a month, and objects that wait for it must not cost a look a
	// minute each.
	sweepRetryMS    = 60_000
	sweepRetryMaxMS = sweepRetryGrows * sweepRetryMS
	sweepRetryGrows = 60
)

// retryMS is when an object is looked at again that has been due for so long.
func (s *Store) retryMS(overdueMS int64) int64 {
	least := s.opts.SweepRetry.Milliseconds()
	return min(max(least, overdueMS), sweepRetryGrows*least)
}

func (s *Store) runSweep() {
	if s.Failure() != nil && !errors.Is(s.Failure(), ErrDiskFull) {
		return
	}
	if _, err := s.Sweep(); err != nil {
		s.log.Error().Err(err).Msg("cannot sweep")
	}
	s.recountSuspects()
	if err := s.reclaimFlushed(); err != nil {
		s.log.Error().Err(err).Msg("cannot reclaim what was flushed")
	}
	if err := s.reclaimHints(); err != nil {
		s.log.Error().Err(err).Msg("cannot reclaim hints of what was flushed")
	}
}

// Sweep purges what has expired and returns how many objects that was. One call
// at a time.
func (s *Store) Sweep() (purged int, err error) {
	nowMS := s.NowMS()
	if err := s.commitOpen(); err != nil { // a row that comes later must not be of before
		return 0, err
	}
	for !s.closing.Load() {
		rows, err := s.dueRows(nowMS)
		if err != nil {
			return purged, err
		}
		if len(rows) == 0 {
			break
		}
		began := time.Now()
		for _, row := range rows {
			done, err := s.sweepRow(row, nowMS)
			if err != nil {
				return purged, err
			}
			if done {
				purged++
				s.stats.swept.Add(1)
			}
		}
		if err := s.Commit(s.openSeq()); err != nil {
			return purged, err
		}
		if len(rows) < sweepRows {
			break
		}
		s.rest(len(rows)*sweptBytes, time.Since(began))
	}
	from := max(0, nowMS-sweepLag.Milliseconds())
	if from < s.sweep.fromMS { // the clock has gone back: rows of before that were not looked for
		s.sweep.nextMS = 0
	}
	s.sweep.fromMS = from
	return purged, nil
}

// dueRows returns copies of the first expiry rows whose time has come.
func (s *Store) dueRows(nowMS int64) (rows [][]byte, err error) {
	if s.gathered.dueBy(nowMS) {
		if err := s.checkpointAtLeisure(); err != nil {
			return nil, err
		}
	}
	known := s.checkpointed.Load() // before Pebble is looked at
	if nowMS < s.sweep.nextMS && known == s.sweep.known {
		return nil, nil
	}
	viewMS := nowMS + sweepView.Milliseconds()
	iter, err := s.db.NewIter(&pebble.IterOptions{
		LowerBound: Key{}.appendExpiry(nil, s.sweep.fromMS)[:9],
		UpperBound: Key{}.appendExpiry(nil, viewMS)[:9],
	})
	if err != nil {
		return nil, err
	}
	nextMS := viewMS
	for iter.First(); iter.Valid() && len(rows) < sweepRows; iter.Next() {
		if dueMS := int64(binary.BigEndian.Uint64(iter.Key()[1:])); dueMS > nowMS {
			nextMS = dueMS
			break
		}
		rows = append(rows, bytes.Clone(iter.Key()))
	}
	if err := errors.Join(iter.Error(), iter.Close()); err != nil {
		return nil, err
	}
	if len(rows) == 0 {
		s.sweep.nextMS, s.sweep.known = nextMS, known
	}
	return rows, nil
}

// Purge purges of some objects those that may be purged, and that the sweeper, who looks less and less often at what
// has long been due, has not come by to yet.
func (s *Store) Purge(keys []Key) error {
	if err := s.writable(true); err != nil {
		return err
	}
	nowMS := s.NowMS()
	for _, k := range keys {
		s.purge(k, nowMS)
	}
	return s.Commit(s.openSeq())
}

func (s *Store) purge(k Key, nowMS int64) {
	lock := s.partitionLock(k.Token.Slot())
	lock.Lock()
	defer lock.Unlock()
	hash := s.cache.hash(k.DB, k.User)
	var o version.Object
	if _, _, err := s.load(k.DB, k.User, hash, &o); err != nil {
		return
	}
	if before := s.footprintOf(k, &o); before.dueMS != 0 && s.purgeable(k, &o, nowMS) {
		s.open.mu.Lock()
		defer s.open.mu.Unlock()
		s.storeLocked(k, hash, nowMS, &o, before, formed{})
		s.stats.swept.Add(1)
	}
}

// sweepRow looks at the object of one expiry row and reports whether it purged
// it.
func (s *Store) sweepRow(row []byte, nowMS int64) (purged bool, err error) {
	_, k, err := parseExpiryKey(row)
	if err != nil {
		return false, err
	}
	lock := s.partitionLock(k.Token.Slot())
	lock.Lock()
	defer lock.Unlock()
	hash := s.cache.hash(k.DB, k.User)
	var o version.Object
	_, _, unread := s.load(k.DB, k.User, hash, &o)
	before := s.footprintOf(k, &o)
	purgeable := before.dueMS != 0 && s.purgeable(k, &o, nowMS)
	margin := s.clockMarginMS() // no clock may find it alive
	buried := before.dueMS != 0 && !purgeable && o.Bury(nowMS-margin)
	s.open.mu.Lock()
	defer s.open.mu.Unlock()
	if unread != nil || before.dueMS != 0 && !purgeable {
		later := before.dueMS
		switch {
		case unread != nil:
			later = nowMS + s.retryMS(0)
		case later <= nowMS && !buried && !o.Buried():
			later += margin + 1 // to be buried then
		case later <= nowMS:
			later = nowMS + s.retryMS(nowMS-later)
		}
		s.open.rows.set(k.appendExpiry(s.open.rows.key(), later), nil)
	}
	s.open.rows.remove(append(s.open.rows.key(), row...))
	if purgeable || buried {
		s.storeLocked(k, hash, nowMS, &o, before, formed{})
	}
	return purgeable, nil
}
