package member

import (
	"context"
	"errors"
	"fmt"
	"math/rand/v2"
	"sync"
	"sync/atomic"
	"time"

	"github.com/rs/zerolog"

	"cartwheel/cluster/ring"
	"cartwheel/cluster/sabotage"
)

// Storage keeps what an Agreement must remember over restarts. Each of the two
// is replaced as a whole, and is durable when its Save returns.
type Storage interface {
	// Load returns what was saved last, nil where nothing was.
	Load() (document, acceptor []byte, err error)
	SaveDocument([]byte) error
	SaveAcceptor([]byte) error
}

// A Messenger carries a request to the Handle of another node's Agreement and
// returns its reply, whose memory is the caller's, or an error once ctx is done.
// It may be called from several goroutines, and must say truthfully who asks.
type Messenger interface {
	Call(ctx context.Context, to ring.NodeID, request []byte) (reply []byte, err error)
}

// ErrNoDocument: no ring document is known here yet.
var ErrNoDocument = errors.New("no ring document is known yet")

// callTimeout bounds each request to another node.
const callTimeout = 2 * time.Second

// Options of an Agreement. Self, Storage and Messenger are required.
type Options struct {
	Self      ring.NodeID
	Storage   Storage
	Messenger Messenger

	// OnDocument is told of each document that is installed here, by rising epoch,
	// and by New of the one that was stored. It is called with a lock held: it
	// returns soon, and calls none of the Agreement's methods but Current.
	OnDocument func(*ring.Document)

	Log zerolog.Logger

	// Rand returns a random number from 0 to n-1. Default: math/rand/v2.
	Rand func(n int64) int64
	// After is the clock of the pauses between attempts. Default: time.After.
	After func(time.Duration) <-chan time.Time
}

// An Agreement is one node's part in agreeing on the ring document: acceptor,
// proposer and keeper of the committed one. Its methods may be called from any
// goroutine.
//
// What it has promised lives in its Storage: a storage that is lost, or an older
// copy put back, must come with another NodeID.
type Agreement struct {
	opts    Options
	current atomic.Pointer[ring.Document]

	mu    sync.Mutex // guards state; held over Storage and OnDocument
	state state

	proposing chan struct{} // holds one token: one round at a time
	teller    teller
}

// New returns an Agreement that goes on from what its storage holds. Close it.
func New(opts Options) (*Agreement, error) {
	if opts.Rand == nil {
		opts.Rand = rand.Int64N
	}
	if opts.After == nil {
		opts.After = time.After
	}
	if opts.OnDocument == nil {
		opts.OnDocument = func(*ring.Document) {}
	}
	stored, err := loadState(opts.Storage)
	if err != nil {
		return nil, fmt.Errorf("loading the ring document: %w", err)
	}
	a := &Agreement{opts: opts, state: stored, proposing: make(chan struct{}, 1)}
	if stored.document != nil {
		a.current.Store(stored.document)
		opts.OnDocument(stored.document)
	}
	a.teller.start(a)
	return a, nil
}

func loadState(storage Storage) (state, error) {
	document, acceptor, err := storage.Load()
	if err != nil {
		return state{}, err
	}
	var s state
	if len(document) > 0 {
		if s, _, err = s.withDocument(document); err != nil {
			return state{}, err
		}
	}
	if len(acceptor) > 0 {
		if s.record, err = decodeRecord(acceptor); err != nil {
			return state{}, err
		}
	}
	return s, nil
}

// Close stops telling others of commits and waits for what it has begun. Propose
// must have returned.
func (a *Agreement) Close() { a.teller.stop() }

// Current returns the committed document, or nil before one is known.
func (a *Agreement) Current() *ring.Document { return a.current.Load() }

// Create makes the first document of a new cluster the committed one.
func (a *Agreement) Create(first *ring.Document) error {
	if err := first.Validate(); err != nil {
		return fmt.Errorf("creating a cluster: %w", err)
	}
	a.mu.Lock()
	defer a.mu.Unlock()
	if a.state.document != nil {
		return fmt.Errorf("creating a cluster: this node belongs to cluster %s", a.state.document.Cluster)
	}
	next, _, err := a.state.withDocument(first.Append(nil))
	if err != nil {
		return fmt.Errorf("creating a cluster: %w", err)
	}
	return a.become(next)
}

