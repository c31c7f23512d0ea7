package sim

import (
	"slices"
	"strconv"
	"strings"
	"time"

	"cartwheel/bench/check"
)

// setAdd: VGET, merge the siblings, add an element, VSET with the context.
var setAdd = load{name: "set-add", workers: 2, final: check.VGet, start: func(k *worker) func() {
	return func() {
		key, element := k.key(4), k.value()
		read := k.vget(key)
		if read.Outcome != check.Acknowledged {
			return
		}
		var elements []string
		for _, value := range read.Values {
			elements = append(elements, strings.Split(value, check.ElementSeparator)...)
		}
		slices.Sort(elements)
		elements = append(slices.Compact(elements), element)
		k.vset(check.Operation{
			Key: key, Element: element, Context: read.Seen, Value: strings.Join(elements, check.ElementSeparator),
		})
	}
}}

// siblings: reads, writes and deletes with contexts that are fresh, stale or none, with any
// W, strict or sloppy.
var siblings = load{name: "siblings", workers: 3, final: check.VGet, start: func(k *worker) func() {
	held := map[string][]string{} // contexts by key
	learn := func(o *check.Operation) {
		if o.Outcome == check.Acknowledged {
			held[o.Key] = append(held[o.Key], o.Seen)
		}
	}
	return func() {
		o := check.Operation{Key: k.key(12)}
		if n := len(held[o.Key]); n > 0 && k.rand.IntN(8) > 0 {
			o.Context = held[o.Key][max(0, n-1-k.rand.IntN(3))]
		}
		var options []string
		if k.rand.IntN(3) == 0 {
			o.W = k.least + k.rand.IntN(4-k.least)
			options = []string{"W", strconv.Itoa(o.W)}
		}
		if k.rand.IntN(4) == 0 {
			options = append(options, strictly)
		}
		switch dice := k.rand.IntN(10); {
		case dice < 4:
			learn(k.vget(o.Key))
		case dice < 9:
			o.Value = k.value()
			learn(k.vset(o, options...))
		default:
			learn(k.vdel(o, options...))
		}
	}
}}

// register: strict reads and writes of few keys by all.
var register = load{name: "register", workers: 3, final: check.VGet, strict: true, start: func(k *worker) func() {
	contexts := map[string]string{}
	return func() {
		key := k.key(4)
		if k.rand.IntN(2) == 0 {
			if o := k.vget(key, strictly); o.Outcome == check.Acknowledged {
				contexts[key] = o.Seen
			}
			return
		}
		if o := k.vset(check.Operation{Key: key, Context: contexts[key], Value: k.value()}, strictly); o.Outcome == check.Acknowledged {
			contexts[key] = o.Seen
		}
	}
}}

// sessions: plain sets, deletes and expiries, and now and then a flush of all.
var sessions = load{name: "sessions", workers: 3, plain: true, final: check.Get, start: func(k *worker) func() {
	life := func() time.Duration {
		return k.w.plan.paced([]time.Duration{time.Second, 5 * time.Second, time.Hour}[k.rand.IntN(3)])
	}
	return func() {
		o := check.Operation{Key: k.key(sessionKeys)}
		switch dice := k.rand.IntN(100); {
		case dice < 40:
			o.Command, o.Value, o.Life = check.Set, k.value(), life()
			k.do(o, readNothing, "SET", o.Key, o.Value, "PX", milliseconds(o.Life))
		case dice < 70:
			o.Command = check.Get
			k.do(o, readValue, "GET", o.Key)
		case dice < 85:
			o.Command = check.Del
			k.do(o, readValue, "DEL", o.Key)
		case dice < 99:
			o.Command, o.Life = check.Expire, life()
			k.do(o, readValue, "PEXPIRE", o.Key, milliseconds(o.Life))
		default:
			k.flush()
		}
	}
}}

// flush is a delete of every key.
func (k *worker) flush() {
	done := k.do(check.Operation{Command: check.Del, Key: k.numbered(0)}, readNothing, "FLUSHDB")
	k.h.mu.Lock()
	defer k.h.mu.Unlock()
	o := *done
	for i := 1; i < sessionKeys; i++ {
		o.Key = k.numbered(i)
		k.h.Operations = append(k.h.Operations, o)
	}
}

const sessionKeys = 40

func readNothing(*check.Operation, any) error { return nil }

func milliseconds(d time.Duration) string { return strconv.FormatInt(d.Milliseconds(), 10) }
