package sim

import (
	"errors"
	"fmt"
	"math/rand/v2"
	"slices"
	"strings"
	"sync"
	"time"

	"cartwheel/bench/check"
)

// A load is what some workers do in a round, and what the checker of its name judges.
type load struct {
	name    string
	workers int
	plain   bool // it may flush its database, which then is its own
	final   check.Command
	strict  bool
	start   func(w *worker) (step func())
}

// A history is what one load did in one round.
type history struct {
	load  load
	db    string
	lossy bool // somebody lost what it had acknowledged
	mu    sync.Mutex
	check.History
}

// A worker is one client. It stays with its node until its connection fails, and then
// goes on at another.
type worker struct {
	w      *world
	h      *history
	id     int
	prefix string // of keys
	rand   *rand.Rand
	client client
	node   int
	count  int
	least  int // of W
}

// run works until stop is closed.
func (k *worker) run(stop <-chan struct{}) {
	k.move()
	defer k.client.close()
	step := k.h.load.start(k)
	for {
		select {
		case <-stop:
			return
		case <-time.After(k.w.plan.paced(time.Duration(k.rand.Int64N(int64(200 * time.Millisecond))))):
			step()
		}
	}
}

func (k *worker) move() {
	k.client.close()
	k.node = k.rand.IntN(len(k.w.machines))
}

// do runs a command and records it.
func (k *worker) do(o check.Operation, read func(*check.Operation, any) error, args ...string) *check.Operation {
	o.Worker, o.Node = k.id, k.node
	o.Call = k.w.since()
	reply, err := k.w.ask(&k.client, k.node, k.h.db, args...)
	if err == nil {
		err = read(&o, reply)
	}
	o.Return = k.w.since()
	o.Outcome = outcomeOf(err)
	if args[0] == "FLUSHDB" && o.Outcome == check.Acknowledged && k.least > 1 {
		o.Outcome = check.Unknown // it has no W: the one who alone has heard of it may lose it
	}
	if err != nil {
		o.Error = err.Error()
		k.w.note("%v at %d: %v", args, k.node, err)
		if strange(err) {
			k.w.violate("%v at node %d: %v", args, k.node, err)
		}
		var sent errorReply
		if !errors.As(err, &sent) || k.rand.IntN(3) == 0 {
			k.move()
		}
	}
	k.w.trace.note(fmt.Sprintf("%d %d %v %s %v", k.id, o.Node, args, o.Outcome, reply))
	k.h.mu.Lock()
	defer k.h.mu.Unlock()
	k.h.Operations = append(k.h.Operations, o)
	k.count++
	return &o
}

func outcomeOf(err error) check.Outcome {
	var sent errorReply
	switch {
	case err == nil:
		return check.Acknowledged
	case errors.Is(err, errUnsent):
		return check.Refused
	case !errors.As(err, &sent) || strings.HasPrefix(string(sent), "TIMEOUT"):
		return check.Unknown
	}
	if strings.HasPrefix(string(sent), "ERR HLC is too far ahead") {
		return check.Unknown
	}
	return check.Refused
}

// strange says whether a reply is none that a cluster in trouble gives.
func strange(err error) bool {
	var sent errorReply
	return errors.As(err, &sent) && !slices.ContainsFunc([]string{
		"TIMEOUT", "NOREPLICAS", "OVERLOADED", "MISCONF", "ERR invalid context", "ERR the key has too many siblings",
		"ERR your clock is ahead of mine", "ERR HLC is too far ahead of local time", // where clocks are out of bounds
	}, func(code string) bool { return strings.HasPrefix(string(sent), code) })
}

// value is one that nobody else writes.
func (k *worker) value() string { return fmt.Sprintf("%s%d-%d", k.prefix, k.id, k.count) }

func (k *worker) key(of int) string { return k.numbered(k.rand.IntN(of)) }

func (k *worker) numbered(i int) string { return fmt.Sprintf("%s%s%d", k.prefix, k.h.load.name, i) }

const strictly = "STRICT"

func (k *worker) vget(key string, options ...string) *check.Operation {
	o := check.Operation{Command: check.VGet, Key: key, Strict: slices.Contains(options, strictly)}
	return k.do(o, readVersions, append([]string{"VGET", key}, options...)...)
}

func (k *worker) vset(o check.Operation, options ...string) *check.Operation {
	o.Command, o.Strict = check.VSet, slices.Contains(options, strictly)
	return k.do(o, readContext, append([]string{"VSET", o.Key, o.Context, o.Value}, options...)...)
}

func (k *worker) vdel(o check.Operation, options ...string) *check.Operation {
	o.Command = check.VDel
	return k.do(o, readContext, append([]string{"VDEL", o.Key, o.Context}, options...)...)
}

func readVersions(o *check.Operation, reply any) error {
	parts, _ := reply.([]any)
	if len(parts) != 2 {
		return fmt.Errorf("VGET answers %v", reply)
	}
	o.Seen, _ = parts[0].(string)
	values, _ := parts[1].([]any)
	for _, value := range values {
		o.Values = append(o.Values, value.(string))
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

func readValue(o *check.Operation, reply any) error {
	switch value := reply.(type) {
	case string:
		o.Values = []string{value}
	case int64:
		o.Values = []string{fmt.Sprint(value)}
	}
	return nil
}
