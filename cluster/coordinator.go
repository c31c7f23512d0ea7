package cluster

import (
	"context"
	"crypto/tls"
	"errors"
	"fmt"
	"net"
	"sync"
	"sync/atomic"
	"time"

	"github.com/rs/zerolog"

	"cartwheel/cluster/member"
	"cartwheel/cluster/quorum"
	"cartwheel/cluster/repair"
	"cartwheel/cluster/ring"
	"cartwheel/cluster/wire"
	"cartwheel/store"
	"cartwheel/store/version"
)

// Options configures a node. The zero value of a field means its default.
type Options struct {
	Store store.Options
	// SyncOne makes one replica of a put durable before it is acknowledged, the
	// coordinator's (--sync one); Store.Sync is then SyncEverysec.
	SyncOne bool

	// PeerListen is the address that other nodes connect to. Default: none, the
	// node stays alone.
	PeerListen string
	// Self is what this node tells the others of itself; its ID and State do not
	// count. Peer may be "": the address that it listens on.
	Self ring.Member
	// Join are addresses of nodes of the cluster that a new node joins. Default:
	// it creates one.
	Join []string
	// Replace names, by its id, the beginning of that or an address, a dead member
	// whose place the node takes when it joins, its weight and zone too. Default:
	// nobody's.
	Replace string
	// Replicas is N for a new cluster. Default: 3.
	Replicas int
	// Secret is the cluster's. Default: none.
	Secret []byte
	// Network is how nodes reach each other. Default: TCP.
	Network Network
	// TLS, where there is one, protects what nodes say to each other but for gossip,
	// which the secret does. It has a certificate, and in RootCAs those of which the
	// others' must descend; their names do not count.
	TLS *tls.Config
	// Gossip says that nodes find out by memberlist, too, who is up, and of new
	// addresses. It needs a Network of the operating system.
	Gossip bool
	// Repair are bounds of the work in the background.
	Repair repair.Options
}

// A Network is how nodes reach each other.
type Network interface {
	Listen(address string) (net.Listener, error)
	Dial(ctx context.Context, address string) (net.Conn, error)
}

// A Coordinator runs reads and writes at the owners of their keys. It is safe
// for concurrent use.
//
// Reads and updates return a sequence: what they saw or changed may be
// acknowledged once Commit has returned for it. That lets all of a pipeline, and
// all pipelines that came in at once, share one commit.
//
// Locks are taken in this order: an operation's mu, then installing, then the
// store's and the links'.
type Coordinator struct {
	opts    Options
	log     zerolog.Logger
	store   *store.Store
	started time.Time
	run     [8]byte // names this process

	view       atomic.Pointer[view]
	installing sync.RWMutex // held while the ring is replaced, and while it must not be
	agreement  *member.Agreement
	repairing  atomic.Pointer[repair.Repair]
	liveness   *member.Liveness
	gossip     *member.Gossip
	port       *member.Port
	lives      lives
	life       life
	members    members
	unsent     unsent

	operations sync.Pool // of *operation
	young      young
	foreground foreground
	fallback   fallback
	executor   atomic.Pointer[quorum.Executor]
	settling   atomic.Bool   // a goroutine settles what the executor has ended
	deafUntil  atomic.Int64  // by uptime
	executes   chan struct{} // closed when there is an executor
	pollers    atomic.Pointer[[]quorum.Poller]
	polled     atomic.Uint32 // connections that were given to pollers
	durable    atomic.Uint64 // with SyncOne: what is on the disk
	stats      stats

	changed  atomic.Uint64 // counts what the topology depends on
	topology atomic.Pointer[seenTopology]

	strangers  atomic.Int64 // the second in which one was logged
	turnedAway atomic.Int64 // the second in which it was logged that one who had left was told so

	listener net.Listener
	running  sync.WaitGroup
	serving  context.Context // done when the node stops
	cancel   context.CancelFunc
	stop     chan struct{}
}

type stats struct {
	readRepairs, restamps, hints, standIns, stranded atomic.Uint64
}

// Open opens the local store as the only node of a ring, which no other can
// join.
func Open(opts store.Options) (*Coordinator, error) {
	return Start(context.Background(), Options{Store: opts, Replicas: 1})
}

