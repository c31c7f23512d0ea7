package wire

import (
	"sync"
	"sync/atomic"
)

// A polled connection is read by a poller, when there is something; by the sweeper of its link, at
// each tick, and by whoever is about to give up on answers: the poller's goroutine may be waiting
// for a disk, which is no reason to take what peers have answered in time for late.
//
// Nobody waits for another who reads: that one reads on.
type polled struct {
	missed atomic.Bool // somebody has come while another read

	mu   sync.Mutex // held while it is read
	read func(hup bool) (more bool)
	over bool // it is not read any more
}

// ready reads once, and says whether there may be more. The poller calls it.
func (w *polled) ready(hup bool) (more bool) {
	w.missed.Store(true)
	if !w.mu.TryLock() {
		return false
	}
	w.missed.Store(false)
	more = !w.over && w.read(hup)
	w.mu.Unlock()
	return more || w.missed.Load()
}

// readAll reads what there is.
func (w *polled) readAll() {
	w.missed.Store(true)
	for w.missed.Load() && w.mu.TryLock() {
		w.missed.Store(false)
		for more := true; more && !w.over; {
			more = w.read(true)
		}
		w.mu.Unlock()
	}
}

// end has it not be read any more.
func (w *polled) end() {
	w.mu.Lock()
	defer w.mu.Unlock()
	w.over = true
}
