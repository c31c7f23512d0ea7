package member

import (
	"bytes"
	"fmt"
	"math/rand/v2"
	"slices"
	"strings"
	"testing"

	"cartwheel/cluster/ring"
)

// The model: a few nodes that are nothing but their state and their disk, a
// network that is a bag of messages, and a random driver that delivers, drops,
// repeats, crashes and restarts. It steps the same state and round that an
// Agreement does.

// A breakage breaks the protocol, to see the model notice.
type breakage struct {
	forgetsPromises bool // a restart loses the acceptor's record
	ignoresAccepted bool // a proposer ignores what promises say was accepted
	adoptsAny       bool // it adopts the value of the lowest ballot, not the highest
}

// rates are how often, in a hundred steps, something else happens than that a
// message is delivered, how many of a hundred messages are lost or repeated, and
// how many of a hundred changes change who is a member.
type rates struct{ proposal, crash, restart, cut, lost, repeated, membership int }

type modelNode struct {
	id       ring.NodeID
	document []byte // on disk
	acceptor []byte // on disk
	up       bool
	side     int // what is sent to another side is lost
	state    state
	round    *round
	own      []byte
	beaten   ballot
}

type envelope struct {
	from, to ring.NodeID
	reply    bool
	body     []byte
}

type model struct {
	rng       *rand.Rand
	broken    breakage
	rates     rates
	nodes     []*modelNode
	bag       []envelope
	committed map[uint64][]byte // by epoch, wherever it was installed
	changes   int
	log       []string
}

const bagMax = 400

func newModel(seed uint64, broken breakage) *model {
	m := &model{rng: rand.New(rand.NewPCG(seed, 1)), broken: broken, committed: make(map[uint64][]byte)}
	m.rates = rates{
		proposal: 1 + m.rng.IntN(20), crash: m.rng.IntN(4), restart: 1 + m.rng.IntN(8),
		cut: m.rng.IntN(10), lost: m.rng.IntN(30), repeated: m.rng.IntN(30), membership: 100 * m.rng.IntN(2),
	}
	for i := range 1 + m.rng.IntN(7) {
		m.nodes = append(m.nodes, &modelNode{id: nodeID(i + 1), up: true})
	}
	var members []ring.Member
	for _, n := range m.nodes[:1+m.rng.IntN(len(m.nodes))] {
		members = append(members, memberOf(n.id))
	}
	first := documentOf(1, "first", members...)
	for i := range members {
		m.nodes[i].document = first.Append(nil)
	}
	for _, n := range m.nodes {
		m.start(n)
	}
	return m
}

func nodeID(i int) ring.NodeID { return ring.NodeID{0: byte(i >> 8), 1: byte(i), 19: 0xee} }

func memberOf(id ring.NodeID) ring.Member {
	return ring.Member{ID: id, Peer: fmt.Sprintf("10.0.%d.%d:7", id[0], id[1]), Weight: 1, State: ring.Active}
}

// documentOf returns a valid document that mark tells from others.
func documentOf(epoch uint64, mark string, members ...ring.Member) *ring.Document {
	members = slices.Clone(members)
	slices.SortFunc(members, func(a, b ring.Member) int { return bytes.Compare(a.ID[:], b.ID[:]) })
	members[0].Zone = mark
	return &ring.Document{
		Cluster: ring.ClusterID{1}, Epoch: epoch, Partitions: 1, Replicas: 1,
		Members: members, Owners: [][]ring.NodeID{{members[0].ID}},
	}
}

func (m *model) node(id ring.NodeID) *modelNode {
	return m.nodes[slices.IndexFunc(m.nodes, func(n *modelNode) bool { return n.id == id })]
}

func (m *model) note(format string, args ...any) {
	if len(m.log) == 200 {
		m.log = m.log[1:]
	}
	m.log = append(m.log, fmt.Sprintf(format, args...))
}

func (m *model) start(n *modelNode) {
	storage := &memStorage{document: n.document, acceptor: n.acceptor}
	if m.broken.forgetsPromises {
		storage.acceptor = nil
	}
	s, err := loadState(storage)
	if err != nil {
		panic(err)
	}
	n.up, n.state, n.round, n.beaten = true, s, nil, ballot{}
}

