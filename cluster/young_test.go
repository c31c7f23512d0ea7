package cluster

import (
	"fmt"
	"sync"
	"testing"
	"time"

	"cartwheel/cluster/quorum"
	"cartwheel/store/version"
)

// holds says whether a node has an object of a key.
func holds(c *Coordinator, key string) bool {
	var o version.Object
	_, err := c.store.Get(0, []byte(key), &o)
	return err == nil && o.Winner() != nil
}

// A write whose replicas are lost while they are at it is sent again when they are back.
func TestAWriteOutlivesConnectionsThatBreak(t *testing.T) {
	for _, strict := range []bool{false, true} {
		w := newWorldOf(t, 3, 3, quiet)
		for i := 1; i < 3; i++ {
			w.net.setCut(address(i), address(0), true) // no answer arrives
		}
		ended := make(chan error, 1)
		go func() {
			ended <- update(w.nodes[0], 0, "k", quorum.Need{Strict: strict}, overwrite{value: []byte("v"), plain: true})
		}()
		until(t, "they have it", func() bool { return holds(w.nodes[1], "k") && holds(w.nodes[2], "k") })
		w.net.breakSome(1)
		w.net.heal()
		if err := <-ended; err != nil {
			t.Errorf("strict is %t: %v", strict, err)
		}
	}
}

// Nor does it wait longer than half a second where they stay away.
func TestAWriteThatHasLostItsReplicasEnds(t *testing.T) {
	w := newWorldOf(t, 3, 3, quiet)
	for i := 1; i < 3; i++ {
		w.net.setCut(address(i), address(0), true)
	}
	ended := make(chan error, 1)
	began := time.Now()
	go func() {
		ended <- update(w.nodes[0], 0, "k", quorum.Need{}, overwrite{value: []byte("v"), plain: true})
	}()
	until(t, "they have it", func() bool { return holds(w.nodes[1], "k") && holds(w.nodes[2], "k") })
	w.crash(1)
	w.crash(2)
	if err := <-ended; code(err) != "TIMEOUT" || time.Since(began) > 2*requestTimeout {
		t.Errorf("%v after %v", err, time.Since(began))
	}
}

// A node whose peers do not answer for a moment, or which cannot hear them, waits for them: it refuses what they are
// needed for when they have been silent for long.
func TestNothingIsRefusedWhileAllOthersStandStill(t *testing.T) {
	w := newWorldOf(t, 3, 3, quiet)
	c := w.nodes[0]
	still := func() {
		for i := 1; i < 3; i++ {
			w.net.setCut(address(i), address(0), true)
		}
	}
	peers := func(are func(*peer) bool) func() bool {
		return func() bool {
			v := c.view.Load()
			return are(v.peers[0]) && are(v.peers[1])
		}
	}
	mustSet(t, c, 0, "k", "v")
	for _, strict := range []bool{false, true} {
		still()
		for _, p := range c.view.Load().peers {
			c.ping(p)
		}
		until(t, "both are late", peers((*peer).slow))
		need := quorum.Need{Strict: strict}
		wrote, read := make(chan error, 1), make(chan error, 1)
		go func() { wrote <- update(c, 0, "k", need, overwrite{value: []byte("v"), plain: true}) }()
		go func() {
			var o version.Object
			_, _, err := c.Read(0, []byte("k"), need, &o, nil)
			read <- err
		}()
		time.AfterFunc(50*time.Millisecond, w.net.heal)
		if err := <-wrote; err != nil {
			t.Errorf("a write, strict %t: %v", strict, err)
		}
		if err := <-read; err != nil {
			t.Errorf("a read, strict %t: %v", strict, err)
		}
		until(t, "both are up", peers((*peer).up))
	}
	still()
	until(t, "both are silent", peers(func(p *peer) bool { return !p.up() && !p.slow() }))
	if err := update(c, 0, "k", quorum.Need{}, overwrite{value: []byte("v"), plain: true}); code(err) != "NOREPLICAS" {
		t.Error(err)
	}
}

// A write that began while one peer was late, and whose other one then dies, is sent to the first when it is back.
func TestAWriteIsSentToWhoWasLateWhenItBegan(t *testing.T) {
	w := newWorldOf(t, 3, 3, quiet)
	c := w.nodes[0]
	late, dying := c.peer(w.nodes[1].NodeID()), c.peer(w.nodes[2].NodeID())
	w.net.setCut(address(1), address(0), true)
	c.ping(late)
	until(t, "one is late", late.slow)
	w.net.setCut(address(2), address(0), true)
	if !dying.up() {
		t.Fatal("the other is down")
	}
	wrote := make(chan error, 1)
	go func() { wrote <- update(c, 0, "k", quorum.Need{}, overwrite{value: []byte("v"), plain: true}) }()
	until(t, "it is sent to the one that dies", func() bool { return holds(w.nodes[2], "k") })
	w.net.setCut(address(1), address(0), false)
	if err := <-wrote; err != nil {
		t.Error(err)
	}
	w.net.heal()
}

// A node that has just joined is waited for: another one may fail in that moment.
func TestAWriteWaitsForTheFirstConnectionToANode(t *testing.T) {
	for _, tried := range []bool{false, true} {
		w := newWorldOf(t, 3, 3, quiet)
		peers := w.nodes[0].view.Load().peers
		for _, p := range peers {
			p.tried.Store(tried)
			p.life.Linked(false)
		}
		connecting := time.AfterFunc(50*time.Millisecond, func() {
			for _, p := range peers {
				p.life.Linked(true)
			}
		})
		err := update(w.nodes[0], 0, "k", quorum.Need{}, overwrite{value: []byte("v"), plain: true})
		if (err != nil) != tried || err != nil && code(err) != "NOREPLICAS" {
			t.Errorf("they have been tried is %t: %v", tried, err)
		}
		connecting.Stop()
	}
}

// Where all take long, as on machines that are busy, it is no use to ask fallbacks too, which are as busy.
func TestWritesAreNotHurriedWhereAllAreSlow(t *testing.T) {
	w := newWorldOf(t, 4, 3, quiet)
	w.net.setDelay(30 * time.Millisecond)
	const writes = 200
	asked := func(from int) (standIns uint64) {
		var clients sync.WaitGroup
		for i := range w.nodes {
			clients.Go(func() {
				for n := i; n < writes; n += len(w.nodes) {
					if err := w.set(i, fmt.Sprint("key", from+n), "v"); err != nil {
						t.Error(err)
					}
				}
			})
		}
		clients.Wait()
		for _, c := range w.nodes {
			standIns += c.stats.standIns.Load()
		}
		return standIns
	}
	first := asked(0)
	if then := asked(writes) - first; then > writes/10 {
		t.Errorf("fallbacks stood in %d times while the usual was learnt, and %d times in the next %d writes", first, then, writes)
	}
}

// What has ended is not among the young any more, and whoever hurries them goes to sleep.
func TestWhatHasEndedIsNotYoung(t *testing.T) {
	w := newWorldOf(t, 3, 3, quiet)
	c := w.nodes[0]
	present := func() (are, ticking bool) {
		c.young.mu.Lock()
		defer c.young.mu.Unlock()
		for _, l := range c.young.ops {
			are = are || l.oldest != nil || l.newest != nil
		}
		return are, c.young.ticking
	}
	for i := range 100 {
		key := fmt.Sprint("k", i)
		mustSet(t, c, 0, key, "v")
		wantValue(t, c, 0, key, "v")
		if are, _ := present(); are {
			t.Fatalf("an operation of %q is kept", key)
		}
	}
	until(t, "nobody ticks", func() bool { _, ticking := present(); return !ticking })
}
