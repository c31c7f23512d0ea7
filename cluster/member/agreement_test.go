package member

import (
	"context"
	"errors"
	"fmt"
	"math/rand/v2"
	"slices"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"github.com/google/go-cmp/cmp"
	"github.com/rs/zerolog"

	"cartwheel/cluster/ring"
)

var errLost = errors.New("lost on the way")

// memNet carries requests between the Agreements of one test.
type memNet struct {
	mu        sync.Mutex // guards all fields
	rng       *rand.Rand
	nodes     map[ring.NodeID]*Agreement
	storages  map[ring.NodeID]*memStorage
	cut       map[ring.NodeID]bool
	lossy     bool
	silent    map[ring.NodeID]bool // takes requests, and never answers
	delayMax  time.Duration        // of each request and of each reply, drawn
	requests  int
	bytes     int                                  // of requests and replies
	intercept func(to ring.NodeID, m message) bool // false loses the request
	documents map[uint64][]byte                    // committed anywhere, by epoch
	diverged  error
}

func newMemNet(seed uint64) *memNet {
	return &memNet{
		rng:       rand.New(rand.NewPCG(seed, 2)),
		nodes:     make(map[ring.NodeID]*Agreement),
		storages:  make(map[ring.NodeID]*memStorage),
		cut:       make(map[ring.NodeID]bool),
		silent:    make(map[ring.NodeID]bool),
		documents: make(map[uint64][]byte),
	}
}

// line is one node's Messenger.
type line struct {
	net  *memNet
	self ring.NodeID
}

func (l line) Call(ctx context.Context, to ring.NodeID, request []byte) ([]byte, error) {
	m, err := decodeMessage(request)
	if err != nil {
		return nil, err
	}
	n := l.net
	n.mu.Lock()
	peer := n.nodes[to]
	lost := peer == nil || n.cut[to] || n.cut[l.self] || n.intercept != nil && !n.intercept(to, m)
	delay, back := n.delay(), n.delay()
	replyLost, twice := false, false
	n.requests++
	n.bytes += len(request)
	silent := n.silent[to]
	if n.lossy {
		lost = lost || n.rng.IntN(8) == 0
		replyLost = n.rng.IntN(8) == 0
		twice = n.rng.IntN(8) == 0
		delay = time.Duration(n.rng.IntN(50)) * time.Millisecond
	}
	n.mu.Unlock()
	if silent {
		<-ctx.Done()
		return nil, ctx.Err()
	}
	select {
	case <-time.After(delay):
	case <-ctx.Done():
		lost = lost || delay%2 == 0 // it may still arrive
	}
	if lost {
		return nil, errLost
	}
	reply := peer.Handle(l.self, request)
	if twice {
		reply = peer.Handle(l.self, request)
	}
	if replyLost || ctx.Err() != nil {
		return nil, errLost
	}
	n.mu.Lock()
	n.bytes += len(reply)
	n.mu.Unlock()
	select {
	case <-time.After(back):
		return reply, nil
	case <-ctx.Done():
		return nil, errLost
	}
}

// delay draws one; the caller holds mu.
func (n *memNet) delay() time.Duration {
	if n.delayMax == 0 {
		return 0
	}
	return time.Duration(n.rng.Int64N(int64(n.delayMax)))
}

// start boots a node from its storage, in place of the one that ran before.
func (n *memNet) start(t *testing.T, id ring.NodeID) *Agreement {
	t.Helper()
	n.mu.Lock()
	storage, before := n.storages[id], n.nodes[id]
	if storage == nil {
		storage = &memStorage{}
		n.storages[id] = storage
	}
	n.mu.Unlock()
	if before != nil {
		before.Close()
	}
	a, err := New(Options{
		Self: id, Storage: storage, Messenger: line{n, id}, Log: zerolog.Nop(), OnDocument: n.observe,
	})
	if err != nil {
		t.Fatal(err)
	}
	n.mu.Lock()
	n.nodes[id] = a
	n.mu.Unlock()
	return a
}

