package member

import "time"

const (
	// steadyMin to steadyMax is how long a peer must have been up before it counts
	// as steady. It doubles with each time that it goes down, and halves with each
	// steadyMax that it stays up.
	steadyMin = time.Second
	steadyMax = 30 * time.Second
	// stoodStillAfter is how long after the last one an observation says nothing about others.
	stoodStillAfter = 5 * livenessTick
	// silentAfter is how long a peer must have been overdue until it is taken to be away, and not only slow.
	silentAfter = 2 * time.Second
)

// A judge decides whether one peer is up, from what it is told. It is pure: time
// is an argument, and never goes back.
//
//  1. Without a link to it a peer is down, at once and whatever else is said.
//  2. It is overdue when requests have been under way for suspectAfter and not one
//     answer has come in that time, or when suspectTimeouts of them in a row timed
//     out. Any answer ends that.
//  3. It is dead when gossip says so, until gossip takes it back or the peer
//     answers. An answer within suspectAfter before counts.
//  4. It is up if it has a link, is not overdue and not dead.
//  5. It can be reached, up or not, while it has a link and has not been overdue for silentAfter: what
//     nobody else can do may be left to it, and be waited for.
type judge struct {
	suspectAfter    time.Duration
	suspectTimeouts int

	link     bool
	overdue  bool
	silent   bool // overdue for silentAfter
	dead     bool
	accused  bool // gossip says that it is dead, believed or not
	timeouts int  // in a row

	answers     uint64    // as observed last
	quietSince  time.Time // since then requests are under way without an answer
	overdueAt   time.Time // since then it is overdue, and this process has not stood still
	answeredAt  time.Time
	observedAt  time.Time
	upSince     time.Time // zero while down
	steadyAfter time.Duration
}

func (j *judge) up() bool { return j.link && !j.overdue && !j.dead }

// reachable says that what is sent to the peer may well be answered yet.
func (j *judge) reachable() bool { return j.link && !j.silent }

// asking says that the peer should be asked something, lest it stay down for want
// of an answer.
func (j *judge) asking() bool { return j.link && (j.overdue || j.accused) }

// steady says that the peer has been up for a while, the longer the more often it
// went down lately.
func (j *judge) steady(now time.Time) bool {
	return !j.upSince.IsZero() && now.Sub(j.upSince) >= max(j.steadyAfter, steadyMin)
}

// linked tells of a link that was made or broken.
func (j *judge) linked(up bool, now time.Time) {
	j.link, j.overdue, j.silent, j.timeouts, j.quietSince = up, false, false, 0, now
	j.turned(now)
}

// answered tells of an answer.
func (j *judge) answered(now time.Time) {
	j.overdue, j.silent, j.dead, j.timeouts = false, false, false, 0
	j.answeredAt, j.quietSince = now, now
	j.turned(now)
}

// counted tells how many answers there have been in all.
func (j *judge) counted(answers uint64, now time.Time) {
	if answers != j.answers {
		j.answers = answers
		j.answered(now)
	}
}

// timedOut tells of n requests given up.
func (j *judge) timedOut(n int, now time.Time) {
	j.timeouts = min(j.timeouts+n, j.suspectTimeouts)
	j.late(j.timeouts >= j.suspectTimeouts, now)
	j.turned(now)
}

// gossiped tells what gossip says.
func (j *judge) gossiped(alive bool, now time.Time) {
	j.accused = !alive
	answers := !j.answeredAt.IsZero() && now.Sub(j.answeredAt) < j.suspectAfter
	j.dead = !alive && !answers
	j.turned(now)
}

// observe tells, at every tick, whether requests are under way and how many
// answers there have been in all.
func (j *judge) observe(pending bool, answers uint64, now time.Time) {
	j.counted(answers, now)
	stoodStill := now.Sub(j.observedAt) > stoodStillAfter // this process: answers may have come, and not be read
	j.observedAt = now
	if !pending || !j.link || stoodStill {
		j.quietSince = now
	}
	if stoodStill {
		j.overdueAt = now
	}
	j.late(pending && now.Sub(j.quietSince) >= j.suspectAfter, now)
	j.silent = j.overdue && now.Sub(j.overdueAt) >= silentAfter
	j.turned(now)
}

// late makes the peer overdue, if it is and was not.
func (j *judge) late(is bool, now time.Time) {
	if is && !j.overdue {
		j.overdue, j.overdueAt = true, now
	}
}

// turned notes when up changes.
func (j *judge) turned(now time.Time) {
	switch {
	case j.up() && j.upSince.IsZero():
		j.upSince = now
	case !j.up() && !j.upSince.IsZero():
		for calm := now.Sub(j.upSince); calm >= steadyMax && j.steadyAfter > steadyMin; calm -= steadyMax {
			j.steadyAfter /= 2
		}
		j.steadyAfter = min(max(2*j.steadyAfter, steadyMin), steadyMax)
		j.upSince = time.Time{}
	}
}