// Start opens the local store and makes it a node of its ring: the one that it
// was part of, the one that Join names, or a new one. It blocks until the node
// knows its ring, or ctx is done.
func Start(ctx context.Context, opts Options) (_ *Coordinator, err error) {
	if opts.Replicas == 0 {
		opts.Replicas = 3
	}
	if opts.Network == nil {
		opts.Network = tcp{}
	}
	c := &Coordinator{opts: opts, log: opts.Store.Log, started: time.Now(), run: newRun(), stop: make(chan struct{}), executes: make(chan struct{})}
	c.young.wake = make(chan struct{}, 1)
	c.opts.TLS = peerTLS(opts.TLS)
	c.serving, c.cancel = context.WithCancel(context.Background())
	c.view.Store(&view{alone: true})
	opts.Store.Watermark = c.watermark
	opts.Store.SyncedOften = opts.SyncOne
	if c.store, err = store.Open(opts.Store); err != nil {
		return nil, err
	}
	defer func() {
		if err != nil {
			err = errors.Join(err, c.Close())
		}
	}()
	if err := c.loadLives(); err != nil {
		return nil, err
	}
	c.lives.saw(version.Clock{{Incarnation: c.store.Incarnation(), HLC: 0}})
	c.life.sure.Store(!c.store.Continued())
	c.startLiveness()
	c.members.byID = make(map[ring.NodeID]*peer)
	c.agreement, err = member.New(member.Options{
		Self: c.store.NodeID(), Storage: records{c.store}, Messenger: messenger{c}, Log: c.log,
		OnDocument: func(d *ring.Document) {
			if c.agreement != nil { // else it is the one that was stored, and New has yet to return
				c.onDocument(d)
			}
		},
	})
	if err != nil {
		return nil, err
	}
	if d := c.agreement.Current(); d != nil {
		c.onDocument(d)
	}
	if err := c.listen(); err != nil {
		return nil, err
	}
	if err := c.enter(ctx); err != nil {
		return nil, err
	}
	if opts.PeerListen != "" {
		if err := c.startBackground(); err != nil {
			return nil, err
		}
	}
	return c, nil
}

// watermark is the HLC below which a partition's dead objects may be purged. Alone,
// every owner has seen what this one has; otherwise what the rounds of package repair
// have found. While the node starts, nothing may.
func (c *Coordinator) watermark(p ring.Partition) version.HLC {
	switch v := c.view.Load(); {
	case v.ring == nil:
		return 0
	case v.alone && !c.store.HoldsHints(): // what they hold may be older than what is here
		return store.Everything
	}
	return c.store.Levels(p).Purge
}

func (c *Coordinator) startBackground() error {
	o := c.opts.Repair
	o.Store, o.Peers, o.Filled, o.Log = c.store, peers{c}, c.filled, c.log
	o.Barrier = c.fallback.barrier
	if o.ForegroundP99 == nil {
		o.ForegroundP99 = c.foregroundP99
	}
	o.PeersRate = c.peersRate
	r := repair.New(o)
	c.repairing.Store(r) // first: it is to hear of who comes up from now on
	r.Start()
	c.store.SetPace(r.Pace)
	c.running.Go(c.runHurry)
	c.running.Go(c.runPings)
	c.running.Go(c.runDeparture)
	return c.startGossip()
}

// Close ends all work, commits and syncs everything. No other call may be under
// way or follow.
func (c *Coordinator) Close() error {
	c.cancel()
	close(c.stop)
	if c.listener != nil {
		_ = c.listener.Close()
	}
	if c.agreement != nil {
		c.agreement.Close()
	}
	if c.gossip != nil {
		c.gossip.Leave()
		c.gossip.Stop()
	}
	if r := c.repairing.Load(); r != nil {
		r.Stop()
	}
	c.members.close()
	if c.port != nil {
		_ = c.port.Close()
	}
	if c.liveness != nil {
		c.liveness.Close()
	}
	c.running.Wait()
	if c.lives.seen.Load() != nil {
		c.saveLives()
	}
	return c.store.Close()
}

func (c *Coordinator) uptime() time.Duration { return time.Since(c.started) }

// Serve has an executor run the commands that other nodes forward.
func (c *Coordinator) Serve(x quorum.Executor) {
	if c.executor.Swap(&x) == nil {
		close(c.executes)
	}
}

