package main

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"net"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/redis/go-redis/v9"
)

// operatorPatience bounds each step: others may use the machine.
const operatorPatience = 60 * time.Second

// A shell runs cartwheel, which this test's binary also is, as an operator does.
type shell struct {
	t   *testing.T
	dir string
}

func (s *shell) command(args ...string) *exec.Cmd {
	return &exec.Cmd{Path: os.Args[0], Args: append([]string{"cartwheel"}, args...), Env: os.Environ()}
}

// run runs a command to its end, and returns what it printed.
func (s *shell) run(args ...string) (string, error) {
	out, err := s.command(args...).CombinedOutput()
	return string(out), err
}

func (s *shell) mustRun(args ...string) string {
	s.t.Helper()
	out, err := s.run(args...)
	if err != nil {
		s.t.Fatalf("cartwheel %s: %v\n%s", strings.Join(args, " "), err, out)
	}
	return out
}

// An operated is a node with a process.
type operated struct {
	name, addr, peer string
	process          *os.Process
}

func freePort(t *testing.T) string {
	t.Helper()
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	defer l.Close()
	return l.Addr().String()
}

// serve starts a node and waits until it answers.
func (s *shell) serve(name string, args ...string) *operated {
	s.t.Helper()
	n := &operated{name: name, addr: freePort(s.t), peer: freePort(s.t)}
	cmd := s.command(append(s.flags(n), args...)...)
	log, err := os.Create(filepath.Join(s.dir, name+".log"))
	if err != nil {
		s.t.Fatal(err)
	}
	defer log.Close()
	cmd.Stdout, cmd.Stderr = log, log
	if err := cmd.Start(); err != nil {
		s.t.Fatal(err)
	}
	n.process = cmd.Process
	s.t.Cleanup(func() {
		_ = cmd.Process.Kill()
		_ = cmd.Wait()
		if s.t.Failed() {
			text, _ := os.ReadFile(log.Name())
			s.t.Logf("node %s said:\n%s", name, text[max(0, len(text)-4000):])
		}
	})
	s.until("node "+name+" answers", func() bool {
		return (&pingCommand{Addr: n.addr, Timeout: time.Second}).Run() == nil
	})
	return n
}

func (s *shell) flags(n *operated) []string {
	return []string{
		"serve", "--listen", n.addr, "--peer-listen", n.peer, "--data", filepath.Join(s.dir, n.name),
		"--memory", "16MB", "--partitions", "64",
	}
}

func (s *shell) until(what string, holds func() bool) {
	s.t.Helper()
	for end := time.Now().Add(operatorPatience); !holds(); time.Sleep(20 * time.Millisecond) {
		if time.Now().After(end) {
			s.t.Fatalf("waited in vain: %s", what)
		}
	}
}

// status is `cluster status --json`.
func (s *shell) status(n *operated) *ringView {
	v := &ringView{}
	s.t.Helper()
	if err := json.Unmarshal([]byte(s.mustRun("cluster", "status", "--json", "--addr", n.addr)), v); err != nil {
		s.t.Fatal(err)
	}
	return v
}

// members waits until the ring has so many members, all up, and nothing moves.
func (s *shell) members(at *operated, count int) {
	s.t.Helper()
	s.until(fmt.Sprint("the ring is at rest with members: ", count), func() bool {
		v := s.status(at)
		active := 0
		for _, m := range v.Members {
			if m.State == "active" {
				active++
			}
		}
		return active == count && len(v.Members) == count && v.up() == count && v.Moves == 0
	})
}

// A session is a client of one node that writes, reads and counts without pause.
type session struct {
	client   *redis.Client
	name     string
	rounds   int
	counting *atomic.Bool
	counted  int
	counts   chan struct{} // closed when it counts no more
	err      error
}

func (s *session) run(stop <-chan struct{}) {
	ended := sync.OnceFunc(func() { close(s.counts) })
	defer ended()
	for {
		select {
		case <-stop:
			return
		default:
		}
		key, value := fmt.Sprintf("%s:%d", s.name, s.rounds%200), fmt.Sprint(s.rounds)
		ctx, cancel := context.WithTimeout(context.Background(), operatorPatience)
		got := ""
		err := s.client.Set(ctx, key, value, 0).Err()
		if err == nil {
			got, err = s.client.Get(ctx, key).Result()
		}
		switch {
		case !s.counting.Load():
			ended()
		case err == nil:
			s.counted++
			err = s.client.Incr(ctx, s.name).Err()
		}
		cancel()
		if err == nil && got != value {
			err = fmt.Errorf("%q after %q was written", got, value)
		}
		if err != nil {
			s.err = fmt.Errorf("%s, round %d: %w", s.name, s.rounds, err)
			return
		}
		s.rounds++
	}
}

