package check

import (
	"encoding/base64"
	"encoding/binary"
	"fmt"
	"maps"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/cespare/xxhash/v2"
	"pgregory.net/rapid"
)

const key = "key"

// token makes the context that a node would hand out.
func token(c Clock, key string) string {
	raw := []byte{contextVersion}
	for _, incarnation := range slices.Sorted(maps.Keys(c)) {
		raw = binary.BigEndian.AppendUint64(raw, incarnation)
		raw = binary.BigEndian.AppendUint64(raw, c[incarnation])
	}
	digest := xxhash.NewWithSeed(xxhash.Sum64String(key))
	_, _ = digest.Write(raw)
	return base64.RawURLEncoding.EncodeToString(binary.BigEndian.AppendUint64(raw, digest.Sum64()))
}

func join(a, b Clock) Clock {
	joined := maps.Clone(a)
	if joined == nil {
		joined = Clock{}
	}
	for incarnation, hlc := range b {
		joined[incarnation] = max(joined[incarnation], hlc)
	}
	return joined
}

// world is a store of one key that keeps its promises, and records what its clients see. Each
// operation takes one second and follows the one before.
type world struct {
	History
	clock    Clock
	siblings []sibling
	hlc      uint64
	now      time.Duration
	// dots are those of all writes that were applied, by value: what no client may know.
	dots map[string]Dot
}

type sibling struct {
	dot       Dot
	value     string
	tombstone bool
}

func newWorld(nodes int) *world {
	return &world{History: History{Nodes: nodes}, clock: Clock{}, dots: map[string]Dot{}}
}

func (w *world) take() (call, end time.Duration) {
	w.now += time.Second
	return w.now, w.now + time.Second - 1
}

// show is the answer to VGET.
func (w *world) show(worker, node int) Operation {
	call, end := w.take()
	o := Operation{Worker: worker, Node: node, Command: VGet, Key: key, Seen: token(w.clock, key), Call: call, Return: end, Outcome: Acknowledged}
	for _, s := range slices.Backward(w.siblings) { // the newest is the last
		if !s.tombstone {
			o.Values = append(o.Values, s.value)
		}
	}
	return o
}

func (w *world) read(worker, node int) Operation {
	o := w.show(worker, node)
	w.Operations = append(w.Operations, o)
	return o
}

// write is a VSET or VDEL at the node whose incarnation is given.
func (w *world) write(o Operation, incarnation uint64, applied bool) Operation {
	o.Key = key
	o.Call, o.Return = w.take()
	given, err := ParseContext(o.Context, key)
	if err != nil {
		panic(err)
	}
	if applied {
		w.hlc++
		dot := Dot{incarnation, w.hlc}
		w.dots[o.Value] = dot
		w.siblings = slices.DeleteFunc(w.siblings, func(s sibling) bool { return given.covers(s.dot) })
		returned := join(given, Clock{dot.Incarnation: dot.HLC})
		if slices.ContainsFunc(w.siblings, func(s sibling) bool { return !s.tombstone && returned.covers(s.dot) }) {
			returned = given
		}
		w.clock = join(join(w.clock, given), Clock{dot.Incarnation: dot.HLC})
		w.siblings = append(w.siblings, sibling{dot, o.Value, o.Command == VDel})
		if o.Outcome == Acknowledged {
			o.Seen = token(returned, key)
		}
	}
	w.Operations = append(w.Operations, o)
	return o
}

// finish reads every key on every node.
func (w *world) finish() *History {
	for node := range w.Nodes {
		w.Finals = append(w.Finals, w.show(-1, node))
	}
	return &w.History
}

// draw lets three workers read, write and delete at random, with contexts new and old.
func draw(t *rapid.T, size int) *world {
	w := newWorld(2)
	held := map[int][]string{}
	for n := range rapid.IntRange(1, size).Draw(t, "operations") {
		worker := rapid.IntRange(0, 2).Draw(t, "worker")
		node := rapid.IntRange(0, 1).Draw(t, "node")
		if rapid.IntRange(0, 2).Draw(t, "kind") == 0 {
			held[worker] = append(held[worker], w.read(worker, node).Seen)
			continue
		}
		o := Operation{Worker: worker, Node: node, Command: VSet, Value: fmt.Sprint("v", n), Outcome: Acknowledged}
		if rapid.IntRange(0, 4).Draw(t, "delete") == 0 {
			o.Command = VDel
		}
		if contexts := held[worker]; len(contexts) > 0 && rapid.IntRange(0, 5).Draw(t, "blind") > 0 {
			o.Context = contexts[max(0, len(contexts)-1-rapid.IntRange(0, 2).Draw(t, "age"))]
		}
		applied := true
		if rapid.IntRange(0, 3).Draw(t, "unknown") == 0 {
			o.Outcome = Unknown
			applied = rapid.Bool().Draw(t, "applied")
		}
		o = w.write(o, uint64(node+1), applied)
		if o.Outcome == Acknowledged {
			held[worker] = append(held[worker], o.Seen)
		}
	}
	return w
}

func whats(violations []Violation) string {
	var said []string
	for _, v := range violations {
		said = append(said, v.Key+": "+v.What)
	}
	return strings.Join(said, "\n")
}

// clean fails the test if there is a violation.
func clean(t interface{ Fatalf(string, ...any) }, violations []Violation) {
	if len(violations) > 0 {
		t.Fatalf("violations where there are none:\n%s", whats(violations))
	}
}

// finds wants a violation that says so.
func finds(t *testing.T, violations []Violation, saying string) {
	t.Helper()
	if !strings.Contains(whats(violations), saying) {
		t.Errorf("no violation says %q:\n%s", saying, whats(violations))
	}
}
