package sim

import (
	"fmt"
	"math/rand/v2"
	"slices"
	"time"

	"github.com/cockroachdb/pebble/v2/vfs"

	"cartwheel/bench/check"
	"cartwheel/cluster/ring"
	"cartwheel/cluster/sabotage"
)

// A story is a history in which one flaw does harm. What happens is told; when, to which
// node and over which links is for the seed. It is judged as any world is: if the flaw is
// there, that must be seen, and if it is not, nothing may be.
type story struct {
	flaw  sabotage.Flaw
	needs string // the history that it takes, for BUGS.md
	by    string // the checker that must see it
	says  string // some words of it
	seeds int    // the first with which it was seen
	plan  func(p *plan)
	tell  func(w *world)
}

// stories are all of them.
var stories = slices.Concat(forgettingStories, countingStories, ringStories)

func storyOf(flaw string) *story {
	for i := range stories {
		if string(stories[i].flaw) == flaw {
			return &stories[i]
		}
	}
	return nil
}

// told runs a story, and judges it.
func (w *world) told(s *story) {
	defer w.end()
	w.plan = plan{
		nodes: 3, replicas: 3, partitions: 8, exchange: time.Second, stability: time.Second,
	}
	s.plan(&w.plan)
	w.note("the story of %s: %v", s.flaw, w.plan)
	for range w.plan.nodes {
		w.addMachine().start()
		time.Sleep(time.Duration(w.rand.IntN(300)) * time.Millisecond)
	}
	if !w.converge("at first") {
		return
	}
	w.round = 1
	s.tell(w)
	w.mend()
	if w.converge("after the story") {
		w.judge()
		w.silent()
	}
}

// A client of a story, whose operations the load's checker judges.
func (w *world) teller(l load) *worker {
	h := &history{load: l, db: "0"}
	h.Workload, h.Seed = l.name, w.seed
	w.histories = append(w.histories, h)
	k := &worker{w: w, h: h, id: 100 * len(w.histories), prefix: "s.", least: 1}
	k.rand = rand.New(rand.NewPCG(w.seed, uint64(k.id)))
	k.client.host = w.net.newHost(fmt.Sprint("client", k.id))
	return k
}

// at has a client speak to a node. Some time passes: what ends and what begins at one moment
// are at the same time for a checker.
func (k *worker) at(node int) *worker {
	time.Sleep(time.Microsecond)
	if k.node != node {
		k.client.close()
		k.node = node
	}
	return k
}

// overwrite writes a new value with a context that has seen all, and says whether that
// was acknowledged.
func (k *worker) overwrite(key string) bool {
	read := k.vget(key)
	return read.Outcome == check.Acknowledged &&
		k.vset(check.Operation{Key: key, Context: read.Seen, Value: k.value()}).Outcome == check.Acknowledged
}

// remove deletes what is there likewise.
func (k *worker) remove(key string) bool {
	read := k.vget(key)
	return read.Outcome == check.Acknowledged &&
		k.vdel(check.Operation{Key: key, Context: read.Seen}).Outcome == check.Acknowledged
}

// insist does something until it is done.
func (w *world) insist(what string, done func() bool) {
	for end := w.since() + time.Minute; !done(); w.pause(50 * time.Millisecond) {
		if w.since() > end {
			w.violate("in vain: %s", what)
			return
		}
	}
}

// meanwhile does something beside the story; what it returns waits for the end.
func (w *world) meanwhile(do func()) (wait func()) {
	done := make(chan struct{})
	go func() {
		defer close(done)
		do()
	}()
	return func() { <-done }
}

// settle waits until nodes that run know each other, and all is the same.
func (w *world) settle(what string) { w.insist(what, func() bool { return w.unsettled() == "" }) }

// known waits until all that run take a node for down.
func (w *world) knownDown(node int) {
	id := w.machines[node].id
	w.insist("it is known to be down", func() bool {
		for _, c := range w.nodes() {
			for _, n := range c.Topology().Nodes {
				if n.ID == id && n.Up {
					return false
				}
			}
		}
		return true
	})
}

// cut cuts or mends what two nodes send to each other.
func (w *world) cut(a, b int, apart bool) {
	w.net.setApart(w.machines[a].name, w.machines[b].name, apart)
	w.net.setApart(w.machines[b].name, w.machines[a].name, apart)
}

// shuffled are the nodes in an order of the seed.
func (w *world) shuffled() []int { return w.rand.Perm(len(w.machines)) }

// preference is which nodes a key's partition prefers, the owners first.
func (w *world) preference(key string) (nodes []int) {
	table := w.document().Ring()
	for _, id := range table.Preference(table.PartitionOf(ring.SlotOf([]byte(key)))) {
		for i, m := range w.machines {
			if m.id == id {
				nodes = append(nodes, i)
			}
		}
	}
	return nodes
}

// keysWith are so many keys of a kind by their preference.
func (w *world) keysWith(n int, wanted func(preference []int) bool) (keys []string) {
	for i := 0; len(keys) < n && i < 10_000; i++ {
		if key := fmt.Sprintf("s.key%d", i); wanted(w.preference(key)) {
			keys = append(keys, key)
		}
	}
	return keys
}

func (w *world) keys(n int) []string { return w.keysWith(n, func([]int) bool { return true }) }

// kills a process, and leaves all that it has handed to the operating system.
func (w *world) killed(node int) {
	w.note("%s is killed", w.machines[node].name)
	w.machines[node].kill(false, func(fs *vfs.MemFS) *vfs.MemFS { return afterKill(fs, w.rand) })
}

// started starts a node, and waits until it serves.
func (w *world) started(node int) {
	w.note("%s is started", w.machines[node].name)
	w.machines[node].start()
	w.insist("it is up", w.machines[node].up)
}

// copied is a copy of the directory of a node that has stopped by the book.
func (w *world) copied(node int) *vfs.MemFS {
	w.machines[node].stop()
	files := afterKill(w.machines[node].files, w.rand)
	w.started(node)
	return files
}

// rolledBack stops a node and puts an old copy of its directory back.
func (w *world) rolledBack(node int, files *vfs.MemFS) {
	w.note("%s gets an old copy of its directory", w.machines[node].name)
	w.machines[node].stop()
	w.machines[node].files = files
}

// lost has a node lose its disk. When it is started it is a new one, in the place of what it
// was.
func (w *world) lost(node int) {
	m := w.machines[node]
	w.note("%s is lost, and is to be replaced", m.name)
	m.kill(true, func(*vfs.MemFS) *vfs.MemFS { return vfs.NewCrashableMem() })
	m.replaces = m.id.String()
}
