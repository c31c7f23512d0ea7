package store

import (
	"testing"

	"github.com/cockroachdb/pebble/v2/vfs"

	"cartwheel/store/version"
)

func TestAFenceSurvivesACrash(t *testing.T) {
	fs := vfs.NewCrashableMem()
	clock := newFakeClock(1_000_000_000_000)
	o := memOptions(fs)
	o.Now = clock.now
	s := openStore(t, o)
	mustSet(t, s, 0, "k", "v")
	clock.ms.Add(30_000)                          // idle
	at := version.MakeHLC(clock.ms.Load()+400, 0) // a leader whose clock is 400 ms ahead
	must(t, s.Fence(at, nil))
	must(t, s.RaiseStable(all(at)))
	must(t, s.RaisePurge(all(at)))
	clock.ms.Add(150)
	o.FS = fs.CrashClone(vfs.CrashCloneCfg{})
	c := openStore(t, o)
	h, err := c.NextHLC(c.NowMS(), 0)
	t.Logf("fenced %v, purge %v, issued after the crash %v %v: below=%v", at, c.Levels(1).Purge, h, err, h <= at)
	must(t, commit(c, 0, "k", write{tombstone: true}))
	t.Logf("after DEL: %s", read(c, 0, "k"))
	if h <= at {
		t.Error("an HLC at or below what was fenced was issued")
	}
}