func (m *model) crash(n *modelNode) {
	m.note("%x crashes", n.id[1])
	n.up, n.state, n.round = false, state{}, nil
}

// become saves the next state; now and then the node crashes on the way.
func (m *model) become(n *modelNode, next state) bool {
	steps := []func(){
		func() {
			if next.document != n.state.document {
				n.document = next.form
			}
		},
		func() {
			if next.record != n.state.record {
				n.acceptor = next.record.append(nil)
			}
		},
		func() { n.state = next },
	}
	for _, step := range steps {
		if m.rng.IntN(150) == 0 {
			m.crash(n)
			return false
		}
		step()
	}
	return m.check(n)
}

// check holds the promise: one document of each epoch.
func (m *model) check(n *modelNode) bool {
	d := n.state.document
	if d == nil {
		return true
	}
	before, known := m.committed[d.Epoch]
	if known && !bytes.Equal(before, n.state.form) {
		panic(fmt.Sprintf("two documents of epoch %d", d.Epoch))
	}
	if !known {
		m.committed[d.Epoch] = n.state.form
		m.note("%x commits epoch %d, %d members", n.id[1], d.Epoch, len(d.Members))
	}
	return true
}

func (m *model) send(e envelope) {
	if len(m.bag) < bagMax && m.node(e.from).side == m.node(e.to).side {
		m.bag = append(m.bag, e)
	}
}

func (m *model) ask(n *modelNode) {
	request := n.round.request()
	for id := range n.state.document.Members {
		m.send(envelope{from: n.id, to: n.state.document.Members[id].ID, body: request.append(nil)})
	}
}

// propose starts a round of a random change, membership included.
func (m *model) propose(n *modelNode) {
	if !n.up || n.state.document == nil {
		return
	}
	next, r := newRound(n.state, n.id, n.beaten)
	if !m.become(n, next) {
		return
	}
	m.changes++
	d := n.state.document
	members := slices.Clone(d.Members)
	other := m.nodes[m.rng.IntN(len(m.nodes))].id
	at := slices.IndexFunc(members, func(member ring.Member) bool { return member.ID == other })
	switch {
	case m.rng.IntN(100) >= m.rates.membership:
	case at < 0:
		members = append(members, memberOf(other))
	case len(members) > 1 && m.rng.IntN(2) == 0:
		members = slices.Delete(members, at, at+1)
	}
	n.own = documentOf(d.Epoch+1, fmt.Sprintf("change %d", m.changes), members...).Append(nil)
	n.round = r
	m.ask(n)
}

func (m *model) deliver(e envelope) {
	n := m.node(e.to)
	if !n.up {
		return
	}
	msg, err := decodeMessage(e.body)
	if err != nil {
		panic(err)
	}
	if !e.reply {
		next, reply := n.state.answer(n.id, e.from, msg)
		if m.become(n, next) {
			m.send(envelope{from: n.id, to: e.from, reply: true, body: reply.append(nil)})
		}
		return
	}
	if msg.kind == newer && len(msg.value) > 0 {
		n.round = nil
		m.install(n, msg.value)
		return
	}
	if n.round != nil {
		if msg.kind == behind {
			again := n.round.withBase()
			m.send(envelope{from: n.id, to: e.from, body: again.append(nil)})
			return
		}
		if m.broken.adoptsAny && !n.round.adoptedAt.none() && msg.accepted.less(n.round.adoptedAt) && msg.kind == promise && !msg.accepted.none() {
			n.round.adoptedAt = ballot{}
		}
		n.round.take(e.from, msg)
		m.advance(n)
	}
}

