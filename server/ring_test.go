package server_test

import (
	"context"
	"fmt"
	"math/rand/v2"
	"net"
	"os"
	"strconv"
	"strings"
	"testing"
	"time"

	"github.com/cockroachdb/pebble/v2/vfs"

	"cartwheel/cluster"
	"cartwheel/cluster/quorum"
	"cartwheel/server"
	"cartwheel/store"
	"cartwheel/store/version"
)

// startNodes starts servers over a ring of nodes in which so many hold each key.
func startNodes(t *testing.T, n, replicas int) []*node {
	t.Helper()
	var nodes []*node
	var all []*cluster.Coordinator
	var first string
	for i := range n {
		o := cluster.Options{
			Store:      store.Options{Dir: "data", FS: vfs.NewMem(), Partitions: 64, MemoryBytes: 16 << 20},
			PeerListen: freeAddress(t), Replicas: replicas,
		}
		if i > 0 {
			o.Join = []string{first}
		} else {
			first = o.PeerListen
		}
		ctx, cancel := context.WithTimeout(t.Context(), patience)
		keys, err := cluster.Start(ctx, o)
		cancel()
		if err != nil {
			t.Fatalf("start node %d: %v", i, err)
		}
		t.Cleanup(func() {
			if err := keys.Close(); err != nil {
				t.Errorf("close node %d: %v", i, err)
			}
		})
		one := start(t, server.Options{Keys: keys})
		keys.Serve(one.srv.Executor())
		keys.Poll(one.srv.Pollers())
		nodes, all = append(nodes, one), append(all, keys)
	}
	until(t, "the ring is at rest", func() bool {
		for _, c := range all {
			top := c.Topology()
			if len(top.Nodes) != n || top.Moving > 0 {
				return false
			}
			for _, other := range top.Nodes {
				if !other.Up {
					return false
				}
			}
		}
		return true
	})
	return nodes
}

// Whatever the nodes have to ask each other, one connection's commands take
// effect in their order, and are answered in it: as on a single node.
func TestAPipelineOnARingIsAnsweredAsOnOneNode(t *testing.T) {
	seed := uint64(time.Now().UnixNano())
	if s := os.Getenv("CARTWHEEL_SEED"); s != "" {
		seed, _ = strconv.ParseUint(s, 10, 64)
	}
	t.Logf("CARTWHEEL_SEED=%d", seed)
	r := rand.New(rand.NewPCG(seed, 0))
	ring := startNodes(t, 4, 3)
	one := start(t, server.Options{}).dial()
	clients := make([]*client, len(ring))
	for i, n := range ring {
		clients[i] = n.dial()
	}
	// Each node's first commit makes its log longer, which a file in memory does byte by byte: under the race detector
	// that takes long enough for commands to be run elsewhere.
	for i := range 64 {
		clients[i%len(clients)].expect("+OK\r\n", "SET", fmt.Sprint("first", i), "")
	}
	clients[0].expect("+OK\r\n", "FLUSHALL") // all have committed before, then
	key := func() string { return fmt.Sprint("{", r.IntN(6), "}", r.IntN(2)) }
	value := func() string { return strconv.Itoa(r.IntN(1000)) }
	commands := []func() []string{
		func() []string { return []string{"SET", key(), value()} },
		func() []string { return []string{"SET", key(), value()} },
		func() []string { return []string{"GET", key()} },
		func() []string { return []string{"GET", key()} },
		func() []string { return []string{"SET", key(), value(), "NX"} },
		func() []string { return []string{"SET", key(), value(), "XX", "GET"} },
		func() []string { return []string{"INCR", key()} },
		func() []string { return []string{"INCRBY", key(), "7"} },
		func() []string { return []string{"APPEND", key(), "1"} },
		func() []string { return []string{"GETSET", key(), value()} },
		func() []string { return []string{"GETDEL", key()} },
		func() []string { return []string{"GETEX", key(), "PERSIST"} },
		func() []string { return []string{"SETRANGE", key(), "1", "9"} },
		func() []string { return []string{"STRLEN", key()} },
		func() []string { return []string{"DEL", key(), key()} },
		func() []string { return []string{"EXISTS", key(), key(), key()} },
		func() []string { return []string{"MGET", key(), key(), key()} },
		func() []string { return []string{"MSET", key(), value(), key(), value()} },
		func() []string { k := key(); return []string{"MSETNX", k, value(), k + "x", value()} },
		func() []string { return []string{"RENAME", key(), key()} },
		func() []string { return []string{"RENAMENX", key(), key()} },
		func() []string { return []string{"COPY", key(), key(), "REPLACE"} },
		func() []string { return []string{"COPY", key(), key(), "DB", "3"} },
		func() []string { return []string{"BITOP", "XOR", key(), key(), key()} },
		func() []string { return []string{"SETBIT", key(), "7", "1"} },
		func() []string { return []string{"TYPE", key()} },
		func() []string { return []string{"EXPIRE", key(), "1000"} },
		func() []string { return []string{"PERSIST", key()} },
		func() []string { return []string{"ECHO", value()} },
		func() []string { return []string{"NOSUCH", value()} },
		func() []string { return []string{"GET"} },
		func() []string { return []string{"DBSIZE"} },
		func() []string { return []string{"SELECT", strconv.Itoa(3 * r.IntN(2))} },
		func() []string { return []string{"CLIENT", "REPLY", "SKIP"} },
		func() []string { return []string{"HELLO", strconv.Itoa(2 + r.IntN(2))} },
	}
	for round := range 60 {
		c := clients[r.IntN(len(clients))]
		for _, at := range []*client{one, c} {
			at.do("SELECT", "0")
			at.do("HELLO", "2")
		}
		var pipeline [][]string
		silent := map[int]bool{}
		for range 1 + r.IntN(40) {
			args := commands[r.IntN(len(commands))]()
			if args[0] == "CLIENT" && len(pipeline) > 0 && silent[len(pipeline)] {
				continue
			}
			if args[0] == "CLIENT" {
				silent[len(pipeline)], silent[len(pipeline)+1] = true, true
			}
			pipeline = append(pipeline, args)
		}
		pipeline = append(pipeline, []string{"ECHO", "a SKIP concerns this one"}, []string{"ECHO", "end"})
		for _, args := range pipeline {
			one.send(args...)
		}
		var raw strings.Builder
		for _, args := range pipeline {
			fmt.Fprintf(&raw, "*%d\r\n", len(args))
			for _, arg := range args {
				fmt.Fprintf(&raw, "$%d\r\n%s\r\n", len(arg), arg)
			}
		}
		c.write(raw.String())
		for i, args := range pipeline {
			if silent[i] {
				continue
			}
			want, got := one.reply(), c.reply()
			if args[0] == "HELLO" {
				continue // each has its own id
			}
			if want != got {
				t.Fatalf("round %d, command %d, %q: one node replies %q, the ring %q; the pipeline is\n%q", round, i, args, want, got, pipeline[:i+1])
			}
		}
	}
}

