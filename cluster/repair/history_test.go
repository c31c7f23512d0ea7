package repair

import (
	"context"
	"fmt"
	"math/rand/v2"
	"os"
	"slices"
	"sync/atomic"
	"time"

	"cartwheel/cluster/ring"
	"cartwheel/store"
	"cartwheel/store/version"
	"github.com/cockroachdb/pebble/v2/vfs"
)

// A history is a world of three owners and of a fourth node, which holds hints, to
// which anything may happen; and what is true of it. Each write is at once at two nodes,
// of which one never forgets: only node 2 does.
type history struct {
	*world
	rt     failer
	nowMS  atomic.Int64
	keys   []string
	frames []frame
	// written are all writes by key, and gone those of them that another has overwritten.
	written map[string][]version.Sibling
	gone    map[version.Dot]version.HLC // and by what
	disks   []*vfs.MemFS
	old     *vfs.MemFS // node 2's disk some time ago
	number  uint64     // of which a step draws
	told    []string   // what it has drawn
}

// A failer is a test, or a rapid.T.
type failer interface {
	Fatalf(format string, args ...any)
	Log(args ...any)
}

// A frame is a put that is under way, and may arrive any number of times.
type frame struct {
	key    string
	object version.Object
	from   store.Levels
}

const holder = 3 // the node that holds hints

func newHistory(rt failer, w *world) *history {
	h := &history{
		world: w, rt: rt, keys: keysIn(3, 3), written: map[string][]version.Sibling{},
		gone: map[version.Dot]version.HLC{}, disks: make([]*vfs.MemFS, 4),
	}
	h.nowMS.Store(1_800_000_000_000)
	for i := range h.disks {
		h.disks[i] = vfs.NewMem()
		n := &node{w: w, id: nodeID(i)}
		w.nodes = append(w.nodes, n)
		h.boot(i)
	}
	w.adoptRing(w.document(1, 0, 1, 2))
	return h
}

// boot starts a node on its disk.
func (h *history) boot(i int) {
	n := h.nodes[i]
	s, err := store.Open(store.Options{
		Dir: "data", FS: h.disks[i], Partitions: testPartitions, MemoryBytes: 16 << 20, SweepInterval: -1,
		Now: func() time.Time { return time.UnixMilli(h.nowMS.Load()) },
	})
	if err != nil {
		h.rt.Fatalf("open: %v", err)
	}
	n.store = s
	n.Repair = New(Options{Store: s, Peers: n, LeafPause: time.Nanosecond, StabilityInterval: time.Hour, CallTimeout: time.Minute})
	<-s.TreesReady()
}

func (h *history) halt(i int) {
	h.nodes[i].Stop()
	if err := h.nodes[i].store.Close(); err != nil {
		h.rt.Fatalf("close: %v", err)
	}
}

func (h *history) upNodes(among ...int) (up []int) {
	for _, i := range among {
		if !h.nodes[i].down.Load() {
			up = append(up, i)
		}
	}
	return up
}

// draw takes one of n from the number that stands for a step, so that each step is what
// it is whatever came before.
func (h *history) draw(label string, n int) int {
	d := int(h.number % uint64(n))
	h.number /= uint64(n)
	h.told = append(h.told, fmt.Sprintf("%s %d", label, d))
	return d
}

// key returns one of the keys; all are of one partition, so that they meet.
func (h *history) key() string { return h.keys[h.draw("key", len(h.keys))] }

// note takes note of what a write has overwritten.
func (h *history) note(key string, before []version.Sibling, after *version.Object) version.Dot {
	var dot version.Dot
	for _, sib := range after.Siblings {
		if !slices.ContainsFunc(before, func(b version.Sibling) bool { return b.Dot == sib.Dot }) {
			dot = sib.Dot
			h.written[key] = append(h.written[key], sib)
		}
	}
	for _, b := range before {
		if !slices.ContainsFunc(after.Siblings, func(a version.Sibling) bool { return a.Dot == b.Dot }) {
			if by := h.gone[b.Dot]; by == 0 || dot.HLC < by {
				h.gone[b.Dot] = dot.HLC
			}
		}
	}
	return dot
}

