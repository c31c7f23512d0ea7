package repair

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"slices"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/cockroachdb/pebble/v2/vfs"
	"github.com/google/go-cmp/cmp"

	"cartwheel/cluster/ring"
	"cartwheel/store"
	"cartwheel/store/version"
)

const testPartitions = 8

var (
	errCut   = errors.New("the network is cut")
	errEpoch = errors.New("another epoch")
)

// A world is several nodes in one process, whose messages go from Call to Handle.
type world struct {
	t     testing.TB
	nodes []*node

	mu    sync.Mutex
	calls int
	bytes int
	kinds map[byte]int
	// meddle is asked about each call, by number; it may fail it before it is
	// handled or after.
	meddle func(call int, from, to *node, msg []byte) (before, after error)
}

// A node is its own Peers.
type node struct {
	*Repair
	w       *world
	id      ring.NodeID
	store   *store.Store
	ring    atomic.Pointer[ring.Ring]
	down    atomic.Bool
	unknown atomic.Bool // nobody has tried to connect to it
}

func nodeID(i int) (id ring.NodeID) {
	id[0] = byte(i + 1)
	return id
}

// newWorld makes nodes that know of no ring yet. tune may change their options.
func newWorld(t testing.TB, nodes int, tune func(i int, o *Options)) *world {
	t.Helper()
	w := &world{t: t, kinds: map[byte]int{}}
	for i := range nodes {
		s, err := store.Open(store.Options{
			Dir: "data", FS: vfs.NewMem(), Partitions: testPartitions, MemoryBytes: 16 << 20, SweepInterval: -1,
		})
		if err != nil {
			t.Fatal(err)
		}
		n := &node{w: w, id: nodeID(i), store: s}
		opts := Options{Store: s, Peers: n, LeafPause: time.Millisecond, StabilityInterval: time.Hour, CallTimeout: time.Minute}
		if tune != nil {
			tune(i, &opts)
		}
		n.Repair = New(opts)
		w.nodes = append(w.nodes, n)
	}
	t.Cleanup(func() {
		for _, n := range w.nodes {
			n.Stop()
		}
		for _, n := range w.nodes {
			if err := n.store.Close(); err != nil {
				t.Errorf("close: %v", err)
			}
		}
	})
	return w
}

func (n *node) Self() ring.NodeID { return n.id }
func (n *node) Ring() *ring.Ring  { return n.ring.Load() }

func (n *node) Up(id ring.NodeID) bool {
	other := n.w.node(id)
	return other != nil && !other.down.Load()
}

func (n *node) Tried(id ring.NodeID) bool {
	other := n.w.node(id)
	return other == nil || !other.unknown.Load()
}

func (w *world) node(id ring.NodeID) *node {
	for _, n := range w.nodes {
		if n.id == id {
			return n
		}
	}
	return nil
}

func (n *node) Call(ctx context.Context, to ring.NodeID, msg []byte) ([]byte, error) {
	w := n.w
	other := w.node(to)
	w.mu.Lock()
	w.calls++
	call, meddle := w.calls, w.meddle
	w.kinds[msg[0]]++
	w.bytes += len(msg)
	w.mu.Unlock()
	var before, after error
	if meddle != nil {
		before, after = meddle(call, n, other, msg)
	}
	switch {
	case before != nil:
		return nil, before
	case n.down.Load() || other.down.Load():
		return nil, errCut
	case n.Ring().Epoch() != other.Ring().Epoch():
		return nil, errEpoch
	case ctx.Err() != nil:
		return nil, ctx.Err()
	}
	reply, err := other.Handle(n.id, bytes.Clone(msg))
	w.mu.Lock()
	w.bytes += len(reply)
	w.mu.Unlock()
	if err == nil {
		err = after
	}
	return reply, err
}

func (w *world) meddleWith(f func(call int, from, to *node, msg []byte) (before, after error)) {
	w.mu.Lock()
	defer w.mu.Unlock()
	w.meddle, w.calls, w.bytes = f, 0, 0
	clear(w.kinds)
}

func (w *world) count() (calls, bytes int, kinds map[byte]int) {
	w.mu.Lock()
	defer w.mu.Unlock()
	kinds = map[byte]int{}
	for k, n := range w.kinds {
		kinds[k] = n
	}
	return w.calls, w.bytes, kinds
}

// document makes a ring in which some nodes own everything.
func (w *world) document(epoch uint64, owners ...int) *ring.Document {
	d := &ring.Document{Epoch: epoch, Partitions: testPartitions, Replicas: len(owners)}
	for i := range w.nodes {
		d.Members = append(d.Members, ring.Member{ID: nodeID(i), Weight: 1, State: ring.Active})
	}
	row := make([]ring.NodeID, 0, len(owners))
	for _, i := range owners {
		row = append(row, nodeID(i))
	}
	for range testPartitions {
		d.Owners = append(d.Owners, row)
	}
	return d
}

// adoptRing gives all nodes that are up a ring.
func (w *world) adoptRing(d *ring.Document) {
	table := d.Ring()
	for _, n := range w.nodes {
		n.ring.Store(table)
	}
	for _, n := range w.nodes {
		n.RingChanged()
	}
}

// plan has a node that was not started make its plan.
func (n *node) replan() {
	n.mu.Lock()
	defer n.mu.Unlock()
	n.plan(n.Ring(), time.Now())
}

// A write is a plain one unless it is concurrent: then it has seen nothing.
type write struct {
	s         *store.Store
	value     string
	tombstone bool
	blind     bool
}

func (w write) Blind() bool { return w.blind }

