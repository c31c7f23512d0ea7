package wire

import (
	"sync"
	"sync/atomic"
)

// A polled connection is read by a poller, when there is something. Answers are read by the sweeper of their
// link too, at each tick, and by whoever is about to give up on them: the poller's goroutine may be waiting
// for a disk, which is no reason to take what peers have answered in time for late.
//
// Nobody waits for another who reads: that one reads on.
type polled struct {
	fd      int // the connection's second one
	reader  *frameReader
	arrived func(n int) (due uint64, err error) // is called when n bytes have been read
	finish  func(err error)                     // is called after each commit; may be nil where nothing is ever due
	broken  chan error                          // is told why it is over, if by what was read
	aside   chan func() error                   // gets what the connection's own goroutine has to do

	missed atomic.Bool // somebody has come while another read, or while it was held

	mu   sync.Mutex // held while it is read
	held bool       // it is not read on before a commit has ended, or what is done aside
	over bool       // it is not read any more
}

// Ready is for the poller.
func (w *polled) Ready(hup bool) (more bool, due uint64) {
	w.missed.Store(true)
	if !w.mu.TryLock() {
		return false, 0
	}
	if w.held || w.over {
		w.mu.Unlock()
		return false, 0
	}
	w.missed.Store(false)
	more, due = w.readNow(hup)
	w.held = w.held || due != 0
	if held := w.held; held {
		w.missed.Store(more || w.missed.Load())
		w.mu.Unlock()
		return false, due
	}
	w.mu.Unlock()
	return more || w.missed.Load(), 0
}

// Done is for the poller.
func (w *polled) Done(err error) (more bool) {
	w.mu.Lock()
	w.held = false
	if !w.over {
		w.finish(err)
	}
	held := w.held
	w.mu.Unlock()
	return !held && w.missed.Load()
}

// readAll reads what there is, where nothing is ever due.
func (w *polled) readAll() {
	w.missed.Store(true)
	for w.missed.Load() && w.mu.TryLock() {
		if w.over {
			w.mu.Unlock()
			return
		}
		w.missed.Store(false)
		for more := true; more && !w.over; {
			more, _ = w.readNow(true)
		}
		w.mu.Unlock()
	}
}

// putAside has the connection's own goroutine do what may block; it is read on after that. The
// caller holds mu.
func (w *polled) putAside(do func() error) {
	w.held = true
	w.aside <- do
}

// do does what was put aside, and says whether there is more to be read, by the poller: it commits for many.
func (w *polled) do(what func() error) (more bool, err error) {
	if err := what(); err != nil {
		return false, err
	}
	w.mu.Lock()
	w.held = false
	w.mu.Unlock()
	return w.missed.Load(), nil
}

// end has it not be read any more.
func (w *polled) end() {
	w.mu.Lock()
	defer w.mu.Unlock()
	w.over = true
}
