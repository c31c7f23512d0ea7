package version

import (
	"cmp"
	"flag"
	"fmt"
	"maps"
	"slices"
	"strings"
	"testing"

	"pgregory.net/rapid"
)

// The laws of Put, Merge, Flush and Prune together, over replicas that write, exchange, forget and
// crash in any order. Beside every object runs a model that keeps all writes for ever and knows of
// each which others its writer had seen, one by one. It has no clocks.

// The laws run often enough, in a second, to find a rule that is broken only now and then. The command
// line's -rapid.checks outranks this.
func init() {
	if err := flag.Set("rapid.checks", "4000"); err != nil {
		panic(err)
	}
}

// write is one write as the model remembers it.
type write struct {
	sibling Sibling
	seen    map[Dot]bool // by its writer, in what it read
}

// reading is what a client holds after a read: the token's clock, and what the model knows it means.
type reading struct {
	clock Clock
	seen  map[Dot]bool
}

type replica struct {
	incarnation Incarnation
	last        HLC // the highest issued
	mark        HLC // flush mark
	object      Object
	known       map[Dot]bool // writes that arrived here, by themselves or in a merge
	seen        map[Dot]bool // these and all that their writers had seen
}

type world struct {
	replicas     []*replica
	writes       map[Dot]write
	readings     []reading
	incarnations Incarnation
	pruned       bool
}

func newWorld(replicas int) *world {
	w := &world{writes: map[Dot]write{}}
	for range replicas {
		w.replicas = append(w.replicas, &replica{})
		w.restartEmpty(w.replicas[len(w.replicas)-1])
	}
	return w
}

func (w *world) restartEmpty(r *replica) {
	// Scattered, so that new incarnations sort before and between the old.
	w.incarnations++
	*r = replica{
		incarnation: w.incarnations * 0x9e3779b97f4a7c15,
		last:        r.last, mark: r.mark,
		known: map[Dot]bool{}, seen: map[Dot]bool{},
	}
}

func (w *world) any(t *rapid.T, label string) *replica {
	return rapid.SampledFrom(w.replicas).Draw(t, label)
}

// put writes with a context that is fresh, stale, empty or the whole object, a value, a tombstone or
// a touch of what is there.
func (w *world) put(t *rapid.T) {
	r := w.any(t, "at")
	from := reading{seen: map[Dot]bool{}}
	kind := rapid.SampledFrom([]string{"whole", "fresh", "stale", "empty"}).Draw(t, "context")
	switch {
	case kind == "whole":
		from = reading{clock: r.object.Clock, seen: maps.Clone(r.seen)} // aliases the object, as a SET does
	case kind == "fresh":
		other := w.any(t, "read from")
		from = reading{clock: Join(r.object.Clock, other.object.Clock), seen: maps.Clone(r.seen)}
		maps.Copy(from.seen, other.seen)
	case kind == "stale" && len(w.readings) > 0:
		kept := rapid.SampledFrom(w.readings).Draw(t, "reading")
		from = reading{clock: slices.Clone(kept.clock), seen: kept.seen}
	}
	floor := max(r.last, r.object.MaxHLC(), from.clock.MaxHLC(), r.mark)
	s := Sibling{Dot: Dot{r.incarnation, floor + HLC(rapid.IntRange(1, 3).Draw(t, "later"))}}
	s.Written = s.Dot.HLC
	switch rapid.SampledFrom([]string{"value", "expiring", "tombstone", "touch"}).Draw(t, "change") {
	case "tombstone":
		s.Tombstone = true
	case "expiring":
		s.ExpireAtMS = 1000
		fallthrough
	case "value":
		s.Payload = fmt.Appendf(nil, "%v", s.Dot)
	case "touch":
		if old := r.object.Winner(); old != nil {
			s.Written, s.Payload, s.Tombstone = old.Written, old.Payload, old.Tombstone
		}
	}

	before := slices.Clone(r.object.Clock)
	context := slices.Clone(from.clock)
	r.object.Put(from.clock, s)
	if want := Join(Join(before, context), Clock{s.Dot}); !r.object.Clock.Equal(want) {
		t.Fatalf("the clock after the put is %v, want %v joined with %v and %v", r.object.Clock, before, context, s.Dot)
	}
	w.writes[s.Dot] = write{s, from.seen}
	r.last = s.Dot.HLC
	r.known[s.Dot] = true
	r.seen[s.Dot] = true
	maps.Copy(r.seen, from.seen)
}

// read keeps what a client sees for a later, stale put.
func (w *world) read(t *rapid.T) {
	r := w.any(t, "at")
	w.readings = append(w.readings, reading{slices.Clone(r.object.Clock), maps.Clone(r.seen)})
}

func (w *world) exchange(t *rapid.T) { w.send(w.any(t, "from"), w.any(t, "to")) }

// send exchanges the flush marks before any data.
func (w *world) send(from, to *replica) {
	to.mark = max(to.mark, from.mark)
	to.object = Merge(&to.object, &from.object)
	to.object.Flush(to.mark)
	maps.Copy(to.known, from.known)
	maps.Copy(to.seen, from.seen)
}

func (w *world) lose(t *rapid.T) {
	r := w.any(t, "at")
	r.last = 0
	w.restartEmpty(r)
}

func (w *world) flush(t *rapid.T) {
	r := w.any(t, "at")
	r.mark = max(r.mark, HLC(rapid.IntRange(0, int(r.last)+1).Draw(t, "mark")))
	r.object.Flush(r.mark)
}

