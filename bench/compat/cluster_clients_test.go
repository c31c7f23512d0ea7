package compat

import (
	"bufio"
	"context"
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
	}{
		{"ioredis", func(t *testing.T) []string { return []string{"node", filepath.Join(nodeApps(t), "ioredis-cluster.js")} }},
		{"node-redis", func(t *testing.T) []string {
			return []string{"node", filepath.Join(nodeApps(t), "node-redis-cluster.js")}
		}},
		{"redis-py", func(t *testing.T) []string {
			need(t, "python3-redis")
			return []string{python(), clientsDir + "/python/cluster.py"}
		}},
	}
	for _, client := range clients {
		t.Run(client.name, func(t *testing.T) {
			command := client.command(t)
			c := startCluster(t)
			r := startRounds(t, command[0], append(command[1:], ports(t, c.ClusterAddrs())...)...)
			r.goes("whole")
			for _, n := range []int{1, 0} {
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
	// It asks for the topology again only after an interval, by default a minute, and fails meanwhile.
	client := redis.NewClusterClient(&redis.ClusterOptions{Addrs: c.ClusterAddrs(), ClusterStateReloadInterval: time.Second})
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
	eventually(t, clusterTimeout, "the nodes' DBSIZE to add up", func() error {
		size, err := client.DBSize(t.Context()).Result()
		if keys := int64(len(acknowledged) + 3*300); err != nil || size < keys {
			return fmt.Errorf("they add up to %d of %d keys: %w", size, keys, err)
		}
		return nil
	})
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
