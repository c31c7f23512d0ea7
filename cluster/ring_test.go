package cluster

import (
	"context"
	"fmt"
	"testing"
	"time"

	"github.com/cockroachdb/pebble/v2/vfs"
	"github.com/rs/zerolog"

	"cartwheel/cluster/quorum"
	"cartwheel/store"
	"cartwheel/store/version"
)

const patience = 20 * time.Second

// startNodes starts a cluster of nodes on loopback that ends with the test.
func startNodes(t *testing.T, n int) []*Coordinator {
	t.Helper()
	var nodes []*Coordinator
	for i := range n {
		o := Options{
			Store: store.Options{
				Dir: "data", FS: vfs.NewMem(), MemoryBytes: 16 << 20, Partitions: 16, SweepInterval: -1,
				Log: zerolog.New(zerolog.NewTestWriter(t)).With().Int("at", i).Logger(),
			},
			PeerListen: "127.0.0.1:0",
		}
		if i > 0 {
			o.Join = []string{nodes[0].opts.Self.Peer}
		}
		ctx, cancel := context.WithTimeout(t.Context(), patience)
		c, err := Start(ctx, o)
		cancel()
		if err != nil {
			t.Fatalf("start node %d: %v", i, err)
		}
		nodes = append(nodes, c)
		t.Cleanup(func() {
			if err := c.Close(); err != nil {
				t.Errorf("close node %d: %v", i, err)
			}
		})
	}
	until(t, "all nodes know each other and nothing moves", func() bool {
		for _, c := range nodes {
			top := c.Topology()
			if len(top.Nodes) != n || top.Moving > 0 {
				return false
			}
			for _, node := range top.Nodes {
				if !node.Up {
					return false
				}
			}
		}
		return true
	})
	return nodes
}

func until(t *testing.T, what string, holds func() bool) {
	t.Helper()
	for end := time.Now().Add(patience); !holds(); time.Sleep(2 * time.Millisecond) {
		if time.Now().After(end) {
			t.Fatalf("waited in vain: %s", what)
		}
	}
}

func TestWhatOneNodeAcknowledgesAllNodesRead(t *testing.T) {
	nodes := startNodes(t, 3)
	for i := range 100 {
		key := fmt.Sprint("key", i)
		mustSet(t, nodes[i%3], 0, key, fmt.Sprint("v", i))
		for _, c := range nodes {
			wantValue(t, c, 0, key, fmt.Sprint("v", i))
		}
	}
	_ = quorum.Need{}
	_ = version.Object{}
}