func (w write) Apply(o *version.Object) bool {
	h, err := w.s.NextHLC(w.s.NowMS(), o.MaxHLC())
	if err != nil {
		return false
	}
	sib := version.Sibling{Dot: version.Dot{Incarnation: w.s.Incarnation(), HLC: h}, Written: h, Tombstone: w.tombstone}
	if !w.tombstone {
		sib.Payload = []byte(w.value)
	}
	context := o.Clock
	if w.blind {
		context = nil
	}
	o.Put(context, sib)
	return true
}

func (n *node) write(key string, w write) {
	n.w.t.Helper()
	if err := n.tryWrite(key, w); err != nil {
		n.w.t.Fatalf("write %q: %v", key, err)
	}
}

func (n *node) tryWrite(key string, w write) error {
	w.s = n.store
	var o version.Object
	seq, err := n.store.Update(0, []byte(key), n.store.NowMS(), &o, w)
	if err != nil {
		return err
	}
	return n.store.Commit(seq)
}

func (n *node) set(key, value string) { n.write(key, write{value: value}) }

func (n *node) object(key string) *version.Object {
	n.w.t.Helper()
	o := new(version.Object)
	if _, err := n.store.Get(0, []byte(key), o); err != nil {
		n.w.t.Fatalf("get %q: %v", key, err)
	}
	return o
}

// merge gives a node an object, as a peer's write does.
func (n *node) merge(key string, o *version.Object) {
	n.w.t.Helper()
	var result version.Object
	seq, _, err := n.store.Merge(0, []byte(key), n.store.NowMS(), o, &result, store.Levels{})
	if err == nil {
		err = n.store.Commit(seq)
	}
	if err != nil {
		n.w.t.Fatalf("merge %q: %v", key, err)
	}
}

func (n *node) hint(owner ring.NodeID, key string, o *version.Object) {
	n.w.t.Helper()
	seq, err := n.store.AddHint(owner, 0, []byte(key), n.store.NowMS(), o)
	if err == nil {
		err = n.store.Commit(seq)
	}
	if err != nil {
		n.w.t.Fatalf("hint %q: %v", key, err)
	}
}

func (n *node) hintCount(owner ring.NodeID) int64 {
	for _, st := range n.store.HintOwners() {
		if st.Owner == owner {
			return st.Count
		}
	}
	return 0
}

// everything returns what a node stores, as text.
func (n *node) everything() map[string]string {
	n.w.t.Helper()
	// Trees tell of a change at once, Scan when it is committed.
	if err := n.store.Sync(); err != nil {
		n.w.t.Fatal(err)
	}
	all := map[string]string{}
	err := n.store.Scan(0, ^ring.Token(0), func(k store.Key, o *version.Object) bool {
		all[fmt.Sprintf("%d/%s", k.DB, k.User)] = fmt.Sprintf("%+v", *o)
		return true
	})
	if err != nil {
		n.w.t.Fatal(err)
	}
	return all
}

// sameEverywhere fails unless the nodes hold the same, by their objects and by
// their trees.
func (w *world) sameEverywhere(nodes ...int) {
	w.t.Helper()
	first := w.nodes[nodes[0]]
	for _, i := range nodes[1:] {
		n := w.nodes[i]
		if diff := cmp.Diff(first.everything(), n.everything()); diff != "" {
			w.t.Fatalf("nodes %d and %d differ:\n%s", nodes[0], i, diff)
		}
		for p := range ring.Partition(testPartitions) {
			if a, b := first.store.Root(p), n.store.Root(p); a != b {
				w.t.Fatalf("partition %d: roots %x and %x over the same objects", p, a, b)
			}
		}
	}
}

// converge runs one exchange of each pair of nodes.
func (w *world) converge(nodes ...int) error {
	for at, i := range nodes {
		for _, j := range nodes[at+1:] {
			n := w.nodes[i]
			n.replan()
			if _, err := n.exchangeAll(context.Background(), nodeID(j)); err != nil {
				return err
			}
		}
	}
	return nil
}

// round has node 0 lead one round: it fences, the pairs are compared, and what has
// settled is made stable.
func (w *world) round(nodes ...int) error {
	w.t.Helper()
	leader := w.nodes[nodes[0]]
	for _, i := range nodes {
		w.nodes[i].replan()
	}
	leader.mu.Lock()
	leader.round = nil
	leader.mu.Unlock()
	if _, err := leader.stabilise(context.Background()); err != nil {
		return err
	}
	if err := w.converge(nodes...); err != nil {
		return err
	}
	_, err := leader.stabilise(context.Background())
	return err
}

// A fataler is a test, or a rapid.T.
type fataler interface {
	Helper()
	Fatalf(format string, args ...any)
}

// until waits for a condition.
func until(t fataler, what string, holds func() bool) {
	t.Helper()
	for deadline := time.Now().Add(20 * time.Second); !holds(); {
		if time.Now().After(deadline) {
			t.Fatalf("in vain: %s", what)
		}
		time.Sleep(2 * time.Millisecond)
	}
}

func keyOf(i int) string { return fmt.Sprintf("key:%d", i) }

// keysIn returns keys of one partition.
func keysIn(p ring.Partition, n int) (keys []string) {
	for i := 0; len(keys) < n; i++ {
		if ring.PartitionOf(ring.SlotOf([]byte(keyOf(i))), testPartitions) == p {
			keys = append(keys, keyOf(i))
		}
	}
	return keys
}

func ids(indexes ...int) (list []ring.NodeID) {
	for _, i := range indexes {
		list = append(list, nodeID(i))
	}
	slices.SortFunc(list, func(a, b ring.NodeID) int { return bytes.Compare(a[:], b[:]) })
	return list
}
