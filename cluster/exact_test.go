package cluster

import (
	"fmt"
	"math/rand/v2"
	"sync"
	"testing"
	"time"

	"cartwheel/cluster/quorum"
	"cartwheel/store/version"
)

// A written is one versioned write of a history.
type written struct {
	value   string
	context version.Clock
	dot     version.Dot // none: it was not applied
	acked   bool        // else its outcome is unknown
}

// A versioned change writes a value in the place of those that its context
// covers, as VSET does.
type versioned struct {
	c   *Coordinator
	key []byte
	w   *written
}

func (versioned) Blind() bool { return false }

func (v versioned) Apply(o *version.Object) bool {
	dot, err := v.c.Dot(v.key, o.Clock, v.c.NowMS(), max(o.MaxHLC(), v.w.context.MaxHLC()))
	if err != nil {
		return false
	}
	v.w.dot = dot
	o.Put(v.w.context, version.Sibling{Dot: dot, Written: dot.HLC, Payload: []byte(v.w.value)})
	return true
}

// A history is what clients have done to one key.
type history struct {
	mu     sync.Mutex
	writes []*written
}

// wrong compares the siblings that are there in the end with what the contexts
// imply: an acknowledged value that no context covers must be there, and none may be that
// the context of an acknowledged write covers.
func (h *history) wrong(o *version.Object) (faults []string) {
	there := map[string]bool{}
	for i := range o.Siblings {
		there[string(o.Siblings[i].Payload)] = true
	}
	known := map[string]bool{}
	for _, w := range h.writes {
		known[w.value] = true
		covered, surely := false, false
		for _, by := range h.writes {
			if by != w && by.dot.HLC != 0 && by.context.Covers(w.dot) {
				covered = true
				surely = surely || by.acked
			}
		}
		if w.acked && !covered && !there[w.value] {
			faults = append(faults, w.value+" was acknowledged and is gone")
		}
		if surely && there[w.value] {
			faults = append(faults, w.value+" was overwritten and is there")
		}
	}
	for value := range there {
		if !known[value] {
			faults = append(faults, value+" was never written")
		}
	}
	return faults
}

func TestSiblingsAreExactlyWhatDotsAndContextsImplyWhateverFails(t *testing.T) {
	const keys, workers = 6, 6
	lasting := 4 * time.Second
	if testing.Short() {
		lasting = time.Second
	}
	w := newWorld(t, 5, 3)
	w.net.setDelay(2 * time.Millisecond)
	histories := make([]history, keys)
	end := time.Now().Add(lasting)
	var working sync.WaitGroup
	for worker := range workers {
		r := rand.New(rand.NewPCG(w.rand.Uint64(), uint64(worker)))
		working.Go(func() { w.write(r, worker, histories, end) })
	}
	w.trouble(end)
	working.Wait()
	w.net.heal()
	for i := range w.nodes {
		if w.node(i) == nil {
			w.start(i)
		}
	}
	w.healthy()
	w.converged()
	total, acked := 0, 0
	for k := range histories {
		h := &histories[k]
		for _, one := range h.writes {
			total++
			if one.acked {
				acked++
			}
		}
		for i, c := range w.nodes {
			var o version.Object
			if _, _, err := c.Read(0, []byte(fmt.Sprint("key", k)), quorum.Need{}, &o, nil); err != nil {
				t.Errorf("node %d: %v", i, err)
				continue
			}
			for _, fault := range h.wrong(&o) {
				t.Errorf("key%d at node %d: %s", k, i, fault)
			}
		}
	}
	t.Logf("%d writes, %d of them acknowledged", total, acked)
	if acked < 50 {
		t.Errorf("only %d writes of %d were acknowledged", acked, total)
	}
}

// write reads and writes keys at random nodes, with fresh, stale and no contexts.
func (w *world) write(r *rand.Rand, worker int, histories []history, end time.Time) {
	contexts := make([]version.Clock, len(histories))
	for n := 0; time.Now().Before(end); n++ {
		k := r.IntN(len(histories))
		key := []byte(fmt.Sprint("key", k))
		c := w.node(r.IntN(len(w.nodes)))
		if c == nil {
			continue
		}
		if r.IntN(3) == 0 {
			var o version.Object
			if _, _, err := c.Read(0, key, quorum.Need{}, &o, nil); err == nil {
				contexts[k] = append(version.Clock(nil), o.Clock...)
			}
			continue
		}
		if v := c.view.Load(); !v.places[v.partition(key)].holds() && v.places[v.partition(key)].standsIn() < 0 {
			continue
		}
		one := &written{value: fmt.Sprintf("w%d.%d", worker, n)}
		if r.IntN(4) > 0 {
			one.context = contexts[k]
		}
		var o version.Object
		seq, _, err := c.Update(0, key, quorum.Need{}, c.NowMS(), &o, versioned{c, key, one}, nil)
		if err == nil {
			err = c.Commit(seq)
		}
		one.acked = err == nil
		if one.dot.HLC == 0 {
			continue
		}
		h := &histories[k]
		h.mu.Lock()
		h.writes = append(h.writes, one)
		h.mu.Unlock()
		time.Sleep(time.Duration(r.Int64N(int64(3 * time.Millisecond))))
	}
}

// trouble cuts links, breaks connections, kills nodes and starts them again.
func (w *world) trouble(end time.Time) {
	for time.Now().Before(end) {
		time.Sleep(time.Duration(w.rand.Int64N(int64(150 * time.Millisecond))))
		i, j := w.rand.IntN(len(w.nodes)), w.rand.IntN(len(w.nodes))
		switch w.rand.IntN(8) {
		case 0, 1:
			w.net.setCut(address(i), address(j), true)
		case 2: // a half from the other
			for a := range w.nodes {
				for b := range w.nodes {
					if a%2 != b%2 {
						w.net.setCut(address(a), address(b), true)
					}
				}
			}
		case 3, 4:
			w.net.heal()
		case 5:
			w.net.breakSome(3)
		case 6:
			if w.node(i) != nil && w.alive() > 3 {
				w.crash(i)
			}
		case 7:
			if w.node(i) == nil {
				w.start(i)
			}
		}
	}
}

func (w *world) alive() (n int) {
	for i := range w.nodes {
		if w.node(i) != nil {
			n++
		}
	}
	return n
}
