package version

import "testing"

func TestABuriedSiblingStaysBuriedWhicheverWayItIsMerged(t *testing.T) {
	dot := Dot{Incarnation: 1, HLC: MakeHLC(1000, 0)}
	var alive Object
	alive.Put(nil, Sibling{Dot: dot, Written: dot.HLC, ExpireAtMS: 2000, Payload: []byte("v")})
	buried := Merge(&alive, &alive)
	if !buried.Bury(2000) || buried.Bury(2000) {
		t.Fatal("an expired sibling is buried once")
	}
	for _, pair := range [][2]*Object{{&alive, &buried}, {&buried, &alive}} {
		merged := Merge(pair[0], pair[1])
		if !merged.Equal(&buried) {
			t.Errorf("Merge gives %+v", merged)
		}
		in := Merge(pair[0], pair[0])
		if changed := in.MergeIn(pair[1]); changed != (pair[0] == &alive) || !in.Equal(&buried) {
			t.Errorf("MergeIn gives %+v, changed %v", in, changed)
		}
	}
}
