package store

import (
	"fmt"
	"testing"

	"github.com/cockroachdb/pebble/v2/vfs"

	"cartwheel/store/version"
)

func BenchmarkGetCached(b *testing.B) {
	s := openStore(b, memOptions(vfs.NewMem()))
	var keys [1024][]byte
	for i := range keys {
		keys[i] = fmt.Append(nil, "key", i)
		mustSet(b, s, 0, string(keys[i]), "a value of some thirty bytes...")
	}
	b.ReportAllocs()
	b.RunParallel(func(pb *testing.PB) {
		var o version.Object
		for i := 0; pb.Next(); i++ {
			if _, err := s.Get(0, keys[i%len(keys)], &o); err != nil {
				b.Error(err)
				return
			}
		}
	})
}

func BenchmarkUpdateAndCommitOf16(b *testing.B) {
	opts := memOptions(nil)
	opts.Dir, opts.MemoryBytes = b.TempDir(), 0
	s := openStore(b, opts)
	var keys [4096][]byte
	for i := range keys {
		keys[i] = fmt.Append(nil, "key", i)
	}
	var o version.Object
	b.ReportAllocs()
	for i := 0; b.Loop(); i++ {
		var seq uint64
		for j := range 16 {
			var err error
			key := keys[(i*16+j)%len(keys)]
			if seq, err = s.Update(0, key, s.NowMS(), &o, write{s: s, value: "a value of some thirty bytes..."}); err != nil {
				b.Fatal(err)
			}
		}
		if err := s.Commit(seq); err != nil {
			b.Fatal(err)
		}
	}
}
