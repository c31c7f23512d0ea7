package compat

import (
	"errors"
	"fmt"
	"math/rand/v2"
	"strconv"
	"strings"
	"sync"
	"testing"
	"time"

	"cartwheel/bench/proc"
)

const (
	killsOfAServer  = 5
	durableWriters  = 4
	keysOfAWriter   = 40
	pipelineDepth   = 8
	writingTimeMost = 400 * time.Millisecond
)

// TestAcknowledgedWritesSurviveKill9 kills the server under writers, several times a sync mode, and
// wants every acknowledged write there after each restart. What was sent and not acknowledged may be
// there or not. A killed process loses nothing in any mode: its bytes are with the operating system.
func TestAcknowledgedWritesSurviveKill9(t *testing.T) {
	for _, mode := range []string{"always", "everysec", "no"} {
		t.Run(mode, func(t *testing.T) {
			if subjectIsRedis() && mode == "everysec" {
				t.Skip("Redis acknowledges before it writes while an fsync of its everysec runs")
			}
			r := random(t)
			writers := make([]*durableWriter, durableWriters)
			for i := range writers {
				writers[i] = newDurableWriter(i, rand.New(rand.NewPCG(r.Uint64(), r.Uint64())))
			}
			set := settings{sync: mode, dir: t.TempDir()}
			for round := range killsOfAServer {
				server := startSubject(t, set)
				set.port = server.Port
				for _, w := range writers {
					if err := w.check(server.Addr); err != nil {
						t.Fatalf("after %d kills: %v", round, err)
					}
				}
				writeUntilKilled(t, server, writers, time.Duration(r.Int64N(int64(writingTimeMost))))
			}
			server := startSubject(t, set)
			acknowledged := 0
			for _, w := range writers {
				if err := w.check(server.Addr); err != nil {
					t.Fatalf("after %d kills: %v", killsOfAServer, err)
				}
				acknowledged += w.acknowledged
			}
			if acknowledged == 0 {
				t.Fatal("no write was acknowledged in any round")
			}
			t.Logf("%d writes acknowledged", acknowledged)
		})
	}
}

// writeUntilKilled runs the writers, kills the server after a while and waits for them.
func writeUntilKilled(t *testing.T, server *proc.Server, writers []*durableWriter, after time.Duration) {
	t.Helper()
	var wait sync.WaitGroup
	failures := make([]error, len(writers))
	for i, w := range writers {
		wait.Go(func() { failures[i] = w.write(server.Addr) })
	}
	time.Sleep(after) // not for anything: the moment of the kill is what is random
	if err := server.Kill(); err != nil {
		t.Fatal(err)
	}
	wait.Wait()
	if err := errors.Join(failures...); err != nil {
		t.Fatal(err)
	}
}

// durableWriter writes its own keys on one connection and remembers what may be found under each.
type durableWriter struct {
	keys         []string
	history      map[string][]string // what a key may hold: the acknowledged value, then what was sent since; "" is no key
	counter      string
	counterAcked int64
	counterSent  int64
	serial       int
	acknowledged int
	random       *rand.Rand
}

// deleted stands for a key that is not there.
const deleted = ""

func newDurableWriter(number int, random *rand.Rand) *durableWriter {
	w := &durableWriter{history: map[string][]string{}, counter: fmt.Sprintf("counter-%d", number), random: random}
	for i := range keysOfAWriter {
		key := fmt.Sprintf("writer-%d-%d", number, i)
		w.keys, w.history[key] = append(w.keys, key), []string{deleted}
	}
	return w
}

// write sends pipelines of random writes until the connection breaks.
func (w *durableWriter) write(addr string) error {
	c, err := dial(addr)
	if err != nil {
		return nil // killed before it got through
	}
	defer c.Close()
	for {
		commands := make([][]string, 1+w.random.IntN(pipelineDepth))
		var pipeline []byte
		for i := range commands {
			commands[i] = w.next()
			pipeline = append(pipeline, encode(commands[i]...)...)
		}
		if _, err := c.Write(pipeline); err != nil {
			return nil
		}
		for _, args := range commands {
			r, err := c.receive()
			if err != nil {
				return nil
			}
			if err := w.acknowledge(args, r); err != nil {
				return err
			}
		}
	}
}

