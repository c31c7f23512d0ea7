package sim

import (
	"slices"
	"time"

	"github.com/cockroachdb/pebble/v2/vfs"

	"cartwheel/bench/check"
	"cartwheel/cluster/sabotage"
	"cartwheel/store"
)

// Stories of what is counted, ordered and acknowledged.
var countingStories = []story{
	{
		flaw:  sabotage.FallbackAsOwner,
		needs: "an owner is cut off from the other owners, but not from the fallbacks, and is written to strictly before that is known",
		by:    "register", says: "does not show", seeds: 1,
		plan: func(p *plan) { p.nodes, p.exchange = 5, 10*time.Second },
		tell: func(w *world) { w.cutOffStrictly(0, 1) },
	},
	{
		flaw:  sabotage.WriteCountedTwice,
		needs: "the same: an owner that is cut off is written to strictly",
		by:    "register", says: "does not show", seeds: 1,
		plan: func(p *plan) { p.exchange = 10 * time.Second },
		tell: func(w *world) { w.cutOffStrictly(0, 1) },
	},
	{
		flaw:  sabotage.ReadsFromOneReplica,
		needs: "an owner is cut off from the other owners, which are written to strictly, and is read from strictly",
		by:    "register", says: "does not show", seeds: 1,
		plan: func(p *plan) { p.exchange = 10 * time.Second },
		tell: func(w *world) { w.cutOffStrictly(1, 0) },
	},
	{
		flaw:  sabotage.AckUnsynced,
		needs: "all nodes lose their power at once, with --sync always",
		by:    "siblings", says: "is missing, and nothing covers it", seeds: 1,
		plan: func(p *plan) { p.sync = store.SyncAlways },
		tell: func(w *world) {
			k := w.teller(siblings)
			for i, key := range w.keys(30) {
				k.at(i % 3).vset(check.Operation{Key: key, Value: k.value()})
			}
			for _, m := range w.machines {
				m.kill(true, func(fs *vfs.MemFS) *vfs.MemFS { return fs.CrashClone(vfs.CrashCloneCfg{}) })
			}
			w.pause(time.Second)
		},
	},
	{
		flaw:  sabotage.StampAnewLost,
		needs: "a clock that is behind, and a SET by it of a key that one that is ahead has just set",
		by:    "sessions", says: "older than", seeds: 1,
		plan: func(p *plan) {},
		tell: func(w *world) {
			k, order := w.teller(sessions), w.shuffled()
			slow, fast := order[0], order[1]
			w.machines[slow].clock.set(-200*time.Millisecond, 0)
			w.machines[fast].clock.set(200*time.Millisecond, 0)
			for _, other := range order[1:] {
				w.net.slow(w.machines[other].name, w.machines[slow].name, 150*time.Millisecond)
			}
			for _, key := range w.keys(10) {
				w.pause(1500 * time.Millisecond)
				k.at(fast).set(key, time.Hour)
				k.at(slow).set(key, time.Hour)
			}
		},
	},
	{
		flaw:  sabotage.TouchStamped,
		needs: "a half of the ring touches a value that the other half has deleted",
		by:    "sessions", says: "older than DEL", seeds: 1,
		plan: func(p *plan) { p.nodes = 5 },
		tell: func(w *world) {
			k := w.teller(sessions)
			of := w.preference("s.key0")
			keys := w.keysWith(5, func(other []int) bool { return slices.Equal(of, other) })
			for _, key := range keys {
				k.at(of[0]).set(key, time.Hour)
			}
			for _, other := range of[1:4] {
				w.cut(of[0], other, true)
				w.cut(of[4], other, true)
			}
			w.pause(5 * time.Second) // each half takes the other for down
			for _, key := range keys {
				k.at(of[1]).do(check.Operation{Command: check.Del, Key: key}, readValue, "DEL", key)
				k.at(of[0]).do(check.Operation{Command: check.Expire, Key: key, Life: time.Hour}, readValue,
					"PEXPIRE", key, milliseconds(time.Hour))
			}
		},
	},
	{
		flaw:  sabotage.DriftAccepted,
		needs: "a clock jumps ahead, beyond what peers let it",
		by:    "clocks", says: "gives stamps of the future", seeds: 1,
		plan: func(p *plan) {},
		tell: func(w *world) {
			k, order := w.teller(siblings), w.shuffled()
			fast := order[0]
			w.machines[fast].clock.set(20*time.Second, 0)
			for _, key := range w.keys(5) {
				k.at(fast).vset(check.Operation{Key: key, Value: k.value()})
			}
			w.pause(5 * time.Second)
			for _, other := range order[1:] {
				if last := w.machines[other].p.c.Store().LastHLC(); last.Milliseconds() > time.Now().Add(margin).UnixMilli() {
					w.violate("clocks: %s gives stamps of the future", w.machines[other].name)
				}
			}
		},
	},
	{
		flaw:  sabotage.LateFrameApplied,
		needs: "a SET is forwarded over a link that holds it up for long after its client was told TIMEOUT",
		by:    "sessions", says: "older than", seeds: 1,
		plan: func(p *plan) { p.nodes = 5 },
		tell: func(w *world) {
			k := w.teller(sessions)
			for _, key := range w.keys(5) {
				of := w.preference(key)
				from, to := w.machines[of[4]].name, w.machines[of[0]].name
				k.at(of[4]).do(check.Operation{Command: check.Get, Key: key}, readValue, "GET", key)
				w.net.setApart(from, to, true)
				k.set(key, time.Hour)
				w.pause(15 * time.Second)
				k.at(of[1]).set(key, time.Hour)
				w.pause(time.Second)
				w.net.setApart(from, to, false)
				w.pause(time.Second)
			}
		},
	},
	{
		flaw:  sabotage.ContextOfAnotherKey,
		needs: "a client writes one key with another's context",
		by:    "contexts", says: "with the context of", seeds: 1,
		plan: func(p *plan) {},
		tell: func(w *world) {
			k := w.teller(siblings)
			keys := w.keys(2)
			k.at(0).overwrite(keys[0])
			k.at(0).overwrite(keys[1])
			seen := k.vget(keys[1]).Seen
			_, err := w.ask(&k.client, 0, "0", "VSET", keys[0], seen, k.value())
			if outcomeOf(err) != check.Refused {
				w.violate("contexts: %s is written with the context of %s", keys[0], keys[1])
			}
		},
	},
}

// slow makes what one host sends to another take that long.
func (n *network) slow(from, to string, delay time.Duration) {
	n.mu.Lock()
	defer n.mu.Unlock()
	l := n.link(from, to)
	l.delay, l.jitter = delay, 0
}

// cutOffStrictly cuts one owner off from the others, but not from the fallbacks, and before that
// is known writes strictly to one owner and reads strictly from another.
func (w *world) cutOffStrictly(write, read int) {
	k := w.teller(register)
	for _, key := range w.keys(6) {
		of := w.preference(key)
		k.at(of[2]).vset(check.Operation{Key: key, Value: k.value()}, strictly)
		w.pause(100 * time.Millisecond)
		for _, other := range of[1:3] {
			w.cut(of[0], other, true)
		}
		k.at(of[write]).vset(check.Operation{Key: key, Value: k.value()}, strictly)
		k.at(of[read]).vget(key, strictly)
		w.net.heal()
		w.settle("all is well")
	}
}