func (n *memNet) observe(d *ring.Document) {
	n.mu.Lock()
	defer n.mu.Unlock()
	form := d.Append(nil)
	if before, known := n.documents[d.Epoch]; known && !slices.Equal(before, form) {
		n.diverged = fmt.Errorf("two documents of epoch %d", d.Epoch)
	}
	n.documents[d.Epoch] = form
}

func (n *memNet) close() {
	for _, a := range n.nodes {
		a.Close()
	}
}

// cluster returns started nodes 1 to members, which are the members.
func cluster(t *testing.T, n *memNet, members int) []*Agreement {
	t.Helper()
	var list []ring.Member
	for i := range members {
		list = append(list, memberOf(nodeID(i+1)))
	}
	first := documentOf(1, "first", list...).Append(nil)
	var nodes []*Agreement
	for i := range members {
		a := n.start(t, nodeID(i+1))
		if _, err := a.Install(first); err != nil {
			t.Fatal(err)
		}
		nodes = append(nodes, a)
	}
	return nodes
}

// adding is the change that adds a member, unless it is one.
func adding(id ring.NodeID) Change {
	return func(d *ring.Document) (*ring.Document, error) {
		if _, known := d.Member(id); known {
			return nil, nil
		}
		return documentOf(0, "adding "+id.String(), append(slices.Clone(d.Members), memberOf(id))...), nil
	}
}

func TestEveryProposalThatSucceedsIsInTheRing(t *testing.T) {
	seed := rand.Uint64()
	for i := range uint64(20) {
		synctest.Test(t, func(t *testing.T) { concurrentProposals(t, seed+i) })
	}
}

// concurrentProposals has nodes add members while messages are lost and nodes
// restart.
func concurrentProposals(t *testing.T, seed uint64) {
	n := newMemNet(seed)
	defer n.close()
	cluster(t, n, 3)
	n.lossy = true
	ctx, cancel := context.WithTimeout(t.Context(), time.Minute)
	defer cancel()
	var wg sync.WaitGroup
	for i := range 8 {
		wg.Go(func() {
			proposer, joiner := nodeID(1+i%3), nodeID(10+i)
			for {
				n.mu.Lock()
				a := n.nodes[proposer]
				n.mu.Unlock()
				d, err := a.Propose(ctx, adding(joiner))
				if err == nil {
					if _, known := d.Member(joiner); !known {
						t.Errorf("seed %d: success without the member", seed)
					}
					return
				}
				if ctx.Err() != nil {
					t.Errorf("seed %d: %v", seed, err)
					return
				}
			}
		})
	}
	for i := range 6 {
		n.start(t, nodeID(10+i))
		time.Sleep(300 * time.Millisecond)
	}
	for i := range 2 {
		n.start(t, nodeID(16+i))
	}
	n.start(t, nodeID(11)) // restarts
	wg.Wait()
	n.mu.Lock()
	n.lossy = false
	n.mu.Unlock()
	d, err := n.nodes[nodeID(2)].Propose(ctx, adding(nodeID(99)))
	if err != nil {
		t.Fatalf("seed %d: %v", seed, err)
	}
	for i := range 8 {
		if _, known := d.Member(nodeID(10 + i)); !known {
			t.Errorf("seed %d: member %d was added, and is not there", seed, i)
		}
	}
	time.Sleep(10 * time.Second) // bubble time: all are told
	for id, a := range n.nodes {
		if diff := cmp.Diff(d, a.Current()); diff != "" {
			t.Errorf("seed %d: node %s has another document: %s", seed, id, diff)
		}
	}
	if n.diverged != nil {
		t.Errorf("seed %d: %v", seed, n.diverged)
	}
}

