// Package repair makes replicas converge without a client reading them: it
// replays hints, exchanges hash trees between owners, fills the partitions that
// move here and drops those that have moved away, all under one admission
// controller. It does not mend what a read finds, decide who owns what or who is
// up, or know the stream that its messages travel by (package cluster does).
package repair

import (
	"context"
	"sync"
	"sync/atomic"
	"time"

	"github.com/rs/zerolog"

	"cartwheel/cluster/ring"
	"cartwheel/store"
	"cartwheel/store/version"
)

// Peers is what repair sees of the cluster. It is safe for concurrent use. Self, Ring
// and Up are quick, and do not call the Repair back.
type Peers interface {
	Self() ring.NodeID
	// Ring returns the present ring. It never goes back to an older epoch.
	Ring() *ring.Ring
	// Up says whether that node is believed to be up.
	Up(id ring.NodeID) bool
	// Tried says whether it is known at all: an attempt to connect has ended, in whatever way.
	Tried(id ring.NodeID) bool
	// Call has that node's Handle answer msg, where both are on the same epoch.
	// It blocks until then, until it has failed or until ctx is done.
	Call(ctx context.Context, to ring.NodeID, msg []byte) (reply []byte, err error)
}

// Store is what repair uses of a store.Store, which documents the methods.
type Store interface {
	NowMS() int64
	LoneHLC(nowMS int64) (version.HLC, error)
	TreesReady() <-chan struct{}
	Root(p ring.Partition) uint64
	Leaves(p ring.Partition) [store.Leaves]uint64
	PartitionCounts(db uint8, p ring.Partition) store.Counts

	Scan(first, last ring.Token, visit func(k store.Key, o *version.Object) bool) error
	GetEncoded(db uint8, user []byte, dst []byte) (text []byte, seq uint64, err error)
	MergeFormed(db uint8, user []byte, nowMS int64, remote *version.Object, form []byte, o *version.Object, from store.Levels) (seq uint64, changed bool, err error)
	Commit(seq uint64) error
	CommitAll() error
	Sync() error
	DropPartition(p ring.Partition) error

	Levels(p ring.Partition) store.Levels
	Purgeable(k store.Key, o *version.Object) bool
	Purge(keys []store.Key) error
	RaiseStable(to map[ring.Partition]version.HLC) error
	RaisePurge(to map[ring.Partition]version.HLC) error
	Fence(at version.HLC, partitions []ring.Partition) error
	TreesWhole() bool
	HintPartitions() (map[ring.Partition]ring.NodeID, error)
	Refilling(p ring.Partition) bool
	Doubts(p ring.Partition) uint64
	Distrust(purged map[ring.Partition]version.HLC) error
	Trust(filled map[ring.Partition]store.Filled) (trusted []ring.Partition, err error)

	FlushMarks() [store.Databases]version.HLC
	RaiseMarks(marks [store.Databases]version.HLC) error

	HintOwners() []store.HintStat
	Hints(owner ring.NodeID, from store.Key, countMax, bytesMax int, visit func(k store.Key, o *version.Object, text []byte) bool) (next store.Key, err error)
	RemoveHint(owner ring.NodeID, k store.Key, sent *version.Object) (seq uint64, err error)
	RepairsOwed() []ring.NodeID
	RepairOwed(owner ring.NodeID) []ring.Partition
	RepairDone(owner ring.NodeID, p ring.Partition) (seq uint64, err error)
}

