package compat

import (
	"fmt"
	"regexp"
	"strconv"
	"strings"
	"testing"

	"cartwheel/bench/local"
	"cartwheel/bench/proc"
)

// TestClusterPortAnswersAsARedisCluster compares a ring of one with a Redis Cluster of one.
func TestClusterPortAnswersAsARedisCluster(t *testing.T) {
	if subjectIsRedis() {
		t.Skip("Redis is no ring")
	}
	need(t, "redis-server")
	bus, err := proc.FreePort() // by default 10000 above the other, where somebody may listen
	if err != nil {
		t.Fatal(err)
	}
	reference, err := proc.StartRedis(t.Context(), proc.Options{Args: []string{
		"--cluster-enabled", "yes", "--cluster-announce-ip", "127.0.0.1", "--cluster-port", strconv.Itoa(bus),
	}})
	redis := owned(t, reference, err)
	ring, err := local.Start(t.Context(), local.Options{Nodes: 1})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = ring.Close() })
	connect(t, redis.Addr).want(t, "+OK\r\n", "CLUSTER", "ADDSLOTSRANGE", "0", "16383")
	eventually(t, replyTimeout, "the Redis Cluster to be up", func() error {
		info, err := connect(t, redis.Addr).do("CLUSTER", "INFO")
		if err != nil || !strings.Contains(info.text, "cluster_state:ok") {
			return fmt.Errorf("%w: %s", err, info)
		}
		return nil
	})

	for _, protocol := range []string{"2", "3"} {
		a, b := connect(t, redis.Addr), connect(t, ring.Node(0).ClusterAddr)
		for _, c := range []*conn{a, b} {
			if _, err := c.do("HELLO", protocol); err != nil {
				t.Fatal(err)
			}
		}
		for _, line := range []string{
			"SET {t}a 1", "SET {t}b 2", "CLUSTER KEYSLOT {t}", "CLUSTER COUNTKEYSINSLOT 15891", "CLUSTER COUNTKEYSINSLOT 16384", "CLUSTER COUNTKEYSINSLOT -1",
			"CLUSTER COUNTKEYSINSLOT x", "CLUSTER GETKEYSINSLOT 15891 0", "CLUSTER GETKEYSINSLOT 16384 1", "CLUSTER GETKEYSINSLOT 1 -1", "CLUSTER GETKEYSINSLOT 1 x",
			"CLUSTER GETKEYSINSLOT 1", "CLUSTER REPLICAS nobody", "CLUSTER SLAVES nobody", "CLUSTER COUNT-FAILURE-REPORTS nobody", "CLUSTER LINKS",
			"CLUSTER", "CLUSTER FOO", "CLUSTER KEYSLOT", "CLUSTER NODES x", "READONLY", "READWRITE", "ASKING", "READONLY x", "SELECT 0", "SELECT 1", "SELECT 16",
			"SELECT -1", "SELECT x", "MOVE k 1", "COPY {t}a {t}c DB 1", "COPY {t}a {t}c DB 0", "DEL {t}c", "DBSIZE", "DEL {t}a {t}b", "DBSIZE", "RANDOMKEY", "CLUSTER SLOTS", "CLUSTER SHARDS", "CLUSTER MYID", "CLUSTER NODES",
		} {
			args := strings.Fields(line)
			want, errA := a.do(args...)
			got, errB := b.do(args...)
			if errA != nil || errB != nil {
				t.Fatalf("%s: %v, %v", line, errA, errB)
			}
			if shape(got, ring.Node(0).ClusterAddr) != shape(want, redis.Addr) {
				t.Errorf("RESP%s: %s\n got: %s\nwant: %s", protocol, line, shape(got, ring.Node(0).ClusterAddr), shape(want, redis.Addr))
			}
		}
	}
}

var (
	nodeIDs   = regexp.MustCompile(`\b[0-9a-f]{40}\b`)
	headers   = regexp.MustCompile(`[$=]\d+\r\n`)
	busAndAge = regexp.MustCompile(`@\d+ (\S+) (\S+) \d+ \d+ \d+ `)
)

// shape is a reply without what differs between any two nodes: their names, addresses and ages.
func shape(r reply, addr string) string {
	_, port, _ := strings.Cut(addr, ":")
	text := strings.ReplaceAll(string(r.raw), port, "PORT")
	text = nodeIDs.ReplaceAllString(text, "ID")
	text = busAndAge.ReplaceAllString(text, "@BUS $1 $2 0 0 0 ")
	return headers.ReplaceAllString(text, "")
}
