package cluster

import (
	"fmt"
	"slices"
	"strings"
	"sync/atomic"
	"testing"
	"time"

	"github.com/cockroachdb/pebble/v2/vfs/errorfs"

	"cartwheel/cluster/quorum"
	"cartwheel/cluster/ring"
	"cartwheel/store/version"
)

// A node whose disk is full stays behind when the ring changes. The others go on without it: they do not teach it the
// ring with each request, over and over.
func TestANodeThatCannotTakeTheRingHoldsUpNobody(t *testing.T) {
	const deaf, keys = 1, 300
	others := []int{0, 2, 3}
	var full atomic.Bool
	counts := &tap{requests: map[byte]int{}, replies: map[byte]int{}}
	w := newWorldOf(t, 4, 3, func(i int, o *Options) {
		o.Network = tapped{o.Network, counts}
		if i == deaf {
			o.Store.FS = errorfs.Wrap(o.Store.FS, errorfs.InjectorFunc(func(op errorfs.Op) error {
				if full.Load() && op.Kind == errorfs.OpCreate && strings.Contains(op.Path, recordDocument+".record") {
					return errorfs.ErrInjected
				}
				return nil
			}))
		}
	})
	until(t, "nobody who has just started doubts what it has", func() bool {
		return !slices.ContainsFunc(w.nodes, func(c *Coordinator) bool {
			for p := range c.view.Load().places {
				if c.untrusted(ring.Partition(p)) {
					return true
				}
			}
			return false
		})
	})
	full.Store(true)
	before := w.node(deaf).view.Load().epoch
	w.apply(0, false, "weight", w.id(0), "2")
	until(t, "the others have the new ring", func() bool {
		return !slices.ContainsFunc(others, func(i int) bool { return w.node(i).view.Load().epoch == before })
	})
	counts.take(opDocument)
	began := time.Now()
	for i := range keys {
		key, at := fmt.Sprint("key", i), others[i%3]
		if _, place := w.node(at).Route([]byte(key), true); place != quorum.Here {
			at = others[(i+1)%3] // of its three owners two are among these three
		}
		if err := update(w.node(at), 0, key, quorum.Need{}, overwrite{value: []byte("v"), plain: true}); err != nil {
			t.Errorf("%s: %v", key, err)
		}
	}
	requests, _ := counts.take(opDocument)
	if most := int(time.Since(began)/deafFor+1) * 2 * len(w.nodes) * 2; requests > most {
		t.Errorf("the ring was sent %d times in %v, not %d", requests, time.Since(began), most)
	}
	if w.node(deaf).view.Load().epoch != before {
		t.Fatal("it has the new ring")
	}
	for i := range keys {
		wantValue(t, w.node(others[(i+1)%3]), 0, fmt.Sprint("key", i), "v")
	}
	if err := update(w.node(deaf), 0, "key0", quorum.Need{}, overwrite{value: []byte("of old")}); err == nil {
		t.Error("the node with the old ring acknowledges a write")
	}
	counts.take(opGet)
	for i := range keys {
		var o version.Object
		if _, _, err := w.node(deaf).Read(0, []byte(fmt.Sprint("key", i)), quorum.Need{}, &o, nil); code(err) != "NOREPLICAS" {
			t.Errorf("the node with the old ring reads %v, %v", o.Siblings, err)
		}
	}
	if asked, _ := counts.take(opGet); asked > 4*keys {
		t.Errorf("%d reads at the node with the old ring ask %d times", keys, asked)
	}
	for i, c := range w.nodes {
		c.Serve(replying(fmt.Sprintf("+by node %d\r\n", i)))
	}
	if got := w.forwardSet(); got.err != nil || strings.Contains(got.reply, fmt.Sprint(deaf)) {
		t.Errorf("a command that was forwarded to it: %q, %v", got.reply, got.err)
	}
	full.Store(false)
	until(t, "it takes the ring", func() bool { return w.node(deaf).view.Load().epoch > before })
	w.healthy()
	w.converged()
}
