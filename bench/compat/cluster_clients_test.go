package compat

import (
	"bufio"
	"context"
	"encoding/csv"
	"errors"
	"fmt"
	"net"
	"os/exec"
	"path/filepath"
	"strconv"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/redis/go-redis/v9"

	"cartwheel/bench/local"
)

// clusterTimeout bounds the start of a cluster, and how long clients may take to find their way around a
// node that has died or come back.
const clusterTimeout = 60 * time.Second

// startCluster starts three nodes, which end with the test.
func startCluster(t *testing.T) *local.Cluster {
	t.Helper()
	if subjectIsRedis() {
		t.Skip("Redis is no ring")
	}
	ctx, cancel := context.WithTimeout(t.Context(), clusterTimeout)
	defer cancel()
	c, err := local.Start(ctx, local.Options{})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		if t.Failed() {
			for _, n := range c.Nodes() {
				t.Logf("log of node %d on %s:\n%s", n.Index, n.Addr, lastLines(n.Log(), 30))
			}
		}
		if err := c.Close(); err != nil {
			t.Error(err)
		}
	})
	return c
}

// kill kills a node as kill -9 does, and does not wait for the others to notice.
func kill(t *testing.T, n *local.Node) {
	t.Helper()
	if err := n.Kill9(); err != nil {
		t.Fatal(err)
	}
}

// bringBack restarts a node and waits until all nodes see all of them.
func bringBack(t *testing.T, c *local.Cluster, n *local.Node) {
	t.Helper()
	ctx, cancel := context.WithTimeout(t.Context(), clusterTimeout)
	defer cancel()
	if err := errors.Join(n.Restart(ctx), c.WaitReady(ctx)); err != nil {
		t.Fatal(err)
	}
}

func ports(t *testing.T, addrs []string) (ports []string) {
	t.Helper()
	for _, addr := range addrs {
		_, port, err := net.SplitHostPort(addr)
		if err != nil {
			t.Fatal(err)
		}
		ports = append(ports, port)
	}
	return ports
}

// rounds is a client of the cluster that is told to go round, as testdata/clients/node/rounds.js says.
type rounds struct {
	t     *testing.T
	tells *bufio.Reader
	told  func(name string) error
}

func startRounds(t *testing.T, command string, args ...string) *rounds {
	t.Helper()
	client := exec.Command(command, args...)
	var said strings.Builder
	client.Stderr = &said
	in, errIn := client.StdinPipe()
	out, errOut := client.StdoutPipe()
	if err := errors.Join(errIn, errOut); err != nil {
		t.Fatal(err)
	}
	if err := client.Start(); err != nil {
		t.Fatal(err)
	}
	// It ends by itself when its input does, and that must be well.
	t.Cleanup(func() {
		patience := time.AfterFunc(clusterTimeout, func() { _ = client.Process.Kill() })
		defer patience.Stop()
		if err := errors.Join(in.Close(), client.Wait()); err != nil || t.Failed() {
			t.Errorf("the client: %v\n%s", err, lastLines(said.String(), 20))
		}
	})
	r := &rounds{t: t, tells: bufio.NewReader(out)}
	r.told = func(name string) error {
		_, err := fmt.Fprintln(in, name)
		return err
	}
	r.hears("ready")
	return r
}

func (r *rounds) hears(want string) {
	r.t.Helper()
	line, err := r.tells.ReadString('\n')
	if err != nil || strings.TrimSpace(line) != want {
		r.t.Fatalf("the client tells %q, %v; want %q", line, err, want)
	}
}

func (r *rounds) goes(name string) {
	r.t.Helper()
	if err := r.told(name); err != nil {
		r.t.Fatal(err)
	}
	r.hears("done " + name)
}

// TestClusterClientsOfOtherLanguages has each go on through the death of a node and its return.
func TestClusterClientsOfOtherLanguages(t *testing.T) {
	clients := []struct {
		name    string
		command func(t *testing.T) []string
		deaths  []int
	}{
		{"ioredis", func(t *testing.T) []string { return []string{"node", filepath.Join(nodeApps(t), "ioredis-cluster.js")} }, []int{1, 0}},
		{"node-redis", func(t *testing.T) []string {
			return []string{"node", filepath.Join(nodeApps(t), "node-redis-cluster.js")}
		}, []int{1, 0}},
		// Before 4.4 redis-py survives one death: then it cannot copy its own options (its pull request 2377).
		{"redis-py", func(t *testing.T) []string {
			need(t, "python3-redis")
			return []string{python(), clientsDir + "/python/cluster.py"}
		}, []int{1}},
	}
	for _, client := range clients {
		t.Run(client.name, func(t *testing.T) {
			command := client.command(t)
			c := startCluster(t)
			r := startRounds(t, command[0], append(command[1:], ports(t, c.ClusterAddrs())...)...)
			r.goes("whole")
			for _, n := range client.deaths {
				name := fmt.Sprintf("node%d", n)
				kill(t, c.Node(n))
				r.goes(name + "-dead")
				r.goes(name + "-dead-still")
				bringBack(t, c, c.Node(n))
				r.goes(name + "-back")
			}
		})
	}
}

