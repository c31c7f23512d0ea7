package faults

import (
	"context"
	"fmt"
	"math/rand/v2"
	"slices"
	"sync"
	"sync/atomic"
	"time"

	"github.com/redis/go-redis/v9"
)

// availability is the workload that measures what those see who are connected to the nodes that stay.
const availability = "availability"

// stayMin is how many nodes must stay: the quorums of N=3 and two nodes lost.
const stayMin = 3

// Available is what a steady load on the nodes that stay saw.
type Available struct {
	Fault      string        `json:"fault"`
	Nodes      []int         `json:"nodes"` // those it was done to
	Before     Latency       `json:"before"`
	During     Latency       `json:"during"`
	Errors     []string      `json:"errors"`     // of any kind, at any time
	Reconnects int           `json:"reconnects"` // connections that were lost and made anew
	Lasted     time.Duration `json:"lasted"`     // the fault
}

// Latency is of single commands.
type Latency struct {
	Count int           `json:"count"`
	P50   time.Duration `json:"p50"`
	P99   time.Duration `json:"p99"`
	P999  time.Duration `json:"p999"`
	Max   time.Duration `json:"max"`
}

func (l Latency) String() string {
	ms := func(d time.Duration) string { return fmt.Sprintf("%.2f", float64(d)/float64(time.Millisecond)) }
	return fmt.Sprintf("p50 %s, p99 %s, p99.9 %s, max %s ms of %d", ms(l.P50), ms(l.P99), ms(l.P999), ms(l.Max), l.Count)
}

// latencyOf orders the figures.
func latencyOf(took []time.Duration) Latency {
	if len(took) == 0 {
		return Latency{}
	}
	slices.Sort(took)
	at := func(perMille int) time.Duration { return took[min(len(took)*perMille/1000, len(took)-1)] }
	return Latency{Count: len(took), P50: at(500), P99: at(990), P999: at(999), Max: took[len(took)-1]}
}

const (
	steadyClients = 4 // on each node that stays
	steadyEvery   = 10 * time.Millisecond
	steadyKeys    = 1000
	errorsMax     = 20 // that are kept
)

// steady is a load that goes on through a fault.
type steady struct {
	mu      sync.Mutex // guards what follows
	took    []time.Duration
	errors  []string
	connect atomic.Int64
}

// measureAvailable puts a steady load on all nodes but the victims, does the fault to these, and heals it
// in the end. The nodes must be at rest.
func measureAvailable(ctx context.Context, s system, kind string, victims []int, before, during time.Duration, seed uint64) (*Available, error) {
	load := &steady{}
	running, end := context.WithCancel(ctx)
	defer end()
	var clients sync.WaitGroup
	made := 0
	for i, addr := range s.Addrs() {
		for n := range steadyClients {
			if slices.Contains(victims, i) {
				continue
			}
			made++
			random := rand.New(rand.NewPCG(seed, uint64(i*steadyClients+n)))
			clients.Go(func() { load.client(running, addr, random) })
		}
	}
	defer clients.Wait()
	defer end()

	found := &Available{Fault: kind, Nodes: victims}
	sleep(ctx, before)
	found.Before = load.window()
	began := time.Now()
	for n, victim := range victims {
		if n > 0 {
			sleep(ctx, time.Second)
		}
		do := s.Node(victim).Kill9
		if kind == stop {
			do = s.Node(victim).Stop
		}
		if err := do(); err != nil {
			return nil, err
		}
	}
	sleep(ctx, during)
	found.Lasted = time.Since(began)
	found.During = load.window()
	end()
	clients.Wait()
	found.Errors, found.Reconnects = load.errors, int(load.connect.Load())-made
	return found, bringBack(context.WithoutCancel(ctx), s, kind, victims)
}

func bringBack(ctx context.Context, s system, kind string, victims []int) error {
	ctx, cancel := context.WithTimeout(ctx, restartTimeout)
	defer cancel()
	for _, victim := range victims {
		back := func() error { return s.Node(victim).Restart(ctx) }
		if kind == stop {
			back = s.Node(victim).Cont
		}
		if err := back(); err != nil {
			return fmt.Errorf("bringing node %d back: %w", victim, err)
		}
	}
	return nil
}

// window returns the latencies since the last call.
func (s *steady) window() Latency {
	s.mu.Lock()
	defer s.mu.Unlock()
	took := s.took
	s.took = nil
	return latencyOf(took)
}

// client writes and reads on one connection until ctx ends.
func (s *steady) client(ctx context.Context, addr string, random *rand.Rand) {
	client := newClient(addr)
	client.Options().OnConnect = func(context.Context, *redis.Conn) error { s.connect.Add(1); return nil }
	defer client.Close()
	tick := time.NewTicker(steadyEvery)
	defer tick.Stop()
	for ctx.Err() == nil {
		key := fmt.Sprintf("steady:%d", random.IntN(steadyKeys))
		began := time.Now()
		var err error
		if random.IntN(2) == 0 {
			err = client.Set(context.Background(), key, "value", time.Hour).Err()
		} else if err = client.Get(context.Background(), key).Err(); err == redis.Nil {
			err = nil
		}
		s.add(time.Since(began), err)
		select {
		case <-ctx.Done():
		case <-tick.C:
		}
	}
}

func (s *steady) add(took time.Duration, err error) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.took = append(s.took, took)
	if err != nil && len(s.errors) < errorsMax {
		s.errors = append(s.errors, time.Now().Format("15:04:05.000 ")+err.Error())
	}
}
