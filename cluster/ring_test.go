package cluster

import (
	"bytes"
	"context"
	"fmt"
	"math/rand/v2"
	"os"
	"strconv"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/cockroachdb/pebble/v2/vfs"
	"github.com/rs/zerolog"

	"cartwheel/cluster/quorum"
	"cartwheel/cluster/repair"
	"cartwheel/cluster/ring"
	"cartwheel/store"
	"cartwheel/store/version"
)

const patience = 30 * time.Second

// A world is a cluster in one process, over a network and file systems of its
// own.
type world struct {
	t     *testing.T
	net   *network
	rand  *rand.Rand
	mu    sync.Mutex
	nodes []*Coordinator // guarded by mu; nil: crashed
	disks []*vfs.MemFS
	n     int // replicas
	opts  func(i int, o *Options)
	logs  []*lockedBuffer
}

// A lockedBuffer collects a node's log.
type lockedBuffer struct {
	mu sync.Mutex
	b  bytes.Buffer
}

func (l *lockedBuffer) Write(b []byte) (int, error) {
	l.mu.Lock()
	defer l.mu.Unlock()
	return l.b.Write(b)
}

func (l *lockedBuffer) contains(text string) bool {
	l.mu.Lock()
	defer l.mu.Unlock()
	return strings.Contains(l.b.String(), text)
}

// newWorld starts n nodes, of which so many hold each key.
func newWorld(t *testing.T, n, replicas int) *world {
	t.Helper()
	return newWorldOf(t, n, replicas, func(int, *Options) {})
}

func newWorldOf(t *testing.T, n, replicas int, opts func(i int, o *Options)) *world {
	t.Helper()
	seed := rand.Uint64()
	if s := os.Getenv("CARTWHEEL_SEED"); s != "" {
		seed, _ = strconv.ParseUint(s, 10, 64)
	}
	t.Logf("CARTWHEEL_SEED=%d", seed)
	w := &world{t: t, net: newNetwork(seed), rand: rand.New(rand.NewPCG(seed, 2)), n: replicas, opts: opts}
	for i := range n {
		w.disks = append(w.disks, vfs.NewCrashableMem())
		w.logs = append(w.logs, &lockedBuffer{})
		w.nodes = append(w.nodes, nil)
		w.start(i)
	}
	t.Cleanup(func() {
		w.net.heal()
		for i, c := range w.nodes {
			if c != nil {
				if err := c.Close(); err != nil {
					t.Errorf("close node %d: %v", i, err)
				}
			}
		}
	})
	w.healthy()
	return w
}

func address(i int) string { return fmt.Sprint("node", i) }

func (w *world) start(i int) {
	w.t.Helper()
	if err := w.tryStart(i); err != nil {
		w.t.Fatalf("start node %d: %v", i, err)
	}
}

func (w *world) tryStart(i int) error {
	level := zerolog.WarnLevel
	if testing.Verbose() {
		level = zerolog.DebugLevel
	}
	o := Options{
		Store: store.Options{
			Dir: "data", FS: w.disks[i], MemoryBytes: 16 << 20, Partitions: 16, SweepInterval: -1,
			Log: zerolog.New(zerolog.MultiLevelWriter(zerolog.NewTestWriter(w.t), w.logs[i])).Level(level).With().Int("at", i).Logger(),
		},
		PeerListen: address(i),
		Replicas:   w.n,
		Network:    w.net.at(address(i)),
		Repair:     repair.Options{ExchangeInterval: 200 * time.Millisecond, FilledWait: 10 * time.Millisecond},
	}
	for j := range w.nodes {
		if j != i && w.node(j) != nil {
			o.Join = append(o.Join, address(j))
		}
	}
	w.opts(i, &o)
	ctx, cancel := context.WithTimeout(context.Background(), patience)
	defer cancel()
	c, err := Start(ctx, o)
	if err != nil {
		return err
	}
	w.mu.Lock()
	defer w.mu.Unlock()
	w.nodes[i] = c
	return nil
}

// node returns a node, nil if it has crashed.
func (w *world) node(i int) *Coordinator {
	w.mu.Lock()
	defer w.mu.Unlock()
	return w.nodes[i]
}

