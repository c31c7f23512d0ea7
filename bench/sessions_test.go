package main

import (
	"errors"
	"testing"
)

func TestSessionsThatGrowAreNoticed(t *testing.T) {
	level := []sessionRound{{DiskBytes: 100, SentBytes: 100}, {DiskBytes: 90, SentBytes: 190}, {DiskBytes: 149, SentBytes: 110}}
	if err := judgeSessions(level); err != nil {
		t.Error(err)
	}
	for _, last := range []sessionRound{{DiskBytes: 151, SentBytes: 100}, {DiskBytes: 100, SentBytes: 201}} {
		if err := judgeSessions(append(level[:1:1], last)); !errors.Is(err, errPromise) {
			t.Errorf("%+v after %+v: %v", last, level[0], err)
		}
	}
}
