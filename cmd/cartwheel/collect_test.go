package main

import "testing"

func TestGarbageIsCollectedBeforeItMust(t *testing.T) {
	const mb = 1 << 20
	for _, c := range []struct {
		what             string
		used, live, goal uint64
		want             bool
	}{
		{"nothing is known yet", 3 * mb, 0, 4 * mb, true},
		{"just collected", 51 * mb, 50 * mb, 350 * mb, false},
		{"a little before", 229 * mb, 50 * mb, 350 * mb, false},
		{"three fifths of the way", 230 * mb, 50 * mb, 350 * mb, true},
		{"past the goal", 400 * mb, 50 * mb, 350 * mb, true},
		{"near the limit of memory", 445 * mb, 430 * mb, 456 * mb, false},
		{"nearer", 446 * mb, 430 * mb, 456 * mb, true},
		{"beyond the limit, where the runtime collects without a pause", 470 * mb, 460 * mb, 456 * mb, false},
	} {
		if got := early(c.used, c.live, c.goal); got != c.want {
			t.Errorf("%s: %v", c.what, got)
		}
	}
}
