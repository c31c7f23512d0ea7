package store

import (
	"errors"
	"time"

	"cartwheel/cluster/ring"
	"cartwheel/store/version"
)

// A node that has just started has nothing in its object cache, and would look for each key by itself in
// Pebble. So a scan fills the cache while there is room, some rows at a time:
//
//  1. It is noted how often each shard of the cache has let go of entries, and then Pebble is looked at. What
//     Pebble does not have is in the cache.
//  2. A row goes into the cache if nothing is there of its key, and the shard has let go of nothing since:
//     then nothing was there at 1, and Pebble has the last of it.
const (
	warmRows  = 256
	warmBytes = 1 << 20
)

// warm fills the cache.
func (s *Store) warm() {
	for from, more := ring.Token(0), true; more && !s.closing.Load(); {
		began, read := time.Now(), 0
		var err error
		if from, read, more, err = s.warmSome(from); err != nil {
			s.log.Warn().Err(err).Msg("cannot fill the object cache: it will fill by itself")
			return
		}
		s.rest(read, time.Since(began))
	}
}

// warmSome puts some objects into the cache, from a token on. It returns where to go on, how many bytes it has read, and whether there is more
// to put there, and room.
func (s *Store) warmSome(from ring.Token) (next ring.Token, bytes int, more bool, _ error) {
	released := s.cache.released()
	rows := 0
	var o version.Object
	err := s.scanObjects(s.db, nil, from, ^ring.Token(0), func(k Key, text []byte) error {
		if (rows >= warmRows || bytes >= warmBytes) && k.Token != next { // all of a token, which is where the next begin
			next, more = k.Token, true
			return errStopScan
		}
		rows, bytes, next = rows+1, bytes+len(text), k.Token
		if flushed, err := s.decodeStored(k, text, &o); err != nil || flushed {
			return nil // for who needs it
		}
		buf := append(append(make([]byte, 0, len(k.User)+len(text)), k.User...), text...)
		if !s.cache.warm(s.cache.hash(k.DB, k.User), k.Token, buf, len(k.User), &released) {
			return errStopScan
		}
		return nil
	})
	if errors.Is(err, errStopScan) {
		err = nil
	}
	return next, bytes, more, err
}
