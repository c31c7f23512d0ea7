package sim

import (
	"errors"
	"fmt"
	"io"
	"math/rand/v2"
	"runtime"
	"strings"
	"sync"
	"sync/atomic"
	"testing/synctest"
	"time"

	"github.com/cockroachdb/pebble/v2/vfs"

	"cartwheel/bench/check"
	"cartwheel/cluster"
	"cartwheel/cluster/ring"
)

// A world is one run of one seed:
//
//  1. Machines start, and become one ring.
//  2. In each round clients work while faults happen (faults_test.go), one after the
//     other, each at a moment when nothing else can run.
//  3. Then all is mended, and the owners must come to hold the same by themselves
//     (converged_test.go).
//  4. Then it is judged what clients saw and what the disks hold.
type world struct {
	seed      uint64
	rand      *rand.Rand
	plan      plan
	net       *network
	trace     *trace
	began     time.Time
	collected time.Duration // when memory was freed last

	machines  []*machine
	operator  client
	operating atomic.Bool // the operator waits for a reply
	histories []*history
	round     int
	budget    budget
	rings     map[uint64]string // the document of each epoch that was seen

	mu         sync.Mutex
	violations []string  // guarded by mu
	notes      io.Writer // what was done, for a person to read; guarded by mu
}

func newWorld(seed uint64, tr *trace, notes io.Writer) *world {
	r := rand.New(rand.NewPCG(seed, 0))
	w := &world{
		seed: seed, rand: r, plan: newPlan(r), trace: tr, net: newNetwork(seed, tr), began: time.Now(),
		notes: notes, rings: map[uint64]string{},
	}
	w.operator.host = w.net.newHost("operator")
	w.note("%v", w.plan)
	return w
}

func (w *world) since() time.Duration { return time.Since(w.began) }

// note writes down what was done.
func (w *world) note(format string, args ...any) {
	w.mu.Lock()
	defer w.mu.Unlock()
	fmt.Fprintf(w.notes, "%v %s\n", w.since().Round(time.Microsecond), fmt.Sprintf(format, args...))
}

const violationsMax = 20

// violate writes down a promise that was broken.
func (w *world) violate(format string, args ...any) {
	w.note("BROKEN: "+format, args...)
	w.mu.Lock()
	defer w.mu.Unlock()
	if len(w.violations) < violationsMax {
		w.violations = append(w.violations, fmt.Sprintf("%v ", w.since().Round(time.Millisecond))+fmt.Sprintf(format, args...))
	}
}

func (w *world) broken() bool {
	w.mu.Lock()
	defer w.mu.Unlock()
	return len(w.violations) > 0
}

// run runs the world to its end, or to the first round in which a promise is broken.
func (w *world) run() {
	defer w.end()
	for range w.plan.nodes {
		w.addMachine().start()
		time.Sleep(time.Duration(w.rand.IntN(300)) * time.Millisecond)
	}
	if !w.converge("at first") {
		return
	}
	for w.round = 1; w.round <= w.plan.rounds && !w.broken(); w.round++ {
		w.budget = newBudget(w.rand)
		w.work()
		w.mend()
		if !w.converge(fmt.Sprint("after round ", w.round)) {
			return
		}
		w.judge()
		w.silent()
	}
}

// end stops all that runs.
func (w *world) end() {
	w.operator.close()
	w.net.heal()
	for _, m := range w.machines {
		if m.p != nil {
			m.stop()
		}
	}
	synctest.Wait()
}

// addMachine adds a machine that has never run.
func (w *world) addMachine() *machine {
	i := len(w.machines)
	m := &machine{w: w, name: fmt.Sprint("node", i), weight: 1, files: vfs.NewCrashableMem()}
	if w.plan.zones > 0 {
		m.zone = fmt.Sprint("zone", i%w.plan.zones)
	}
	if w.plan.weights {
		m.weight = 1 + w.rand.IntN(4)
	}
	m.clock.set(w.skew(), w.drift())
	w.machines = append(w.machines, m)
	return m
}

// skew and drift keep any two clocks within max-clock-drift of each other.
func (w *world) skew() time.Duration { return time.Duration(w.rand.IntN(200)-100) * time.Millisecond }

func (w *world) drift() float64 {
	return float64(w.rand.IntN(100)-50) / 1e6 / float64(w.plan.paced(1))
}

