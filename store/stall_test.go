package store

import (
	"errors"
	"fmt"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/cockroachdb/pebble/v2/vfs"
	"github.com/cockroachdb/pebble/v2/vfs/errorfs"
)

// A gate holds the writes of the manifest until it is opened, and fails them
// then.
type gate struct {
	shut sync.Mutex
	on   fault
}

func (g *gate) MaybeError(op errorfs.Op) error {
	err := g.on.MaybeError(op)
	if err != nil {
		g.shut.Lock()
		defer g.shut.Unlock()
	}
	return err
}

func (g *gate) String() string { return "gate" }

// fillUntilItWaits writes until a commit waits within Pebble, and returns how
// that commit ends.
func fillUntilItWaits(t *testing.T, s *Store) <-chan error {
	t.Helper()
	ended := make(chan error, 1)
	go func() {
		var err error
		for n := 0; err == nil; n++ {
			err = commit(s, 0, fmt.Sprint("key", n%50), write{value: strings.Repeat("x", 50_000)})
		}
		ended <- err
	}()
	for deadline := time.Now().Add(20 * time.Second); s.stalledSince.Load() == 0; time.Sleep(time.Millisecond) {
		if time.Now().After(deadline) {
			t.Fatal("no commit waits")
		}
	}
	return ended
}

func wantStopped(t *testing.T, s *Store, ended <-chan error) {
	t.Helper()
	select {
	case err := <-ended:
		// The one that waited, or a write that came after the end.
		if !errors.Is(err, ErrCommit) && !errors.Is(err, ErrStopped) {
			t.Errorf("the commit that waited: %v", err)
		}
	case <-time.After(20 * time.Second):
		t.Fatal("the commit waits for ever")
	}
	wantRead(t, s, 0, "first", "v")
	if _, err := do(s, 0, "k", write{value: "late"}); !errors.Is(err, ErrStopped) {
		t.Errorf("a write after it: %v", err)
	}
	closed := make(chan error, 1)
	go func() { closed <- s.Close() }()
	select {
	case err := <-closed:
		if !errors.Is(err, ErrCommit) {
			t.Errorf("close: %v", err)
		}
	case <-time.After(20 * time.Second):
		t.Fatal("Close did not return")
	}
}

// openSmallMemtables opens a store that the test closes: a cleanup might wait for
// ever, too.
func openSmallMemtables(t *testing.T, injector errorfs.Injector) *Store {
	t.Helper()
	opts := memOptions(faulty(vfs.NewMem(), injector))
	opts.memtableBytes = 256 << 10
	s, err := Open(opts)
	if err != nil {
		t.Fatal(err)
	}
	mustSet(t, s, 0, "first", "v")
	return s
}

// Pebble's flushes end over a manifest that it cannot write, and nobody would
// wake the commit that waits for them.
func TestACommitThatWaitsForAFlushEndsWhenThereWillBeNone(t *testing.T) {
	g := &gate{on: fault{part: "MANIFEST", kinds: []errorfs.OpKind{errorfs.OpFileWrite}}}
	s := openSmallMemtables(t, g)
	g.shut.Lock()
	g.on.on.Store(true)
	ended := fillUntilItWaits(t, s)
	g.shut.Unlock()
	wantStopped(t, s, ended)
}

func TestACommitDoesNotWaitForEverForAFlushThatFailsAgainAndAgain(t *testing.T) {
	f := &fault{part: ".sst", kinds: []errorfs.OpKind{errorfs.OpCreate}}
	s := openSmallMemtables(t, f)
	s.stallMax = 100 * time.Millisecond
	f.on.Store(true)
	wantStopped(t, s, fillUntilItWaits(t, s))
}

func TestACommitThatWaitedForAFlushThatFailedForAWhileIsDone(t *testing.T) {
	f := &fault{part: ".sst", kinds: []errorfs.OpKind{errorfs.OpCreate}}
	s := openSmallMemtables(t, f)
	f.on.Store(true)
	ended := fillUntilItWaits(t, s)
	f.on.Store(false)
	for deadline := time.Now().Add(20 * time.Second); s.stalledSince.Load() != 0; time.Sleep(time.Millisecond) {
		if time.Now().After(deadline) {
			t.Fatal("the commit still waits")
		}
	}
	select {
	case err := <-ended:
		t.Errorf("writes ended: %v", err)
	default:
	}
	s.fail(errors.New("the test is over"))
	<-ended
	_ = s.Close()
}
