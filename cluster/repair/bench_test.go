package repair

import (
	"context"
	"math/rand/v2"
	"testing"

	"cartwheel/cluster/ring"
)

// BenchmarkFill is of objects of 1 KB, over a network that costs nothing.
func BenchmarkFill(b *testing.B) {
	const objects, size = 20_000, 1024
	value := make([]byte, size)
	b.SetBytes(objects * size)
	for b.Loop() {
		b.StopTimer()
		w := newWorld(b, 2, nil)
		d := w.document(1, 0)
		for p := range ring.Partition(testPartitions) {
			d.Moves = append(d.Moves, ring.Move{Partition: p, From: nodeID(0), To: nodeID(1)})
		}
		w.adoptRing(d)
		for i := range objects {
			for at := range value {
				value[at] = byte(rand.Uint32())
			}
			w.nodes[0].set(keyOf(i), string(value))
		}
		w.nodes[1].replan()
		b.StartTimer()
		if _, err := w.nodes[1].fillFrom(context.Background(), nodeID(0)); err != nil {
			b.Fatal(err)
		}
		b.StopTimer()
		w.stop()
		b.StartTimer()
	}
}