// TestGoRedisClusterClient writes and reads without a pause while a node dies and comes back. Every
// write that was acknowledged is there in the end.
func TestGoRedisClusterClient(t *testing.T) {
	c := startCluster(t)
	client := redis.NewClusterClient(&redis.ClusterOptions{Addrs: c.ClusterAddrs()})
	defer client.Close()
	ctx, stop := context.WithCancel(t.Context())
	defer stop()

	var mu sync.Mutex
	acknowledged, failed := map[string]string{}, 0
	var workers sync.WaitGroup
	for w := range 4 {
		workers.Go(func() {
			for i := 0; ctx.Err() == nil; i++ {
				key, value := fmt.Sprintf("worker:%d:%d", w, i%500), strconv.Itoa(i)
				err := client.Set(ctx, key, value, 0).Err()
				mu.Lock()
				if err == nil {
					acknowledged[key] = value
				} else if ctx.Err() == nil {
					failed++
					delete(acknowledged, key) // the outcome is not known
				}
				mu.Unlock()
			}
		})
	}
	// Every part of the ring can be written and read without an error.
	works := func(when string) {
		t.Helper()
		eventually(t, clusterTimeout, "all slots "+when, func() error {
			for i := range 300 {
				key := fmt.Sprintf("%s:%d", when, i)
				if err := client.Set(t.Context(), key, i, 0).Err(); err != nil {
					return err
				}
				if got, err := client.Get(t.Context(), key).Int(); err != nil || got != i {
					return fmt.Errorf("%s is %d, %w", key, got, err)
				}
			}
			return nil
		})
	}
	works("at first")
	kill(t, c.Node(1))
	works("with node 1 dead")
	bringBack(t, c, c.Node(1))
	works("with node 1 back")
	stop()
	workers.Wait()
	t.Logf("%d keys written, %d errors while a node was dead", len(acknowledged), failed)

	for key, value := range acknowledged {
		if got, err := client.Get(t.Context(), key).Result(); err != nil || got != value {
			t.Errorf("%s was set to %s, and is %q, %v", key, value, got, err)
		}
	}
	size, err := client.DBSize(t.Context()).Result()
	if err != nil || size < int64(len(acknowledged)+3*300) {
		t.Errorf("the nodes' DBSIZE add up to %d, %v, with %d keys and more", size, err, len(acknowledged)+3*300)
	}
}

func TestRedisCLIOnACluster(t *testing.T) {
	need(t, "redis-cli")
	c := startCluster(t)
	run := func(n int, args ...string) string {
		t.Helper()
		port := ports(t, c.ClusterAddrs())[n]
		out, err := exec.CommandContext(t.Context(), "redis-cli", append([]string{"-c", "-p", port}, args...)...).CombinedOutput()
		if err != nil {
			t.Fatalf("redis-cli %q: %v\n%s", args, err, out)
		}
		return string(out)
	}
	for i := range 30 {
		if got := run(i%3, "SET", fmt.Sprint("key", i), fmt.Sprint(i)); got != "OK\n" {
			t.Fatal(got)
		}
		if got := run((i+1)%3, "GET", fmt.Sprint("key", i)); got != fmt.Sprint(i, "\n") {
			t.Fatalf("key%d is %q on another node", i, got)
		}
	}
	if got := run(0, "MSET", "a", "1", "b", "2", "c", "3"); got != "OK\n" {
		t.Error(got)
	}
	if got := run(1, "MGET", "a", "b", "c"); got != "1\n2\n3\n" {
		t.Error(got)
	}
	check := func(masters int) {
		t.Helper()
		eventually(t, clusterTimeout, "redis-cli --cluster check", func() error {
			out, err := exec.CommandContext(t.Context(), "redis-cli", "--cluster", "check", c.Node(0).ClusterAddr).CombinedOutput()
			text := string(out)
			for _, want := range []string{
				"All nodes agree about slots configuration", "All 16384 slots covered", fmt.Sprintf("33 keys in %d masters", masters),
			} {
				if !strings.Contains(text, want) {
					return fmt.Errorf("it does not say %q: %w\n%s", want, err, text)
				}
			}
			return nil
		})
	}
	check(3)
	kill(t, c.Node(2))
	eventually(t, clusterTimeout, "the other nodes to take the slots", func() error {
		if text := run(0, "CLUSTER", "NODES"); strings.Count(text, "slave,fail") != 1 || strings.Count(text, "master") != 2 {
			return errors.New(text)
		}
		return nil
	})
	for i := range 30 {
		if got := run(i%2, "GET", fmt.Sprint("key", i)); got != fmt.Sprint(i, "\n") {
			t.Fatalf("key%d is %q with a node dead", i, got)
		}
	}
	bringBack(t, c, c.Node(2))
	check(3)
}

