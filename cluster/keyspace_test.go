package cluster

import (
	"fmt"
	"slices"
	"sync/atomic"
	"testing"
	"time"

	"github.com/cockroachdb/pebble/v2/vfs"

	"cartwheel/cluster/quorum"
	"cartwheel/cluster/ring"
	"cartwheel/store/version"
)

func randomKey(t *testing.T, c *Coordinator, db uint8) (key string, found bool) {
	t.Helper()
	k, err := c.RandomKey(db)
	if err != nil {
		t.Fatal(err)
	}
	return string(k), k != nil
}

func TestARandomKeyIsAnyKeyOfTheDatabase(t *testing.T) {
	for _, partitions := range []int{1, 8, ring.Slots} {
		t.Run(fmt.Sprint(partitions, " partitions"), func(t *testing.T) {
			const keys, draws = 20, 2000
			opts := memOptions(vfs.NewMem())
			opts.Partitions = partitions
			c := open(t, opts)
			if key, found := randomKey(t, c, 0); found {
				t.Fatalf("%q in an empty database", key)
			}
			mustSet(t, c, 1, "of another database", "v")
			drawn := map[string]int{}
			for i := range keys {
				drawn[fmt.Sprint("key", i)] = 0
				mustSet(t, c, 0, fmt.Sprint("key", i), "v")
			}
			for range draws {
				key, _ := randomKey(t, c, 0)
				if _, known := drawn[key]; !known {
					t.Fatalf("drawn is %q", key)
				}
				drawn[key]++
			}
			for key, n := range drawn {
				// Within a partition gaps decide, and they differ much.
				if n == 0 && partitions > 1 || partitions == ring.Slots && n < draws/keys/3 {
					t.Errorf("%q was drawn %d times of %d: %v", key, n, draws, drawn)
				}
			}
		})
	}
}

func TestTheEmptyKeyIsDrawnAndIsNotNone(t *testing.T) {
	c := open(t, memOptions(vfs.NewMem()))
	mustSet(t, c, 0, "", "v")
	if key, found := randomKey(t, c, 0); !found || key != "" {
		t.Errorf("drawn is %q, %v", key, found)
	}
}

func TestWhatIsDeadIsNotDrawn(t *testing.T) {
	opts := memOptions(vfs.NewMem())
	var nowMS atomic.Int64
	nowMS.Store(1_700_000_000_000)
	opts.Now = func() time.Time { return time.UnixMilli(nowMS.Load()) }
	c := open(t, opts)
	mustSet(t, c, 0, "deleted", "v")
	if err := update(c, 0, "deleted", quorum.Need{}, overwrite{}); err != nil {
		t.Fatal(err)
	}
	for i := range 100 { // counted until they are swept
		if err := update(c, 0, fmt.Sprint("expired", i), quorum.Need{}, overwrite{value: []byte("v"), expireAtMS: nowMS.Load() + 1}); err != nil {
			t.Fatal(err)
		}
	}
	nowMS.Add(1)
	if key, found := randomKey(t, c, 0); found {
		t.Errorf("drawn is %q", key)
	}
	mustSet(t, c, 0, "alive", "v")
	for range 20 {
		if key, _ := randomKey(t, c, 0); key != "alive" {
			t.Fatalf("drawn is %q", key)
		}
	}
}

func TestSizeCountsKeysAndTheirTimeToLive(t *testing.T) {
	opts := memOptions(vfs.NewMem())
	var nowMS atomic.Int64
	nowMS.Store(1_700_000_000_000)
	opts.Now = func() time.Time { return time.UnixMilli(nowMS.Load()) }
	c := open(t, opts)
	want := func(keys, expires, meanTTLMS int64) {
		t.Helper()
		k, e, m, ready := c.Size(3)
		if k != keys || e != expires || m != meanTTLMS {
			t.Errorf("size is %d, %d, %d, want %d, %d, %d", k, e, m, keys, expires, meanTTLMS)
		}
		<-ready
	}
	want(0, 0, 0)
	mustSet(t, c, 3, "stays", "v")
	for i, ms := range []int64{1000, 3000} {
		if err := update(c, 3, fmt.Sprint(i), quorum.Need{}, overwrite{value: []byte("v"), expireAtMS: nowMS.Load() + ms}); err != nil {
			t.Fatal(err)
		}
	}
	want(3, 2, 2000)
	nowMS.Add(time.Hour.Milliseconds()) // not swept yet: the mean is not below 0
	want(3, 2, 0)
}

// A flush by an older mark leaves counts at 0 though there are keys: taking
// them away must not show as fewer than none.
func TestSizeIsNeverBelowZero(t *testing.T) {
	c := open(t, memOptions(vfs.NewMem()))
	mark, err := c.Dot(nil, nil, c.NowMS(), 0)
	if err != nil {
		t.Fatal(err)
	}
	if err := update(c, 0, "k", quorum.Need{}, overwrite{value: []byte("v"), expireAtMS: c.NowMS() + 1_000_000}); err != nil {
		t.Fatal(err)
	}
	if err := c.store.Flush([]uint8{0}, mark.HLC); err != nil {
		t.Fatal(err)
	}
	if err := update(c, 0, "k", quorum.Need{}, overwrite{}); err != nil {
		t.Fatal(err)
	}
	if keys, expires, meanTTLMS, _ := c.Size(0); keys != 0 || expires != 0 || meanTTLMS != 0 {
		t.Errorf("size is %d, %d, %d", keys, expires, meanTTLMS)
	}
	if key, found := randomKey(t, c, 0); found {
		t.Errorf("drawn is %q", key)
	}
}

func TestAScanVisitsOneDatabaseInTokenOrderFromAToken(t *testing.T) {
	c := open(t, memOptions(vfs.NewMem()))
	var want []ring.Token
	for i := range 100 {
		mustSet(t, c, 0, fmt.Sprint("key", i), "v")
		mustSet(t, c, 1, fmt.Sprint("other", i), "v")
		want = append(want, ring.TokenOf(fmt.Append(nil, "key", i)))
	}
	slices.Sort(want)
	for _, from := range []int{0, 1, 50, 99} {
		var got []ring.Token
		err := c.Scan(0, want[from], func(token ring.Token, key []byte, o *version.Object) bool {
			if token != ring.TokenOf(key) || string(o.Winner().Payload) != "v" {
				t.Errorf("visited %q at %x", key, token)
			}
			got = append(got, token)
			return true
		})
		if err != nil || !slices.Equal(got, want[from:]) {
			t.Errorf("from the token of number %d: %d keys, %v", from, len(got), err)
		}
	}
	visits := 0
	if err := c.Scan(0, 0, func(ring.Token, []byte, *version.Object) bool { visits++; return visits < 7 }); err != nil || visits != 7 {
		t.Errorf("a scan that was to stop at 7 visited %d: %v", visits, err)
	}
}

func TestFiguresHaveNamesOfTheirOwn(t *testing.T) {
	c := open(t, memOptions(vfs.NewMem()))
	seen := map[string]bool{}
	for _, figure := range c.Figures() {
		if seen[figure[0]] || figure[1] == "" {
			t.Errorf("figure %q", figure)
		}
		seen[figure[0]] = true
	}
}
