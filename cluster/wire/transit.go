package wire

// A transit estimates for how long what is read was under way: in the buffers
// of both systems, or in front of a process that was stopped.
//
// The two clocks have nothing to do with each other. But the difference between
// when something was read and when it was written, each by its own clock, is
// least for what was under way least; by how much it exceeds the least is the
// time under way. As one clock may run faster than the other, the least is let
// grow by driftPPM.
type transit struct {
	leastMS    int64 // read time less written time
	observedMS int64 // when it was read, of the last observation
	writtenMS  int64
}

const (
	driftPPM = 500 // as much as Linux ever slews a clock
	// A clock goes along every clockEveryMS only, and the sender knows the time to
	// a tick: what is under way for less counts as not under way.
	clockEveryMS   = 10
	transitSlackMS = 25
)

func newTransit(readMS int64, writtenMS uint64) transit {
	return transit{leastMS: readMS - int64(writtenMS), observedMS: readMS, writtenMS: int64(writtenMS)}
}

// observe takes in a clock that was written at writtenMS and read at readMS.
func (t *transit) observe(readMS int64, writtenMS uint64) {
	drift := (readMS - t.observedMS) * driftPPM / 1e6
	if drift > 0 { // else it is the same span with the next one
		t.leastMS += drift
		t.observedMS = readMS
	}
	t.writtenMS = int64(writtenMS)
	t.leastMS = min(t.leastMS, readMS-t.writtenMS)
}

// ageMS returns for how long what is read now, behind the last clock, was under
// way.
func (t *transit) ageMS(readMS int64) int64 {
	return max(0, readMS-t.writtenMS-t.leastMS-transitSlackMS)
}
