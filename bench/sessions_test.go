package main

import (
	"errors"
	"testing"
)

func TestSessionsThatGrowAreNoticed(t *testing.T) {
	rounds := []sessionRound{{1, 10, 100, 0, 0}, {100, 20, 90, 0, 0}, {150, 5, 150, 0, 0}, {10, 30, 1, 0, 0}} // the log fills up first
	if err := judgeSessions(rounds); err != nil {
		t.Error(err)
	}
	for _, last := range []sessionRound{{151, 1, 1, 0, 0}, {1, 31, 1, 0, 0}, {1, 1, 151, 0, 0}} {
		if err := judgeSessions(append(rounds[:3:3], last)); !errors.Is(err, errPromise) {
			t.Errorf("%+v at last: %v", last, err)
		}
	}
}