// write writes at an owner, and reaches another node at least, as a put or a hint.
func (h *history) write() {
	up := h.upNodes(0, 1, 2)
	if len(up) == 0 || (len(up) == 1 && h.nodes[holder].down.Load()) {
		return
	}
	i, key := up[h.draw("at", len(up))], h.key()
	n := h.nodes[i]
	w := write{value: "v", tombstone: h.draw("delete", 3) == 0, blind: h.draw("blind", 4) == 0}
	from := n.store.Levels(3)
	before := slices.Clone(n.object(key).Siblings)
	n.write(key, w)
	f := frame{key, *n.object(key), from}
	h.note(key, before, &f.object)
	h.frames = append(h.frames, f)
	others := slices.DeleteFunc([]int{0, 1, 2}, func(j int) bool { return j == i })
	to := others[h.draw("first", 2)]
	h.reach(to, f)
	if h.draw("all", 2) == 0 {
		h.reach(others[0]+others[1]-to, f)
	}
}

// reach has a frame reach a node or, while that is down, the holder of hints.
func (h *history) reach(to int, f frame) {
	if h.nodes[to].down.Load() {
		if !h.nodes[holder].down.Load() {
			h.nodes[holder].hint(nodeID(to), f.key, &f.object)
			return
		}
		for _, other := range h.upNodes(0, 1) { // it is to be at one that does not forget
			h.deliver(other, f)
		}
		return
	}
	h.deliver(to, f)
}

func (h *history) deliver(to int, f frame) {
	n := h.nodes[to]
	var result version.Object
	seq, _, err := n.store.Merge(0, []byte(f.key), n.store.NowMS(), &f.object, &result, f.from)
	if err == nil {
		err = n.store.Commit(seq)
	}
	if err != nil {
		h.rt.Fatalf("deliver: %v", err)
	}
}

// fallbackWrite is a write while no owner can be reached: only a hint tells of it.
func (h *history) fallbackWrite() {
	n := h.nodes[holder]
	if n.down.Load() {
		return
	}
	key := h.key()
	var o version.Object
	if _, _, err := n.store.GetHinted(0, []byte(key), &o); err != nil {
		h.rt.Fatalf("hints: %v", err)
	}
	before := slices.Clone(o.Siblings)
	hlc, err := n.store.NextHLC(n.store.NowMS(), o.MaxHLC())
	if err != nil {
		h.rt.Fatalf("clock: %v", err)
	}
	sib := version.Sibling{Dot: version.Dot{Incarnation: version.Incarnation(len(h.frames) + 1), HLC: hlc}, Written: hlc, Payload: []byte("f")}
	o.Put(o.Clock, sib)
	h.note(key, before, &o)
	h.frames = append(h.frames, frame{key: key, object: o})
	n.hint(nodeID(h.draw("for", 2)), key, &o) // not only for the one that forgets
	if h.draw("also", 2) == 0 {
		n.hint(nodeID(2), key, &o)
	}
}

// late has a frame of some time ago arrive, as a put or as a hint.
func (h *history) late() {
	if len(h.frames) == 0 {
		return
	}
	f := h.frames[h.draw("frame", len(h.frames))]
	to := h.draw("to", 3)
	if h.draw("as hint", 2) == 0 {
		if !h.nodes[holder].down.Load() {
			h.nodes[holder].hint(nodeID(to), f.key, &f.object)
		}
		return
	}
	if !h.nodes[to].down.Load() {
		h.deliver(to, f)
	}
}

func (h *history) replayHints() {
	if h.nodes[holder].down.Load() {
		return
	}
	for i := range 3 {
		_, _ = h.nodes[holder].replay(context.Background(), nodeID(i))
	}
}

