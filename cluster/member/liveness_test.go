package member

import (
	"slices"
	"sync"
	"sync/atomic"
	"testing"
	"testing/synctest"
	"time"

	"cartwheel/cluster/ring"
)

// changesOf collects what OnChange is told.
type changesOf struct {
	mu   sync.Mutex
	told []bool
}

func (c *changesOf) add(_ ring.NodeID, up bool) {
	c.mu.Lock()
	defer c.mu.Unlock()
	c.told = append(c.told, up)
}

func (c *changesOf) take() []bool {
	c.mu.Lock()
	defer c.mu.Unlock()
	told := c.told
	c.told = nil
	return told
}

func TestAStoppedPeerIsDownSoonAndBackAtItsFirstAnswer(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		var changes changesOf
		var l *Liveness
		var answering atomic.Bool
		answering.Store(true)
		ping := func(id ring.NodeID) {
			p := l.Peer(id)
			p.Asked(1)
			if answering.Load() {
				p.Answered(1)
			}
		}
		ready := make(chan struct{})
		l = NewLiveness(LivenessOptions{Self: nodeID(1), OnChange: changes.add, Probe: func(id ring.NodeID) { <-ready; ping(id) }})
		close(ready)
		defer l.Close()
		p := l.Peer(nodeID(2))
		if !l.Up(nodeID(1)) || l.Up(nodeID(2)) || l.Up(nodeID(3)) {
			t.Fatal("only this node is up at first")
		}
		p.Linked(true)
		if !l.Up(nodeID(2)) {
			t.Fatal("a link is up at once")
		}
		for range 100 { // answered traffic
			p.Asked(3)
			time.Sleep(10 * time.Millisecond)
			p.Answered(3)
		}
		if !l.Up(nodeID(2)) || !l.Steady(nodeID(2)) {
			t.Fatal("down in the midst of answers")
		}
		answering.Store(false)
		p.Asked(1)
		time.Sleep(190 * time.Millisecond)
		if !l.Up(nodeID(2)) {
			t.Fatal("down too early")
		}
		time.Sleep(50 * time.Millisecond)
		if l.Up(nodeID(2)) {
			t.Fatal("asked for 240 ms without an answer, and up")
		}
		time.Sleep(5 * time.Second)
		if l.Up(nodeID(2)) {
			t.Fatal("up without an answer")
		}
		answering.Store(true)
		time.Sleep(150 * time.Millisecond)
		if !l.Up(nodeID(2)) {
			t.Fatal("the probe was answered, and it is still down")
		}
		p.Linked(false)
		if l.Up(nodeID(2)) {
			t.Fatal("up without a link")
		}
		synctest.Wait()
		if got, want := changes.take(), []bool{true, false, true, false}; !slices.Equal(got, want) {
			t.Errorf("told %v, not %v", got, want)
		}
		l.Forget(nodeID(2))
		if l.Up(nodeID(2)) {
			t.Error("a forgotten peer is up")
		}
	})
}

// Where nothing is asked nothing ticks, and what happens then is noticed as soon as ever.
func TestNothingIsWatchedWhereNothingIsAsked(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		probed := make(chan struct{}, 1)
		l := NewLiveness(LivenessOptions{Probe: func(ring.NodeID) {
			select {
			case probed <- struct{}{}:
			default:
			}
		}})
		defer l.Close()
		p := l.Peer(nodeID(2))
		p.Linked(true)
		rests := func() {
			t.Helper()
			time.Sleep(time.Second)
			if !l.resting.Load() {
				t.Fatal("an idle peer is watched")
			}
		}
		for range 3 {
			rests()
			p.Asked(1)
			time.Sleep(190 * time.Millisecond)
			if !p.Up() {
				t.Fatal("down too early")
			}
			time.Sleep(50 * time.Millisecond)
			if p.Up() {
				t.Fatal("asked for 240 ms without an answer, and up")
			}
			<-probed
			p.Answered(1)
		}
		rests()
		p.Asked(1)
		time.Sleep(30 * time.Millisecond)
		p.TimedOut(1)
		time.Sleep(time.Second)
		if l.resting.Load() {
			t.Error("nobody watches a peer whose last answer did not come")
		}
		p.Asked(1)
		p.Answered(1)
		rests()
		p.Gossiped(false)
		<-probed
	})
}

func TestASlowListenerIsToldOfTheLastChange(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		var changes changesOf
		gate := make(chan struct{})
		l := NewLiveness(LivenessOptions{OnChange: func(id ring.NodeID, up bool) { <-gate; changes.add(id, up) }})
		defer l.Close()
		p := l.Peer(nodeID(2))
		for range 1000 {
			p.Linked(true)
			p.Linked(false)
		}
		p.Linked(true)
		l.mu.Lock()
		if len(l.changes) > 2 {
			t.Errorf("%d changes of one peer wait", len(l.changes))
		}
		l.mu.Unlock()
		close(gate)
		synctest.Wait()
		told := changes.take()
		if !told[len(told)-1] {
			t.Errorf("last told that it is down: %v", told)
		}
		for i, up := range told {
			if up != (i%2 == 0) {
				t.Fatalf("told out of order: %v", told)
			}
		}
	})
}

func TestTimeoutsInARowMakeAPeerSuspect(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		l := NewLiveness(LivenessOptions{})
		defer l.Close()
		p := l.Peer(nodeID(2))
		p.Linked(true)
		p.Asked(6)
		p.TimedOut(2)
		p.Answered(1)
		p.TimedOut(2)
		if !p.Up() {
			t.Fatal("an answer lies between the timeouts")
		}
		p.TimedOut(1)
		if p.Up() {
			t.Fatal("three timeouts in a row")
		}
		p.Gossiped(true)
		if p.Up() {
			t.Fatal("gossip is no answer")
		}
		p.Answered(1)
		if !p.Up() {
			t.Fatal("answered, and down")
		}
	})
}

func BenchmarkUp(b *testing.B) {
	l := NewLiveness(LivenessOptions{})
	defer l.Close()
	for i := range 10 {
		l.Peer(nodeID(i)).Linked(true)
	}
	id := nodeID(5)
	for b.Loop() {
		if !l.Up(id) {
			b.Fatal("down")
		}
	}
}
