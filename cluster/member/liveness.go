package member

import (
	"maps"
	"sync"
	"sync/atomic"
	"time"

	"cartwheel/cluster/ring"
)

const (
	livenessTick = 20 * time.Millisecond
	probeEvery   = 5 // ticks
	// livenessIdleMax is how many ticks without anything to watch there are until the next has to be asked for.
	livenessIdleMax = 3
)

// LivenessOptions of a Liveness. All may be zero.
type LivenessOptions struct {
	// Self is always up.
	Self ring.NodeID
	// SuspectAfter is how long requests may be under way without any answer.
	// Default: 200 ms.
	SuspectAfter time.Duration
	// SuspectTimeouts is how many requests in a row may time out. Default: 3.
	SuspectTimeouts int
	// OnChange is told when a peer goes up or down, in that order, from one
	// goroutine. A peer that changes faster than OnChange returns is told of at
	// its last change; nothing waits for it.
	OnChange func(peer ring.NodeID, up bool)
	// Probe is to send a peer a request, if only a ping, and to account for it as
	// for any other; it must not block. It is called every 100 ms for a peer that
	// has a link and whose answer would end a suspicion.
	Probe func(peer ring.NodeID)
}

// A Liveness judges who is up, every moment, from the links to the peers, the
// requests to them, and gossip. It never changes who owns what. Its methods may be
// called from any goroutine; Up, Reachable, Asked and Answered are for the hot path.
type Liveness struct {
	opts  LivenessOptions
	peers atomic.Pointer[map[ring.NodeID]*Peer] // replaced as a whole, under mu
	stop  chan struct{}
	done  sync.WaitGroup

	resting atomic.Bool   // nothing is watched
	roused  chan struct{} // has it be

	mu      sync.Mutex // guards what follows; taken after a Peer's mu
	changes []change   // to tell, oldest first; at most two a peer
	wake    chan struct{}
}

type change struct {
	peer *Peer
	up   bool
}

// A Peer is what a Liveness knows of one peer. Each request that Asked counts is
// later counted once by Answered, TimedOut or Lost.
type Peer struct {
	id       ring.NodeID
	liveness *Liveness

	up      atomic.Bool
	reach   atomic.Bool
	suspect atomic.Bool // an answer would change something
	watched atomic.Bool // it is not as it should be, or is to be asked
	asked   atomic.Uint64
	answers atomic.Uint64
	failed  atomic.Uint64 // timed out or lost

	mu    sync.Mutex // guards judge
	judge judge

	idle bool   // at the last tick; watch's alone
	seen uint64 // answers then; watch's alone
}

// NewLiveness returns a Liveness at work. Close it.
func NewLiveness(opts LivenessOptions) *Liveness {
	if opts.SuspectAfter == 0 {
		opts.SuspectAfter = 200 * time.Millisecond
	}
	if opts.SuspectTimeouts == 0 {
		opts.SuspectTimeouts = 3
	}
	if opts.OnChange == nil {
		opts.OnChange = func(ring.NodeID, bool) {}
	}
	if opts.Probe == nil {
		opts.Probe = func(ring.NodeID) {}
	}
	l := &Liveness{opts: opts, stop: make(chan struct{}), wake: make(chan struct{}, 1), roused: make(chan struct{}, 1)}
	l.peers.Store(&map[ring.NodeID]*Peer{})
	l.done.Go(l.watch)
	l.done.Go(l.deliver)
	return l
}

// Close returns when no callback runs any more.
func (l *Liveness) Close() {
	close(l.stop)
	l.done.Wait()
}

// Up says whether a node is believed to be up. It takes no lock.
func (l *Liveness) Up(id ring.NodeID) bool {
	if id == l.opts.Self {
		return true
	}
	p := (*l.peers.Load())[id]
	return p != nil && p.up.Load()
}

// Steady says whether a peer has been up for a while: a second, and longer the
// more often it went down lately. Hints are replayed to a steady peer, lest a
// flapping one be flooded each time.
func (l *Liveness) Steady(id ring.NodeID) bool {
	p := (*l.peers.Load())[id]
	if p == nil {
		return id == l.opts.Self
	}
	p.mu.Lock()
	defer p.mu.Unlock()
	return p.judge.steady(time.Now())
}

// Peer returns the peer of that id, new and down where it was not known.
func (l *Liveness) Peer(id ring.NodeID) *Peer {
	if p := (*l.peers.Load())[id]; p != nil {
		return p
	}
	l.mu.Lock()
	defer l.mu.Unlock()
	known := *l.peers.Load()
	if p := known[id]; p != nil {
		return p
	}
	p := &Peer{id: id, liveness: l}
	p.judge = judge{suspectAfter: l.opts.SuspectAfter, suspectTimeouts: l.opts.SuspectTimeouts}
	more := maps.Clone(known)
	more[id] = p
	l.peers.Store(&more)
	return p
}

// Forget drops a peer that has left the cluster.
func (l *Liveness) Forget(id ring.NodeID) {
	l.mu.Lock()
	defer l.mu.Unlock()
	fewer := maps.Clone(*l.peers.Load())
	delete(fewer, id)
	l.peers.Store(&fewer)
}

// Up says whether the peer is believed to be up.
func (p *Peer) Up() bool { return p.up.Load() }