// advance does what the owner of a round does after a reply.
func (m *model) advance(n *modelNode) {
	r := n.round
	n.beaten = r.beatenBy
	switch {
	case r.overtaken():
		n.round = nil
		from := r.newer
		fetching := message{kind: fetch, cluster: ring.ClusterID{1}, epoch: n.state.document.Epoch + 1}
		m.send(envelope{from: n.id, to: from, body: fetching.append(nil)})
	case r.settled() && !r.voting:
		if m.broken.ignoresAccepted {
			r.adopted, r.adoptedAt = nil, ballot{}
		}
		if r.lacks() {
			wanted := r.wanted()
			m.send(envelope{from: n.id, to: r.adoptedBy, body: wanted.append(nil)})
			return
		}
		r.propose(n.own)
		m.ask(n)
	case r.settled():
		n.round = nil
		if m.install(n, r.value) {
			told := message{kind: committed, cluster: ring.ClusterID{1}, value: r.value}
			for _, other := range m.nodes {
				m.send(envelope{from: n.id, to: other.id, body: told.append(nil)})
			}
		}
	}
}

func (m *model) install(n *modelNode, form []byte) bool {
	next, _, err := n.state.withDocument(form)
	if err != nil {
		panic(err)
	}
	return m.become(n, next)
}

func (m *model) step() {
	n := m.nodes[m.rng.IntN(len(m.nodes))]
	switch dice := m.rng.IntN(100); {
	case dice < m.rates.proposal:
		m.propose(n)
	case dice < m.rates.proposal+m.rates.crash:
		if n.up {
			m.crash(n)
		}
	case dice < m.rates.proposal+m.rates.crash+m.rates.restart:
		if !n.up {
			m.start(n)
		}
	case dice < m.rates.proposal+m.rates.crash+m.rates.restart+m.rates.cut:
		n.side = m.rng.IntN(2)
	case len(m.bag) > 0:
		i := m.rng.IntN(len(m.bag))
		e := m.bag[i]
		if m.rng.IntN(100) >= m.rates.repeated { // else it comes once more
			m.bag[i] = m.bag[len(m.bag)-1]
			m.bag = m.bag[:len(m.bag)-1]
		}
		if m.rng.IntN(100) >= m.rates.lost || e.from == e.to {
			m.deliver(e)
		}
	}
}

// quiet heals everything and lets each node in turn have a change committed.
func (m *model) quiet() error {
	for _, n := range m.nodes {
		n.side = 0
	}
	for _, n := range m.nodes {
		before := uint64(len(m.committed))
		for attempt := 0; uint64(len(m.committed)) == before; attempt++ {
			if attempt == 200 {
				return fmt.Errorf("node %x makes no progress", n.id[1])
			}
			for _, other := range m.nodes {
				if !other.up {
					m.start(other)
				}
			}
			m.propose(n)
			for len(m.bag) > 0 {
				e := m.bag[0]
				m.bag = m.bag[1:]
				m.deliver(e)
			}
			if n.state.document == nil {
				break // nobody has told it of the cluster yet
			}
		}
	}
	return nil
}

func runModel(seed uint64, steps int, broken breakage) (m *model, err error) {
	m = newModel(seed, broken)
	defer func() {
		if p := recover(); p != nil {
			err = fmt.Errorf("%v\n%s", p, strings.Join(m.log, "\n"))
		}
	}()
	for range steps {
		m.step()
	}
	return m, m.quiet()
}

func TestAnEpochHasOneDocument(t *testing.T) {
	seeds := 2000
	if testing.Short() {
		seeds = 200
	}
	base, epochs := rand.Uint64(), 0
	for i := range seeds {
		seed := base + uint64(i)
		m, err := runModel(seed, 3000, breakage{})
		if err != nil {
			t.Fatalf("seed %d: %v", seed, err)
		}
		epochs += len(m.committed)
	}
	t.Logf("%d epochs in %d runs", epochs, seeds)
	if epochs < 5*seeds {
		t.Errorf("%d epochs in %d runs: the model hardly gets anywhere (seed %d)", epochs, seeds, base)
	}
}

func TestTheModelNoticesABrokenProtocol(t *testing.T) {
	for name, broken := range map[string]breakage{
		"promises forgotten over a restart":    {forgetsPromises: true},
		"an accepted value not driven further": {ignoresAccepted: true},
		"the wrong accepted value driven":      {adoptsAny: true},
	} {
		t.Run(name, func(t *testing.T) {
			for seed := range uint64(20000) {
				if _, err := runModel(seed, 3000, broken); err != nil && strings.Contains(err.Error(), "two documents") {
					return
				}
			}
			t.Error("20000 runs without two documents of one epoch")
		})
	}
}