func (h *history) exchange(i, j int) {
	i, j = min(i, j), max(i, j)
	if i == j || len(h.upNodes(i, j)) < 2 {
		return
	}
	n := h.nodes[i]
	n.replan()
	_, _ = n.exchangeAll(context.Background(), nodeID(j))
	for _, k := range []int{i, j} { // as time does
		for p := range ring.Partition(testPartitions) {
			for peer := range 3 {
				h.nodes[k].engaged.leave(p, nodeID(peer))
			}
		}
	}
}

// stabilise has the leader go on with its round.
func (h *history) stabilise() {
	if h.nodes[0].down.Load() {
		return
	}
	h.nodes[0].replan()
	_, _ = h.nodes[0].stabilise(context.Background())
}

// age lets time pass, and the sweepers come by.
func (h *history) age() {
	h.nowMS.Add((2 * time.Hour).Milliseconds())
	for _, i := range h.upNodes(0, 1, 2) {
		if h.draw("sweep", 3) > 0 {
			if _, err := h.nodes[i].store.Sweep(); err != nil {
				h.rt.Fatalf("sweep: %v", err)
			}
		}
	}
}

// forgetful has node 2 remember, or go back to what it remembered, or be wiped.
func (h *history) forgetful() {
	if h.nodes[2].down.Load() {
		return
	}
	what := h.draw("forget", 4)
	h.halt(2)
	switch {
	case what == 0 || h.old == nil:
		h.old = clone(h.rt, h.disks[2])
	case what < 3:
		h.disks[2] = clone(h.rt, h.old)
	default:
		h.disks[2] = vfs.NewMem()
	}
	h.boot(2)
	if what > 0 { // the handshake tells it
		h.nowMS.Add(1)
		last := max(h.nodes[0].store.LastHLC(), h.nodes[1].store.LastHLC(), h.nodes[holder].store.LastHLC())
		if err := h.nodes[2].store.SeenOfMe(last); err != nil {
			h.rt.Fatalf("seen: %v", err)
		}
	}
}

func clone(rt failer, from *vfs.MemFS) *vfs.MemFS {
	to := vfs.NewMem()
	if ok, err := vfs.Clone(from, to, "data", "data"); !ok || err != nil {
		rt.Fatalf("clone: %v, %v", ok, err)
	}
	return to
}

func (h *history) refill() {
	for i := range 3 {
		n := h.nodes[i]
		if n.down.Load() {
			continue
		}
		n.replan()
		for j := range 3 {
			if j != i && !h.nodes[j].down.Load() {
				_, _ = n.refillFrom(context.Background(), nodeID(j))
			}
		}
	}
}

// flap has one node be down, or none.
func (h *history) flap() {
	i := h.draw("node", 12)
	for j, n := range h.nodes {
		n.down.Store(j == i) // most often that of none
	}
}

func (h *history) step(number uint64) {
	h.number, h.told = rand.New(rand.NewPCG(number, 1)).Uint64(), nil // small numbers are no rarer than large ones
	defer func() { h.rt.Log(h.told) }()
	switch what := h.draw("what", 28); {
	case what < 5:
		h.write()
	case what < 6:
		h.fallbackWrite()
	case what < 9:
		h.late()
	case what < 11:
		h.replayHints()
	case what < 14:
		h.exchange(h.draw("one", 3), h.draw("other", 3))
	case what < 17:
		h.exchange(0, 1)
		h.exchange(0, 2)
		h.exchange(1, 2)
	case what < 22:
		h.stabilise()
	case what < 24:
		h.age()
	case what < 25:
		h.forgetful()
	case what < 26:
		h.refill()
	default:
		h.flap()
	}
	if os.Getenv("TELL") != "" {
		h.tell()
	}
	h.check()
}

