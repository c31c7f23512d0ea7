package server

import "time"

// round steps what is ready and sends what may be sent.
func (l *loop) round() {
	ready := append(l.ready, l.again...)
	l.ready, l.stepped = l.stepped[:0], ready
	l.again = l.again[:0]
	for _, c := range ready {
		c.queued = false
		l.step(c)
	}
	clear(ready)
	l.srv.keys.Kick()
	committed := l.srv.keys.Committed()
	for _, c := range l.dirty {
		c.isDirty = false
		if c.due > committed {
			c.pending = true
			l.waiting = append(l.waiting, c)
			continue
		}
		c.release(nil)
		l.send(c)
	}
	clear(l.dirty)
	l.dirty = l.dirty[:0]
	l.commitNext()
}

// handOver is how long a commit must take for the next one to be waited for by
// another goroutine, so that reads go on beside a disk that stalls. Below, the
// two switches between goroutines cost more than they bring.
const handOver = 5 * time.Millisecond

// commitNext makes durable what the waiting connections' replies, and the watched, depend on,
// unless a commit is under way.
func (l *loop) commitNext() {
	if l.isCommitting || len(l.waiting)+len(l.watchedWaiting) == 0 {
		return
	}
	l.isCommitting = true
	var due commitDue
	for _, c := range l.waiting {
		due.clients = max(due.clients, c.due)
	}
	due.all = due.clients
	for _, w := range l.watchedWaiting {
		due.all = max(due.all, w.due)
	}
	l.committing, l.waiting = l.waiting, l.committing
	l.watchedCommitting, l.watchedWaiting = l.watchedWaiting, l.watchedCommitting
	if l.commitTook > handOver {
		l.commits <- due
		return
	}
	began := l.srv.uptime()
	err := l.srv.keys.CommitReplica(due.all)
	l.finishWatched(err)
	if err == nil {
		err = l.srv.keys.Commit(due.clients)
	}
	l.finishCommit(err, l.srv.uptime()-began)
}

// commitDue is what a commit of the loop is for: one commit for all, and then what more the sync mode may ask for clients.
type commitDue struct {
	all, clients uint64
}

// runCommitter waits for commits that take long.
func (l *loop) runCommitter() {
	for due := range l.commits {
		began := l.srv.uptime()
		err := l.srv.keys.CommitReplica(due.all)
		if err == nil && due.clients > 0 {
			l.post(func() { l.finishWatched(nil) })
			err = l.srv.keys.Commit(due.clients)
		}
		took := l.srv.uptime() - began
		l.post(func() {
			l.finishWatched(err)
			l.finishCommit(err, took)
			l.commitNext()
		})
	}
}

// finishWatched tells those of the watched who wait for a commit: first, since many clients may wait for these.
func (l *loop) finishWatched(err error) {
	for _, w := range l.watchedCommitting {
		if w.Done(err) {
			l.readLater(w)
		}
	}
	clear(l.watchedCommitting)
	l.watchedCommitting = l.watchedCommitting[:0]
}

// finishCommit sends the replies that the commit held.
func (l *loop) finishCommit(err error, took time.Duration) {
	l.commitTook = took
	committed := l.srv.keys.Committed()
	for _, c := range l.committing {
		if err == nil && c.due > committed {
			l.waiting = append(l.waiting, c) // a slow command has replied meanwhile
			continue
		}
		c.pending = false
		c.release(err)
		if err != nil {
			// That is answered for: what comes now does not depend on it.
			c.due = 0
			if !c.resting {
				c.seq = 0
			}
		}
		if !c.closed {
			l.send(c)
		}
	}
	clear(l.committing)
	l.committing = l.committing[:0]
	l.isCommitting = false
}

// endWatched commits for those who wait for it when the loop ends.
func (l *loop) endWatched() {
	waiting := append(l.watchedCommitting, l.watchedWaiting...)
	for _, w := range waiting {
		w.Done(l.srv.keys.CommitReplica(w.due))
	}
}
