package faults

import (
	"slices"
	"strings"
	"sync"

	"cartwheel/bench/check"
)

// setAdd: VGET, merge the siblings, add an element, VSET with the context. Nobody reads what another
// has left half done, and everybody adds to the same sets.
func setAdd(seed uint64) workload {
	keys := newRotation("set-add", seed, 120, 3)
	return workload{name: "set-add", workers: 4, final: check.VGet, start: func(w *worker) func() {
		return func() {
			key, element := keys.next(w), w.value()
			read := w.vget(key)
			if read.Outcome != check.Acknowledged {
				return
			}
			var elements []string
			for _, value := range read.Values {
				elements = append(elements, strings.Split(value, check.ElementSeparator)...)
			}
			slices.Sort(elements)
			elements = append(slices.Compact(elements), element)
			w.vset(check.Operation{
				Key: key, Element: element, Context: read.Seen, Value: strings.Join(elements, check.ElementSeparator),
			})
		}
	}}
}

// siblings: reads, writes and deletes with contexts that are fresh, stale, or none.
func siblings(seed uint64) workload {
	keys := newRotation("siblings", seed, 60, 4)
	return workload{name: "siblings", workers: 4, final: check.VGet, start: func(w *worker) func() {
		held := map[string][]string{} // contexts by key
		learn := func(o *check.Operation) {
			if o.Outcome != check.Acknowledged {
				return
			}
			if held[o.Key] == nil && len(held) > heldKeysMax {
				clear(held)
			}
			held[o.Key] = append(held[o.Key], o.Seen)
		}
		return func() {
			o := check.Operation{Key: keys.next(w)}
			if n := len(held[o.Key]); n > 0 && w.random.IntN(8) > 0 {
				o.Context = held[o.Key][max(0, n-1-w.random.IntN(3))]
			}
			switch dice := w.random.IntN(10); {
			case dice < 4:
				learn(w.vget(o.Key))
			case dice < 9:
				o.Value = w.value()
				learn(w.vset(o))
			default:
				learn(w.vdel(o))
			}
		}
	}}
}

// copies: a few writes of each key with one, two or three replicas, strict or sloppy, and then no more: no later
// write brings what an earlier one left out.
func copies(seed uint64, lossy bool) workload {
	least := 1
	if lossy {
		least = 2
	}
	keys := newRotation("copies", seed, 4, 4)
	return workload{name: "copies", workers: 16, pause: 5 * pauseMean, final: check.VGet, strict: true, start: func(w *worker) func() {
		return func() {
			o := check.Operation{Key: keys.next(w), Value: w.value(), W: least + w.random.IntN(4-least)}
			if w.random.IntN(5) == 0 {
				read := w.vget(o.Key)
				if read.Outcome != check.Acknowledged {
					return
				}
				o.Context = read.Seen
			}
			mode := strictly
			if w.random.IntN(2) == 0 {
				mode = "SLOPPY"
			}
			w.vset(o, "W", o.W, mode)
		}
	}}
}

// heldKeysMax bounds what a worker remembers; keys that are not in use any more are forgotten with the rest.
const heldKeysMax = 64

// register: STRICT reads and writes. Half of the keys are written by all; of the other half each has one
// writer, who leaves it at its first write of unknown outcome, and many readers.
func register(seed uint64) workload {
	keys := newRotation("register", seed, 80, 2)
	own := newRotation("register-own", seed, 1, 1)
	var current struct {
		sync.Mutex // guards keys
		keys       map[int]string
	}
	current.keys = map[int]string{}
	return workload{name: "register", workers: 5, final: check.VGet, strict: true, start: func(w *worker) func() {
		shared := map[string]string{} // contexts by key
		context, writes := "", 0
		take := func() {
			current.Lock()
			defer current.Unlock()
			current.keys[w.id] = own.next(w)
			context, writes = "", 0
		}
		take()
		chosen := func() string { // any writer's own key
			current.Lock()
			defer current.Unlock()
			ids := make([]int, 0, len(current.keys))
			for id := range current.keys {
				ids = append(ids, id)
			}
			slices.Sort(ids)
			return current.keys[ids[w.random.IntN(len(ids))]]
		}
		writeOwn := func() {
			current.Lock()
			key := current.keys[w.id]
			current.Unlock()
			o := w.vset(check.Operation{Key: key, Context: context, Value: w.value()}, strictly)
			switch writes++; {
			case o.Outcome == check.Acknowledged:
				context = o.Seen
			case o.Outcome == check.Unknown:
				take()
			}
			if writes >= ownWritesMax {
				take()
			}
		}
		return func() {
			switch dice := w.random.IntN(10); {
			case dice < 3:
				w.vget(chosen(), strictly)
			case dice < 5:
				writeOwn()
			case dice < 8:
				if o := w.vget(keys.next(w), strictly); o.Outcome == check.Acknowledged {
					clear(shared)
					shared[o.Key] = o.Seen
				}
			default:
				key := keys.next(w)
				if o := w.vset(check.Operation{Key: key, Context: shared[key], Value: w.value()}, strictly); o.Outcome == check.Acknowledged {
					shared[key] = o.Seen
				}
			}
		}
	}}
}

// ownWritesMax is how often a register with one writer is written.
const ownWritesMax = 60
