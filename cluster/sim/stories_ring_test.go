package sim

import (
	"fmt"
	"slices"
	"time"

	"cartwheel/bench/check"
	"cartwheel/cluster/ring"
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
		flaw:  sabotage.NextNotRead,
		needs: "a partition moves, which two of its owners have not heard of yet, and are cut off; it is written to strictly by the new owner and read from strictly by an old one",
		by:    "register", says: "does not show", seeds: 1,
		plan: func(p *plan) { p.nodes = 4 },
		tell: func(w *world) {
			k, one := w.teller(register), client{host: w.net.newHost("one")}
			heir := w.machines[w.shuffled()[0]]
			wait := w.meanwhile(func() {
				_, _ = w.ask(&one, 0, "0", "RING", "APPLY", "WEIGHT", heir.id.String(), "3")
			})
			moved, d := w.movedTo(heir)
			if moved == nil {
				w.violate("in vain: a partition moves")
				return
			}
			index := func(id ring.NodeID) int {
				return slices.IndexFunc(w.machines, func(m *machine) bool { return m.id == id })
			}
			behind := []int{index(moved.From)}
			var ahead []int
			for _, id := range d.Owners[moved.Partition] {
				switch {
				case id == moved.From || id == moved.To:
				case len(behind) < 2:
					behind = append(behind, index(id))
				default:
					ahead = append(ahead, index(id))
				}
			}
			for _, b := range behind {
				for _, a := range append(ahead, index(moved.To)) {
					w.cut(a, b, true)
				}
			}
			for _, key := range w.keysOf(moved.Partition, 3) {
				w.insist("it is written", func() bool {
					return k.at(index(moved.To)).vset(check.Operation{Key: key, Value: k.value()}, strictly).Outcome == check.Acknowledged
				})
				k.at(behind[0]).vget(key, strictly)
			}
			wait()
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

// movedTo waits until a node that is to get partitions knows, as the first of all, that it has one of them.
// It returns how that has moved, and the document before. It looks often, in virtual time: a moment later all know it.
func (w *world) movedTo(heir *machine) (moved *ring.Move, before *ring.Document) {
	before = heir.p.c.Document()
	for end := w.since() + 10*time.Second; w.since() < end; time.Sleep(10 * time.Microsecond) {
		d := heir.p.c.Document()
		for i, m := range before.Moves {
			if m.To == heir.id && slices.Contains(d.Owners[m.Partition], heir.id) {
				return &before.Moves[i], before
			}
		}
		before = d
	}
	return nil, nil
}

// keysOf are so many keys of a partition.
func (w *world) keysOf(p ring.Partition, n int) (keys []string) {
	for i := 0; len(keys) < n; i++ {
		if key := fmt.Sprintf("s.key%d", i); ring.PartitionOf(ring.SlotOf([]byte(key)), w.plan.partitions) == p {
			keys = append(keys, key)
		}
	}
	return keys
}
