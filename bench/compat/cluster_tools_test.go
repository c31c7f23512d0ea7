package compat

import (
	"context"
	"encoding/csv"
	"errors"
	"fmt"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"

	"github.com/redis/go-redis/v9"
)

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