// Options configures a Repair. The zero value of a field means its default.
type Options struct {
	Store Store
	Peers Peers
	// Filled proposes the ring document in which these moves have taken effect, which
	// were filled at that epoch. It returns when that is agreed, or why it was not:
	// then it is called again.
	Filled func(ctx context.Context, epoch uint64, done []ring.Move) error
	// ForegroundP99 returns how long clients have waited of late; 0: there are
	// none. It must be cheap. Default: the rate stays at RateMax.
	ForegroundP99 func() time.Duration
	// PeersRate returns the least ClientsRate of the peers that have clients; 0: none
	// has. It must be cheap. Default: none has.
	PeersRate func() int64
	// Now is the wall clock. Default: time.Now.
	Now func() time.Time
	// After is how repair waits. Default: time.After.
	After func(time.Duration) <-chan time.Time
	// Log receives what there is to say. Default: nothing.
	Log zerolog.Logger

	// ExchangeInterval is the pause between two exchanges with one peer.
	// Default: 10 s.
	ExchangeInterval time.Duration
	// NoExchanges leaves replicas to hints and reads: for tests of these, which an
	// exchange would mend before anybody looks.
	NoExchanges bool
	// StabilityInterval is the pause between two rounds that find out what is
	// stable. Default: ExchangeInterval.
	StabilityInterval time.Duration
	// Barrier returns when each write has been stored that had got its dot before and
	// is stored as a hint: such dots are not given under a partition's lock. Default:
	// there are none.
	Barrier func()
	// LeafPause is the pause between the two comparisons of leaves: what
	// differs in one only was a write in flight. Default: 25 ms.
	LeafPause time.Duration
	// DropGrace is how long a partition is kept after it has moved away.
	// Default: 30 s.
	DropGrace time.Duration
	// FilledWait is how long a filled move waits for others, so that they share
	// an epoch. Default: 1 s.
	FilledWait time.Duration
	// CallTimeout bounds one call, and FilledTimeout one Filled. Default: 10 s and 30 s.
	CallTimeout, FilledTimeout time.Duration

	// RateMin and RateMax are between what bytes a second the admission
	// controller steers. Default: 1 MiB and 96 MiB.
	RateMin, RateMax int64
	// CallsMax is how many calls may be under way at once. Default: 4.
	CallsMax int
	// ServedMax is how many peers' messages are answered at once; to more the
	// answer is to come back later. Default: 16.
	ServedMax int
}

func (o Options) withDefaults() Options {
	if o.Now == nil {
		o.Now = time.Now
	}
	if o.After == nil {
		o.After = time.After
	}
	if o.PeersRate == nil {
		o.PeersRate = func() int64 { return 0 }
	}
	if o.Filled == nil {
		o.Filled = func(context.Context, uint64, []ring.Move) error { return nil }
	}
	orElse(&o.ExchangeInterval, 10*time.Second)
	orElse(&o.StabilityInterval, o.ExchangeInterval)
	if o.Barrier == nil {
		o.Barrier = func() {}
	}
	orElse(&o.LeafPause, 25*time.Millisecond)
	orElse(&o.DropGrace, 30*time.Second)
	orElse(&o.FilledWait, time.Second)
	orElse(&o.CallTimeout, 10*time.Second)
	orElse(&o.FilledTimeout, 30*time.Second)
	orElse(&o.RateMin, 1<<20)
	orElse(&o.RateMax, 96<<20)
	o.RateMax = max(o.RateMax, o.RateMin)
	orElse(&o.CallsMax, 4)
	orElse(&o.ServedMax, 16)
	return o
}

func orElse[T comparable](field *T, otherwise T) {
	var zero T
	if *field == zero {
		*field = otherwise
	}
}

