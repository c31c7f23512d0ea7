package server_test

import (
	"errors"
	"fmt"
	"slices"
	"strconv"
	"strings"
	"sync/atomic"
	"testing"

	"github.com/redis/go-redis/v9"

	"cartwheel/cluster/ring"
	"cartwheel/server"
	"cartwheel/store"
	"cartwheel/store/version"
)

// ringed is a key space that is one node of a ring, all of whose nodes have the
// same store.
type ringed struct {
	server.Keyspace
	topology atomic.Pointer[ring.Topology]
}

func (r *ringed) Topology() *ring.Topology { return r.topology.Load() }

func (r *ringed) NodeID() ring.NodeID {
	top := r.Topology()
	return top.Nodes[top.Self].ID
}

func (r *ringed) owns(slot ring.Slot) bool {
	top := r.Topology()
	for _, run := range top.Ranges {
		if run.First <= slot && slot <= run.Last {
			return run.Owners[0] == top.Self
		}
	}
	return false
}

func (r *ringed) ScanOwned(db uint8, from ring.Token, visit func(t ring.Token, key []byte, o *version.Object) bool) error {
	return r.Scan(db, from, func(t ring.Token, key []byte, o *version.Object) bool {
		return !r.owns(t.Slot()) || visit(t, key, o)
	})
}

func (r *ringed) SizeOwned(db uint8) (keys int64, ready <-chan struct{}) {
	_, _, _, ready = r.Size(db)
	_ = r.ScanOwned(db, 0, func(ring.Token, []byte, *version.Object) bool { keys++; return true })
	return keys, ready
}

// startRing starts servers of a ring of so many nodes over one store: node i is
// the master of the ith part of the slots and a replica of all others.
func startRing(t *testing.T, nodes int) (servers []*node, spaces []*ringed) {
	t.Helper()
	keys := open(t, store.Options{})
	for range nodes {
		space := &ringed{Keyspace: keys}
		n := &node{t: t, srv: server.New(server.Options{Keys: space})}
		listen := errors.Join(n.srv.Listen(t.Context(), "127.0.0.1:0"), n.srv.ListenCluster(t.Context(), "127.0.0.1:0"))
		if listen != nil {
			t.Fatal(listen)
		}
		servers, spaces = append(servers, n), append(spaces, space)
	}
	showRing(servers, spaces, -1)
	for _, n := range servers {
		n.serve()
	}
	return servers, spaces
}

// showRing gives the nodes new topologies, in which one of them may be down.
func showRing(servers []*node, spaces []*ringed, down int) {
	count := len(servers)
	top := ring.Topology{Cluster: "c0ffee", Epoch: 3, Replicas: 3}
	for i, n := range servers {
		top.Nodes = append(top.Nodes, ring.NodeView{
			ID: nodeID(i), Peer: fmt.Sprintf("127.0.0.1:%d", 7201+i), Client: n.srv.Addr().String(), Cluster: n.srv.ClusterAddr().String(),
			Zone: "rack, 1", Weight: 1, State: ring.Active, Up: i != down, Owned: 8, Primary: 8 / count, Hints: int64(i), HintBytes: int64(10 * i),
		})
		run := ring.SlotRange{First: ring.Slot(i * ring.Slots / count), Last: ring.Slot((i+1)*ring.Slots/count - 1)}
		var dead []int
		for j := range count {
			if owner := (i + j) % count; owner == down {
				dead = append(dead, owner)
			} else {
				run.Owners = append(run.Owners, owner)
			}
		}
		run.Owners = append(run.Owners, dead...)
		top.Ranges = append(top.Ranges, run)
	}
	for i, space := range spaces {
		own := top
		own.Self = i
		space.topology.Store(&own)
	}
}

func nodeID(i int) ring.NodeID { return ring.NodeID{0xa0 + byte(i)} }

// dialCluster connects to the cluster port.
func (n *node) dialCluster() *client {
	n.t.Helper()
	return n.dialAt(n.srv.ClusterAddr().String())
}

// plain puts the names of nodes in the place of what differs from run to run.
func plain(servers []*node, reply string) string {
	var names []string
	for i, n := range servers {
		_, port, _ := strings.Cut(n.srv.ClusterAddr().String(), ":")
		names = append(names, nodeID(i).String(), fmt.Sprintf("id%d", i), port, fmt.Sprintf("port%d", i))
	}
	return strings.ReplaceAll(strings.NewReplacer(names...).Replace(reply), "\r\n", " ")
}

