package repair

import (
	"context"
	"errors"
	"math/rand/v2"
	"slices"
	"sync"
	"time"

	"cartwheel/cluster/ring"
)

type taskKind uint8

const (
	hintsTask    taskKind = iota // replay what is held for a node
	owedTask                     // ask a node to repair what it is owed
	exchangeTask                 // compare with a node
	fillTask                     // fill from a node
	commitTask                   // commit what is filled
	dropTask                     // drop what has moved away
	stableTask                   // find out what is stable
	refillTask                   // fill anew, from a node, what is not trusted here
	shownTask                    // ask a node what it has purged
	taskKinds
)

func (k taskKind) String() string {
	return [taskKinds]string{"hints", "owed", "exchange", "fill", "commit", "drop", "stable", "refill", "shown"}[k]
}

// runningMax is how many tasks of a kind run at once.
var runningMax = [taskKinds]int{hintsTask: 2, owedTask: 2, exchangeTask: 2, fillTask: 4, commitTask: 1, dropTask: 1, stableTask: 1, refillTask: 2, shownTask: 4}

// A task is a kind of work with one peer, or with none. There is at most one of
// each at any time.
type task struct {
	kind taskKind
	peer ring.NodeID
}

// A plannedTask is when a task is to run.
type plannedTask struct {
	due      time.Time
	running  bool
	asked    bool // to run at once, and again where it runs already
	failures int
	wanted   bool // by the latest plan
}

// A schedule is the tasks there are to be. It belongs to the Repair, whose mu
// guards it.
type schedule struct {
	entries map[task]*plannedTask
	running [taskKinds]int
}

func newSchedule() schedule { return schedule{entries: map[task]*plannedTask{}} }

// want makes sure that there is a task; a new one is due at first.
func (s *schedule) want(t task, first time.Time) *plannedTask {
	e := s.entries[t]
	if e == nil {
		e = &plannedTask{due: first}
		s.entries[t] = e
	}
	e.wanted = true
	return e
}

// due takes note that the tasks that are due run, as many as may, the longest due
// first, and returns them and how long it is until the next.
func (s *schedule) due(now time.Time, idle time.Duration) (start []task, wait time.Duration) {
	wait = idle
	var ready []task
	for t, e := range s.entries {
		switch {
		case !e.wanted && !e.running:
			delete(s.entries, t)
		case e.running || !e.wanted:
		case e.asked || !now.Before(e.due):
			ready = append(ready, t)
		default:
			wait = min(wait, e.due.Sub(now))
		}
	}
	slices.SortFunc(ready, func(a, b task) int { return s.entries[a].due.Compare(s.entries[b].due) })
	for _, t := range ready {
		if s.running[t.kind] < runningMax[t.kind] {
			e := s.entries[t]
			e.running, e.asked = true, false
			s.running[t.kind]++
			start = append(start, t)
		}
	}
	return start, max(wait, time.Millisecond)
}

const (
	retryFirst = 100 * time.Millisecond
	retryMax   = 2 * time.Second
)

// ended takes note of how a task ended. It is due again after a pause, which, unless
// the task came further before it failed, grows with its failures.
func (s *schedule) ended(t task, now time.Time, err error, again time.Duration) {
	e := s.entries[t]
	e.running = false
	s.running[t.kind]--
	switch {
	case err == nil:
		e.failures = 0
	case again > 0:
		e.failures = 1
	default:
		again = min(retryFirst<<min(e.failures, 10), retryMax)
		e.failures++
	}
	e.due = now.Add(again/2 + rand.N(again/2+1))
}

// Kicks are the peers whose tasks are to run at once.
type kicks struct {
	mu    sync.Mutex // guards peers; nothing is called while it is held
	peers map[ring.NodeID]bool
}

func (k *kicks) add(peer ring.NodeID) {
	k.mu.Lock()
	defer k.mu.Unlock()
	if k.peers == nil {
		k.peers = map[ring.NodeID]bool{}
	}
	k.peers[peer] = true
}

func (k *kicks) take() map[ring.NodeID]bool {
	k.mu.Lock()
	defer k.mu.Unlock()
	peers := k.peers
	k.peers = nil
	return peers
}

// run plans and starts tasks until Stop.
func (r *Repair) run() {
	for {
		wait := r.dispatch()
		select {
		case <-r.ctx.Done():
			return
		case <-r.wake:
		case <-r.opts.After(wait):
		}
	}
}

