package cluster

import (
	"flag"
	"fmt"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/cockroachdb/pebble/v2/vfs"

	"cartwheel/cluster/quorum"
	"cartwheel/cluster/ring"
	"cartwheel/store/version"
)

var sessionKeys = flag.Int("sessions", 10000, "keys of a round of TestAStoreOfSessionsLevelsOff")

// What a store of sessions has come to when those of a round have expired.
type sessionsUse struct {
	db   int64  // bytes of all nodes' databases
	log  int64  // of all their commit logs, which a checkpoint cuts off
	sent uint64 // bytes for each exchange: how many there are depends on how long a round takes
}

const (
	sessionRounds = 10
	sessionLife   = time.Minute
	logBytesMost  = 48 << 20 // of a node's commit log: checkpoints begin at half of that at the latest
)

// Ten rounds of keys that live for a minute, of which some are touched again and some deleted before. What
// stays on the disks, and what the nodes send each other to find out that they are the same, must not grow
// with what has been.
func TestAStoreOfSessionsLevelsOff(t *testing.T) {
	t.Parallel()
	var ahead atomic.Int64
	w := newWorldOf(t, 3, 3, func(_ int, o *Options) {
		o.Repair.ExchangeInterval = 20 * time.Millisecond
		o.Store.SweepRetry = time.Second
		o.Store.Now = func() time.Time { return time.Now().Add(time.Duration(ahead.Load())) }
	})
	var uses []sessionsUse
	for n := range sessionRounds {
		sent, exchanges := w.sent()
		w.sessions(n)
		ahead.Add(int64(sessionLife + 2*time.Second)) // by any clock they are dead
		at := w.nodes[0].store.LastHLC()
		until(t, "all that has been written is stable everywhere", func() bool { return w.purgedUpTo(at) })
		for range 3 { // what is looked at too early is looked at again
			ahead.Add(int64(time.Minute))
			for _, c := range w.nodes {
				if _, err := c.store.Sweep(); err != nil {
					t.Fatal(err)
				}
			}
		}
		for i, c := range w.nodes {
			if left := count(t, c.store); left != 0 {
				t.Errorf("round %d: node %d has %d objects still", n, i, left)
			}
			for p := range ring.Partition(c.store.Partitions()) {
				if c.store.Root(p) != 0 {
					t.Errorf("round %d: a tree of node %d shows something", n, i)
				}
			}
		}
		sentNow, exchangesNow := w.sent()
		use := sessionsUse{w.diskBytes("data/db"), w.diskBytes("data/log"), (sentNow - sent) / max(1, exchangesNow-exchanges)}
		t.Logf("round %d: %d bytes in the databases, %d in the logs, %d sent for each exchange", n, use.db, use.log, use.sent)
		if use.db == 0 || use.log > logBytesMost*int64(len(w.disks)) {
			t.Errorf("round %d: %+v on the disks", n, use)
		}
		uses = append(uses, use)
	}
	half := sessionRounds / 2
	if early, late := mostOf(uses[:half]), mostOf(uses[half:]); late.db > early.db*5/4 || late.sent > early.sent*2 {
		t.Errorf("it grows: %+v in the first half, %+v in the second", early, late)
	}
}

func mostOf(uses []sessionsUse) (most sessionsUse) {
	for _, u := range uses {
		most.db, most.sent = max(most.db, u.db), max(most.sent, u.sent)
	}
	return most
}

// sessions writes the keys of a round, at all nodes.
func (w *world) sessions(round int) {
	w.t.Helper()
	var writers sync.WaitGroup
	for at, c := range w.nodes {
		writers.Go(func() {
			for i := at; i < *sessionKeys; i += len(w.nodes) {
				key := fmt.Sprintf("session%d:%d", round, i)
				value := overwrite{value: []byte(fmt.Sprintf("%0100d", i)), expireAtMS: c.NowMS() + sessionLife.Milliseconds(), plain: true}
				err := update(c, 0, key, quorum.Need{W: 3}, value)
				switch {
				case err == nil && i%10 == 0: // touched
					err = update(c, 0, key, quorum.Need{W: 3}, value)
				case err == nil && i%10 == 1: // logged out
					err = update(c, 0, key, quorum.Need{W: 3}, overwrite{plain: true})
				}
				if err != nil {
					w.t.Errorf("%s: %v", key, err)
					return
				}
			}
		})
	}
	writers.Wait()
}

// purgedUpTo says whether everything up to an HLC may be purged at all nodes.
func (w *world) purgedUpTo(at version.HLC) bool {
	for _, c := range w.nodes {
		for p := range ring.Partition(c.store.Partitions()) {
			if c.store.Levels(p).Purge < at {
				return false
			}
		}
	}
	return true
}

// sent is how many bytes the nodes have sent each other in the background, and in how many exchanges.
func (w *world) sent() (bytes, exchanges uint64) {
	for _, c := range w.nodes {
		f := c.repairing.Load().Figures()
		bytes, exchanges = bytes+f.BytesSent, exchanges+f.Exchanges
	}
	return bytes, exchanges
}

// diskBytes is the length of all files in a directory of each node.
func (w *world) diskBytes(dir string) (bytes int64) {
	for _, disk := range w.disks {
		bytes += w.bytesIn(disk, dir)
	}
	return bytes
}

func (w *world) bytesIn(disk *vfs.MemFS, dir string) (bytes int64) {
	names, err := disk.List(dir)
	if err != nil {
		w.t.Fatal(err)
	}
	for _, name := range names {
		path := disk.PathJoin(dir, name)
		switch stat, err := disk.Stat(path); {
		case err != nil: // it has been removed meanwhile
		case stat.IsDir():
			bytes += w.bytesIn(disk, path)
		default:
			bytes += stat.Size()
		}
	}
	return bytes
}