// A Repair works for one node. Its methods are safe for concurrent use.
//
//  1. One goroutine plans: it derives from the ring, from who is up and from what
//     the store holds which tasks there are to be, and starts those that are due,
//     each in a goroutine of its own, a bounded number of each kind (schedule.go).
//  2. A task talks to one peer. All that tasks send, and all that is served to
//     others, is paid for at one admission controller (admission.go).
//  3. A task that fails is tried again, later each time. None keeps a position: what
//     has been done shows in the trees, so that it goes on where it was.
type Repair struct {
	opts      Options
	self      ring.NodeID
	log       zerolog.Logger
	admission *admission
	engaged   *engagements
	served    chan struct{} // holds a token for each message being answered
	counters  counters
	shown     shown

	ctx     context.Context // done when Stop was called
	cancel  context.CancelFunc
	started atomic.Bool
	wake    chan struct{} // holds a token where there may be something to do
	tasks   sync.WaitGroup

	kicks kicks

	mu       sync.Mutex // guards what follows; nothing is called that blocks while it is held
	schedule schedule
	ring     *ring.Ring // that the plan was made for
	shared   map[ring.NodeID][]ring.Partition
	fills    map[ring.Move]*fill
	filling  filling
	shrinks  bool                         // there are moves to nobody
	departs  bool                         // this node is leaving, and owns nothing any more
	proposed proposal                     // the latest that was agreed to
	foreign  map[ring.Partition]time.Time // not of this node, and since when
	dropping map[ring.Partition]bool
	owed     map[owedKey]*owedRepair
	settling settling
	round    *round // that this node leads; nil: none is under way
	leads    []ring.Partition
	held     map[ring.Partition]hold // what holds back those that it leads
	refills  map[ring.Partition]*refill
	swept    map[ring.NodeID]uint64 // the epoch that hints for a node that is down were last looked through at
}

// New returns a Repair that serves, but does nothing by itself until Start.
func New(opts Options) *Repair {
	opts = opts.withDefaults()
	r := &Repair{
		opts:      opts,
		self:      opts.Peers.Self(),
		log:       opts.Log,
		admission: newAdmission(&opts),
		engaged:   newEngagements(opts.Now),
		served:    make(chan struct{}, opts.ServedMax),
		wake:      make(chan struct{}, 1),
		schedule:  newSchedule(),
		fills:     map[ring.Move]*fill{},
		foreign:   map[ring.Partition]time.Time{},
		dropping:  map[ring.Partition]bool{},
		owed:      map[owedKey]*owedRepair{},
		swept:     map[ring.NodeID]uint64{},
		held:      map[ring.Partition]hold{},
		refills:   map[ring.Partition]*refill{},
		settling:  newSettling(),
	}
	r.shown.begin(opts.Peers.Ring(), opts.Now())
	r.ctx, r.cancel = context.WithCancel(context.Background())
	return r
}

// Start begins the work, once.
func (r *Repair) Start() {
	if r.started.CompareAndSwap(false, true) {
		r.tasks.Go(r.run)
	}
}

// Stop ends the work and returns when nothing of it is under way. Handle answers
// no more after it; what it is answering is for its callers to wait for.
func (r *Repair) Stop() {
	r.cancel()
	r.tasks.Wait()
}

// PeerUp says that a node has come up: its hints are replayed and its partitions
// compared at once. It does not block, whatever locks the caller holds.
func (r *Repair) PeerUp(id ring.NodeID) {
	r.kicks.add(id)
	r.poke()
}

// RingChanged says that Peers.Ring returns another one. It does not block either.
func (r *Repair) RingChanged() { r.poke() }

// ExchangeNow has the exchanges that this node begins be due. It does not block
// either.
func (r *Repair) ExchangeNow() {
	for _, m := range r.opts.Peers.Ring().Members() {
		r.kicks.add(m.ID)
	}
	r.poke()
}

// up says whether a node can be asked; this one always can.
func (r *Repair) up(id ring.NodeID) bool { return id == r.self || r.opts.Peers.Up(id) }

// poke makes the planner look again.
func (r *Repair) poke() {
	select {
	case r.wake <- struct{}{}:
	default:
	}
}

// sleep waits, or returns why it did not.
func (r *Repair) sleep(ctx context.Context, d time.Duration) error {
	if d <= 0 {
		return ctx.Err()
	}
	select {
	case <-ctx.Done():
		return ctx.Err()
	case <-r.opts.After(d):
		return nil
	}
}

func (r *Repair) treesReady() bool {
	select {
	case <-r.opts.Store.TreesReady():
		return true
	default:
		return false
	}
}
