package sim

import (
	"time"

	"cartwheel/bench/check"
	"cartwheel/cluster/sabotage"
)

// Stories of the ring, and of what moves and is compared.
var ringStories = []story{
	{
		flaw:  sabotage.VoteForgotten,
		needs: "a document is chosen, who has heard of that is cut off, the voters are started anew and one of them proposes another",
		by:    "documents", says: "two ring documents of epoch", seeds: 1,
		plan: func(p *plan) {},
		tell: func(w *world) {
			order := w.shuffled()
			proposer := w.machines[order[0]]
			epoch := proposer.p.c.Document().Epoch
			one := client{host: w.net.newHost("one")}
			wait := w.meanwhile(func() {
				_, _ = w.ask(&one, order[0], "0", "RING", "APPLY", "WEIGHT", proposer.id.String(), "3")
			})
			for end := w.since() + 10*time.Second; proposer.p.c.Document().Epoch == epoch && w.since() < end; {
				time.Sleep(10 * time.Microsecond)
			}
			for _, other := range order[1:] {
				w.cut(order[0], other, true)
			}
			w.watch()
			for _, other := range order[1:] {
				w.killed(other)
			}
			for _, other := range order[1:] {
				w.machines[other].start()
			}
			wait()
			another := client{host: w.net.newHost("another")}
			w.insist("another change", func() bool {
				_, err := w.ask(&another, order[1], "0", "RING", "APPLY", "WEIGHT", w.machines[order[1]].id.String(), "2")
				return err == nil
			})
			w.watch()
		},
	},
	{
		flaw:  sabotage.DroppedEarly,
		needs: "with N=1, a node that data has moved to is lost before the one that it has moved from has dropped it",
		by:    "siblings", says: "is missing, and nothing covers it", seeds: 1,
		plan: func(p *plan) { p.replicas = 1 },
		tell: func(w *world) {
			k := w.teller(siblings)
			for i, key := range w.keys(40) {
				k.at(i % 3).vset(check.Operation{Key: key, Value: k.value()})
			}
			heir := w.addMachine()
			heir.start()
			w.insist("it is a member, and nothing moves", func() bool {
				d := w.document()
				if len(d.Members) < 4 || len(d.Moves) > 0 {
					return false
				}
				heir.id = heir.p.c.NodeID()
				return true
			})
			w.lost(3)
			w.knownDown(3)
		},
	},
	{
		flaw:  sabotage.TreeNotUpdated,
		needs: "keys are deleted and purged",
		by:    "converge", says: "differ in partition", seeds: 1,
		plan: func(p *plan) {},
		tell: func(w *world) {
			k, order := w.teller(siblings), w.shuffled()
			keys := w.keys(20)
			for _, key := range keys {
				k.at(order[0]).overwrite(key)
			}
			for _, key := range keys {
				k.at(order[1]).remove(key)
			}
			w.pause(150 * time.Second) // a sweep has come by
		},
	},
	{
		flaw:  sabotage.TreesNotRebuilt,
		needs: "a node is killed",
		by:    "converge", says: "differ in partition", seeds: 1,
		plan: func(p *plan) {},
		tell: func(w *world) {
			k, order := w.teller(siblings), w.shuffled()
			for _, key := range w.keys(20) {
				k.at(order[0]).overwrite(key)
			}
			w.settle("all is the same")
			w.killed(order[1])
			w.pause(time.Second)
		},
	},
}