// check fails where a node that never forgets shows what was purged, or lacks what
// is alive and was stable.
func (h *history) check() {
	for i := range 2 {
		purge := h.nodes[i].store.Levels(3).Purge
		for _, key := range h.keys {
			o := h.nodes[i].object(key)
			for _, sib := range h.written[key] {
				has := slices.ContainsFunc(o.Siblings, func(s version.Sibling) bool { return s.Dot == sib.Dot })
				by, gone := h.gone[sib.Dot]
				switch {
				case has && gone && by <= purge:
					h.rt.Fatalf("node %d shows %v of %s again, which %v has overwritten and %v purged", i, sib.Dot, key, by, purge)
				case !has && !gone && !sib.Tombstone && sib.Dot.HLC <= purge:
					h.rt.Fatalf("node %d has lost %v of %s, which was stable at %v", i, sib.Dot, key, purge)
				}
			}
		}
	}
}

// heal ends all faults and lets everything come to rest.
func (h *history) heal() {
	for _, n := range h.nodes {
		n.down.Store(false)
	}
	for range 3 {
		h.replayHints()
		for range 2 {
			h.exchange(0, 1)
			h.exchange(0, 2)
			h.exchange(1, 2)
		}
		h.refill()
		h.nodes[0].mu.Lock()
		h.nodes[0].round = nil
		h.nodes[0].mu.Unlock()
		h.stabilise()
		h.exchange(0, 1)
		h.exchange(0, 2)
		h.exchange(1, 2)
		h.stabilise()
		h.check()
		h.nowMS.Add((2 * time.Hour).Milliseconds())
		for i := range 3 {
			if _, err := h.nodes[i].store.Sweep(); err != nil {
				h.rt.Fatalf("sweep: %v", err)
			}
		}
	}
}

// rest fails unless all owners hold exactly what has survived, and are silent.
func (h *history) rest() {
	for _, key := range h.keys {
		want := map[string]bool{}
		for _, sib := range h.written[key] {
			if _, gone := h.gone[sib.Dot]; !gone && !sib.Tombstone {
				want[fmt.Sprint(sib.Dot)] = true
			}
		}
		for i := range 3 {
			got := map[string]bool{}
			for _, sib := range h.nodes[i].object(key).Siblings {
				if !sib.Tombstone {
					got[fmt.Sprint(sib.Dot)] = true
				}
			}
			if fmt.Sprint(got) != fmt.Sprint(want) {
				h.rt.Fatalf("node %d shows %v of %s, what has survived is %v", i, got, key, want)
			}
		}
	}
	for i := range 3 {
		if a, b := fmt.Sprint(h.nodes[0].everything()), fmt.Sprint(h.nodes[i].everything()); a != b {
			h.rt.Fatalf("nodes 0 and %d differ:\n%s\n%s", i, a, b)
		}
		if a, b := h.nodes[0].store.Root(3), h.nodes[i].store.Root(3); a != b {
			h.rt.Fatalf("nodes 0 and %d have roots %x and %x over the same", i, a, b)
		}
		if l := h.nodes[i].store.Levels(3); l.Purge == 0 || l.Purge != h.nodes[0].store.Levels(3).Purge || h.nodes[i].store.Refilling(3) {
			h.rt.Fatalf("node %d has levels %+v at the end, filled anew: %v", i, l, h.nodes[i].store.Refilling(3))
		}
	}
	before := h.repaired()
	h.meddleWith(nil)
	h.exchange(0, 1)
	h.exchange(0, 2)
	h.exchange(1, 2)
	if calls, _, kinds := h.count(); kinds[askRoots] != calls || h.repaired() != before {
		h.rt.Fatalf("at rest %v were sent, and %d repaired", kinds, h.repaired()-before)
	}
}

// tell writes down what all nodes have, for who has to find out why a law is broken.
func (h *history) tell() {
	for i := range 4 {
		n := h.nodes[i]
		l := n.store.Levels(3)
		text := fmt.Sprintf("   node %d down=%v stable=%v purge=%v refilling=%v:", i, n.down.Load(), l.Stable, l.Purge, n.store.Refilling(3))
		for _, key := range h.keys {
			if o := n.object(key); len(o.Siblings) > 0 {
				text += fmt.Sprintf(" %s=%+v", key, *o)
			}
		}
		h.rt.Log(text)
	}
}
