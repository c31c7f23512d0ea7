package server

import (
	"math"
	"sync"
	"time"

	"cartwheel/server/command"
)

// pause is CLIENT PAUSE: until a time, commands wait.
type pause struct {
	mu       sync.Mutex
	untilMS  int64         // guarded by mu, like the rest; on the server's own clock
	all      bool          // not only writes
	over     chan struct{} // closed when the pause ends; nil: there is none
	overTime *time.Timer
}

// begin makes commands wait for d, or longer if they already do.
func (s *Server) beginPause(d time.Duration, all bool) {
	p := &s.pause
	p.mu.Lock()
	defer p.mu.Unlock()
	until := (s.uptime() + d).Milliseconds()
	if p.over == nil {
		p.over = make(chan struct{})
		p.all, p.untilMS = all, until
	} else {
		p.all = p.all || all
		p.untilMS = max(p.untilMS, until)
		p.overTime.Stop()
	}
	s.paused.Store(true)
	until = p.untilMS
	p.overTime = time.AfterFunc(time.Duration(until)*time.Millisecond-s.uptime(), func() { s.endPauseOf(until) })
}

// endPause ends the pause there is.
func (s *Server) endPause() { s.endPauseOf(math.MaxInt64) }

// endPauseOf ends the pause if it is not to last longer: it may have been
// prolonged while its timer went off.
func (s *Server) endPauseOf(untilMS int64) {
	p := &s.pause
	p.mu.Lock()
	defer p.mu.Unlock()
	if p.over != nil && p.untilMS <= untilMS {
		p.overTime.Stop()
		close(p.over)
		p.over = nil
		s.paused.Store(false)
	}
}

// pauses reports that the command has to wait. CLIENT itself never does, or
// nobody could end the pause.
func (s *Server) pauses(cmd *command.Command) bool {
	if !s.paused.Load() || cmd.Parent != nil && cmd.Parent.Name == "client" {
		return false
	}
	s.pause.mu.Lock()
	defer s.pause.mu.Unlock()
	return s.pause.over != nil && (s.pause.all || cmd.Flags.Has(command.Write))
}

// waitUnpaused blocks while the session's command has to wait. It reports false
// if the connection ends before.
func (s *Server) waitUnpaused(sess *session) bool {
	for s.pauses(sess.call.cmd) {
		s.pause.mu.Lock()
		over := s.pause.over
		s.pause.mu.Unlock()
		if over == nil {
			break
		}
		select {
		case <-over:
		case <-sess.ctx.Done():
			return false
		}
	}
	return true
}