// dispatch starts what is due, and returns how long nothing will be.
func (r *Repair) dispatch() time.Duration {
	now := r.opts.Now()
	r.mu.Lock()
	r.plan(r.opts.Peers.Ring(), now)
	start, wait := r.schedule.due(now, planInterval)
	r.mu.Unlock()
	for _, t := range start {
		r.tasks.Go(func() { r.perform(t) })
	}
	return wait
}

// perform runs one task.
func (r *Repair) perform(t task) {
	again, err := r.work(r.ctx, t)
	if err != nil && r.ctx.Err() == nil {
		r.counters.failures.Add(1)
		event := r.log.Debug()
		if !isPassing(err) {
			event = r.log.Warn()
		}
		event.Err(err).Stringer("task", t.kind).Stringer("peer", t.peer).Msg("a repair is to be tried again")
	}
	r.mu.Lock()
	r.schedule.ended(t, r.opts.Now(), err, again)
	r.mu.Unlock()
	r.poke()
}

// isPassing says whether an error is one of those that a cluster under way has.
func isPassing(err error) bool {
	return errors.Is(err, errBusy) || errors.Is(err, errNotReady) || errors.Is(err, errNotOwner) ||
		errors.Is(err, context.DeadlineExceeded) || errors.Is(err, context.Canceled)
}

const (
	busyPause  = 400 * time.Millisecond // until partitions are tried again that were in another exchange
	hintsPause = 2 * time.Second        // until hints are tried again that stayed
	owedPause  = time.Second
	dropPause  = 5 * time.Second

	departPause = 200 * time.Millisecond // between two drops where the next can be made at once
	commitWait  = 2 * time.Second        // for the new ring, after a commit
)

// work does what a task is for, and returns when it is to be done again if all
// goes well, or if it came further before it failed.
func (r *Repair) work(ctx context.Context, t task) (again time.Duration, err error) {
	switch t.kind {
	case hintsTask:
		before := r.counters.replayed.Load()
		if _, err = r.replay(ctx, t.peer); err != nil {
			return pauseIf(r.counters.replayed.Load() > before), err
		}
		return hintsPause, nil
	case owedTask:
		if _, err = r.collectOwed(ctx, t.peer); err != nil {
			return 0, err
		}
		return owedPause, nil
	case exchangeTask:
		return r.exchangeAll(ctx, t.peer)
	case fillTask:
		progress, err := r.fillFrom(ctx, t.peer)
		return pauseIf(progress || err == nil), err
	case commitTask:
		if err = r.commitFilled(ctx); err != nil {
			return 0, err
		}
		return commitWait, nil
	case stableTask:
		return r.stabilise(ctx)
	case refillTask:
		progress, err := r.refillFrom(ctx, t.peer)
		return pauseIf(progress || err == nil), err
	case shownTask:
		err = r.askShown(ctx, t.peer)
		return pauseIf(err == nil || !r.shown.over.Load()), err // while it doubts, not less and less
	default:
		before := r.counters.dropped.Load()
		left, err := r.drop(ctx)
		if err != nil {
			return 0, err
		}
		return dropAgain(left, r.counters.dropped.Load()-before, r.opts.DropGrace), nil
	}
}

// dropAgain is when to look again for what may be dropped. Where there was as much of
// it as one task drops, there is more of it.
func dropAgain(left bool, dropped uint64, grace time.Duration) time.Duration {
	switch {
	case !left:
		return max(dropPause, grace)
	case dropped == dropsBatch:
		return departPause
	}
	return dropPause
}

// pauseIf is the pause after progress, if there was any.
func pauseIf(progress bool) time.Duration {
	if progress {
		return retryFirst
	}
	return 0
}

// exchangeAll compares all that this node shares with a peer.
func (r *Repair) exchangeAll(ctx context.Context, peer ring.NodeID) (again time.Duration, err error) {
	r.mu.Lock()
	table, shared := r.ring, r.shared[peer]
	begun := r.settling.begin()
	r.mu.Unlock()
	owed := r.owedBefore()
	x := r.newExchange(peer, table, modeShared)
	err = x.run(ctx, shared)
	r.owedAfter(owed, x)
	r.settledBy(x, begun)
	if err != nil {
		return pauseIf(x.repaired > 0), err
	}
	r.counters.exchanges.Add(1)
	if x.busy > 0 {
		return busyPause, nil
	}
	return r.opts.ExchangeInterval, nil
}
