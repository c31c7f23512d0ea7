package store

import (
	"bytes"
	"runtime"
	"testing"
	"time"

	"github.com/cockroachdb/pebble/v2/vfs"

	"cartwheel/cluster/ring"
	"cartwheel/store/version"
)

// TestCommitsGoOnWhileAScanWaitsForACheckpoint: a fill scans a thousand partitions, and clients must not
// wait for each.
func TestCommitsGoOnWhileAScanWaitsForACheckpoint(t *testing.T) {
	s := openStore(t, memOptions(vfs.NewMem()))
	mustSet(t, s, 0, "a", "1")
	g, held := &s.gathered, make(chan struct{})
	g.mu.Lock() // a checkpoint that takes long
	g.writing = &checkpointing{rows: &rowBatch{gone: [][2][]byte{{{prefixQuarantine}, {prefixQuarantine}}}}, done: held, wanted: make(chan struct{})}
	g.mu.Unlock()

	scanned := make(chan int, 1)
	go func() {
		n := 0
		if err := s.Scan(0, ^ring.Token(0), func(Key, *version.Object) bool { n++; return true }); err != nil {
			t.Error(err)
		}
		scanned <- n
	}()
	stacks := make([]byte, 1<<20)
	for deadline := time.Now().Add(10 * time.Second); ; runtime.Gosched() {
		if bytes.Contains(stacks[:runtime.Stack(stacks, true)], []byte("(*Store).await")) {
			break
		}
		if time.Now().After(deadline) {
			t.Fatal("the scan does not wait for the checkpoint")
		}
	}
	committed := make(chan error, 1)
	go func() { committed <- commit(s, 0, "b", write{value: "2"}) }()
	select {
	case err := <-committed:
		if err != nil {
			t.Error(err)
		}
	case <-time.After(10 * time.Second):
		t.Error("a commit waits for the checkpoint that a scan asked for")
	}
	g.mu.Lock()
	g.writing = nil
	g.mu.Unlock()
	close(held)
	if n := <-scanned; n < 1 {
		t.Errorf("the scan saw %d objects", n)
	}
}

// TestAScanGivesPebbleNothing: what clients change while two nodes compare all they have would otherwise be given to it
// partition by partition, and each page that a node is filled with.
func TestAScanGivesPebbleNothing(t *testing.T) {
	s := openStore(t, memOptions(vfs.NewMem()))
	mustSet(t, s, 0, "a", "1")
	at := ring.TokenOf([]byte("a"))
	scan := func(first, last ring.Token) (n int) {
		t.Helper()
		if err := s.Scan(first, last, func(Key, *version.Object) bool { n++; return true }); err != nil {
			t.Fatal(err)
		}
		return n
	}
	before := s.checkpointed.Load()
	if n := scan(0, at-1<<52) + scan(at+1<<52, ^ring.Token(0)); n != 0 || s.checkpointed.Load() != before {
		t.Errorf("beside it: %d objects, and checkpoint %d after %d", n, s.checkpointed.Load(), before)
	}
	if n := scan(at, at); n != 1 || s.checkpointed.Load() != before {
		t.Errorf("where it is: %d objects, and checkpoint %d", n, s.checkpointed.Load())
	}
}