// next draws a write and remembers that it was sent.
func (w *durableWriter) next() []string {
	key := w.keys[w.random.IntN(len(w.keys))]
	switch n := w.random.IntN(10); {
	case n < 3:
		w.counterSent++
		return []string{"INCR", w.counter}
	case n < 5:
		w.history[key] = append(w.history[key], deleted)
		return []string{"DEL", key}
	default:
		w.serial++
		value := strconv.Itoa(w.serial) + strings.Repeat("x", w.random.IntN(200))
		w.history[key] = append(w.history[key], value)
		return []string{"SET", key, value}
	}
}

// acknowledge forgets what a key may have held before the write now acknowledged: replies come in
// the order of the commands.
func (w *durableWriter) acknowledge(args []string, r reply) error {
	if r.kind == '-' {
		return fmt.Errorf("%s: %s", shorten(typed(args)), r)
	}
	w.acknowledged++
	if args[0] == "INCR" {
		n, ok := r.integer()
		if !ok || n <= w.counterAcked || n > w.counterSent {
			return fmt.Errorf("%s: %s, of %d acknowledged and %d sent", typed(args), r, w.counterAcked, w.counterSent)
		}
		w.counterAcked = n
		return nil
	}
	w.history[args[1]] = w.history[args[1]][1:]
	return nil
}

// check looks at every key after a restart. From then on what was found is what must be found.
func (w *durableWriter) check(addr string) error {
	c, err := dial(addr)
	if err != nil {
		return err
	}
	defer c.Close()
	for _, key := range w.keys {
		r, err := c.do("GET", key)
		if err != nil || r.kind == '-' {
			return fmt.Errorf("GET %s: %s %w", key, r, err)
		}
		if !w.mayHold(key, r) {
			return fmt.Errorf("GET %s: %s; acknowledged or sent after it: %q", key, shorten(r.String()), w.history[key])
		}
		w.history[key] = []string{r.text}
	}
	r, err := c.do("GET", w.counter)
	if err != nil {
		return err
	}
	n, _ := strconv.ParseInt(r.text, 10, 64)
	if n < w.counterAcked || n > w.counterSent {
		return fmt.Errorf("GET %s: %s; %d acknowledged, %d sent", w.counter, r, w.counterAcked, w.counterSent)
	}
	w.counterAcked, w.counterSent = n, n
	return nil
}

func (w *durableWriter) mayHold(key string, r reply) bool {
	for _, value := range w.history[key] {
		if r.text == value && r.null == (value == deleted) {
			return true
		}
	}
	return false
}

// TestCleanStopLosesNothing wants SIGTERM and SHUTDOWN to leave everything, with status 0.
func TestCleanStopLosesNothing(t *testing.T) {
	set := settings{sync: "no", dir: t.TempDir()}
	server := startSubject(t, set)
	set.port = server.Port
	c := connect(t, server.Addr)
	c.want(t, "+OK\r\n", "SET", "a", "1")
	c.want(t, "+OK\r\n", "SET", "mortal", "2", "EX", "10000")
	if state, err := server.Terminate(t.Context()); err != nil || !state.Success() {
		t.Fatalf("SIGTERM: %v, %v", state, err)
	}
	server = startSubject(t, set)
	c = connect(t, server.Addr)
	c.want(t, "$1\r\n1\r\n", "GET", "a")
	ttl, err := c.do("TTL", "mortal")
	if seconds, ok := ttl.integer(); err != nil || !ok || seconds <= 9_000 || seconds > 10_000 {
		t.Fatalf("TTL after a restart: %s, %v", ttl, err)
	}
	c.want(t, ":1\r\n", "DEL", "a")
	if err := c.send("SHUTDOWN"); err != nil {
		t.Fatal(err)
	}
	c.closed(t)
	select {
	case <-server.Exited():
	case <-time.After(replyTimeout):
		t.Fatal("still runs after SHUTDOWN")
	}
	connect(t, startSubject(t, set).Addr).want(t, "$-1\r\n", "GET", "a")
}