// Reachable says whether the peer, if it is not up, may only be slow: there is a link to it, and it has not been
// silent for seconds.
func (p *Peer) Reachable() bool { return p.reach.Load() }

// Asked counts n requests that are about to be sent.
func (p *Peer) Asked(n int) {
	p.asked.Add(uint64(n))
	p.liveness.rouse()
}

// Answered counts n replies, errors that the peer sent included.
func (p *Peer) Answered(n int) {
	p.answers.Add(uint64(n))
	if p.suspect.Load() {
		p.tell(func(j *judge, now time.Time) { j.counted(p.answers.Load(), now) })
	}
}

// TimedOut counts n requests that were given up.
func (p *Peer) TimedOut(n int) {
	p.failed.Add(uint64(n))
	p.tell(func(j *judge, now time.Time) {
		j.counted(p.answers.Load(), now)
		j.timedOut(n, now)
	})
}

// Lost counts n requests whose link broke.
func (p *Peer) Lost(n int) { p.failed.Add(uint64(n)) }

// Linked tells that the link to the peer was made or broke.
func (p *Peer) Linked(up bool) {
	p.tell(func(j *judge, now time.Time) { j.linked(up, now) })
}

// Gossiped tells that gossip says the peer is alive, or dead.
func (p *Peer) Gossiped(alive bool) {
	p.tell(func(j *judge, now time.Time) { j.gossiped(alive, now) })
}

// tell lets the judge know something, and others of what it makes of that.
func (p *Peer) tell(of func(*judge, time.Time)) (ask bool) {
	p.mu.Lock()
	defer p.mu.Unlock()
	of(&p.judge, time.Now())
	p.suspect.Store(p.judge.overdue || p.judge.dead || p.judge.timeouts > 0)
	p.reach.Store(p.judge.reachable())
	if up := p.judge.up(); p.up.Swap(up) != up {
		p.liveness.changed(p, up)
	}
	ask = p.judge.asking()
	if p.watched.Store(p.suspect.Load() || ask); p.watched.Load() {
		p.liveness.rouse()
	}
	return ask
}

// changed queues a change. Where the two before it are not told yet, the last of
// them and this one cancel out.
func (l *Liveness) changed(p *Peer, up bool) {
	l.mu.Lock()
	defer l.mu.Unlock()
	queued, last := 0, 0
	for i, c := range l.changes {
		if c.peer == p {
			queued, last = queued+1, i
		}
	}
	if queued == 2 {
		l.changes = append(l.changes[:last], l.changes[last+1:]...)
		return
	}
	l.changes = append(l.changes, change{p, up})
	select {
	case l.wake <- struct{}{}:
	default:
	}
}

func (l *Liveness) deliver() {
	for {
		select {
		case <-l.wake:
		case <-l.stop:
			return
		}
		for c, more := l.next(); more; c, more = l.next() {
			l.opts.OnChange(c.peer.id, c.up)
		}
	}
}

func (l *Liveness) next() (c change, more bool) {
	l.mu.Lock()
	defer l.mu.Unlock()
	if len(l.changes) == 0 {
		return change{}, false
	}
	c = l.changes[0]
	l.changes = append(l.changes[:0], l.changes[1:]...)
	return c, true
}

// watch observes all peers at each tick while there is anything to see.
func (l *Liveness) watch() {
	for l.tickUntilIdle() {
		select {
		case <-l.roused:
		case <-l.stop:
			return
		}
	}
}

// tickUntilIdle has those probed whose answer would end a suspicion. It reports false when the Liveness closes.
func (l *Liveness) tickUntilIdle() bool {
	ticker := time.NewTicker(livenessTick)
	defer ticker.Stop()
	for tick, idle := 0, 0; ; tick++ {
		select {
		case <-ticker.C:
		case <-l.stop:
			return false
		}
		idle++
		for id, p := range *l.peers.Load() {
			if p.observe() && tick%probeEvery == 0 {
				l.opts.Probe(id)
			}
			if !p.idle {
				idle = 0
			}
		}
		if idle >= livenessIdleMax && l.rest() {
			return true
		}
	}
}

// rouse has the peers be watched. Whoever calls it has changed something before: rest sees that, or is seen.
func (l *Liveness) rouse() {
	if l.resting.Load() && l.resting.CompareAndSwap(true, false) {
		l.roused <- struct{}{} // the one before was taken, or they would be watched
	}
}

// rest reports whether there is nothing to watch until rouse.
func (l *Liveness) rest() bool {
	l.resting.Store(true)
	for _, p := range *l.peers.Load() {
		if (p.pending() || p.watched.Load()) && l.resting.CompareAndSwap(true, false) {
			return false
		}
	}
	return true
}

func (p *Peer) pending() bool {
	done := p.answers.Load() + p.failed.Load()
	return p.asked.Load() > done
}

func (p *Peer) observe() (ask bool) {
	pending, answers, wasIdle := p.pending(), p.answers.Load(), p.idle
	p.idle = !pending && answers == p.seen && !p.watched.Load()
	p.seen = answers
	if p.idle && wasIdle {
		return false
	}
	return p.tell(func(j *judge, now time.Time) {
		if wasIdle {
			j.quietSince = now
		}
		j.observe(pending, answers, now)
	})
}
