package store

import "time"

// sweptBytes is what looking at one expiry row costs, as a pace counts.
const sweptBytes = 256

// SetPace has the store's work in the background, which sweeps, counts anew what it
// finds after an unclean stop, and fills the cache, say how many bytes it has looked at and how long that took, and wait for
// as long as pace returns. It holds no lock meanwhile. Without a pace it does not wait.
func (s *Store) SetPace(pace func(bytes int, took time.Duration) time.Duration) { s.pace.Store(&pace) }

// rest waits as the pace wants it, or until the store closes.
func (s *Store) rest(bytes int, took time.Duration) {
	pace := s.pace.Load()
	if pace == nil {
		return
	}
	wait := (*pace)(bytes, took)
	if wait <= 0 {
		return
	}
	s.sleep(wait, nil)
}

// sleep returns early when the store closes, or early is closed.
func (s *Store) sleep(d time.Duration, early <-chan struct{}) {
	timer := time.NewTimer(d)
	defer timer.Stop()
	select {
	case <-timer.C:
	case <-early:
	case <-s.stop:
	}
}
