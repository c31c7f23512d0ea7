package check

import (
	"cmp"
	"fmt"
	"slices"
	"time"
)

const (
	// driftMax is how far apart two nodes' stamps of one moment can be while they cannot tell each
	// other: design.md's max-clock-drift.
	driftMax = 500 * time.Millisecond

	// settling is how long after a fault the nodes may still take each other for dead.
	settling = 3 * time.Second

	// lingering is how long an operation whose client gave up can still take effect: nodes drop what is
	// past its deadline.
	lingering = 10 * time.Second

	// punctuality bounds how late an expiry is noticed, the clocks' differences included.
	punctuality = driftMax
)

// Sessions judges plain SET, GET, DEL and EXPIRE from several nodes, in the end and on the way:
//
//   - in the end all nodes show one value, or none;
//   - no write that was acknowledged is surely newer than the value, or than what left none: it began after
//     that one had ended, by more than driftMax if there was a fault in between;
//   - no read at any time shows a value that nobody wrote, or one that must have expired.
//
// A write of unknown outcome may be the winner, and need not be.
func Sessions(h *History) (violations []Violation) {
	operations, finals := byKey(h.Operations), byKey(h.Finals)
	for _, key := range keysOf(h) {
		reads, silent := answered(h, key, finals[key])
		violations = append(violations, silent...)
		s := sessionOf(h, key, operations[key])
		for _, o := range operations[key] {
			if o.Command == Get && o.Outcome == Acknowledged {
				violations = append(violations, s.alive(o)...)
			}
		}
		judged := map[string]bool{}
		for _, o := range reads {
			if answer := fmt.Sprintf("%q", o.Values); !judged[answer] {
				judged[answer] = true
				violations = append(violations, s.alive(o)...)
				violations = append(violations, s.newest(o)...)
			}
		}
		if len(judged) > 1 {
			violations = append(violations, Violation{key, fmt.Sprintf("the nodes show %d different values", len(judged))})
		}
	}
	return violations
}

// session is what may have happened to one key.
type session struct {
	h       *History
	key     string
	writes  []*Operation // SET and DEL that were not refused
	touches []*Operation // EXPIRE that was not refused, and did not find the key missing
	refused map[string]bool
}

func sessionOf(h *History, key string, operations []*Operation) *session {
	s := &session{h: h, key: key, refused: map[string]bool{}}
	for _, o := range operations {
		switch {
		case o.Outcome == Refused:
			if o.Command == Set {
				s.refused[o.Value] = true
			}
		case o.Command == Set || o.Command == Del:
			s.writes = append(s.writes, o)
		case o.Command == Expire && !slices.Equal(o.Values, []string{"0"}):
			s.touches = append(s.touches, o)
		}
	}
	slices.SortFunc(s.touches, func(a, b *Operation) int { return cmp.Compare(a.Call, b.Call) })
	return s
}

// alive reports a read of a value that was not written by then, or that had expired.
func (s *session) alive(r *Operation) []Violation {
	if len(r.Values) == 0 {
		return nil
	}
	value := r.Values[0]
	w := s.writer(value)
	switch {
	case w == nil && s.refused[value]:
		return s.wrong(r, "shows %q, which was refused", value)
	case w == nil || w.Call > r.Return:
		return s.wrong(r, "shows %q, which nobody had written", value)
	}
	if gone := s.expiredAt(w); gone < r.Call {
		return s.wrong(r, "shows %q, which had expired at %v at the latest", value, gone)
	}
	return nil
}

// newest reports a final read of what is surely older than an acknowledged write.
func (s *session) newest(r *Operation) []Violation {
	if len(r.Values) > 0 {
		w := s.writer(r.Values[0])
		if w == nil {
			return nil // alive has reported it
		}
		if newer := s.newerThan(w, false); newer != nil {
			return s.wrong(r, "shows %s, older than %s", told(w), told(newer))
		}
		return nil
	}
	acknowledged := slices.ContainsFunc(s.writes, func(w *Operation) bool {
		return w.Command == Set && w.Outcome == Acknowledged
	})
	if !acknowledged {
		return nil
	}
	for _, w := range s.writes {
		if s.leavesNone(w, r) && s.newerThan(w, true) == nil {
			return nil
		}
	}
	return s.wrong(r, "shows no value, though no delete or expiry explains it")
}

// newerThan is an acknowledged write that is surely newer than w, or nil.
func (s *session) newerThan(w *Operation, setsOnly bool) *Operation {
	ended := end(w)
	for _, x := range s.writes {
		if x.Outcome != Acknowledged || setsOnly && x.Command != Set || x.Call <= ended {
			continue
		}
		if s.calm(w.Call, x.Call) || x.Call > ended+driftMax {
			return x
		}
	}
	return nil
}

// calm tells whether there was no fault at that time, nor the aftermath of one.
func (s *session) calm(from, to time.Duration) bool {
	return !slices.ContainsFunc(s.h.Faults, func(f Fault) bool { return f.Begin <= to && from <= f.End+settling })
}

// leavesNone tells whether the write, if it won, may show no value to the read.
func (s *session) leavesNone(w, r *Operation) bool {
	if w.Command == Del {
		return true
	}
	expires := forever
	if w.Life > 0 {
		expires = w.Call + w.Life
	}
	for _, t := range s.touches {
		if end(t) > w.Call {
			expires = min(expires, t.Call+t.Life)
		}
	}
	return expires < r.Return+punctuality
}

// expiredAt is when the value of w is certainly gone. What touches it when it is gone does not bring it
// back; the touches are in the order in which they began.
func (s *session) expiredAt(w *Operation) time.Duration {
	if w.Life == 0 {
		return forever
	}
	expires := end(w) + w.Life + punctuality
	for _, t := range s.touches {
		if end(t) > w.Call && t.Call < expires {
			expires = max(expires, end(t)+t.Life+punctuality)
		}
	}
	return expires
}

// end is when the operation has certainly taken effect, if it ever does.
func end(o *Operation) time.Duration {
	if o.Outcome == Unknown {
		return o.Return + lingering
	}
	return o.Return
}

func (s *session) writer(value string) *Operation {
	for _, w := range s.writes {
		if w.Command == Set && w.Value == value {
			return w
		}
	}
	return nil
}

func (s *session) wrong(r *Operation, format string, args ...any) []Violation {
	what := fmt.Sprintf(format, args...)
	return []Violation{{s.key, fmt.Sprintf("GET by worker %d of node %d, %v to %v, %s", r.Worker, r.Node, r.Call, r.Return, what)}}
}

func told(o *Operation) string {
	return fmt.Sprintf("%s %q (worker %d, node %d, %v to %v, %s)", o.Command, o.Value, o.Worker, o.Node, o.Call, o.Return, o.Outcome)
}