func TestANewNodeFetchesTheDocumentAndProposesItself(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		n := newMemNet(1)
		defer n.close()
		nodes := cluster(t, n, 1)
		joiner := n.start(t, nodeID(7))
		if _, err := joiner.Propose(t.Context(), adding(nodeID(7))); !errors.Is(err, ErrNoDocument) {
			t.Fatalf("proposing on top of nothing: %v", err)
		}
		if installed, err := joiner.Fetch(t.Context(), nodeID(1)); !installed || err != nil {
			t.Fatalf("fetch: %v, %v", installed, err)
		}
		if _, err := joiner.Propose(t.Context(), adding(nodeID(7))); err != nil {
			t.Fatal(err)
		}
		synctest.Wait()
		if got := nodes[0].Current().Epoch; got != 2 {
			t.Errorf("the voter has not heard of the commit it voted for: epoch %d", got)
		}
		if installed, err := joiner.Fetch(t.Context(), nodeID(1)); installed || err != nil {
			t.Errorf("fetched nothing newer: %v, %v", installed, err)
		}
	})
}

func TestWithoutAMajorityNothingChanges(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		n := newMemNet(1)
		defer n.close()
		nodes := cluster(t, n, 3)
		n.cut[nodeID(2)], n.cut[nodeID(3)] = true, true
		ctx, cancel := context.WithTimeout(t.Context(), 5*time.Second)
		defer cancel()
		_, err := nodes[0].Propose(ctx, adding(nodeID(9)))
		if !errors.Is(err, ErrNoMajority) || !errors.Is(err, context.DeadlineExceeded) || errors.Is(err, ErrUndecided) {
			t.Fatalf("alone of three: %v", err)
		}
		if got := nodes[0].Current().Epoch; got != 1 {
			t.Errorf("epoch %d is committed", got)
		}
	})
}

func TestAnAcceptedValueOutlivesItsProposer(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		n := newMemNet(1)
		defer n.close()
		nodes := cluster(t, n, 3)
		n.intercept = func(to ring.NodeID, m message) bool { return m.kind != accept || to == nodeID(1) }
		ctx, cancel := context.WithTimeout(t.Context(), 5*time.Second)
		defer cancel()
		if _, err := nodes[0].Propose(ctx, adding(nodeID(8))); !errors.Is(err, ErrUndecided) {
			t.Fatalf("votes were asked for, and the error is %v", err)
		}
		// Its own vote is on its disk. Whoever hears of that must finish it first.
		n.intercept = nil
		n.start(t, nodeID(1))
		n.start(t, nodeID(8))
		n.cut[nodeID(3)] = true
		ctx, cancel = context.WithTimeout(t.Context(), time.Minute)
		defer cancel()
		d, err := nodes[1].Propose(ctx, adding(nodeID(9)))
		if err != nil {
			t.Fatal(err)
		}
		_, eight := d.Member(nodeID(8))
		_, nine := d.Member(nodeID(9))
		if !eight || !nine || d.Epoch != 3 {
			t.Errorf("epoch %d with 8: %v, with 9: %v", d.Epoch, eight, nine)
		}
	})
}

func TestNothingIsPromisedThatWasNotSaved(t *testing.T) {
	n := newMemNet(1)
	defer n.close()
	nodes := cluster(t, n, 2)
	n.storages[nodeID(2)].fail = errors.New("the disk is full")
	s := nodes[0].state
	_, r := newRound(s, nodeID(1), ballot{})
	request := r.request()
	reply, err := decodeMessage(nodes[1].Handle(nodeID(1), request.append(nil)))
	if err != nil || reply.kind != abstain {
		t.Fatalf("with a failing disk: %v, kind %d", err, reply.kind)
	}
	n.storages[nodeID(2)].fail = nil
	reply, err = decodeMessage(nodes[1].Handle(nodeID(1), request.append(nil)))
	if err != nil || reply.kind != promise {
		t.Fatalf("with a mended disk: %v, kind %d", err, reply.kind)
	}
	// A restart remembers.
	again := n.start(t, nodeID(2))
	lower := request
	lower.ballot = ballot{counter: 1, proposer: ring.NodeID{}}
	reply, err = decodeMessage(again.Handle(ring.NodeID{}, lower.append(nil)))
	if err != nil || reply.kind != refusal || reply.accepted != request.ballot {
		t.Fatalf("a lower ballot after a restart: %v, kind %d", err, reply.kind)
	}
}