// crash kills a node: what it has not handed to the operating system is lost.
func (w *world) crash(i int) { w.bury(i, w.vanish(i)) }

// vanish breaks the connections of a node that is being killed.
func (w *world) vanish(i int) *Coordinator {
	w.mu.Lock()
	c := w.nodes[i]
	w.nodes[i] = nil
	w.mu.Unlock()
	w.net.crash(address(i))
	return c
}

// bury ends what has vanished.
func (w *world) bury(i int, c *Coordinator) {
	// The old process goes on in its own world, on a disk that nobody looks at
	// any more.
	w.disks[i] = w.disks[i].CrashClone(vfs.CrashCloneCfg{UnsyncedDataPercent: 100, RNG: w.rand})
	w.net.crash(address(i))
	_ = c.Close()
}

// healthy waits until all nodes know each other and nothing moves.
func (w *world) healthy() {
	w.t.Helper()
	until(w.t, "all nodes know each other and nothing moves", func() bool {
		for _, c := range w.nodes {
			top := c.Topology()
			if len(top.Nodes) != len(w.nodes) || top.Moving > 0 {
				return false
			}
			for _, node := range top.Nodes {
				if !node.Up {
					return false
				}
			}
		}
		return true
	})
}

// converged waits until all owners of every partition have the same, and nobody
// holds a hint.
func (w *world) converged() {
	w.t.Helper()
	until(w.t, "all owners have the same and there are no hints", func() bool {
		for _, c := range w.nodes {
			if len(c.store.HintOwners()) > 0 {
				return false
			}
		}
		v := w.nodes[0].view.Load()
		for p := range v.places {
			var first *uint64
			for _, c := range w.nodes {
				if !c.view.Load().places[p].holds() {
					continue
				}
				root := c.store.Root(ring.Partition(p))
				if first == nil {
					first = &root
				} else if *first != root {
					return false
				}
			}
		}
		return true
	})
}

func until(t *testing.T, what string, holds func() bool) {
	t.Helper()
	for end := time.Now().Add(patience); !holds(); time.Sleep(5 * time.Millisecond) {
		if time.Now().After(end) {
			t.Fatalf("waited in vain: %s", what)
		}
	}
}

func TestWhatOneNodeAcknowledgesAllNodesRead(t *testing.T) {
	w := newWorld(t, 3, 3)
	for i := range 100 {
		key := fmt.Sprint("key", i)
		mustSet(t, w.nodes[i%3], 0, key, fmt.Sprint("v", i))
		for _, c := range w.nodes {
			wantValue(t, c, 0, key, fmt.Sprint("v", i))
		}
	}
}

func TestADeadNodeIsNotNoticedAndHasEverythingWhenItIsBack(t *testing.T) {
	w := newWorld(t, 3, 3)
	mustSet(t, w.nodes[0], 0, "before", "v")
	w.crash(2)
	for i := range 200 {
		mustSet(t, w.nodes[i%2], 0, fmt.Sprint("key", i), "v")
	}
	w.start(2)
	w.healthy()
	w.converged()
	for i := range 200 {
		var o version.Object
		if _, err := w.nodes[2].store.Get(0, []byte(fmt.Sprint("key", i)), &o); err != nil || o.Alive(w.nodes[2].NowMS()) == nil {
			t.Fatalf("key%d is not at the node that was away: %v", i, err)
		}
	}
}

func TestTooFewNodesForAStrictWriteDoNothing(t *testing.T) {
	w := newWorld(t, 3, 3)
	mustSet(t, w.nodes[0], 0, "k", "v")
	w.crash(1)
	w.crash(2)
	until(t, "the dead are known to be dead", func() bool { return !w.nodes[0].view.Load().peers[0].up() && !w.nodes[0].view.Load().peers[1].up() })
	if err := update(w.nodes[0], 0, "k", quorum.Need{}, overwrite{value: []byte("new")}); code(err) != "NOREPLICAS" {
		t.Errorf("a write of one of three nodes: %v", err)
	}
	var o version.Object
	if _, err := w.nodes[0].store.Get(0, []byte("k"), &o); err != nil || string(o.Winner().Payload) != "v" {
		t.Errorf("it has left %q, %v", o.Winner().Payload, err)
	}
	if err := update(w.nodes[0], 0, "k", quorum.Need{W: 1}, overwrite{value: []byte("one")}); err != nil {
		t.Errorf("a write that one suffices for: %v", err)
	}
	w.start(1)
	w.start(2)
	w.healthy()
	w.converged()
	wantValue(t, w.nodes[1], 0, "k", "one")
}

