package check

import (
	"fmt"
	"math/rand/v2"
	"slices"
	"testing"
	"time"
)

// replicas is a naive strict quorum, N=3 and R=W=2, of one key: clients run at the same time, and each
// step of each is one step of the time. It is broken on purpose by its fields.
type replicas struct {
	noRepair bool // reads do not write back what they return
	readOne  bool // R=1
	ackOne   bool // W=1
	keepOld  bool // the merge keeps covered siblings
	dropNew  bool // the merge keeps the own sibling of two

	random  *rand.Rand
	objects [3]world
	now     time.Duration
	hlc     uint64
	history History
}

// merge joins an object into a replica.
func (q *replicas) merge(into int, from *world) {
	o := &q.objects[into]
	var kept []sibling
	for _, s := range o.siblings {
		if slices.Contains(from.siblings, s) || !from.clock.covers(s.dot) || q.keepOld {
			kept = append(kept, s)
		}
	}
	for _, s := range from.siblings {
		if !slices.Contains(o.siblings, s) && !o.clock.covers(s.dot) && !(q.dropNew && len(kept) > 0) {
			kept = append(kept, s)
		}
	}
	o.siblings, o.clock = kept, join(o.clock, from.clock)
}

func (o *world) copied() *world {
	return &world{clock: join(o.clock, nil), siblings: slices.Clone(o.siblings)}
}

// client does operations one after the other; each call of step is one step.
type client struct {
	id      int
	steps   []func()
	context string
	writes  int
	only    bool // it writes a key of its own, each write covering the one before
}

// begin puts together the steps of the client's next operation.
func (q *replicas) begin(c *client) {
	node := q.random.IntN(3)
	o := Operation{Worker: c.id, Node: node, Command: VGet, Key: key, Outcome: Acknowledged, Call: q.now}
	if q.random.IntN(2) == 0 || c.only && c.id > 0 {
		c.steps = q.reading(c, o)
		return
	}
	c.writes++
	o.Command, o.Value, o.Context = VSet, fmt.Sprintf("%d-%d", c.id, c.writes), c.context
	c.steps = q.writing(c, o)
}

func (q *replicas) reading(c *client, o Operation) []func() {
	from := q.random.Perm(3)[:2]
	if q.readOne {
		from = from[:1]
	}
	var result *world
	var steps []func()
	for n, i := range from {
		steps = append(steps, func() {
			if n == 0 {
				result = q.objects[i].copied()
				return
			}
			joined := replicas{objects: [3]world{*result}}
			joined.merge(0, &q.objects[i])
			result = &joined.objects[0]
		})
	}
	for _, i := range from {
		steps = append(steps, func() {
			if !q.noRepair {
				q.merge(i, result)
			}
		})
	}
	return append(steps, func() {
		shown := result.show(c.id, o.Node)
		o.Values, o.Seen, o.Return = shown.Values, shown.Seen, q.now
		if !c.only {
			c.context = o.Seen
		}
		q.history.Operations = append(q.history.Operations, o)
	})
}

func (q *replicas) writing(c *client, o Operation) []func() {
	order := q.random.Perm(3)
	var result *world
	steps := []func(){func() {
		q.hlc++
		coordinator := &q.objects[order[0]]
		coordinator.hlc = q.hlc - 1
		coordinator.dots = map[string]Dot{}
		coordinator.Operations = nil
		o.Seen = coordinator.write(o, uint64(order[0]+1), true).Seen
		result = coordinator.copied()
	}}
	answer := func() {
		o.Return = q.now
		c.context = o.Seen
		q.history.Operations = append(q.history.Operations, o)
	}
	if q.ackOne {
		steps = append(steps, answer)
	}
	for range q.random.IntN(12) { // on its way
		steps = append(steps, func() {})
	}
	steps = append(steps, func() { q.merge(order[1], result) })
	if !q.ackOne {
		steps = append(steps, answer)
	}
	if q.random.IntN(2) == 0 { // the third gets it late, or never
		steps = append(steps, func() { q.merge(order[2], result) })
	}
	return steps
}

// run lets the clients interleave.
func (q *replicas) run(clients []*client, steps int) *History {
	for i := range q.objects {
		q.objects[i].clock = Clock{}
	}
	q.history.Nodes = 3
	for range steps {
		q.now += time.Millisecond
		c := clients[q.random.IntN(len(clients))]
		if len(c.steps) == 0 {
			q.begin(c)
			continue
		}
		c.steps[0]()
		c.steps = c.steps[1:]
	}
	// Those under way end, so that every value has its writer in the history.
	for _, c := range clients {
		for _, step := range c.steps {
			q.now += time.Millisecond
			step()
		}
	}
	return &q.history
}

func clients(n int, only bool) (all []*client) {
	for id := range n {
		all = append(all, &client{id: id, only: only})
	}
	return all
}

const runs = 300

func TestStrictAcceptsAStrictQuorum(t *testing.T) {
	for seed := range uint64(runs) {
		for _, only := range []bool{false, true} {
			q := replicas{random: rand.New(rand.NewPCG(seed, 1))}
			h := q.run(clients(3, only), 200)
			if violations := Strict(h); len(violations) > 0 {
				t.Fatalf("seed %d, one writer %t:\n%s", seed, only, whats(violations))
			}
		}
	}
}

func TestStrictFindsABrokenQuorum(t *testing.T) {
	for name, broken := range map[string]replicas{
		"no read repair":    {noRepair: true},
		"R=1":               {readOne: true},
		"W=1":               {ackOne: true},
		"covered ones kept": {keepOld: true},
		"siblings dropped":  {dropNew: true},
	} {
		for _, only := range []bool{false, true} {
			if only && name == "siblings dropped" {
				continue // one writer makes none
			}
			found := 0
			for seed := range uint64(runs) {
				q := broken
				q.random = rand.New(rand.NewPCG(seed, 2))
				if len(Strict(q.run(clients(3, only), 200))) > 0 {
					found++
				}
			}
			t.Logf("%s, one writer %t: found in %d of %d runs", name, only, found, runs)
			if found == 0 {
				t.Errorf("%s, one writer %t: never found", name, only)
			}
		}
	}
}

func TestStrictFinds(t *testing.T) {
	w := newWorld(1)
	first := w.write(Operation{Command: VSet, Value: "a", Outcome: Acknowledged}, 1, true)
	w.read(1, 0)
	w.write(Operation{Command: VSet, Value: "b", Context: first.Seen, Outcome: Acknowledged}, 2, true)
	w.read(2, 0)
	w.read(1, 0)
	clean(t, Strict(w.finish()))
	for name, c := range map[string]struct {
		at     int
		values []string
		saying string
	}{
		"a stale read":           {3, []string{"a"}, "acknowledged before"},
		"a covered value beside": {4, []string{"b", "a"}, "covered before by"},
		"a read going backwards": {4, []string{"a"}, "which was gone at"},
		"nothing":                {4, nil, "does not show"},
		"another value":          {1, []string{"b"}, "before it was written"},
	} {
		h := w.History
		h.Operations = slices.Clone(h.Operations)
		h.Operations[c.at].Values = c.values
		finds(t, Strict(&h), c.saying)
		if t.Failed() {
			t.Fatal(name)
		}
	}
}
