package store

import (
	"context"
	"maps"
	"slices"
	"sync"

	"cartwheel/cluster/ring"
)

// dropped are the partitions that were dropped and still take room on the disk.
// Pebble by itself frees at once only tables of which nothing else is left.
type dropped struct {
	mu         sync.Mutex
	partitions map[ring.Partition]struct{} // guarded by mu
}

func (d *dropped) add(p ring.Partition) {
	d.mu.Lock()
	defer d.mu.Unlock()
	if d.partitions == nil {
		d.partitions = make(map[ring.Partition]struct{})
	}
	d.partitions[p] = struct{}{}
}

// take returns what add was called with since the last take, in order.
func (d *dropped) take() []ring.Partition {
	d.mu.Lock()
	defer d.mu.Unlock()
	all := slices.Sorted(maps.Keys(d.partitions))
	d.partitions = nil
	return all
}

// compactDropped frees the room of what was dropped, neighbours together.
func (s *Store) compactDropped() {
	all := s.dropped.take()
	for len(all) > 0 {
		n := 1
		for n < len(all) && all[n] == all[n-1]+1 {
			n++
		}
		first, _ := all[0].Span(s.node.Partitions)
		_, last := all[n-1].Span(s.node.Partitions)
		s.compact(first, last)
		all = all[n:]
	}
}

// compact compacts the objects of a range of tokens. It returns early when the
// store closes, or when Pebble has given up and would keep it for ever.
func (s *Store) compact(first, last ring.Token) {
	ctx, cancel := context.WithCancel(context.Background())
	defer cancel()
	done := make(chan error, 1)
	go func() {
		from, to := tokenRange(prefixObject, first, last)
		done <- s.db.Compact(ctx, from, to, false)
	}()
	stop := s.stop
	for {
		select {
		case err := <-done:
			if err != nil && ctx.Err() == nil {
				s.log.Error().Err(err).Msg("cannot compact what was dropped")
			}
			return
		case <-s.gaveUp:
			return
		case <-stop:
			cancel()
			stop = nil // and wait for done
		}
	}
}
