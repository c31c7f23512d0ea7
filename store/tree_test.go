package store

import (
	"fmt"
	"math/bits"
	"math/rand/v2"
	"testing"

	"github.com/cockroachdb/pebble/v2/vfs"

	"cartwheel/cluster/ring"
	"cartwheel/store/version"
)

func wantSameTrees(t testing.TB, a, b *Store) {
	t.Helper()
	for p := range ring.Partition(a.Partitions()) {
		if a.Leaves(p) != b.Leaves(p) || a.Root(p) != b.Root(p) {
			t.Fatalf("partition %d has the leaves\n%x\nand\n%x", p, a.Leaves(p), b.Leaves(p))
		}
	}
}

// Replicas that hold the same have the same roots, however they came to it; and
// one object more, or another version of one, shows.
func TestRootsAreEqualExactlyWhereObjectsAre(t *testing.T) {
	seed := rand.Uint64()
	t.Logf("seed %d", seed)
	r := rand.New(rand.NewPCG(seed, 0))
	a, _ := openAt(t, noon)
	b, _ := openAt(t, noon)
	type put struct {
		db  uint8
		key string
		o   version.Object
	}
	var puts []put
	for i := range 300 {
		puts = append(puts, put{uint8(r.IntN(3)), fmt.Sprint("key", r.IntN(100)), value(fmt.Sprint(i), at(noon-1000+int64(i)))})
	}
	for _, i := range r.Perm(len(puts)) {
		merge(t, a, puts[i].db, puts[i].key, puts[i].o)
	}
	for _, i := range r.Perm(len(puts)) {
		merge(t, b, puts[i].db, puts[i].key, puts[i].o)
	}
	wantSameTrees(t, a, b)
	for i := range 50 {
		db, key := uint8(i%2), fmt.Sprint("key", i)
		before := a.Leaves(a.partitionOf(NewKey(db, []byte(key))))
		mustSet(t, a, db, key, "differs")
		k := NewKey(db, []byte(key))
		p := a.partitionOf(k)
		after := a.Leaves(p)
		first, last := p.Span(testPartitions)
		want := int(uint64(k.Token-first) / (uint64(last-first)/Leaves + 1))
		for leaf := range after {
			if (after[leaf] != before[leaf]) != (leaf == want) {
				t.Errorf("leaf %d changed: %v; the key is below leaf %d", leaf, after[leaf] != before[leaf], want)
			}
		}
		if a.Root(p) == b.Root(p) {
			t.Fatal("the roots are equal, the objects are not")
		}
		var o version.Object
		if _, err := a.Get(db, []byte(key), &o); err != nil {
			t.Fatal(err)
		}
		merge(t, b, db, key, o)
		wantSameTrees(t, a, b)
	}
}

func TestNothingStoredHasRootZero(t *testing.T) {
	s, clock := openAt(t, noon)
	s.opts.Watermark = everythingIsStable
	for i := range 50 {
		setUntil(t, s, fmt.Sprint("key", i), noon+10)
	}
	clock.ms.Add(10)
	sweep(t, s)
	for p := range ring.Partition(testPartitions) {
		if s.Root(p) != 0 {
			t.Errorf("partition %d has the root %x", p, s.Root(p))
		}
	}
}

// The other nodes may have been built years ago.
func TestTheGoldenRoot(t *testing.T) {
	s, _ := openAt(t, noon)
	merge(t, s, 3, "key", value("v", at(noon)))
	const want = 0x574c6adde7c1a6c6
	if got := s.Root(s.partitionOf(NewKey(3, []byte("key")))); got != want {
		t.Errorf("the root is %#x", got)
	}
}

func TestACleanStopSavesTheTrees(t *testing.T) {
	s, _ := openAt(t, noon)
	for i := range 100 {
		mustSet(t, s, uint8(i%Databases), fmt.Sprint("key", i), "v")
	}
	before := s
	s = reopen(t, s)
	select {
	case <-s.TreesReady():
	default:
		t.Error("the trees are not ready after a clean stop")
	}
	wantSameTrees(t, before, s)
	wantTreesOfWhatIsStored(t, s)
	if n := rows(t, s, prefixTrees); n != 0 {
		t.Error("the saved trees are there while the store runs")
	}
}

func TestDamagedTreesAreNotBelieved(t *testing.T) {
	var saved trees
	saved.init(testPartitions)
	k := NewKey(2, []byte("key"))
	saved.change(k, 0, 77)
	text := saved.encode(2)
	for i := range text {
		text[i] ^= 1
		var damaged trees
		damaged.init(testPartitions)
		if damaged.decode(2, text) {
			t.Errorf("trees with byte %d damaged are believed", i)
		}
		text[i] ^= 1
	}
	var back trees
	back.init(testPartitions)
	p := ring.PartitionOf(k.Token.Slot(), testPartitions)
	if !back.decode(2, text) || back.span(2, p)[uint64(k.Token)>>back.shift%Leaves].Load() != contribution(k, 77) {
		t.Error("undamaged trees are not read back")
	}
}

