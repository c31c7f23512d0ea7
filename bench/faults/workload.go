package faults

import (
	"fmt"
	"slices"
	"sync/atomic"
	"time"

	"cartwheel/bench/check"
)

// workload is what some workers do, and what the checker of the same name judges.
type workload struct {
	name    string
	workers int
	pause   time.Duration // between a worker's operations, on average; pauseMean if 0
	healthy bool          // it runs at full health, not among faults
	final   check.Command
	strict  bool // its final reads are STRICT
	// start makes the state of one worker and returns what it does again and again.
	start func(w *worker) (step func())
}

// workloads makes them anew, with the state that their workers share. Where a node is to be lost, they do not
// write what that node alone may acknowledge.
func workloads(seed uint64, lossy bool) []workload {
	return []workload{setAdd(seed), siblings(seed), copies(seed, lossy), register(seed), sessions(seed), counters(seed), locks(seed)}
}

// Workloads are the names of all, availability first.
func Workloads() []string {
	names := []string{availability}
	for _, w := range workloads(0, false) {
		names = append(names, w.name)
	}
	return names
}

// rotation hands out keys. A key is used for some operations and then left, so that what one checker has to
// compare stays small however long the run.
type rotation struct {
	prefix string
	uses   int64 // of each key
	beside int64 // keys that are in use at the same time
	count  atomic.Int64
}

func newRotation(name string, seed uint64, uses, beside int64) *rotation {
	return &rotation{prefix: fmt.Sprintf("%s:%x", name, seed), uses: uses, beside: beside}
}

func (r *rotation) next(w *worker) string {
	generation := r.count.Add(1) / (r.uses * r.beside)
	return fmt.Sprintf("%s:%d", r.prefix, generation*r.beside+w.random.Int64N(r.beside))
}

// strictly is the option of commands that only owners may answer.
const strictly = "STRICT"

// value is one that nobody else writes.
func (w *worker) value() string { return fmt.Sprintf("%d-%d", w.id, len(w.operations)) }

// vget reads a key's siblings and their context.
func (w *worker) vget(key string, options ...any) *check.Operation {
	o := check.Operation{Command: check.VGet, Key: key, Strict: slices.Contains(options, any(strictly))}
	return w.do(o, readVersions, append([]any{"VGET", key}, options...)...)
}

// vset writes with a context, and learns the next.
func (w *worker) vset(o check.Operation, options ...any) *check.Operation {
	o.Command, o.Strict = check.VSet, slices.Contains(options, any(strictly))
	return w.do(o, readContext, append([]any{"VSET", o.Key, o.Context, o.Value}, options...)...)
}

func (w *worker) vdel(o check.Operation, options ...any) *check.Operation {
	o.Command, o.Strict = check.VDel, slices.Contains(options, any(strictly))
	return w.do(o, readContext, append([]any{"VDEL", o.Key, o.Context}, options...)...)
}

// readVersions takes apart [context, [value, ...]].
func readVersions(o *check.Operation, reply any) error {
	parts, _ := reply.([]any)
	if len(parts) != 2 {
		return fmt.Errorf("VGET answers %v", reply)
	}
	context, ok := parts[0].(string)
	values, list := parts[1].([]any)
	if !ok || !list {
		return fmt.Errorf("VGET answers %v", reply)
	}
	o.Seen = context
	for _, value := range values {
		text, ok := value.(string)
		if !ok {
			return fmt.Errorf("VGET answers %v", reply)
		}
		o.Values = append(o.Values, text)
	}
	return nil
}

func readContext(o *check.Operation, reply any) error {
	context, ok := reply.(string)
	if !ok || context == "" {
		return fmt.Errorf("%s answers %v, not a context", o.Command, reply)
	}
	o.Seen = context
	return nil
}

// readValue takes a value, or none.
func readValue(o *check.Operation, reply any) error {
	switch value := reply.(type) {
	case nil:
	case string:
		o.Values = []string{value}
	case int64:
		o.Values = []string{fmt.Sprint(value)}
	default:
		return fmt.Errorf("%s answers %v", o.Command, reply)
	}
	return nil
}

// readNothing is for replies of which only the absence of an error matters.
func readNothing(*check.Operation, any) error { return nil }

// milliseconds is a duration as PX and PEXPIRE have it.
func milliseconds(d time.Duration) int64 { return d.Milliseconds() }
