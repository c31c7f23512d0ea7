package ring

import (
	"fmt"
	"testing"
)

func BenchmarkPlace(b *testing.B) {
	for _, size := range []struct{ nodes, zones, partitions int }{{10, 3, 1024}, {10, 0, 1024}, {1000, 0, 16384}, {1000, 5, 16384}, {1000, 500, 16384}} {
		var members []Member
		for i := range size.nodes {
			zone := 0
			if size.zones > 0 {
				zone = 1 + i%size.zones
			}
			members = append(members, testMember(i, zone, 1+i%7))
		}
		all := Place(members, size.partitions, 3, nil)
		without := Place(members[1:], size.partitions, 3, nil)
		heavier := append([]Member(nil), members...)
		for i := range heavier {
			heavier[i].Weight = 1 + i%9
		}
		name := fmt.Sprintf("%d-nodes-%d-zones-%d-partitions", size.nodes, size.zones, size.partitions)
		for _, change := range []struct {
			name    string
			members []Member
			current [][]NodeID
		}{{"fresh", members, nil}, {"join", members, without}, {"leave", members[1:], all}, {"weights", heavier, all}, {"same", members, all}} {
			b.Run(name+"/"+change.name, func(b *testing.B) {
				for b.Loop() {
					Place(change.members, size.partitions, 3, change.current)
				}
			})
		}
	}
}
