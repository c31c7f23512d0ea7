package faults

import (
	"context"
	"errors"
	"math/rand/v2"
	"net"
	"slices"
	"strings"
	"sync"
	"time"

	"cartwheel/bench/check"

	"github.com/redis/go-redis/v9"
	"github.com/redis/go-redis/v9/logging"
)

const (
	dialTimeout  = time.Second
	replyTimeout = 3 * time.Second

	// pauseMean is between a worker's operations: a history should tell much, not be long.
	pauseMean = 5 * time.Millisecond
)

// worker is one client. It stays with its node until the connection fails, and then goes on at another.
// It belongs to one goroutine.
type worker struct {
	id     int
	node   int
	addrs  []string
	client *redis.Client
	random *rand.Rand
	pause  time.Duration
	began  time.Time // of the history

	operations []check.Operation
	// strange are error replies that say neither TIMEOUT nor that nothing was done: there should be none.
	strange []string
}

func newWorker(id int, addrs []string, seed uint64, pause time.Duration, began time.Time) *worker {
	w := &worker{id: id, pause: pause, addrs: addrs, random: rand.New(rand.NewPCG(seed, uint64(id))), began: began}
	w.goTo(id % len(addrs))
	return w
}

func (w *worker) goTo(node int) {
	w.close()
	w.node = node
	w.client = newClient(w.addrs[node])
}

func (w *worker) close() {
	if w.client != nil {
		_ = w.client.Close() // nothing is on the way
	}
}

// silence keeps go-redis from printing each lost connection: the histories have them.
var silence = sync.OnceFunc(logging.Disable)

// newClient is one connection, without retries: each attempt is an operation of its own.
func newClient(addr string) *redis.Client {
	silence()
	return redis.NewClient(&redis.Options{
		Addr: addr, Protocol: 2, DisableIdentity: true, MaxRetries: -1, PoolSize: 1,
		DialTimeout: dialTimeout, DialerRetries: 1, ReadTimeout: replyTimeout, WriteTimeout: replyTimeout, ContextTimeoutEnabled: true,
	})
}

// rest lets a random moment pass, or ctx end.
func (w *worker) rest(ctx context.Context) {
	select {
	case <-ctx.Done():
	case <-time.After(time.Duration(w.random.Int64N(int64(2 * w.pause)))):
	}
}

// do runs a command and records what came of it; read takes the reply apart into the operation. The
// context is not the run's: an operation that has begun is seen to its end.
func (w *worker) do(o check.Operation, read func(o *check.Operation, reply any) error, args ...any) *check.Operation {
	o.Worker, o.Node, o.Call = w.id, w.node, time.Since(w.began)
	reply, err := w.client.Do(context.Background(), args...).Result()
	o.Return = time.Since(w.began)
	o.Outcome = outcomeOf(err)
	if err == nil || errors.Is(err, redis.Nil) {
		err = read(&o, reply)
		if err != nil {
			w.strange = append(w.strange, err.Error())
		}
	}
	if err != nil {
		o.Error, o.Kind = err.Error(), errorKind(err)
		w.fail(err)
	}
	w.operations = append(w.operations, o)
	return &w.operations[len(w.operations)-1]
}

// hasLeft is what a node says that is no member of the ring any more.
const hasLeft = "connect to another"

// fail moves on if it was the connection that failed, and keeps replies that should not be.
func (w *worker) fail(err error) {
	var reply redis.Error
	if !errors.As(err, &reply) || strings.Contains(err.Error(), hasLeft) {
		w.goTo((w.node + 1 + w.random.IntN(max(1, len(w.addrs)-1))) % len(w.addrs))
		return
	}
	if !slices.Contains([]string{"TIMEOUT", "NOREPLICAS", "OVERLOADED"}, errorKind(err)) {
		w.strange = append(w.strange, err.Error())
	}
}

// outcomeOf is what an error says of the outcome.
func outcomeOf(err error) check.Outcome {
	var reply redis.Error
	var failed *net.OpError
	switch {
	case err == nil || errors.Is(err, redis.Nil):
		return check.Acknowledged
	case errors.As(err, &reply):
		if errorKind(err) == "TIMEOUT" {
			return check.Unknown
		}
		return check.Refused
	case errors.As(err, &failed) && failed.Op == "dial":
		return check.Refused // never sent
	}
	return check.Unknown
}

// errorKind names an error for counting: the first word of a reply, or what failed of the connection.
func errorKind(err error) string {
	var reply redis.Error
	var failed *net.OpError
	switch {
	case errors.As(err, &reply):
		word, _, _ := strings.Cut(reply.Error(), " ")
		return word
	case errors.As(err, &failed) && failed.Op == "dial":
		return "dial"
	case errors.As(err, &failed) && failed.Timeout():
		return "no reply"
	}
	return "connection lost"
}
