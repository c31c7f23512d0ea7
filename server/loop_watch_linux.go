package server

import (
	"golang.org/x/sys/unix"

	"cartwheel/cluster/quorum"
)

// A watched socket is one of which the loop only says that there may be something to read, and that
// a commit has been made.
type watched struct {
	quorum.Watched
	fd     int
	hup    bool
	queued bool          // in loop.readable
	due    uint64        // what has been done waits for that commit; 0: for none
	gone   chan struct{} // closed when it is not called any more
}

// Watch is quorum.Poller's.
func (l *loop) Watch(fd int, by quorum.Watched) (again, stop func(), gone <-chan struct{}) {
	w := &watched{Watched: by, fd: fd, gone: make(chan struct{})}
	l.mu.Lock()
	defer l.mu.Unlock()
	if l.watching == nil { // it has ended
		return nil, nil, nil
	}
	const events = unix.EPOLLIN | unix.EPOLLRDHUP | unix.EPOLLET
	if err := unix.EpollCtl(l.epoll, unix.EPOLL_CTL_ADD, fd, &unix.EpollEvent{Events: events & 0xffffffff, Fd: int32(fd)}); err != nil {
		l.srv.log.Error().Err(err).Msg("cannot watch a socket")
		return nil, nil, nil
	}
	l.watching[int32(fd)] = w
	again = func() { l.post(func() { l.readLater(w) }) }
	stop = func() {
		l.post(func() { l.unwatch(w) })
		<-w.gone // also where the loop has ended
	}
	return again, stop, w.gone
}

func (l *loop) unwatch(w *watched) {
	l.mu.Lock()
	defer l.mu.Unlock()
	if l.watching[int32(w.fd)] != w {
		return
	}
	delete(l.watching, int32(w.fd))
	_ = unix.EpollCtl(l.epoll, unix.EPOLL_CTL_DEL, w.fd, nil)
	w.Watched = nobody{}
	close(w.gone)
}

// nobody takes the place of who has stopped.
type nobody struct{}

func (nobody) Ready(bool) (more bool, due uint64) { return false, 0 }
func (nobody) Done(error) (more bool)             { return false }

// unwatchAll ends the watching for good.
func (l *loop) unwatchAll() {
	l.mu.Lock()
	defer l.mu.Unlock()
	for _, w := range l.watching {
		close(w.gone)
	}
	l.watching = nil
}

// noticeWatched takes note of an event of a socket that is no client's.
func (l *loop) noticeWatched(e *unix.EpollEvent) {
	l.mu.Lock()
	w := l.watching[e.Fd]
	l.mu.Unlock()
	if w == nil {
		return
	}
	w.hup = w.hup || e.Events&^unix.EPOLLIN != 0
	l.readLater(w)
}

func (l *loop) readLater(w *watched) {
	if !w.queued {
		w.queued = true
		l.readable = append(l.readable, w)
	}
}

// readWatched has each socket that may have something be read once.
func (l *loop) readWatched() {
	readable := l.readable
	l.readable = l.spareRead[:0]
	for i, w := range readable {
		readable[i] = nil
		w.queued = false
		more, due := w.Ready(w.hup)
		if more {
			l.readLater(w)
		}
		if due != 0 {
			w.due = due
			l.watchedWaiting = append(l.watchedWaiting, w)
		}
	}
	l.spareRead = readable[:0]
}