// addresses are those that a new node is told of: of all other machines.
func (w *world) addresses(of *machine) (all []string) {
	for _, m := range w.machines {
		if m != of && !m.retired {
			all = append(all, m.peerAddress())
		}
	}
	return all
}

// work has clients work while there are faults.
func (w *world) work() {
	stop := make(chan struct{})
	var working sync.WaitGroup
	began := w.since()
	from := len(w.histories)
	for l, one := range w.plan.loads {
		h := &history{load: one, db: "0"}
		if one.plain {
			h.db = fmt.Sprint(w.round)
		}
		h.Workload, h.Seed = one.name, w.seed
		w.histories = append(w.histories, h)
		for i := range one.workers {
			id := 100*w.round + 10*l + i
			k := &worker{
				w: w, h: h, id: id, prefix: fmt.Sprintf("r%d.", w.round), least: 1,
				rand: rand.New(rand.NewPCG(w.seed, uint64(id))),
			}
			if w.budget.lossy {
				k.least = 2
			}
			k.client.host = w.net.newHost(fmt.Sprint("client", id))
			working.Go(func() { k.run(stop) })
		}
	}
	w.trouble(w.plan.paced(w.plan.lasting))
	close(stop)
	working.Wait()
	fault := check.Fault{Kind: "round", Begin: began, End: w.since() + time.Minute}
	for _, h := range w.histories[from:] {
		h.Faults = append(h.Faults, fault)
		h.lossy = w.budget.lossy && w.budget.losses == 0
	}
}

// pause lets the world go on for so long. Memory is freed while nothing runs, since
// that would decide which goroutine comes next.
func (w *world) pause(d time.Duration) {
	time.Sleep(d)
	synctest.Wait()
	w.watch()
	if w.since()-w.collected > min(w.plan.paced(collectEvery), collectMax) {
		w.collected = w.since()
		w.judgeWatermarks()
		w.judgeBounds()
		runtime.GC()
	}
}

// ask has a client ask a node.
func (w *world) ask(c *client, node int, db string, args ...string) (any, error) {
	to := w.machines[node].clientAddress()
	if c.conn == nil || c.to != to {
		if _, err := c.do(to, "SELECT", db); err != nil {
			return nil, errUnsent
		}
	}
	return c.do(to, args...)
}

// collectEvery is how often memory is freed, and all disks are looked at, at the usual pace.
const (
	collectEvery = 2 * time.Second
	collectMax   = time.Minute
)

// operate has the operator say something to any node.
func (w *world) operate(args ...string) (any, error) {
	var up []int
	for i, m := range w.machines {
		if m.up() {
			up = append(up, i)
		}
	}
	if len(up) == 0 {
		return nil, errUnsent
	}
	node := up[w.rand.IntN(len(up))]
	reply, err := w.ask(&w.operator, node, "0", args...)
	w.note("%v at node %d: %v", args, node, errors.Join(err))
	return reply, err
}

// document is the newest ring that any node goes by.
func (w *world) document() (newest *ring.Document) {
	for _, c := range w.nodes() {
		if d := c.Document(); d != nil && (newest == nil || d.Epoch > newest.Epoch) {
			newest = d
		}
	}
	return newest
}

// nodes are those that have started.
func (w *world) nodes() (all []*cluster.Coordinator) {
	for _, m := range w.machines {
		if m.up() {
			all = append(all, m.p.c)
		}
	}
	return all
}

// watch looks at what must hold at every moment.
func (w *world) watch() {
	for _, c := range w.nodes() {
		d := c.Document()
		if d == nil {
			continue
		}
		text := string(d.Append(nil))
		if was, seen := w.rings[d.Epoch]; seen && was != text {
			w.violate("two ring documents of epoch %d", d.Epoch)
		}
		w.rings[d.Epoch] = text
	}
	for _, m := range w.machines {
		if p := m.p; p != nil {
			select {
			case <-p.ended:
				w.ended(m)
			default:
			}
		}
	}
}

// ended takes note of a process that has ended by itself.
func (w *world) ended(m *machine) {
	p := m.p
	m.p = nil
	p.host.die(false)
	m.unlock()
	if p.err != nil && strings.Contains(p.err.Error(), "has left its ring") {
		w.note("%s has left", m.name)
		m.retired = true
		return
	}
	if !p.disk.failed.Load() {
		w.violate("%s ends by itself: %v", m.name, p.err)
	}
}
