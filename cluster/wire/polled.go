package wire

import (
	"sync"
	"sync/atomic"
)

// A polled connection is read by a poller, when there is something, and by the sweeper of its link
// where the poller does not come to it: its goroutine may be waiting for a disk, which is
// no reason to take what peers have answered in time for late.
type polled struct {
	calls atomic.Uint64 // by the poller
	seen  uint64        // the sweeper's: calls at its last tick

	mu   sync.Mutex // held while it is read
	read func(hup bool) (more bool)
	over bool // it is not read any more
}

func (w *polled) ready(hup bool) (more bool) {
	w.calls.Add(1)
	w.mu.Lock()
	defer w.mu.Unlock()
	return !w.over && w.read(hup)
}

// sweep reads what there is, if the poller has not been here since the last tick.
func (w *polled) sweep() {
	if calls := w.calls.Load(); calls != w.seen {
		w.seen = calls
		return
	}
	if !w.mu.TryLock() {
		return
	}
	defer w.mu.Unlock()
	for more := true; more && !w.over; {
		more = w.read(false)
	}
}

// end has it not be read any more.
func (w *polled) end() {
	w.mu.Lock()
	defer w.mu.Unlock()
	w.over = true
}