func TestRedisBenchmarkOnACluster(t *testing.T) {
	need(t, "redis-benchmark")
	c := startCluster(t)
	bench := func(n int) {
		t.Helper()
		args := []string{"--cluster", "-p", ports(t, c.ClusterAddrs())[n], "-t", "set,get,incr,mset", "-n", "5000", "-c", "12", "-P", "4", "-r", "1000", "--csv"}
		out, err := exec.CommandContext(t.Context(), "redis-benchmark", args...).CombinedOutput()
		text := string(out)
		if err != nil || strings.Contains(text, "rror") || strings.Contains(text, "WARN") {
			t.Fatalf("%v\n%s", err, text)
		}
		table := text[max(0, strings.Index(text, `"test"`)):]
		if rows, err := csv.NewReader(strings.NewReader(table)).ReadAll(); err != nil || len(rows) != 1+4 {
			t.Errorf("%d rows, %v:\n%s", len(rows), err, text)
		}
	}
	bench(0)
	kill(t, c.Node(0))
	eventually(t, clusterTimeout, "two masters", func() error {
		client := redis.NewClient(&redis.Options{Addr: c.Node(1).ClusterAddr})
		defer client.Close()
		text, err := client.ClusterNodes(t.Context()).Result()
		if err != nil || strings.Count(text, "master") != 2 {
			return fmt.Errorf("%w in %s", err, text)
		}
		return nil
	})
	bench(1)
	bringBack(t, c, c.Node(0))
	bench(0)
}

// TestSingleNodeClientsOnThreeNodes runs what the other tests run against one node, each against another
// node of a ring.
func TestSingleNodeClientsOnThreeNodes(t *testing.T) {
	c := startCluster(t)
	port := ports(t, c.Addrs())
	t.Run("go-redis", func(t *testing.T) {
		client := redis.NewClient(&redis.Options{Addr: c.Node(0).Addr})
		defer client.Close()
		useGoRedis(t, t.Context(), client)
	})
	script := func(name string, command ...string) {
		t.Run(name, func(t *testing.T) {
			if name == "redis-py" {
				need(t, "python3-redis")
			} else {
				command = []string{"node", filepath.Join(nodeApps(t), name), command[0]}
			}
			out, err := exec.CommandContext(t.Context(), command[0], command[1:]...).CombinedOutput()
			if err != nil {
				t.Fatalf("%v\n%s", err, out)
			}
		})
	}
	script("ioredis.js", port[1])
	script("node-redis.js", port[2])
	script("redis-py", python(), clientsDir+"/python/session.py", port[1])
	t.Run("redis-cli", func(t *testing.T) {
		need(t, "redis-cli")
		alone := startSubject(t, settings{})
		cmd := exec.CommandContext(t.Context(), "redis-cli", "-p", port[2])
		if err := flushAll(t.Context(), c.Node(0).Addr); err != nil {
			t.Fatal(err)
		}
		cmd.Stdin = strings.NewReader(cliSession)
		got, err := cmd.CombinedOutput()
		if want := cli(t, alone, cliSession); err != nil || string(got) != want {
			t.Errorf("%v: a piped session prints\n%s\nwith one node it prints\n%s", err, got, want)
		}
	})
	t.Run("redis-benchmark", func(t *testing.T) {
		need(t, "redis-benchmark")
		for n, mode := range [][]string{{"-P", "1"}, {"-P", "16"}, {"-P", "16", "-3"}} {
			args := append([]string{"-p", port[n], "-t", "ping_inline,ping_mbulk,set,get,incr,mset", "-n", "5000", "--csv"}, mode...)
			out, err := exec.CommandContext(t.Context(), "redis-benchmark", args...).CombinedOutput()
			if text := string(out); err != nil || strings.Contains(text, "rror") || strings.Contains(text, "WARN") {
				t.Errorf("%q: %v\n%s", mode, err, text)
			}
		}
	})
}

func flushAll(ctx context.Context, addr string) error {
	client := redis.NewClient(&redis.Options{Addr: addr})
	defer client.Close()
	return client.FlushAll(ctx).Err()
}

// TestExpressSessionsSurviveTheirNode is a running web application that knows three addresses, and whose
// nodes die one after the other.
func TestExpressSessionsSurviveTheirNode(t *testing.T) {
	dir := nodeApps(t)
	c := startCluster(t)
	app := startApp(t, filepath.Join(dir, "app.js"), ports(t, c.ClusterAddrs())...)
	ada, bob := newVisitor(t, app), newVisitor(t, app)
	ada.sees("hello ada", "POST", "/login?name=ada")
	bob.sees("hello bob", "POST", "/login?name=bob")
	ada.sees("ada, visit 1", "GET", "/me")
	visits := 1
	for _, n := range c.Nodes() {
		kill(t, n)
		for range 3 {
			visits++
			ada.sees(fmt.Sprintf("ada, visit %d", visits), "GET", "/me")
			bob.sees(fmt.Sprintf("bob, visit %d", visits-1), "GET", "/me")
		}
		bringBack(t, c, n)
	}
	ada.sees("goodbye", "POST", "/logout")
	ada.sees("nobody", "GET", "/me")
	bob.sees(fmt.Sprintf("bob, visit %d", visits), "GET", "/me")
}