// prune prunes one replica at any watermark that is true: all replicas have seen all at or below it,
// and nobody writes at or below it any more.
func (w *world) prune(t *rapid.T) {
	watermark := HLC(rapid.IntRange(0, 200).Draw(t, "watermark"))
	for d := range w.writes {
		for _, r := range w.replicas {
			if !r.seen[d] && d.HLC <= watermark {
				watermark = d.HLC - 1
			}
		}
	}
	for _, r := range w.replicas {
		r.last = max(r.last, watermark)
	}
	w.any(t, "at").object.Prune(watermark)
	w.pruned = true
}

// siblings is the whole of promise 3: the known writes that no known write's writer had seen.
func (w *world) siblings(r *replica) []Sibling {
	covered := map[Dot]bool{}
	for d := range r.known {
		maps.Copy(covered, w.writes[d].seen)
	}
	var want []Sibling
	for d := range r.known {
		if s := w.writes[d].sibling; !covered[d] && s.Written > r.mark {
			want = append(want, s)
		}
	}
	slices.SortFunc(want, func(a, b Sibling) int {
		return cmp.Or(cmp.Compare(b.Written, a.Written), cmp.Compare(b.Dot.HLC, a.Dot.HLC), cmp.Compare(b.Dot.Incarnation, a.Dot.Incarnation))
	})
	return want
}

func (w *world) check(t *rapid.T) {
	// What one replica has flushed and pruned, another that has not heard of the flush may show until it
	// hears: a client's reading of the first no longer covers it.
	var forgotten HLC
	for _, r := range w.replicas {
		if w.pruned {
			forgotten = max(forgotten, r.mark)
		}
	}
	flushed := func(s Sibling) bool { return s.Written <= forgotten }
	for i, r := range w.replicas {
		held := slices.DeleteFunc(slices.Clone(r.object.Siblings), flushed)
		want := slices.DeleteFunc(w.siblings(r), flushed)
		if !slices.EqualFunc(held, want, func(a, b Sibling) bool { return a.equal(&b) }) {
			t.Fatalf("replica %d holds\n%v\nwant\n%v\nclock %v", i, dotsOf(held), dotsOf(want), r.object.Clock)
		}
		for d := range w.writes {
			if covers := r.object.Clock.Covers(d); covers != r.seen[d] && !(w.pruned && r.seen[d]) {
				t.Fatalf("replica %d: its clock %v covers %v: %v, want %v", i, r.object.Clock, d, covers, r.seen[d])
			}
		}
		encoded := AppendObject(nil, &r.object)
		var decoded Object
		if err := decoded.Decode(encoded); err != nil || !decoded.Equal(&r.object) {
			t.Fatalf("replica %d does not survive its encoding: %v", i, err)
		}
	}
}

func dotsOf(siblings []Sibling) string {
	var b strings.Builder
	for _, s := range siblings {
		fmt.Fprintf(&b, "(%x %d written %d) ", uint64(s.Dot.Incarnation)>>48, s.Dot.HLC, s.Written)
	}
	return b.String()
}

// settle lets everybody exchange with everybody, in any order, until nothing can be news.
func (w *world) settle(t *rapid.T) {
	for range 2 {
		for _, i := range rapid.Permutation(indices(len(w.replicas)*len(w.replicas))).Draw(t, "order") {
			w.send(w.replicas[i/len(w.replicas)], w.replicas[i%len(w.replicas)])
		}
	}
	// One full ring in each direction finishes what the order left open.
	n := len(w.replicas)
	for i := range 2 * n {
		w.send(w.replicas[i%n], w.replicas[(i+1)%n])
	}
	w.check(t)
	want := w.siblings(w.replicas[0])
	for i, r := range w.replicas {
		winner := r.object.Winner()
		switch {
		case len(r.object.Siblings) != len(want):
			t.Fatalf("replica %d holds %v, want %v", i, dotsOf(r.object.Siblings), dotsOf(want))
		case (winner == nil) != (len(want) == 0), winner != nil && !winner.equal(&want[0]):
			t.Fatalf("replica %d shows %v, want the first of %v", i, winner, dotsOf(want))
		case !w.pruned && !r.object.Equal(&w.replicas[0].object):
			t.Fatalf("replicas %d and 0 differ after they exchanged everything:\n%v\n%v", i, r.object, w.replicas[0].object)
		}
	}
}

func indices(n int) []int {
	all := make([]int, n)
	for i := range all {
		all[i] = i
	}
	return all
}

func TestSiblingsAreExactAndReplicasAgreeOnTheWinner(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		w := newWorld(rapid.IntRange(1, 4).Draw(t, "replicas"))
		t.Repeat(map[string]func(*rapid.T){
			"put": w.put, "put again": w.put, "read": w.read, "exchange": w.exchange, "exchange again": w.exchange,
			"lose": w.lose, "flush": w.flush, "": w.check,
		})
		w.settle(t)
	})
}

func TestPruneNeverResurrects(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		w := newWorld(rapid.IntRange(2, 3).Draw(t, "replicas"))
		t.Repeat(map[string]func(*rapid.T){
			"put": w.put, "put again": w.put, "read": w.read, "exchange": w.exchange, "exchange again": w.exchange,
			"prune": w.prune, "flush": w.flush, "": w.check,
		})
		w.settle(t)
	})
}
