package ring

import "slices"

// A hop is a step from one node to another over a partition.
type hop struct{ from, to, p int32 }

// A search is breadth first, over nodes.
type search struct {
	queue []int32
	via   []hop // by node: how it was reached
	seen  []bool
}

func newSearch(nodes int) *search {
	return &search{via: make([]hop, nodes), seen: make([]bool, nodes)}
}

func (s *search) start(at int32) {
	s.seen[at] = true
	s.via[at] = hop{from: at, to: at}
	s.queue = append(s.queue, at)
}

func (s *search) reach(h hop) {
	s.seen[h.to] = true
	s.via[h.to] = h
	s.queue = append(s.queue, h.to)
}

func (s *search) next() (at int32, more bool) {
	if len(s.queue) == 0 {
		return 0, false
	}
	at = s.queue[0]
	s.queue = s.queue[1:]
	return at, true
}

// chain returns the hops from where the search started.
func (s *search) chain(to int32) (hops []hop) {
	for s.via[to].from != to {
		hops = append(hops, s.via[to])
		to = s.via[to].from
	}
	slices.Reverse(hops)
	return hops
}
