package server

import (
	"syscall"
	"time"
	"unsafe"

	"golang.org/x/sys/unix"

	"cartwheel/resp"
)

// A loopConn is a session with a place in a loop.
type loopConn struct {
	*session
	fd       int
	queued   bool // in ready or again
	isDirty  bool
	readable bool // there may be more to read
	hup      bool // the client has closed its side, perhaps behind bytes to read
	more     bool // commands wait for output to be sent
	resting  bool // a slow command runs
	pending  bool // its replies wait for a commit: in committing or waiting
	ended    bool // the client has closed, or is to be cut off
	closed   bool
	sent     int           // of out.Buf
	stuck    time.Duration // when sending last made no progress, by uptime; 0: it did
	slow     resp.Writer
	due      uint64 // what the replies in out depend on; seq is a slow command's to change
}

// step takes one read's worth of commands from a connection.
func (l *loop) step(c *loopConn) {
	if c.closed {
		return
	}
	if c.pending {
		c.more = true
		return
	}
	l.markDirty(c)
	if c.resting || len(c.group) > 0 || c.closing || c.ended {
		return
	}
	if c.waiting() > outBytesSoft {
		c.more = true
		return
	}
	why := stoppedDrained
	if c.hasInput() && !l.stopping {
		why = l.consume(c)
	}
	if why == stoppedDrained && c.readable {
		if !l.read(c) {
			return
		}
		if !l.stopping {
			why = l.consume(c)
		}
	}
	switch {
	case why == stoppedSlow:
		l.runSlow(c)
	case why == stoppedFull:
		c.more = true
	case why == stoppedDrained && c.readable:
		l.later(c)
	case why == stoppedDrained:
		if c.in.Buffered() > 0 { // a long request counts as activity
			c.activeMS.Store(l.srv.uptime().Milliseconds())
		}
		c.rest()
	}
	if !c.account(c.stuck != 0) {
		c.ended = true
	}
}

// read fills the input buffer once.
func (l *loop) read(c *loopConn) bool {
	into := c.in.Buffer(c.limits())
	n, _, errno := syscall.RawSyscall(unix.SYS_READ, uintptr(c.fd), uintptr(unsafe.Pointer(&into[0])), uintptr(len(into)))
	switch {
	case errno == unix.EAGAIN:
		c.readable = false
		c.in.Wrote(0)
		c.rest()
		return false
	case errno == unix.EINTR:
		n = 0
	case errno != 0:
		c.in.Wrote(0)
		c.ended = true
		return false
	case n == 0:
		c.in.Wrote(0)
		c.closing = true // its replies are sent before: it may read on
		return false
	}
	c.in.Wrote(int(n))
	// A short read has emptied the socket: the next bytes make a new edge, but
	// for a client's close, which may have come with these.
	if int(n) < len(into) && errno == 0 && !c.hup {
		c.readable = false
	}
	l.shard.netIn.Add(uint64(n))
	return true
}

func (l *loop) consume(c *loopConn) stopped {
	if c.out.Buf == nil && len(l.spare) > 0 {
		c.out.Buf = l.spare[len(l.spare)-1]
		l.spare = l.spare[:len(l.spare)-1]
	}
	why := c.session.consume()
	c.due = c.seq
	return why
}

func (l *loop) markDirty(c *loopConn) {
	if !c.isDirty {
		c.isDirty = true
		l.dirty = append(l.dirty, c)
	}
}

// later has the connection stepped in the next round.
func (l *loop) later(c *loopConn) {
	if !c.queued {
		c.queued = true
		l.again = append(l.again, c)
	}
}

// runSlow runs the command that consume stopped for in a goroutine.
func (l *loop) runSlow(c *loopConn) {
	c.resting = true
	l.srv.serving.Go(func() {
		c.session.runSlow(&c.slow)
		l.post(func() {
			c.resting = false
			c.finishSlow(&c.slow)
			c.due = c.seq
			c.slow.Buf = nil
			c.readable = true
			l.enqueue(c)
		})
	})
}

// regroup goes on with a connection of which a call has completed what it waited
// for.
func (l *loop) regroup(c *loopConn) {
	if !c.advance() || c.closed {
		return
	}
	c.due = c.seq
	l.markDirty(c)
	l.enqueue(c)
}

// waiting is the output that has yet to be sent.
func (c *loopConn) waiting() int { return len(c.out.Buf) - c.sent }

// send sends what the socket takes.
func (l *loop) send(c *loopConn) {
	for c.waiting() > 0 {
		from := c.out.Buf[c.sent:]
		n, _, errno := syscall.RawSyscall(unix.SYS_WRITE, uintptr(c.fd), uintptr(unsafe.Pointer(&from[0])), uintptr(len(from)))
		if errno == unix.EINTR {
			continue
		}
		if errno == unix.EAGAIN {
			if c.stuck == 0 {
				c.stuck = l.srv.uptime()
				l.stalled[c] = struct{}{}
				if !c.account(true) {
					c.ended = true
				}
			}
			break
		}
		if errno != 0 {
			c.ended = true
			c.sent = len(c.out.Buf)
			break
		}
		c.sent += int(n)
		l.shard.netOut.Add(uint64(n))
		if c.stuck != 0 {
			c.stuck = 0
			delete(l.stalled, c)
		}
	}
	if c.waiting() == 0 {
		l.sentAll(c)
	}
	if c.ended && !c.resting {
		l.close(c)
	}
}

// sentAll gives the output buffer back.
func (l *loop) sentAll(c *loopConn) {
	c.sent, c.heldFrom = 0, 0
	if c.stuck != 0 {
		c.stuck = 0
		delete(l.stalled, c)
	}
	if buf := c.out.Buf; buf != nil {
		c.out.Buf = nil
		if cap(buf) <= outBytesSmall && len(l.spare) < spareBuffers {
			l.spare = append(l.spare, buf[:0])
		}
	}
	if c.outBytes.Load() != 0 {
		c.account(false)
	}
	switch {
	case !c.resting && len(c.group) == 0 && (c.closing || l.stopping):
		c.ended = true
	case c.more:
		c.more = false
		l.later(c)
	}
}

// cut ends a connection from outside, after what runs. A loop that stops ends
// all of them by itself, once their replies are sent.
func (l *loop) cut(c *loopConn) {
	if c.closed {
		return
	}
	if !l.stopping {
		c.ended = true
	}
	c.session.cancel()
	l.enqueue(c)
}

// cutStalled ends the connections whose clients take no replies, and those
// that have been idle for as long as the setting timeout says. However often it
// is called, it looks at them once a second.
func (l *loop) cutStalled() {
	now := l.srv.uptime()
	if now-l.checked < stalledCheck {
		return
	}
	l.checked = now
	patience := writeTimeout
	if l.stopping {
		patience = stopWriteTimeout
	}
	for c := range l.stalled {
		if now-c.stuck > patience {
			l.srv.slowReader(&c.shared, c.waiting())
			l.close(c)
		}
	}
	idle := l.srv.settings.timeoutS.Load()
	if idle <= 0 {
		return
	}
	for _, c := range l.conns {
		if c != nil && !c.resting && !c.pending && len(c.group) == 0 && now.Milliseconds()-c.activeMS.Load() > idle*1000 {
			l.close(c)
		}
	}
}

func (l *loop) close(c *loopConn) {
	if c.closed {
		return
	}
	c.closed = true
	delete(l.stalled, c)
	if l.conns[c.fd] == c {
		l.conns[c.fd] = nil
		l.open--
	}
	_ = unix.Close(c.fd)
	c.out.Buf = nil
	l.srv.remove(c.session)
}
