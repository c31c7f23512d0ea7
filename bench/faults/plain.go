package faults

import (
	"fmt"
	"time"

	"cartwheel/bench/check"
)

// The lives of sessions: one that ends during a run, and one that does not.
const (
	lifeShort = time.Second
	lifeLong  = time.Hour
)

// sessionsBeside is how many sessions are in use at once: so many that writes of one are mostly further
// apart than clocks may differ, and have an order that the checker knows.
const sessionsBeside = 200

// sessions: what a web application does with its sessions, several nodes at once.
func sessions(seed uint64) workload {
	keys := newRotation("sessions", seed, 25, sessionsBeside)
	return workload{name: "sessions", workers: 4, final: check.Get, start: func(w *worker) func() {
		life := func() time.Duration {
			if w.random.IntN(2) == 0 {
				return lifeShort
			}
			return lifeLong
		}
		return func() {
			o := check.Operation{Key: keys.next(w)}
			switch dice := w.random.IntN(10); {
			case dice < 4:
				o.Command, o.Value, o.Life = check.Set, w.value(), life()
				w.do(o, readNothing, "SET", o.Key, o.Value, "PX", milliseconds(o.Life))
			case dice < 7:
				o.Command = check.Get
				w.do(o, readValue, "GET", o.Key)
			case dice < 8:
				o.Command = check.Del
				w.do(o, readValue, "DEL", o.Key)
			default:
				o.Command, o.Life = check.Expire, life()
				w.do(o, readValue, "PEXPIRE", o.Key, milliseconds(o.Life))
			}
		}
	}}
}

// counters: INCR of a few keys by many.
func counters(seed uint64) workload {
	keys := newRotation("counters", seed, 1<<40, 3)
	return workload{name: "counters", workers: 6, healthy: true, final: check.Get, start: func(w *worker) func() {
		return func() {
			o := check.Operation{Command: check.Incr, Key: keys.next(w)}
			w.do(o, readValue, "INCR", o.Key)
		}
	}}
}

// locks: SET NX of one key after the other, everybody at once.
func locks(seed uint64) workload {
	return workload{name: "locks", workers: 6, healthy: true, final: check.Get, start: func(w *worker) func() {
		n := 0
		return func() {
			n++
			o := check.Operation{Command: check.SetNX, Key: fmt.Sprintf("locks:%x:%d", seed, n), Value: w.value()}
			won := func(o *check.Operation, reply any) error {
				if reply != nil {
					o.Values = []string{o.Value}
				}
				return nil
			}
			w.do(o, won, "SET", o.Key, o.Value, "NX", "PX", milliseconds(lifeLong))
		}
	}}
}