// An operator adds a node to three, takes one away and replaces one that has died,
// by the command line, while clients of the others work.
func TestAnOperatorChangesAClusterUnderLoad(t *testing.T) {
	if testing.Short() {
		t.Skip("it takes half a minute")
	}
	s := &shell{t: t, dir: t.TempDir()}
	a := s.serve("a")
	b := s.serve("b", "--join", a.peer)
	c := s.serve("c", "--join", a.peer)
	s.members(a, 3)
	var sessions []*session
	stop, working := make(chan struct{}), sync.WaitGroup{}
	var counting atomic.Bool
	counting.Store(true)
	for i, n := range []*operated{a, b} {
		one := &session{client: redis.NewClient(&redis.Options{Addr: n.addr, MaxRetries: -1}), name: fmt.Sprint("session", i), counting: &counting, counts: make(chan struct{})}
		defer one.client.Close()
		sessions = append(sessions, one)
		working.Go(func() { one.run(stop) })
	}

	d := s.serve("d", "--join", a.peer+","+b.peer)
	s.members(a, 4)

	plan := s.mustRun("cluster", "plan", "leave", c.addr, "--addr", a.addr)
	if stale, err := s.run("cluster", "apply", "leave", c.addr, "--epoch", "1", "--addr", a.addr); err == nil || !strings.Contains(stale, "the ring has changed since epoch 1") {
		t.Errorf("a plan of long ago is applied: %v\n%s", err, stale)
	}
	_, command, found := strings.Cut(plan, "\n  cartwheel ")
	if !found {
		t.Fatalf("the plan does not say how to apply it:\n%s", plan)
	}
	if out := s.mustRun(strings.Fields(command)...); !strings.Contains(out, "This is agreed and under way") {
		t.Errorf("apply says:\n%s", out)
	}
	s.members(a, 3)
	s.until("who has left knows it", func() bool { return s.status(c).Left })
	if out := s.mustRun("cluster", "status", "--addr", c.addr); !strings.Contains(out, "This node has left the ring") {
		t.Errorf("its status is:\n%s", out)
	}
	s.end(c)
	if out, err := s.run(s.flags(c)...); err == nil || !strings.Contains(out, "this node has left its ring") {
		t.Errorf("it starts again: %v\n%s", err, out)
	}

	dead := ""
	for _, m := range s.status(a).Members {
		if m.Client == d.addr {
			dead = m.ID
		}
	}
	if out, err := s.run("cluster", "apply", "remove", dead, "--addr", b.addr); err == nil || !strings.Contains(out, "is up: let it leave, or stop it first") {
		t.Errorf("a live node is removed: %v\n%s", err, out)
	}
	// Of what a node that is killed was about to count, nobody can know whether it did.
	counting.Store(false)
	for _, one := range sessions {
		<-one.counts
	}
	if err := d.process.Kill(); err != nil {
		t.Fatal(err)
	}
	s.until("it is known to be down", func() bool { return s.status(a).up() == 2 && s.status(b).up() == 2 })
	if plan := s.mustRun("cluster", "plan", "replace", dead[:8], "--addr", b.addr); !strings.Contains(plan, "--replace "+dead) {
		t.Errorf("how to replace a dead node:\n%s", plan)
	}
	e := s.serve("e", "--join", b.peer, "--replace", dead[:8])
	s.members(b, 3)
	close(stop)
	working.Wait()
	other := redis.NewClient(&redis.Options{Addr: e.addr, MaxRetries: -1})
	defer other.Close()
	for _, one := range sessions {
		t.Logf("%s: %d rounds", one.name, one.rounds)
		if one.err != nil || one.rounds < 200 {
			t.Errorf("%s: %d rounds, %v", one.name, one.rounds, one.err)
			continue
		}
		if n, err := other.Get(t.Context(), one.name).Int(); err != nil || n != one.counted {
			t.Errorf("the new node has counted %d of %s, %v; there were %d", n, one.name, err, one.counted)
		}
		for i := one.rounds - 200; i < one.rounds; i++ {
			key := fmt.Sprintf("%s:%d", one.name, i%200)
			if got, err := other.Get(t.Context(), key).Result(); err != nil || got != fmt.Sprint(i) {
				t.Errorf("%s is %q at the new node, %v; it was %d", key, got, err, i)
			}
		}
	}
}

// end stops a node by a signal, and waits until its data is closed.
func (s *shell) end(n *operated) {
	s.t.Helper()
	if err := n.process.Signal(os.Interrupt); err != nil && !errors.Is(err, os.ErrProcessDone) {
		s.t.Fatal(err)
	}
	s.until("it has stopped", func() bool {
		log, err := os.ReadFile(filepath.Join(s.dir, n.name+".log"))
		return err == nil && bytes.Contains(log, []byte("stopped, all data is on the disk"))
	})
}