func TestAChangeThatIsMadeAlreadyNeedsNobody(t *testing.T) {
	n := newMemNet(1)
	defer n.close()
	nodes := cluster(t, n, 3)
	n.cut[nodeID(2)], n.cut[nodeID(3)] = true, true
	for _, change := range []Change{
		adding(nodeID(2)),
		func(*ring.Document) (*ring.Document, error) { return nil, ring.ErrUnchanged },
	} {
		if d, err := nodes[0].Propose(t.Context(), change); err != nil || d.Epoch != 1 {
			t.Errorf("%v, %v", d, err)
		}
	}
	broken := errors.New("no such member")
	_, err := nodes[0].Propose(t.Context(), func(*ring.Document) (*ring.Document, error) { return nil, broken })
	if !errors.Is(err, broken) {
		t.Errorf("the change failed, and Propose with %v", err)
	}
	_, err = nodes[0].Propose(t.Context(), func(d *ring.Document) (*ring.Document, error) { return &ring.Document{Cluster: d.Cluster}, nil })
	if err == nil {
		t.Error("an invalid document was proposed")
	}
}

func TestInstallTakesOnlyWhatFollows(t *testing.T) {
	n := newMemNet(1)
	defer n.close()
	a := cluster(t, n, 1)[0]
	second := documentOf(2, "second", memberOf(nodeID(1)))
	foreign := documentOf(9, "foreign", memberOf(nodeID(1)))
	foreign.Cluster = ring.ClusterID{2}
	for _, c := range []struct {
		name      string
		form      []byte
		installed bool
		err       error
	}{
		{"newer", second.Append(nil), true, nil},
		{"the same", second.Append(nil), false, nil},
		{"older", documentOf(1, "first", memberOf(nodeID(1))).Append(nil), false, nil},
		{"of another cluster", foreign.Append(nil), false, ErrForeign},
		{"another of its epoch", documentOf(2, "other", memberOf(nodeID(1))).Append(nil), false, ErrDiverged},
		{"garbage", []byte("\x01garbage"), false, ring.ErrCorrupt},
	} {
		installed, err := a.Install(c.form)
		if installed != c.installed || !errors.Is(err, c.err) {
			t.Errorf("%s: %v, %v", c.name, installed, err)
		}
	}
	if err := a.Create(documentOf(1, "again", memberOf(nodeID(1)))); err == nil {
		t.Error("a member of one cluster created another")
	}
	if diff := cmp.Diff(second, n.start(t, nodeID(1)).Current()); diff != "" {
		t.Errorf("after a restart: %s", diff)
	}
}

func TestForceOvertakesTheLost(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		n := newMemNet(1)
		defer n.close()
		nodes := cluster(t, n, 3)
		n.cut[nodeID(1)] = true
		for i := range 5 {
			if _, err := nodes[1].Propose(t.Context(), adding(nodeID(20+i))); err != nil {
				t.Fatal(err)
			}
			n.start(t, nodeID(20+i))
		}
		forced, err := nodes[0].Force(func(d *ring.Document) (*ring.Document, error) {
			return documentOf(0, "forced", memberOf(nodeID(1)), memberOf(nodeID(2))), nil
		})
		if err != nil || forced.Epoch != 1+ForcedEpochs {
			t.Fatalf("forced: %v, %v", forced, err)
		}
		synctest.Wait()
		delete(n.cut, nodeID(1))
		if installed, err := nodes[1].Fetch(t.Context(), nodeID(1)); !installed || err != nil {
			t.Fatalf("the lost one does not follow: %v, %v", installed, err)
		}
		if _, err := nodes[1].Propose(t.Context(), adding(nodeID(30))); err != nil {
			t.Errorf("after a forced document: %v", err)
		}
	})
}