func TestClusterSlotsNamesTheFirstLiveOwnerFirst(t *testing.T) {
	servers, spaces := startRing(t, 3)
	entry := func(i int) string {
		return fmt.Sprintf("*4 $9 127.0.0.1 :port%d $40 id%d *0 ", i, i)
	}
	want := "*3 *3 :0 :5460 " + entry(0) + "*3 :5461 :10921 " + entry(1) + "*3 :10922 :16383 " + entry(2)
	for i, n := range servers {
		c := n.dialCluster()
		for range 2 {
			if got := plain(servers, c.do("CLUSTER", "SLOTS")); got != want {
				t.Fatalf("node %d\n got: %s\nwant: %s", i, got, want)
			}
		}
	}
	c := servers[0].dialCluster()
	c.do("HELLO", "3")
	if got := plain(servers, c.do("cluster", "slots")); got != strings.ReplaceAll(want, "*0", "%0") {
		t.Errorf("in RESP3: %s", got)
	}
	showRing(servers, spaces, 1)
	want = "*2 *3 :0 :5460 " + entry(0) + "*3 :5461 :16383 " + entry(2)
	if got := plain(servers, servers[2].dialCluster().do("CLUSTER", "SLOTS")); got != want {
		t.Errorf("with node 1 down\n got: %s\nwant: %s", got, want)
	}
}

func TestClusterNodesHasALineForEachNode(t *testing.T) {
	servers, spaces := startRing(t, 3)
	lines := func(n int) string {
		return plain(servers, servers[n].dialCluster().text("CLUSTER", "NODES"))
	}
	want := `id0 127.0.0.1:port0@7201 myself,master - 0 0 3 connected 0-5460
id1 127.0.0.1:port1@7202 master - 0 0 3 connected 5461-10921
id2 127.0.0.1:port2@7203 master - 0 0 3 connected 10922-16383
`
	if got := lines(0); got != want {
		t.Errorf("got:\n%s\nwant:\n%s", got, want)
	}
	showRing(servers, spaces, 1)
	want = `id0 127.0.0.1:port0@7201 master - 0 0 3 connected 0-5460
id1 127.0.0.1:port1@7202 slave,fail id2 0 0 3 disconnected
id2 127.0.0.1:port2@7203 myself,master - 0 0 3 connected 5461-16383
`
	if got := lines(2); got != want {
		t.Errorf("with node 1 down, got:\n%s\nwant:\n%s", got, want)
	}
	c := servers[2].dialCluster()
	line := strings.Split(replacedBack(servers, want), "\n")[1]
	c.expect(fmt.Sprintf("*1\r\n$%d\r\n%s\r\n", len(line), line), "CLUSTER", "REPLICAS", nodeID(2).String())
	c.expect("*0\r\n", "CLUSTER", "SLAVES", nodeID(0).String())
	c.expect("-ERR The specified node is not a master\r\n", "CLUSTER", "REPLICAS", nodeID(1).String())
	c.expect("-ERR Unknown node x\r\n", "CLUSTER", "REPLICAS", "x")
	c.expect(":1\r\n", "CLUSTER", "COUNT-FAILURE-REPORTS", nodeID(1).String())
	c.expect(":0\r\n", "CLUSTER", "count-failure-reports", nodeID(0).String())
	c.expect("$40\r\n"+nodeID(2).String()+"\r\n", "CLUSTER", "MYSHARDID")
}

// replacedBack undoes plain.
func replacedBack(servers []*node, text string) string {
	for i, n := range servers {
		_, port, _ := strings.Cut(n.srv.ClusterAddr().String(), ":")
		text = strings.NewReplacer(fmt.Sprintf("id%d", i), nodeID(i).String(), fmt.Sprintf("port%d", i), port).Replace(text)
	}
	return text
}

