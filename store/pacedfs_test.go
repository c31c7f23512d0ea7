package store

import (
	"sync"
	"testing"
	"time"

	"github.com/cockroachdb/pebble/v2/vfs"
)

// categorized notes as what files are created.
type categorized struct {
	vfs.FS
	mu   sync.Mutex
	seen map[vfs.DiskWriteCategory]bool // guarded by mu
}

func (fs *categorized) Create(name string, category vfs.DiskWriteCategory) (vfs.File, error) {
	fs.mu.Lock()
	fs.seen[category] = true
	fs.mu.Unlock()
	return fs.FS.Create(name, category)
}

// The categories are Pebble's, and nothing would be paced if it called them otherwise.
func TestWhatPebbleFlushesAndCompactsToIsPaced(t *testing.T) {
	fs := &categorized{FS: vfs.NewMem(), seen: map[vfs.DiskWriteCategory]bool{}}
	s := openStore(t, memOptions(fs))
	for range 2 {
		mustSet(t, s, 0, "k", "v")
		retire(t, s) // flushes
	}
	if err := s.db.Compact(t.Context(), []byte{0}, []byte{0xff}, false); err != nil {
		t.Fatal(err)
	}
	paced := 0
	for category := range fs.seen {
		f, err := pacedFS{vfs.NewMem(), s}.Create("f", category)
		if err != nil {
			t.Fatal(err)
		}
		if _, is := f.(*pacedFile); is {
			paced++
		}
	}
	if paced != 2 {
		t.Errorf("%d of the categories %v are paced", paced, fs.seen)
	}
}

func TestWhatIsWaitedForDoesNotRest(t *testing.T) {
	s := openStore(t, memOptions(vfs.NewMem()))
	if !s.mayRest() || !s.mayRestFlushing() {
		t.Fatal("an idle store is in a hurry")
	}
	gather := func(bytes int) (done func()) {
		g := &s.gathered
		set := func(to *rowBatch) (from *rowBatch) {
			g.mu.Lock()
			defer g.mu.Unlock()
			from, g.rows = g.rows, to
			return from
		}
		before := set(&rowBatch{bytes: bytes})
		return func() { set(before) }
	}
	done := gather(s.checkpointBytes/2 - 1)
	if !s.mayRestFlushing() {
		t.Error("it is in a hurry before half of the next checkpoint is gathered")
	}
	done()
	for name, hurry := range map[string]func() (done func()){
		"a store that opens":     func() func() { s.opened.Store(false); return func() { s.opened.Store(true) } },
		"compactions are behind": func() func() { s.sublevels.Store(pacedLevels); return func() { s.sublevels.Store(0) } },
		"a commit waits":         func() func() { s.waitingSince.Store(1); return func() { s.waitingSince.Store(0) } },
		"a checkpoint is wanted": func() func() { s.awaiting.Add(1); return func() { s.awaiting.Add(-1) } },
		"much is in memory":      func() func() { return gather(s.checkpointBytes / 2) },
	} {
		done := hurry()
		if s.mayRestFlushing() {
			t.Errorf("%s, and it rests", name)
		}
		done()
	}
}

// Who comes to wait for a checkpoint finds it at rest.
func TestACheckpointThatRestsGoesOnWhenItIsWanted(t *testing.T) {
	s := openStore(t, memOptions(vfs.NewMem()))
	c := &checkpointing{done: make(chan struct{}), wanted: make(chan struct{})}
	rested, ended := make(chan struct{}), make(chan error, 1)
	go func() {
		s.pauseCheckpoint(c, time.Hour)
		close(rested)
	}()
	leisure := make(chan error, 1)
	go func() { leisure <- s.awaitAtLeisure(c) }()
	select {
	case <-rested:
		t.Error("it goes on for what is in the background")
	case <-time.After(50 * time.Millisecond):
	}
	go func() { ended <- s.await(c) }()
	<-rested
	close(c.done)
	if err := <-ended; err != nil {
		t.Error(err)
	}
	if err := <-leisure; err != nil {
		t.Error(err)
	}
}
