package server_test

import (
	"encoding/json"
	"fmt"
	"strconv"
	"strings"
	"sync"
	"sync/atomic"
	"testing"

	"cartwheel/cluster/quorum"
	"cartwheel/cluster/ring"
	"cartwheel/server"
	"cartwheel/store"
)

func TestRingOfOneNodeSaysWhatIsPossible(t *testing.T) {
	c := start(t, server.Options{}).dial()
	id := field(t, c, "node_id")
	for _, line := range [][2]string{
		{"RING", "-ERR wrong number of arguments for 'ring' command"},
		{"RING DANCE", "-ERR unknown subcommand"},
		{"RING STATUS now", "-ERR unknown subcommand"},
		{"RING PLAN", "-ERR a change is one of: leave NODE, remove NODE, replace DEAD, weight NODE W, zone NODE Z"},
		{"RING PLAN LEAVE " + id, "-ERR the last member cannot go"},
		{"RING APPLY REMOVE " + id[:10], "-ERR the last member cannot go"},
		{"RING APPLY REPLACE " + id, "-ERR the new node does that when it starts: cartwheel serve --join HOST:PORT --replace " + id},
		{"RING PLAN LEAVE nobody", "-ERR \"nobody\": not a member of the ring"},
		{"RING APPLY WEIGHT " + id + " 0", "-ERR weight \"0\" is not between 1 and 1000"},
		{"RING APPLY WEIGHT " + id + " 2 x", "-ERR syntax error"},
		{"RING APPLY LEAVE " + id + " EPOCH", "-ERR syntax error"},
		{"RING APPLY WEIGHT " + id + " 2 EPOCH x", "-ERR an epoch is a number from 1 on"},
		{"RING APPLY WEIGHT " + id + " 2 EPOCH 77", "-ERR the ring has changed since epoch 77, it is at 1 now"},
		{"RING APPLY WEIGHT " + id + " 2 EPOCH 1 FORCE", "$"},
		{"RING STATUS", "$"},
	} {
		if reply := c.do(strings.Fields(line[0])...); !strings.HasPrefix(reply, line[1]) {
			t.Errorf("%s: %q, want %q", line[0], reply, line[1])
		}
	}
	if epoch := field(t, c, "ring_epoch"); epoch != "2" {
		t.Errorf("a change of weight has led to epoch %s", epoch)
	}
	plan := ask[ring.Plan](t, c, "RING", "APPLY", "ZONE", id, "")
	if !plan.Unchanged {
		t.Errorf("the zone that it has: %+v", plan)
	}
	plan = ask[ring.Plan](t, c, "RING", "PLAN", "ZONE", id, "a rack")
	if plan.Unchanged || len(plan.Transfers) > 0 || len(plan.Shares) != 1 || plan.Epoch != 2 {
		t.Errorf("%+v", plan)
	}
}

// field returns a field of INFO.
func field(t *testing.T, c *client, name string) string {
	t.Helper()
	for line := range strings.Lines(c.do("INFO", "everything")) {
		if found, value, _ := strings.Cut(strings.TrimSpace(line), ":"); found == name {
			return value
		}
	}
	t.Fatalf("INFO has no %s", name)
	return ""
}

// ask returns a reply in JSON.
func ask[T any](t *testing.T, c *client, args ...string) (value T) {
	t.Helper()
	reply := c.do(args...)
	_, text, _ := strings.Cut(reply, "\r\n")
	if err := json.Unmarshal([]byte(text), &value); err != nil {
		t.Fatalf("%q: %q: %v", args, reply, err)
	}
	return value
}

// A node leaves while clients of all nodes write, read and count. Those of the
// others see nothing of it, and its own are told when it has gone, not before.
func TestClientsSeeNoErrorsWhileANodeLeaves(t *testing.T) {
	nodes := startNodes(t, 4, 3)
	stop := make(chan struct{})
	var clients sync.WaitGroup
	counts := make([]int, len(nodes))
	conns := make([]*client, len(nodes))
	for i := range nodes {
		conns[i] = nodes[i].dial()
	}
	for i, c := range conns {
		clients.Go(func() {
			for n := 0; ; n++ {
				select {
				case <-stop:
					return
				default:
				}
				key := fmt.Sprintf("client%d.key%d", i, n%50)
				for _, command := range [][]string{{"SET", key, strconv.Itoa(n)}, {"INCR", fmt.Sprint("count", i)}, {"GET", key}} {
					c.send(command...)
				}
				for _, want := range []string{"+OK", fmt.Sprintf(":%d", n+1), fmt.Sprintf("$%d\r\n%d", len(strconv.Itoa(n)), n)} {
					reply := c.reply()
					if i == 3 && strings.HasPrefix(reply, "-NOREPLICAS This node has left the ring") {
						return
					}
					if strings.TrimSpace(reply) != want {
						t.Errorf("client of node %d, round %d: %q, want %q", i, n, reply, want)
						return
					}
				}
				counts[i] = n + 1
			}
		})
	}
	operator := nodes[0].dial()
	leaver := field(t, nodes[3].dial(), "node_id")
	plan := ask[ring.Plan](t, operator, "RING", "APPLY", "LEAVE", leaver)
	if len(plan.Transfers) == 0 || len(plan.Obstacles) > 0 {
		t.Errorf("%+v", plan)
	}
	until(t, "it has left", func() bool {
		return len(ask[ring.Progress](t, operator, "RING", "STATUS").Leaving) == 0 && field(t, operator, "ring_members") == "3"
	})
	until(t, "it knows", func() bool { return field(t, nodes[3].dial(), "ring_left") == "1" })
	close(stop)
	clients.Wait()
	for i, n := range counts {
		if n == 0 {
			t.Errorf("client of node %d has done nothing", i)
		}
		if got := operator.do("GET", fmt.Sprint("count", i)); i < 3 && !strings.HasSuffix(got, fmt.Sprintf("\r\n%d\r\n", n)) {
			t.Errorf("client of node %d has counted to %d, and there is %q", i, n, got)
		}
	}
}

// moved is a key space of which other nodes say, so many times, that a command is
// not for them: the ring has changed on its way.
type moved struct {
	server.Keyspace
	times atomic.Int32
}

func (m *moved) Route(key []byte, anyOwner bool) (ring.NodeID, server.Place) {
	if m.times.Load() > 0 {
		return ring.NodeID{1}, quorum.Away
	}
	return m.Keyspace.Route(key, anyOwner)
}

func (m *moved) Forward(_ ring.NodeID, _ *server.Forwarded, done server.ForwardDone) error {
	m.times.Add(-1)
	go done.ForwardDone(nil, quorum.ErrMoved)
	return nil
}

func TestACommandFollowsItsKeyWhereTheRingChangesOnItsWay(t *testing.T) {
	keys := &moved{Keyspace: open(t, store.Options{})}
	c := start(t, server.Options{Keys: keys}).dial()
	for i, times := range []int32{0, 1, 3} {
		keys.times.Store(times)
		if reply := c.do("INCR", "n"); reply != fmt.Sprintf(":%d\r\n", i+1) {
			t.Errorf("moved %d times: %q", times, reply)
		}
		keys.times.Store(times)
		if reply := c.do("MSET", "a", "1", "b", "2"); reply != "+OK\r\n" {
			t.Errorf("moved %d times: %q", times, reply)
		}
	}
	keys.times.Store(1000) // it is not chased for ever
	if reply := c.do("INCR", "n"); !strings.HasPrefix(reply, "-") {
		t.Errorf("moved always: %q", reply)
	}
}
