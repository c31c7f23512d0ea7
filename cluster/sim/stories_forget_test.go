package sim

import (
	"slices"
	"time"

	"cartwheel/bench/check"
	"cartwheel/cluster/sabotage"
)

// Stories of what is forgotten, deleted and put back.
var forgettingStories = []story{
	{
		flaw:  sabotage.DotsReused,
		needs: "a node comes back with an old copy of its directory, and is written to before it is repaired",
		by:    "siblings", says: "is missing, and nothing covers it", seeds: 1,
		plan: func(p *plan) { p.exchange, p.stability = time.Minute, time.Minute },
		tell: func(w *world) {
			k, x := w.teller(siblings), w.rand.IntN(3)
			files := w.copied(x)
			w.settle("it is back")
			keys := w.keys(20)
			for _, key := range keys {
				k.at(x).vset(check.Operation{Key: key, Value: k.value()})
			}
			w.pause(2 * time.Second)
			w.rolledBack(x, files)
			write := func(key string) bool {
				return k.at(x).vset(check.Operation{Key: key, Value: k.value()}).Outcome == check.Acknowledged
			}
			if w.rand.IntN(2) == 0 { // before anybody can have told it anything
				write = func(key string) bool {
					return k.at(x).vset(check.Operation{Key: key, Value: k.value(), W: 1}, "W", "1").Outcome == check.Acknowledged
				}
				for i := range w.machines {
					w.cut(x, i, true)
				}
			}
			wait := w.meanwhile(func() { // as soon as it can be written to
				for _, key := range keys {
					for !write(key) {
						time.Sleep(time.Millisecond)
					}
				}
			})
			w.machines[x].start()
			wait()
		},
	},
	{
		flaw:  sabotage.TombstonePurgedEarly,
		needs: "an owner is away, with hints refused for want of room, while a key is deleted, and for longer than the grace",
		by:    "siblings", says: "is there, though VDEL", seeds: 1,
		plan: func(p *plan) { p.hintBytes = 1 },
		tell: func(w *world) {
			k, order := w.teller(siblings), w.shuffled()
			keys := w.keys(10)
			for _, key := range keys {
				k.at(order[0]).overwrite(key)
			}
			w.settle("all is the same")
			w.killed(order[2])
			w.knownDown(order[2])
			for _, key := range keys {
				k.at(order[1]).remove(key)
			}
			w.pause(150 * time.Second) // a sweep has come by
		},
	},
	{
		flaw:  sabotage.HintsNotFenced,
		needs: "a write is left in hints only, since its coordinator is lost, and who holds them cannot reach the owners while all others go on",
		by:    "siblings", says: "is missing, and nothing covers it", seeds: 1,
		plan: func(p *plan) { p.nodes = 5 },
		tell: func(w *world) {
			k := w.teller(siblings)
			of := w.preference("s.key0")
			lost, keys := of[0], w.keysWith(5, func(other []int) bool { return slices.Equal(of, other) })
			for i := 1; i < 3; i++ {
				w.net.setApart(w.machines[lost].name, w.machines[of[i]].name, true)
				w.cut(of[i], of[i+2], true) // an owner, and who is to hold the hints for it
			}
			for _, key := range keys {
				k.at(lost).vset(check.Operation{Key: key, Value: k.value()})
			}
			w.lost(lost)
			w.pause(3 * time.Second)
			for i := 1; i < 3; i++ {
				w.net.setApart(w.machines[lost].name, w.machines[of[i]].name, false)
			}
			w.started(lost)
			w.insist("it has taken its own place", func() bool {
				d := w.document()
				_, is := d.Member(w.machines[lost].p.c.NodeID())
				return is && len(d.Moves) == 0
			})
			w.pause(20 * time.Second)
		},
	},
	{
		flaw:  sabotage.HintAfterPurge,
		needs: "who holds a hint cannot reach its owner while the key is deleted and all others go on",
		by:    "siblings", says: "is there, though VDEL", seeds: 1,
		plan: func(p *plan) { p.nodes = 4 },
		tell: func(w *world) {
			k, order := w.teller(siblings), w.shuffled()
			x, d := order[0], order[1] // d is to hold the hint for x
			keys := w.keysWith(5, func(of []int) bool { return of[3] == d && slices.Index(of, x) > 0 })
			w.killed(x)
			w.knownDown(x)
			for _, key := range keys {
				k.at(order[2]).overwrite(key)
			}
			w.cut(x, d, true)
			w.started(x)
			w.pause(10 * time.Second)
			for _, key := range keys {
				k.at(order[3]).remove(key)
			}
			w.pause(150 * time.Second) // a sweep has come by
		},
	},
	{
		flaw:  sabotage.StaleReadRepair,
		needs: "a node comes back with an old copy of its directory, from before keys were deleted and purged, and is read from",
		by:    "siblings", says: "is there, though VDEL", seeds: 2,
		plan: func(p *plan) {},
		tell: func(w *world) {
			k, order := w.teller(siblings), w.shuffled()
			x, keys := order[2], w.keys(20)
			for _, key := range keys {
				k.at(order[0]).overwrite(key)
			}
			w.settle("all is the same")
			files := w.copied(x)
			w.settle("all is the same")
			for _, key := range keys {
				k.at(order[1]).remove(key)
			}
			w.pause(150 * time.Second) // a sweep has come by
			w.rolledBack(x, files)
			w.knownDown(x)
			reading := w.meanwhile(func() {
				for i := range 500 {
					k.at(x).vget(keys[i%len(keys)])
				}
			})
			w.machines[x].start()
			reading()
		},
	},
	{
		flaw:  sabotage.ClockPrunedEarly,
		needs: "an owner is away while a value that it has is overwritten at another node than the one that wrote it",
		by:    "siblings", says: "is there, though VSET", seeds: 1,
		plan: func(p *plan) {},
		tell: func(w *world) {
			k, order := w.teller(siblings), w.shuffled()
			keys := w.keys(10)
			for _, key := range keys {
				k.at(order[0]).overwrite(key)
			}
			w.settle("all is the same")
			w.killed(order[2])
			w.knownDown(order[2])
			for _, key := range keys {
				k.at(order[1]).overwrite(key)
			}
		},
	},
	{
		flaw:  sabotage.FlushMarkLate,
		needs: "an owner is away while its database is flushed, and is read from as soon as it is back",
		by:    "flushed", says: "shows what was flushed", seeds: 1,
		plan: func(p *plan) {},
		tell: func(w *world) {
			k, order := w.teller(sessions), w.shuffled()
			keys := w.keys(20)
			for _, key := range keys {
				k.at(order[0]).set(key, time.Hour)
			}
			w.settle("all is the same")
			w.killed(order[2])
			w.knownDown(order[2])
			k.at(order[0]).flushOf(keys)
			w.started(order[2])
			for _, key := range keys {
				w.insist("a read", func() bool {
					o := k.at(order[2]).do(check.Operation{Command: check.Get, Key: key}, readValue, "GET", key)
					if len(o.Values) > 0 {
						w.violate("flushed: %s shows what was flushed under %s", w.machines[order[2]].name, key)
					}
					return o.Outcome == check.Acknowledged
				})
			}
		},
	},
}

// flushOf is a flush, which is a delete of every key.
func (k *worker) flushOf(keys []string) {
	done := *k.do(check.Operation{Command: check.Del, Key: keys[0]}, readNothing, "FLUSHDB")
	for _, key := range keys[1:] {
		done.Key = key
		k.h.Operations = append(k.h.Operations, done)
	}
}

// set is a plain SET.
func (k *worker) set(key string, life time.Duration) *check.Operation {
	o := check.Operation{Command: check.Set, Key: key, Value: k.value(), Life: life}
	return k.do(o, readNothing, "SET", key, o.Value, "PX", milliseconds(life))
}
