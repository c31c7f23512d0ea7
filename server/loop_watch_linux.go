package server

import "golang.org/x/sys/unix"

// A watched socket is one of which the loop only says that there may be something to read.
type watched struct {
	fd    int
	ready func(hup bool) (more bool)
	hup   bool
	due   bool          // in loop.readable
	gone  chan struct{} // closed when ready is not called any more
}

// Watch is quorum.Poller's.
func (l *loop) Watch(fd int, ready func(hup bool) (more bool)) (stop func(), gone <-chan struct{}) {
	w := &watched{fd: fd, ready: ready, gone: make(chan struct{})}
	l.mu.Lock()
	defer l.mu.Unlock()
	if l.watching == nil { // it has ended
		return nil, nil
	}
	const events = unix.EPOLLIN | unix.EPOLLRDHUP | unix.EPOLLET
	if err := unix.EpollCtl(l.epoll, unix.EPOLL_CTL_ADD, fd, &unix.EpollEvent{Events: events & 0xffffffff, Fd: int32(fd)}); err != nil {
		l.srv.log.Error().Err(err).Msg("cannot watch a socket")
		return nil, nil
	}
	l.watching[int32(fd)] = w
	stop = func() {
		l.post(func() { l.unwatch(w) })
		<-w.gone // also where the loop has ended
	}
	return stop, w.gone
}

func (l *loop) unwatch(w *watched) {
	l.mu.Lock()
	defer l.mu.Unlock()
	if l.watching[int32(w.fd)] != w {
		return
	}
	delete(l.watching, int32(w.fd))
	_ = unix.EpollCtl(l.epoll, unix.EPOLL_CTL_DEL, w.fd, nil)
	w.ready = func(bool) bool { return false }
	close(w.gone)
}

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
	if !w.due {
		w.due = true
		l.readable = append(l.readable, w)
	}
}

// readWatched has each socket that may have something be read once.
func (l *loop) readWatched() {
	readable := l.readable
	l.readable = l.spareRead[:0]
	for i, w := range readable {
		readable[i] = nil
		w.due = false
		if w.ready(w.hup) {
			l.readLater(w)
		}
	}
	l.spareRead = readable[:0]
}