func TestClusterShardsShowsMastersAndReplicas(t *testing.T) {
	servers, spaces := startRing(t, 2)
	showRing(servers, spaces, 1)
	c := servers[0].dialCluster()
	c.do("HELLO", "3")
	node := func(i int, role, health string) string {
		return fmt.Sprintf("%%7 $2 id $40 id%d $4 port :port%d $2 ip $9 127.0.0.1 $8 endpoint $9 127.0.0.1 $4 role $%d %s "+
			"$18 replication-offset :0 $6 health $%d %s ", i, i, len(role), role, len(health), health)
	}
	want := "*1 %2 $5 slots *2 :0 :16383 $5 nodes *2 " + node(0, "master", "online") + node(1, "replica", "failed")
	if got := plain(servers, c.do("CLUSTER", "SHARDS")); got != want {
		t.Errorf(" got: %s\nwant: %s", got, want)
	}
}

func TestClusterPortTalksLikeARedisCluster(t *testing.T) {
	servers, _ := startRing(t, 3)
	c := servers[1].dialCluster()
	id := nodeID(1).String()
	c.talk(`
> CLUSTER MYID
$40
` + id + `
> CLUSTER MYSHARDID
$40
` + id + `
> CLUSTER KEYSLOT foo{hash_tag}
:2515
> CLUSTER LINKS
*0
> READONLY
+OK
> READWRITE
+OK
> ASKING
+OK
> SELECT 0
+OK
> SELECT 1
-ERR SELECT is not allowed in cluster mode
> SELECT 16
-ERR SELECT is not allowed in cluster mode
> SET a 1
+OK
> MOVE a 1
-ERR MOVE is not allowed in cluster mode
> COPY a b DB 2
-ERR Copying to another database is not allowed in cluster mode
> MSET a 1 b 2 c 3
+OK
> MGET a b c
*3
$1
1
$1
2
$1
3
> DEL a b c
:3
> CLUSTER MEET 127.0.0.1 1
-ERR CLUSTER MEET is not supported: members join by ` + "`cartwheel serve --join`, and `cartwheel cluster`" + ` shows and changes the ring
> CLUSTER RESET
-ERR CLUSTER RESET is not supported: members join by ` + "`cartwheel serve --join`, and `cartwheel cluster`" + ` shows and changes the ring
> CLUSTER FOO
-ERR unknown subcommand 'FOO'. Try CLUSTER HELP.
> CLUSTER
-ERR wrong number of arguments for 'cluster' command
> CLUSTER KEYSLOT
-ERR wrong number of arguments for 'cluster|keyslot' command`)
	info := c.text("CLUSTER", "INFO")
	for _, line := range []string{"cluster_state:ok", "cluster_slots_assigned:16384", "cluster_slots_ok:16384", "cluster_known_nodes:3", "cluster_size:3", "cluster_current_epoch:3"} {
		if !strings.Contains(info, line+"\r\n") {
			t.Errorf("CLUSTER INFO has no %s: %q", line, info)
		}
	}
	if help := c.do("CLUSTER", "HELP"); !strings.Contains(help, "+COUNTKEYSINSLOT <slot>\r\n") {
		t.Errorf("CLUSTER HELP: %q", help)
	}
	server := c.text("INFO", "server", "cluster")
	_, port, _ := strings.Cut(servers[1].srv.ClusterAddr().String(), ":")
	for _, line := range []string{"redis_mode:cluster", "cluster_enabled:1", "tcp_port:" + port} {
		if !strings.Contains(server, line+"\r\n") {
			t.Errorf("INFO has no %s: %q", line, server)
		}
	}
	if hello := c.do("HELLO", "3"); !strings.Contains(hello, "$4\r\nmode\r\n$7\r\ncluster\r\n") {
		t.Errorf("HELLO: %q", hello)
	}
	for _, text := range []string{"NODES", "INFO"} {
		if reply := c.do("CLUSTER", text); !strings.HasPrefix(reply, "=") {
			t.Errorf("CLUSTER %s in RESP3: %q", text, reply)
		}
	}
}

