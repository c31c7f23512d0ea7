package member

import (
	"context"
	"slices"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"cartwheel/cluster/ring"
)

// Long requests go to few nodes at a time, and the first of them may all be dead.
func TestTheSilentDoNotKeepOthersFromBeingAsked(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		n := newMemNet(1)
		defer n.close()
		a := cluster(t, n, 1)[0]
		var nodes []ring.NodeID
		for i := range 10 * askedAtOnceMin {
			nodes = append(nodes, nodeID(i+1))
		}
		const silent = 5 * askedAtOnceMin
		var mu sync.Mutex
		asked := 0
		began := time.Now()
		answered := time.Duration(0)
		a.callAll(t.Context(), nodes, bytesAtOnce, func(ctx context.Context, to ring.NodeID) {
			mu.Lock()
			asked++
			answered = max(answered, time.Since(began))
			mu.Unlock()
			if slices.Index(nodes, to) < silent {
				<-ctx.Done()
			}
		})
		if asked != len(nodes) {
			t.Errorf("%d of %d nodes were asked", asked, len(nodes))
		}
		// Each lot of the silent holds the others up for askPatience.
		if want := silent / askedAtOnceMin * askPatience; answered > want {
			t.Errorf("the last one was asked after %v, later than %v", answered, want)
		}
		if took := time.Since(began); took > callTimeout+answered {
			t.Errorf("it took %v: a call has more than its own time", took)
		}
	})
}

func TestVotesAreAskedForWhereAPromiseCameFrom(t *testing.T) {
	var members []ring.Member
	for i := range 9 {
		members = append(members, memberOf(nodeID(i+1)))
	}
	s, _, err := state{}.withDocument(documentOf(1, "first", members...).Append(nil))
	if err != nil {
		t.Fatal(err)
	}
	_, r := newRound(s, nodeID(4), ballot{})
	for _, voter := range []int{8, 4, 6, 9, 2} {
		r.take(nodeID(voter), message{kind: promise, epoch: 2, ballot: r.ballot})
	}
	r.propose(documentOf(2, "second", members...).Append(nil))
	want := []ring.NodeID{nodeID(4), nodeID(8), nodeID(6), nodeID(9), nodeID(2), nodeID(1), nodeID(3), nodeID(5), nodeID(7)}
	if got := r.order(); !slices.Equal(got, want) {
		t.Errorf("votes are asked for in the order %v, not %v", got, want)
	}
	if r.hopeless() {
		t.Error("nobody has refused a vote, and there is no hope")
	}
	for i := range 5 {
		r.take(nodeID(i+1), message{kind: refusal, epoch: 2, ballot: r.ballot, accepted: ballot{counter: 9}})
	}
	if !r.hopeless() {
		t.Error("five of nine have refused, and there is hope")
	}
	r.take(nodeID(1), message{kind: vote, epoch: 2, ballot: r.ballot})
	if r.hopeless() || r.answers != 1 {
		t.Error("a vote that came after a refusal does not count")
	}
}

// A value is long, and hundreds may have accepted it.
func TestWhatWasAcceptedIsShownByOneOnly(t *testing.T) {
	members := []ring.Member{memberOf(nodeID(1)), memberOf(nodeID(2)), memberOf(nodeID(3))}
	s, _, err := state{}.withDocument(documentOf(1, "first", members...).Append(nil))
	if err != nil {
		t.Fatal(err)
	}
	value := documentOf(2, "accepted", members...).Append(nil)
	acceptor := map[ring.NodeID]state{}
	for i := range 3 {
		acceptor[nodeID(i+1)] = s
	}
	_, first := newRound(s, nodeID(3), ballot{})
	first.propose(value)
	for i := range 2 { // it is chosen
		id := nodeID(i + 1)
		next, reply := acceptor[id].answer(id, nodeID(3), first.request())
		if acceptor[id] = next; reply.kind != vote {
			t.Fatalf("kind %d", reply.kind)
		}
	}
	_, second := newRound(s, nodeID(3), ballot{counter: 5})
	for i := range 2 {
		id := nodeID(i + 1)
		next, reply := acceptor[id].answer(id, nodeID(3), second.request())
		acceptor[id] = next
		if reply.kind != promise || len(reply.value) > 0 {
			t.Errorf("a promise of kind %d with %d bytes that nobody asked for", reply.kind, len(reply.value))
		}
		second.take(id, reply)
	}
	if !second.settled() || !second.lacks() {
		t.Fatal("the round is not settled, or does not know that it lacks what was accepted")
	}
	wanted := second.wanted()
	_, reply := acceptor[second.adoptedBy].answer(second.adoptedBy, nodeID(3), wanted)
	second.take(second.adoptedBy, reply)
	if second.lacks() || !slices.Equal(second.adopted, value) {
		t.Errorf("what was chosen is not what is proposed: %q", second.adopted)
	}
}