// Poll has pollers, where there are any, watch what peers ask and reply, so that the goroutines that serve
// clients need not be told of it by others.
func (c *Coordinator) Poll(pollers []quorum.Poller) {
	if len(pollers) > 0 {
		c.pollers.Store(&pollers)
	}
}

// poller returns one of the pollers, nil if there is none.
func (c *Coordinator) poller() quorum.Poller {
	pollers := c.pollers.Load()
	if pollers == nil {
		return nil
	}
	return (*pollers)[int(c.polled.Add(1))%len(*pollers)]
}

// AwaitOwners returns when other owners have shown what they have purged of all that
// this node owns, or when it has waited for that long enough: half a second. Before that this
// node, if it was rolled back, may show its own clients what others have forgotten.
func (c *Coordinator) AwaitOwners(ctx context.Context) {
	if v := c.view.Load(); c.repairing.Load() != nil && !v.alone && !v.left {
		c.repairing.Load().WaitShown(ctx)
	}
}

// NodeID returns who this node is.
func (c *Coordinator) NodeID() ring.NodeID { return c.store.NodeID() }

// NowMS returns the wall clock in Unix milliseconds.
func (c *Coordinator) NowMS() int64 { return c.store.NowMS() }

// Prefetch says which keys are likely to be asked for next, at most
// store.PrefetchMax of them.
func (c *Coordinator) Prefetch(db uint8, keys [][]byte) { c.store.Prefetch(db, keys) }

// youngLife is how old the last dot of an incarnation may be for it not to be known
// here yet: nodes tell each other of theirs with each ping.
const youngLife = 5 * pingInterval

// Knows says whether a client can have got that clock from this cluster: it
// names no incarnation that never was, and nothing from the future.
func (c *Coordinator) Knows(clock version.Clock, nowMS int64) bool {
	alone := c.view.Load().alone
	for _, entry := range clock {
		if c.store.HadIncarnation(entry.Incarnation) || ofHint(entry.Incarnation) {
			continue
		}
		if _, known := c.lives.of(entry.Incarnation); known {
			continue
		}
		if alone || entry.HLC.Milliseconds() < nowMS-youngLife.Milliseconds() {
			return false
		}
	}
	highest := clock.MaxHLC()
	if highest <= c.store.LastHLC() {
		return true
	}
	return !alone && c.store.Observe(highest) == nil
}

// Saw makes the incarnations of a clock known: a client is about to get it.
func (c *Coordinator) Saw(clock version.Clock) {
	if !c.view.Load().alone {
		c.lives.saw(clock)
	}
}

// Commit returns when everything up to a sequence is as durable as the sync
// mode says. On an error it is not known what of it will be there.
func (c *Coordinator) Commit(seq uint64) error {
	if !c.opts.SyncOne {
		return wireError(c.store.Commit(seq))
	}
	if c.durable.Load() >= seq {
		return nil
	}
	if err := c.store.Commit(seq); err != nil {
		return wireError(err)
	}
	committed := c.store.Committed()
	if err := c.store.Sync(); err != nil {
		return wireError(err)
	}
	for {
		was := c.durable.Load()
		if was >= committed || c.durable.CompareAndSwap(was, committed) {
			return nil
		}
	}
}

// CommitReplica is Commit for what other nodes have coordinated: the one owner that --sync one asks for
// a copy on its disk is not this one.
func (c *Coordinator) CommitReplica(seq uint64) error { return wireError(c.store.Commit(seq)) }

// Committed returns the last sequence whose commit is done.
func (c *Coordinator) Committed() uint64 {
	if c.opts.SyncOne {
		return c.durable.Load()
	}
	return c.store.Committed()
}

// Sync returns when all that was changed before is on the disk.
func (c *Coordinator) Sync() error { return wireError(c.store.Sync()) }