func TestOrdinaryPortOfARingIsStandalone(t *testing.T) {
	servers, _ := startRing(t, 3)
	c := servers[0].dial()
	for _, command := range []string{
		"CLUSTER SLOTS", "CLUSTER SHARDS", "CLUSTER NODES", "CLUSTER INFO", "CLUSTER MYID", "CLUSTER HELP", "CLUSTER KEYSLOT k",
		"CLUSTER MEET 127.0.0.1 1", "READONLY", "READWRITE", "ASKING",
	} {
		c.expect("-ERR This instance has cluster support disabled\r\n", strings.Fields(command)...)
	}
	c.talk("> SELECT 3\n+OK\n> SET a 1\n+OK\n> DBSIZE\n:1\n> SELECT 0\n+OK\n> DBSIZE\n:0")
	if hello := c.do("HELLO", "3"); !strings.Contains(hello, "$4\r\nmode\r\n$10\r\nstandalone\r\n") {
		t.Errorf("HELLO: %q", hello)
	}
}

func TestNodesAddUpToTheWholeKeySpace(t *testing.T) {
	servers, _ := startRing(t, 3)
	var all []string
	w := servers[0].dial()
	for i := range 300 {
		all = append(all, fmt.Sprintf("key-%03d", i))
		w.do("SET", all[i], "v")
	}
	var scanned, listed []string
	size := 0
	for _, n := range servers {
		c := n.dialCluster()
		count, _ := strconv.Atoi(strings.Trim(c.do("DBSIZE"), ":\r\n"))
		if count == 0 || count == len(all) {
			t.Errorf("a node of three shows %d keys of %d", count, len(all))
		}
		size += count
		mine := elements(c.do("KEYS", "*"))
		listed = append(listed, mine...)
		cursor, pages := "0", 0
		for ; pages == 0 || cursor != "0"; pages++ {
			reply := elements(c.do("SCAN", cursor, "COUNT", "7"))
			cursor, scanned = reply[0], append(scanned, reply[1:]...)
		}
		if pages < 3 {
			t.Errorf("%d pages of 7 keys for %d keys", pages, count)
		}
		for range 20 {
			if key := c.text("RANDOMKEY"); !slices.Contains(mine, key) {
				t.Errorf("RANDOMKEY shows %s, which is another's", key)
			}
		}
		if got := elements(n.dial().do("KEYS", "*")); len(got) != len(all) {
			t.Errorf("the ordinary port shows %d keys", len(got))
		}
	}
	slices.Sort(scanned)
	slices.Sort(listed)
	if size != len(all) || !slices.Equal(listed, all) || !slices.Equal(scanned, all) {
		t.Errorf("of %d keys DBSIZE shows %d, KEYS %d, SCAN %d", len(all), size, len(listed), len(scanned))
	}
	w.do("FLUSHALL")
	servers[0].dialCluster().talk("> RANDOMKEY\n$-1\n> DBSIZE\n:0")
}

// elements lists the bulk strings in a reply.
func elements(reply string) (list []string) {
	lines := strings.Split(reply, "\r\n")
	for i := 1; i < len(lines); i++ {
		if strings.HasPrefix(lines[i-1], "$") {
			list = append(list, lines[i])
		}
	}
	return list
}

func TestKeysOfASlot(t *testing.T) {
	servers, _ := startRing(t, 3)
	c := servers[2].dialCluster()
	c.do("MSET", "{t}a", "1", "{t}b", "2", "{t}c", "3", "other", "4")
	slot := strings.Trim(c.do("CLUSTER", "KEYSLOT", "{t}"), ":\r\n")
	c.expect(":3\r\n", "CLUSTER", "COUNTKEYSINSLOT", slot)
	c.do("DEL", "{t}b")
	got := elements(c.do("CLUSTER", "GETKEYSINSLOT", slot, "10"))
	slices.Sort(got)
	if !slices.Equal(got, []string{"{t}a", "{t}c"}) {
		t.Errorf("GETKEYSINSLOT: %q", got)
	}
	if got := elements(c.do("CLUSTER", "GETKEYSINSLOT", slot, "1")); len(got) != 1 {
		t.Errorf("GETKEYSINSLOT 1: %q", got)
	}
	c.talk(`
> CLUSTER GETKEYSINSLOT 1 0
*0
> CLUSTER COUNTKEYSINSLOT 16384
-ERR Invalid slot
> CLUSTER COUNTKEYSINSLOT x
-ERR value is not an integer or out of range
> CLUSTER GETKEYSINSLOT -1 1
-ERR Invalid slot or number of keys
> CLUSTER GETKEYSINSLOT 1 -1
-ERR Invalid slot or number of keys`)
}