func TestOnlyMembersVote(t *testing.T) {
	n := newMemNet(1)
	defer n.close()
	one := cluster(t, n, 1)[0]
	outsider := n.start(t, nodeID(5))
	_, r := newRound(one.state, nodeID(1), ballot{})
	request := r.request()
	reply, err := decodeMessage(outsider.Handle(nodeID(1), request.append(nil)))
	if err == nil && reply.kind == behind {
		m := r.withBase()
		reply, err = decodeMessage(outsider.Handle(nodeID(1), m.append(nil)))
	}
	if err != nil || reply.kind != abstain || outsider.Current() != nil {
		t.Errorf("an outsider takes nothing and abstains: %v, kind %d, %v", err, reply.kind, outsider.Current())
	}
	if _, err := outsider.Install(r.withBase().base); err != nil {
		t.Fatal(err)
	}
	reply, err = decodeMessage(outsider.Handle(nodeID(1), request.append(nil)))
	if err != nil || reply.kind != abstain {
		t.Errorf("an outsider that has the document abstains: %v, kind %d", err, reply.kind)
	}
	if _, err := outsider.Fetch(t.Context(), nodeID(8)); err == nil {
		t.Error("nothing was fetched from nobody, and that is no error")
	}
	r.take(nodeID(5), message{kind: promise, epoch: request.epoch, ballot: request.ballot})
	if r.settled() {
		t.Error("an outsider's promise counts")
	}
	reply, err = decodeMessage(one.Handle(nodeID(3), request.append(nil)))
	if err != nil || reply.kind != abstain {
		t.Errorf("a ballot that is not the sender's: %v, kind %d", err, reply.kind)
	}
}

func TestTheValueOfTheHighestBallotIsDriven(t *testing.T) {
	members := []ring.Member{memberOf(nodeID(1)), memberOf(nodeID(2)), memberOf(nodeID(3))}
	s, _, err := state{}.withDocument(documentOf(1, "first", members...).Append(nil))
	if err != nil {
		t.Fatal(err)
	}
	low, high := documentOf(2, "low", members...).Append(nil), documentOf(2, "high", members...).Append(nil)
	for _, order := range [][2]int{{2, 3}, {3, 2}} {
		_, r := newRound(s, nodeID(1), ballot{counter: 9})
		for _, voter := range order {
			reply := message{kind: promise, epoch: 2, ballot: r.ballot, accepted: ballot{counter: uint64(voter)}, value: low}
			if voter == 3 {
				reply.value = high
			}
			r.take(nodeID(voter), reply)
			r.take(nodeID(voter), reply) // a copy counts once
		}
		r.take(nodeID(1), message{kind: vote, epoch: 2, ballot: r.ballot}) // nobody was asked for one
		if !r.settled() || r.answers != 2 {
			t.Fatalf("%d promises counted", r.answers)
		}
		r.propose([]byte("its own"))
		if !slices.Equal(r.value, high) || r.settled() {
			t.Errorf("with promises of %v, %q is proposed", order, r.value)
		}
	}
}

func TestADocumentOfAnotherHistoryGetsNoVote(t *testing.T) {
	one := documentOf(1, "one", memberOf(nodeID(1)), memberOf(nodeID(2)))
	other := documentOf(1, "other", memberOf(nodeID(1)), memberOf(nodeID(2)))
	n := newMemNet(1)
	defer n.close()
	for i, d := range []*ring.Document{one, other} {
		if err := n.start(t, nodeID(i+1)).Create(d); err != nil {
			t.Fatal(err)
		}
	}
	_, r := newRound(n.nodes[nodeID(1)].state, nodeID(1), ballot{})
	for _, ask := range []kind{prepare, accept} {
		request := r.request()
		request.kind = ask
		reply, err := decodeMessage(n.nodes[nodeID(2)].Handle(nodeID(1), request.append(nil)))
		if err != nil || reply.kind != abstain || string(reply.value) != ErrDiverged.Error() {
			t.Errorf("kind %d: %v, %d %q", ask, err, reply.kind, reply.value)
		}
	}
}