// UpdateTogether changes the objects of several different keys of one slot, of
// which this node is an owner, all or none of them. apply says which it changed.
// It blocks until the owners have the changes.
func (c *Coordinator) UpdateTogether(db uint8, keys [][]byte, need quorum.Need, nowMS int64, apply func(objects []version.Object, changed []bool)) (seq uint64, err error) {
	storeKeys := make([]store.Key, len(keys))
	for i, key := range keys {
		storeKeys[i] = store.NewKey(db, key)
	}
	if c.view.Load().alone {
		seq, err = c.store.UpdateMany(storeKeys, nowMS, make([]version.Object, len(keys)), apply)
		return seq, wireError(err)
	}
	for _, key := range keys { // so that this node has what a quorum has
		var o version.Object
		if _, _, err := c.Read(db, key, need, &o, nil); err != nil {
			return 0, err
		}
	}
	objects := make([]version.Object, len(keys))
	var changes []bool
	var ops []*operation
	var waiters []*waiter
	var notify []func()
	err = func() error {
		c.installing.RLock()
		defer c.installing.RUnlock()
		v := c.view.Load()
		for _, key := range keys {
			w := newWaiter()
			op := c.newOperation(kindWrite, db, key, need, w)
			op.begin(v, v.partition(key))
			if err := op.canWrite(); err != nil {
				return err
			}
			op.vouch()
			if !op.place.holds() {
				return errNotOwner
			}
			ops, waiters = append(ops, op), append(waiters, w)
		}
		seq, err = c.store.UpdateMany(storeKeys, nowMS, objects, func(objects []version.Object, changed []bool) {
			apply(objects, changed)
			changes = changed
		})
		return err
	}()
	if err != nil {
		return 0, wireError(err)
	}
	for i, op := range ops {
		op.mu.Lock()
		if !changes[i] {
			op.ended, op.told = true, true
			waiters[i].ended <- struct{}{}
			op.unref()
			continue
		}
		op.seq, op.plain = seq, true
		op.text = nil
		op.encode(&objects[i])
		notify = append(notify, op.sendAll())
		op.started(notify[len(notify)-1])
	}
	for _, w := range waiters {
		also, failed := w.wait(c)
		seq, err = max(seq, also), errors.Join(err, failed)
	}
	if err != nil {
		return 0, wireError(err)
	}
	return seq, nil
}

// A WireError is an error with the code that clients go by.
type WireError struct {
	Code string // the first word of the reply
	Text string // what follows it
	err  error
}

func (e *WireError) Error() string { return fmt.Sprintf("%s %s", e.Code, e.Text) }
func (e *WireError) Unwrap() error { return e.err }

// wireError is the one place where errors get the words that clients see
// (design section 4).
func wireError(err error) error {
	if err == nil {
		return nil
	}
	var already *WireError
	switch {
	case errors.As(err, &already):
		return already
	case errors.Is(err, store.ErrDiskFull):
		return &WireError{"MISCONF", "The disk is full: writes are refused, reads go on. " + err.Error(), err}
	case errors.Is(err, store.ErrStopped):
		return &WireError{"MISCONF", "Writes are stopped until a restart, reads go on. " + err.Error(), err}
	case errors.Is(err, store.ErrDisk):
		return &WireError{"MISCONF", "Writes are refused, reads go on: " + err.Error(), err}
	case errors.Is(err, store.ErrCommit), errors.Is(err, errUnknown):
		return &WireError{"TIMEOUT", "The outcome is unknown: " + err.Error(), err}
	case errors.Is(err, store.ErrCorrupt):
		return &WireError{"ERR", "The stored value is corrupt and no other replica has it", err}
	case errors.Is(err, errLeft):
		return &WireError{"NOREPLICAS", "This node has left the ring: connect to another", err}
	case errors.Is(err, member.ErrUndecided):
		return &WireError{"TIMEOUT", "The outcome is unknown: " + err.Error(), err}
	case errors.Is(err, member.ErrNoMajority):
		return &WireError{"NOREPLICAS", "Nothing was changed: " + err.Error(), err}
	case errors.Is(err, store.ErrHintsFull): // no owner is up, and this node would keep the only copy
		return &WireError{"NOREPLICAS", "No owner can be reached, and " + err.Error(), err}
	case errors.Is(err, quorum.ErrNoReplicas), errors.Is(err, errNotOwner), errors.Is(err, errDown), errors.Is(err, errRings), errors.Is(err, wire.ErrDown):
		return &WireError{"NOREPLICAS", "Not enough replicas can answer", err}
	case errors.Is(err, wire.ErrOverloaded):
		return &WireError{"OVERLOADED", "Too much is under way already, nothing was done", err}
	}
	return &WireError{"ERR", err.Error(), err}
}
