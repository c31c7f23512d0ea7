package server_test

import (
	"sync/atomic"
	"testing"
	"time"

	"cartwheel/server"
	"cartwheel/store"
)

// A clock is a wall clock that stands still until the test moves it.
type clock struct{ ms atomic.Int64 }

// clockStartMS is when all tests with a clock begin.
const clockStartMS = 1_800_000_000_000

func newClock() *clock {
	k := &clock{}
	k.ms.Store(clockStartMS)
	return k
}

func (k *clock) now() time.Time { return time.UnixMilli(k.ms.Load()) }

func (k *clock) advance(d time.Duration) { k.ms.Add(d.Milliseconds()) }

// connectAt is connect to a server that lives by a clock.
func connectAt(t *testing.T) (*client, *clock) {
	t.Helper()
	k := newClock()
	return start(t, server.Options{Keys: open(t, store.Options{Now: k.now})}).dial(), k
}
