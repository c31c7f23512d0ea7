package sim

import (
	"fmt"
	"time"

	"cartwheel/bench/check"
)

// judge judges what clients have seen, of all rounds so far, and what the disks hold.
func (w *world) judge() {
	w.pause(w.plan.paced(shortLives))
	// An operator who was told that the outcome is not known may have changed the ring since.
	if why := w.unsettled(); why != "" && !w.converge("after "+why) {
		return
	}
	for _, h := range w.histories {
		w.readFinals(h)
		checker := check.Workloads[h.load.name]
		if h.load.name == register.name && h.lossy {
			checker = check.Siblings // who was read from may have lost what was written
		}
		for _, v := range checker(&h.History) {
			w.violate("%s, round of key %s: %s", h.load.name, v.Key, v.What)
		}
	}
	w.judgeStores()
}

// shortLives is how long it takes, at the usual pace, until all has expired that is to expire during a run.
const shortLives = 6 * time.Second

// readFinals reads every key at every node.
func (w *world) readFinals(h *history) {
	h.Finals, h.Nodes, h.Lost = nil, 0, 0
	seen := map[string]bool{}
	var keys []string
	for i := range h.Operations {
		if key := h.Operations[i].Key; !seen[key] {
			seen[key] = true
			keys = append(keys, key)
		}
	}
	for i, m := range w.machines {
		if !m.up() || m.retired {
			continue
		}
		h.Nodes++
		c := client{host: w.operator.host}
		for _, key := range keys {
			o := check.Operation{Node: i, Command: h.load.final, Key: key, Strict: h.load.strict, Call: w.since()}
			args, read := []string{string(o.Command), key}, readValue
			if o.Command == check.VGet {
				read = readVersions
			}
			if o.Strict {
				args = append(args, strictly)
			}
			reply, err := w.ask(&c, i, h.db, args...)
			if err == nil {
				err = read(&o, reply)
			}
			o.Return, o.Outcome = w.since(), outcomeOf(err)
			if err != nil {
				o.Error = err.Error()
			}
			w.trace.note(fmt.Sprint("final ", i, args, reply))
			h.Finals = append(h.Finals, o)
		}
		c.close()
	}
	if h.lossy { // a sloppy read may have shown what only one that lost it had
		h.Lost = 1
		h.Nodes++
	}
}