func TestEveryNodeServesEveryKey(t *testing.T) {
	ring := startNodes(t, 4, 2)
	for i := range 50 {
		key := fmt.Sprint("key", i)
		ring[i%4].dial().expect("+OK\r\n", "SET", key, "v")
		for _, n := range ring {
			n.dial().expect("$1\r\nv\r\n", "GET", key)
		}
	}
	c := ring[0].dial()
	c.expect(":50\r\n", "DBSIZE")
	seen := map[string]bool{}
	for cursor, at := "0", 0; ; at++ {
		reply := strings.Split(ring[at%4].dial().do("SCAN", cursor, "COUNT", "7"), "\r\n")
		for i := 5; i < len(reply); i += 2 {
			seen[reply[i]] = true
		}
		if cursor = reply[2]; cursor == "0" {
			break
		}
	}
	if len(seen) != 50 {
		t.Errorf("a SCAN over all nodes finds %d keys of 50", len(seen))
	}
	if n := strings.Count(c.do("KEYS", "*"), "key"); n != 50 {
		t.Errorf("KEYS finds %d keys of 50", n)
	}
	ring[3].dial().expect("+OK\r\n", "FLUSHALL")
	for _, n := range ring {
		n.dial().expect(":0\r\n", "DBSIZE")
		n.dial().expect("$-1\r\n", "GET", "key1")
		n.dial().expect("$-1\r\n", "RANDOMKEY")
	}
}

func TestIncrementsFromAllNodesAddUp(t *testing.T) {
	ring := startNodes(t, 3, 3)
	const each = 200
	ended := make(chan string)
	for _, n := range ring {
		c := n.dial()
		go func() {
			for range each {
				if got := c.do("INCR", "n"); got[0] != ':' {
					ended <- got
					return
				}
			}
			ended <- ""
		}()
	}
	for range ring {
		if failed := <-ended; failed != "" {
			t.Error(failed)
		}
	}
	ring[1].dial().expect(fmt.Sprintf("$3\r\n%d\r\n", each*len(ring)), "GET", "n")
}

// A write that counts as written before a flush would be acknowledged, and gone.
func TestAWriteThatWouldCountAsFlushedIsRefused(t *testing.T) {
	keys := open(t, store.Options{})
	n := start(t, server.Options{Keys: keys})
	c := n.dial()
	c.expect("+OK\r\n", "FLUSHALL")
	mark := keys.FlushMark(0)
	for _, before := range []version.HLC{mark - 1, mark, mark + 1} {
		f := &quorum.Forwarded{Args: [][]byte{[]byte("SET"), []byte("k"), []byte("v")}}
		f.Need.Span.Before = before
		replied := make(chan string, 1)
		n.srv.Executor().Execute(f, func(reply []byte, err error) { replied <- fmt.Sprint(string(reply), err) })
		n.srv.Executor().Settle()
		got, value := <-replied, c.do("GET", "k")
		if before > mark && (got != "+OK\r\n<nil>" || value != "$1\r\nv\r\n") {
			t.Errorf("after the flush: %q, %q", got, value)
		}
		if before <= mark && (!strings.HasPrefix(got, "-NOREPLICAS ") || value != "$-1\r\n") {
			t.Errorf("before the flush: %q, %q", got, value)
		}
	}
}

// What would have to be waited for does not begin on a node that stops: others can run it.
func TestANodeThatStopsBeginsNothingLong(t *testing.T) {
	n := start(t, server.Options{})
	n.stop()
	replied := make(chan string, 1)
	f := &quorum.Forwarded{Args: [][]byte{[]byte("BITOP"), []byte("NOT"), []byte("k"), []byte("k")}}
	n.srv.Executor().Execute(f, func(reply []byte, err error) { replied <- fmt.Sprint(string(reply), err) })
	n.srv.Executor().Settle()
	if got := <-replied; got != "-NOREPLICAS This node is stopping\r\n<nil>" {
		t.Errorf("%q", got)
	}
}

// freeAddress is one on loopback that nobody listens on.
func freeAddress(t *testing.T) string {
	t.Helper()
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	defer l.Close()
	return l.Addr().String()
}