func TestAddressThatIsNotKnownIsTheOneThatTheClientFound(t *testing.T) {
	space := &ringed{Keyspace: open(t, store.Options{})}
	n := &node{t: t, srv: server.New(server.Options{Keys: space})}
	if err := errors.Join(n.srv.Listen(t.Context(), "127.0.0.1:0"), n.srv.ListenCluster(t.Context(), "0.0.0.0:0")); err != nil {
		t.Fatal(err)
	}
	servers := []*node{n}
	showRing(servers, []*ringed{space}, -1)
	n.serve()
	_, port, _ := strings.Cut(strings.TrimPrefix(n.srv.ClusterAddr().String(), "[::]"), ":")
	for _, host := range []string{"127.0.0.1", "127.0.0.2", "127.0.0.1"} {
		c := n.dialAt(host + ":" + port)
		if got := c.do("CLUSTER", "SLOTS"); !strings.Contains(got, "$9\r\n"+host+"\r\n:"+port+"\r\n") {
			t.Errorf("CLUSTER SLOTS at %s: %q", host, got)
		}
	}
}

func TestAnnouncedAddressIsShown(t *testing.T) {
	space := &ringed{Keyspace: open(t, store.Options{})}
	n := &node{t: t, srv: server.New(server.Options{Keys: space, ClusterAnnounce: "cache.example:7000"})}
	if err := errors.Join(n.srv.Listen(t.Context(), "127.0.0.1:0"), n.srv.ListenCluster(t.Context(), "127.0.0.1:0")); err != nil {
		t.Fatal(err)
	}
	showRing([]*node{n}, []*ringed{space}, -1)
	n.serve()
	if got := n.dialCluster().text("CLUSTER", "NODES"); !strings.Contains(got, " cache.example:7000@7201 myself,master ") {
		t.Errorf("CLUSTER NODES: %q", got)
	}
}

func TestInfoShowsRingAndMembers(t *testing.T) {
	servers, spaces := startRing(t, 2)
	showRing(servers, spaces, 1)
	text := servers[0].dial().text("INFO", "ring", "members")
	want := fmt.Sprintf("# Ring\nring_cluster_id:c0ffee\nring_epoch:3\nring_replicas:3\nring_moves:0\nring_members:2\nring_members_up:1\nring_left:0\n\n# Members\n"+
		"member0:id=%s,peer=127.0.0.1:7201,client=%s,cluster=%s,zone=rack%%2C%%201,weight=1,state=active,up=1,self=1,owned=8,primary=4,hints=0,hint_bytes=0,hints_for=0\n"+
		"member1:id=%s,peer=127.0.0.1:7202,client=%s,cluster=%s,zone=rack%%2C%%201,weight=1,state=active,up=0,self=0,owned=8,primary=4,hints=1,hint_bytes=10,hints_for=0\n",
		nodeID(0), servers[0].srv.Addr(), servers[0].srv.ClusterAddr(), nodeID(1), servers[1].srv.Addr(), servers[1].srv.ClusterAddr())
	if got := strings.ReplaceAll(text, "\r\n", "\n"); got != want {
		t.Errorf(" got: %s\nwant: %s", got, want)
	}
}

// TestClusterClientFindsEveryNode has a client of Redis Cluster use the ring while
// a node goes and comes back.
func TestClusterClientFindsEveryNode(t *testing.T) {
	servers, spaces := startRing(t, 3)
	client := redis.NewClusterClient(&redis.ClusterOptions{Addrs: []string{servers[0].srv.ClusterAddr().String()}})
	defer client.Close()
	for round, down := range []int{-1, 1, -1} {
		showRing(servers, spaces, down)
		client.ReloadState(t.Context())
		for i := range 100 {
			key := fmt.Sprintf("key-%d-%d", round, i)
			if err := client.Set(t.Context(), key, i, 0).Err(); err != nil {
				t.Fatal(err)
			}
			if got, err := client.Get(t.Context(), key).Int(); err != nil || got != i {
				t.Fatalf("%s is %d, %v", key, got, err)
			}
		}
		size, err := client.DBSize(t.Context()).Result()
		if err != nil || size != int64(100*(round+1)) {
			t.Errorf("with node %d down: %d keys, %v", down, size, err)
		}
	}
}