// Beside a flush, a corrupt object is what the trees lose track of.
func TestTreesAreRightAgainAfterCorruption(t *testing.T) {
	for name, then := range map[string]func(t *testing.T, s *Store){
		"read": func(t *testing.T, s *Store) { wantRead(t, s, 0, "bad", "(corrupt)") },
		"replaced by a write": func(t *testing.T, s *Store) {
			if err := commit(s, 0, "bad", write{value: "new", blind: true}); err != nil {
				t.Fatal(err)
			}
		},
		"read, counted and replaced": func(t *testing.T, s *Store) {
			wantRead(t, s, 0, "bad", "(corrupt)")
			s.recountSuspects()
			wantTreesOfWhatIsStored(t, s)
			merge(t, s, 0, "bad", value("new", at(noon)))
			wantTreesOfWhatIsStored(t, s)
		},
	} {
		t.Run(name, func(t *testing.T) {
			s, _ := openAt(t, noon)
			for i := range 50 {
				mustSet(t, s, 0, fmt.Sprint("key", i), "v")
			}
			mustSet(t, s, 0, "bad", "value")
			damage(t, s, "bad")
			then(t, s)
			if s.countsAreRight() {
				t.Error("the counts are taken for right")
			}
			s.recountSuspects()
			if !s.countsAreRight() {
				t.Error("the counts are not right after a recount")
			}
			wantTreesOfWhatIsStored(t, s)
		})
	}
}

func TestCountsThatMayBeWrongAreNotSaved(t *testing.T) {
	s, _ := openAt(t, noon)
	mustSet(t, s, 0, "bad", "value")
	damage(t, s, "bad")
	wantRead(t, s, 0, "bad", "(corrupt)")
	s = reopen(t, s)
	waitCounts(t, s)
	wantTreesOfWhatIsStored(t, s)
}

func TestScanLeafShowsEachObjectBelowItsLeafOnly(t *testing.T) {
	for _, partitions := range []int{1, testPartitions, ring.Slots} {
		watermark := new(version.HLC)
		clock := newFakeClock(noon)
		opts := memOptions(vfs.NewMem())
		opts.Now, opts.Watermark, opts.Partitions = clock.now, fixedWatermark(watermark), partitions
		s := openStore(t, opts)
		shown := map[string]int{}
		of := map[ring.Partition]bool{}
		for i := range 60 {
			key := fmt.Sprint("key", i)
			if _, err := do(s, uint8(i%2), key, write{value: "v"}); err != nil { // not committed
				t.Fatal(err)
			}
			of[s.partitionOf(NewKey(0, []byte(key)))] = true
		}
		if _, err := do(s, 0, "key0", write{tombstone: true}); err != nil {
			t.Fatal(err)
		}
		scan := func() {
			clear(shown)
			for p := range of {
				leaves := s.Leaves(p)
				for leaf := range Leaves {
					var sum uint64
					err := s.ScanLeaf(p, leaf, func(k Key, o *version.Object) bool {
						shown[string(k.User)]++
						sum ^= contribution(k, o.Hash())
						return true
					})
					if err != nil {
						t.Fatal(err)
					}
					if *watermark == 0 && sum != leaves[leaf] {
						t.Errorf("partition %d leaf %d is %x, its objects make %x", p, leaf, leaves[leaf], sum)
					}
				}
			}
		}
		scan()
		if len(shown) != 60 || shown["key0"] != 1 || shown["key1"] != 1 {
			t.Errorf("with %d partitions are shown %v", partitions, shown)
		}
		*watermark = s.LastHLC()
		scan()
		if len(shown) != 59 || shown["key0"] != 0 {
			t.Errorf("with %d partitions and a watermark are shown %v", partitions, shown)
		}
	}
}

func TestDeletedObjectsGoWhenTheWatermarkHasPassedThem(t *testing.T) {
	s, clock, watermark := openSweeping(t)
	*watermark = 0
	const keys = sweepRows + 1
	for i := range keys {
		mustSet(t, s, 0, fmt.Sprint("k", i), "v")
		if err := commit(s, 0, fmt.Sprint("k", i), write{tombstone: true}); err != nil {
			t.Fatal(err)
		}
	}
	for range bits.Len(sweepRetryMaxMS / sweepRetryMS) {
		clock.ms.Add(sweepRetryMS)
		if n := sweep(t, s); n != 0 {
			t.Fatalf("%d were purged above the watermark", n)
		}
	}
	wantRead(t, s, 0, "k1", "(deleted)")
	*watermark = s.LastHLC()
	clock.ms.Add(2 * sweepRetryMaxMS)
	if n := sweep(t, s); n != keys {
		t.Errorf("%d were purged, want %d", n, keys)
	}
	wantNothing(t, s)
	for p := range ring.Partition(testPartitions) {
		if s.Root(p) != 0 {
			t.Errorf("partition %d has the root %x", p, s.Root(p))
		}
	}
}

// What waits for a watermark that stands still is looked at more and more rarely.
func TestADeletedObjectThatWaitsLongCostsFewLooks(t *testing.T) {
	s, clock, watermark := openSweeping(t)
	*watermark = 0
	if err := commit(s, 0, "k", write{tombstone: true}); err != nil {
		t.Fatal(err)
	}
	commits := s.Stats().Commits
	for range 24 * 60 {
		clock.ms.Add(60_000)
		sweep(t, s)
	}
	if n := s.Stats().Commits - commits; n > 40 {
		t.Errorf("%d commits in a day", n)
	}
}
