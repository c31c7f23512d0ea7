package cluster

import (
	"bytes"
	"fmt"
	"slices"
	"testing"

	"cartwheel/cluster/ring"
)

// A new ring becomes a view with locks held.
func BenchmarkViewOfAThousandNodes(b *testing.B) {
	d := &ring.Document{Epoch: 1, Partitions: ring.Slots, Replicas: 3}
	peers := map[ring.NodeID]*peer{}
	for i := range 1000 {
		id := ring.NodeID{byte(i * 7), byte(i), byte(i >> 8), 1}
		d.Members = append(d.Members, ring.Member{ID: id, Weight: 1, Zone: fmt.Sprint(i % 5), State: ring.Active})
		peers[id] = &peer{id: id}
	}
	slices.SortFunc(d.Members, func(a, b ring.Member) int { return bytes.Compare(a.ID[:], b.ID[:]) })
	d.Owners = ring.Place(d.Members, d.Partitions, d.Replicas, nil)
	self := d.Members[0].ID
	delete(peers, self)
	for b.Loop() {
		newView(d.Ring(), self, peers)
	}
}