func TestFallbacksTakeWritesForDeadOwners(t *testing.T) {
	w := newWorld(t, 5, 3)
	w.crash(3)
	w.crash(4)
	for i := range 200 {
		key := fmt.Sprint("key", i)
		var at *Coordinator
		for _, c := range w.nodes[:3] {
			if v := c.view.Load(); v.places[v.partition([]byte(key))].holds() {
				at = c
			}
		}
		if at == nil {
			continue
		}
		if err := update(at, 0, key, quorum.Need{}, overwrite{value: []byte("v")}); err != nil {
			t.Fatalf("%s: %v", key, err)
		}
		for _, c := range w.nodes[:3] {
			wantValue(t, c, 0, key, "v")
		}
	}
	w.start(3)
	w.start(4)
	w.healthy()
	w.converged()
	for i := range 200 {
		for _, c := range w.nodes {
			wantValue(t, c, 0, fmt.Sprint("key", i), "v")
		}
	}
}

func TestTheSmallerHalfTakesWritesOfEveryKey(t *testing.T) {
	w := newWorldOf(t, 5, 3, func(_ int, o *Options) { o.Store.Partitions = 256 })
	for a := range w.nodes {
		for b := range w.nodes {
			w.net.setCut(address(a), address(b), (a < 2) != (b < 2))
		}
	}
	until(t, "both halves know that they are apart", func() bool {
		for i, c := range w.nodes {
			live := 0
			for _, p := range c.view.Load().peers {
				if p.up() {
					live++
				}
			}
			if i < 2 && live != 1 || i >= 2 && live != 2 {
				return false
			}
		}
		return true
	})
	alien := 0 // keys that neither of the two owns
	for i := range 100 {
		key := fmt.Sprint("key", i)
		at := w.nodes[i%2]
		to, place := at.Route([]byte(key), true)
		if place == quorum.Away {
			at = w.nodes[1-i%2]
			if at.NodeID() != to {
				t.Fatalf("%s is to be written at %s, which is not of this half", key, to)
			}
		}
		if v := at.view.Load(); !v.places[v.partition([]byte(key))].holds() {
			alien++
		}
		if err := update(at, 0, key, quorum.Need{}, overwrite{value: []byte("v")}); err != nil {
			t.Errorf("%s: %v", key, err)
		}
		for _, c := range w.nodes[:2] {
			wantValue(t, c, 0, key, "v")
			wantValue(t, c, 0, key+" that nobody wrote", "(absent)")
		}
	}
	if alien == 0 {
		t.Error("the two own every key: the test shows nothing")
	}
	w.net.heal()
	w.healthy()
	w.converged()
	for i := range 100 {
		for _, c := range w.nodes {
			wantValue(t, c, 0, fmt.Sprint("key", i), "v")
		}
	}
}

// A later winner at another owner makes the coordinator stamp its write anew.
func TestASetWinsOverWhatAnotherOwnerHasFromAFasterClock(t *testing.T) {
	w := newWorld(t, 3, 3)
	ahead := version.MakeHLC(w.nodes[1].NowMS()+300, 0)
	var o version.Object
	dot := version.Dot{Incarnation: 77, HLC: ahead}
	o.Put(nil, version.Sibling{Dot: dot, Written: ahead, Payload: []byte("from a fast clock")})
	var out version.Object
	for _, c := range w.nodes[1:] { // a quorum has it, the coordinator does not
		seq, _, err := c.store.Merge(0, []byte("k"), c.NowMS(), &o, &out, store.Levels{})
		if err == nil {
			err = c.store.Commit(seq)
		}
		if err != nil {
			t.Fatal(err)
		}
	}
	plain := overwrite{value: []byte("later in real time"), plain: true}
	if err := update(w.nodes[0], 0, "k", quorum.Need{W: 3}, plain); err != nil {
		t.Fatal(err)
	}
	w.converged()
	for _, c := range w.nodes {
		wantValue(t, c, 0, "k", "later in real time")
	}
}
