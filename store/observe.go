package store

import (
	"slices"
	"sync/atomic"
	"time"

	"cartwheel/cluster/sabotage"
	"cartwheel/store/version"
)

// Observe takes note of an HLC that another node or a client showed, so that
// those issued from now on are above it. One that is too far ahead is ErrDrift
// and changes nothing.
func (s *Store) Observe(hlc version.HLC) error {
	if hlc <= s.lease.gen.Last() {
		return nil
	}
	return s.observe(s.NowMS(), hlc)
}

func (s *Store) observe(nowMS int64, hlc version.HLC) error {
	if sabotage.On(sabotage.DriftAccepted) {
		nowMS = max(nowMS, hlc.Milliseconds())
	}
	err := s.lease.gen.Observe(hlc, nowMS)
	if err != nil {
		s.stats.drift.Add(1)
		if s.driftLog.allows(nowMS) {
			s.log.Warn().Err(err).Uint64("refused", s.stats.drift.Load()).Msg("a foreign HLC is refused: are the clocks in step?")
		}
	}
	return err
}

// SeenOfMe takes note of the highest HLC that a peer has seen of this node's
// present incarnation, as it says in its handshake.
func (s *Store) SeenOfMe(hlc version.HLC) error {
	if err := s.recall(s.Incarnation(), hlc); err != nil {
		return err
	}
	return s.Observe(hlc)
}

// recall compares what another has seen of one of this node's incarnations with
// what this one remembers. If that is less, this node has forgotten writes: a
// dot of the same incarnation would say that it has seen them. A new incarnation
// is durable when recall returns.
func (s *Store) recall(of version.Incarnation, seen version.HLC) error {
	if seen <= version.HLC(s.lease.issued.Load()) {
		return nil
	}
	s.nodeMu.Lock()
	defer s.nodeMu.Unlock()
	issued := version.HLC(s.lease.issued.Load())
	if seen <= issued || of != s.Incarnation() {
		return nil // so another has seen to it
	}
	if err := s.beginLife(); err != nil {
		return err
	}
	raise(&s.lease.issued, seen)
	s.log.Warn().Stringer("remembered", issued).Stringer("seen", seen).
		Msg("another node has seen later writes of this one than it remembers: it has forgotten some, and goes on under a new incarnation")
	return nil
}

// Renew takes a new incarnation, durably, where the data may be older than it looks.
func (s *Store) Renew() error {
	s.nodeMu.Lock()
	defer s.nodeMu.Unlock()
	return s.beginLife()
}

// beginLife is Renew by one who holds nodeMu.
func (s *Store) beginLife() error {
	if sabotage.On(sabotage.DotsReused) {
		return nil
	}
	before := s.node.Incarnations
	s.node.Incarnations = slices.Clone(before)
	s.node.newIncarnation()
	if err := s.writeNode(); err != nil {
		s.node.Incarnations = before
		return err
	}
	after := s.node.Incarnations
	s.incarnations.Store(&after)
	return nil
}

// A logLimit lets one message a second through.
type logLimit struct{ nextMS atomic.Int64 }

func (l *logLimit) allows(nowMS int64) bool {
	next := l.nextMS.Load()
	// A wall clock that was set back must not silence it.
	if nowMS < next && next-nowMS <= time.Second.Milliseconds() {
		return false
	}
	return l.nextMS.CompareAndSwap(next, nowMS+time.Second.Milliseconds())
}