// ErrStorage says that a document could not be stored, and so not be installed.
var ErrStorage = errors.New("the storage fails")

// Install takes the form of a document that a peer says is committed, if it is
// newer than the one here and of the same cluster. A node that has none takes
// any: its caller answers for having asked a node of the right cluster. (Of what
// others send by themselves, it takes only a document that lists it.)
func (a *Agreement) Install(form []byte) (installed bool, err error) {
	a.mu.Lock()
	defer a.mu.Unlock()
	next, installed, err := a.state.withDocument(form)
	if err != nil {
		return false, fmt.Errorf("installing a ring document: %w", err)
	}
	if err := a.become(next); err != nil {
		return false, fmt.Errorf("%w: %w", ErrStorage, err)
	}
	return installed, nil
}

// Fetch asks a node for its document and installs it if it is newer, for whoever
// has heard of an epoch above Current's.
func (a *Agreement) Fetch(ctx context.Context, from ring.NodeID) (installed bool, err error) {
	m := message{kind: fetch, epoch: 1}
	if d := a.Current(); d != nil {
		m.cluster, m.epoch = d.Cluster, d.Epoch+1
	}
	ctx, cancel := context.WithTimeout(ctx, callTimeout)
	defer cancel()
	reply, err := a.call(ctx, from, &m, m.append(nil))
	if err != nil {
		return false, fmt.Errorf("fetching the ring document of %s: %w", from, err)
	}
	switch {
	case reply.kind == newer:
		return a.Install(reply.value)
	case string(reply.value) == nothingNewer:
		return false, nil
	}
	return false, fmt.Errorf("fetching the ring document of %s: %.200s", from, reply.value)
}

// Handle answers a request of another node, for which the transport vouches. It
// blocks for as long as Storage does, and keeps none of request.
func (a *Agreement) Handle(from ring.NodeID, request []byte) (reply []byte) {
	m, err := decodeMessage(request)
	if err != nil {
		m = message{kind: abstain, value: []byte(err.Error())}
		return m.append(nil)
	}
	answer := a.answer(from, m)
	return answer.append(nil)
}

// answer takes one step of the acceptor, durably.
func (a *Agreement) answer(from ring.NodeID, m message) message {
	a.mu.Lock()
	defer a.mu.Unlock()
	if m.cluster == (ring.ClusterID{}) && m.kind == fetch && a.state.document != nil {
		m.cluster = a.state.document.Cluster
	}
	next, reply := a.state.answer(a.opts.Self, from, m)
	if err := a.become(next); err != nil {
		a.opts.Log.Error().Err(err).Msg("a vote on the ring document is lost")
		return message{kind: abstain, cluster: m.cluster, epoch: m.epoch, ballot: m.ballot, value: []byte("the storage failed")}
	}
	return reply
}

// become makes the next state durable, and then the current one. Where the
// storage fails, what was not saved has not happened: nobody is told of it. mu is
// held.
func (a *Agreement) become(next state) error {
	if next.document != a.state.document {
		if err := a.opts.Storage.SaveDocument(next.form); err != nil {
			return fmt.Errorf("saving the ring document: %w", err)
		}
		a.state.document, a.state.form, a.state.sum = next.document, next.form, next.sum
		a.current.Store(next.document)
		a.opts.Log.Info().Uint64("epoch", next.document.Epoch).Int("members", len(next.document.Members)).
			Msg("the ring document is installed")
		a.opts.OnDocument(next.document)
	}
	if next.record != a.state.record {
		form := next.record.append(nil)
		if sabotage.On(sabotage.VoteForgotten) {
			form = nil
		}
		if err := a.opts.Storage.SaveAcceptor(form); err != nil {
			return fmt.Errorf("saving the acceptor record: %w", err)
		}
		a.state.record = next.record
	}
	return nil
}

// call sends a request, whose form that is, to a node, this one included.
func (a *Agreement) call(ctx context.Context, to ring.NodeID, m *message, form []byte) (message, error) {
	if to == a.opts.Self {
		return a.answer(to, *m), nil
	}
	reply, err := a.opts.Messenger.Call(ctx, to, form)
	if err != nil {
		return message{}, err
	}
	return decodeMessage(reply)
}
