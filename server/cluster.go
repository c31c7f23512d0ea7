package server

import (
	"fmt"
	"net"
	"net/netip"
	"strconv"
	"strings"

	"cartwheel/cluster/ring"
)

// Behind the cluster port the server behaves as one node of a Redis Cluster, in
// which every node has every key and none sends a client elsewhere: what it
// advertises only tells clients where a key is one hop nearer.

var clusterHandlers = map[string]handler{
	"readonly":  {local: clusterOK},
	"readwrite": {local: clusterOK},
	"asking":    {local: clusterOK},

	"cluster|slots":     clusterReply(replySlots),
	"cluster|shards":    clusterReply(replyShards),
	"cluster|nodes":     clusterReply(replyNodes),
	"cluster|info":      clusterReply(replyInfo),
	"cluster|myid":      clusterSlow(clusterMyID),
	"cluster|myshardid": clusterSlow(clusterMyShardID),
	"cluster|replicas":  clusterSlow(clusterReplicas),
	"cluster|slaves":    clusterSlow(clusterReplicas),
	"cluster|links":     clusterSlow(clusterLinks),
	"cluster|help":      clusterSlow(func(c *call) { c.help("CLUSTER", strings.Split(clusterHelp, "\n")) }),

	"cluster|count-failure-reports": clusterSlow(clusterFailureReports),

	"cluster|keyslot":         clusterSlow(clusterKeySlot),
	"cluster|countkeysinslot": clusterSlow(clusterCountKeys),
	"cluster|getkeysinslot":   clusterSlow(clusterGetKeys),

	"cluster|addslots":         clusterSlow(clusterOperators),
	"cluster|addslotsrange":    clusterSlow(clusterOperators),
	"cluster|bumpepoch":        clusterSlow(clusterOperators),
	"cluster|delslots":         clusterSlow(clusterOperators),
	"cluster|delslotsrange":    clusterSlow(clusterOperators),
	"cluster|failover":         clusterSlow(clusterOperators),
	"cluster|flushslots":       clusterSlow(clusterOperators),
	"cluster|forget":           clusterSlow(clusterOperators),
	"cluster|meet":             clusterSlow(clusterOperators),
	"cluster|replicate":        clusterSlow(clusterOperators),
	"cluster|reset":            clusterSlow(clusterOperators),
	"cluster|saveconfig":       clusterSlow(clusterOperators),
	"cluster|set-config-epoch": clusterSlow(clusterOperators),
	"cluster|setslot":          clusterSlow(clusterOperators),
}

const clusterHelp = `COUNT-FAILURE-REPORTS <node-id>
    Return whether this node finds <node-id> down: 1 or 0.
COUNTKEYSINSLOT <slot>
    Return the number of keys in <slot>.
GETKEYSINSLOT <slot> <count>
    Return key names in <slot>, <count> of them at most.
INFO
    Return information about the cluster.
KEYSLOT <key>
    Return the hash slot for <key>.
LINKS
    Return nothing: nodes do not speak the cluster bus protocol.
MYID
    Return the node id.
MYSHARDID
    Return the id of the node's shard.
NODES
    Return cluster configuration seen by node. Output format:
    <id> <ip:port@bus-port> <flags> <master> <pings> <pongs> <epoch> <link> <slot> ...
REPLICAS <node-id>
    Return <node-id> replicas.
SLOTS
    Return information about slots range mappings. Each range is made of:
    start, end, master and replicas IP addresses, ports and ids.
SHARDS
    Return information about slot range mappings and the nodes associated with them.`

const errNoCluster = "ERR This instance has cluster support disabled"

// atClusterPort says that the client has come in at the cluster port. It is
// told from the address that it connected to: two listeners have none in common.
func (s *session) atClusterPort() bool {
	at := s.srv.clusterAt
	if !at.IsValid() {
		return false
	}
	here, err := netip.ParseAddrPort(s.laddr)
	if err != nil || here.Port() != at.Port() {
		return false
	}
	return at.Addr().IsUnspecified() || at.Addr() == here.Addr().Unmap()
}

// clusterOK is READONLY, READWRITE and ASKING. Any node serves reads and writes of
// any key.
func clusterOK(c *call) {
	if !c.s.atClusterPort() {
		c.w.Error(errNoCluster)
		return
	}
	c.w.OK()
}

// clusterSlow is for a subcommand of CLUSTER. They run beside the loop: what is
// advertised may have to be built, and that takes a while on a large ring.
func clusterSlow(run func(c *call)) handler {
	return handler{slow: func(c *call) {
		if !c.s.atClusterPort() {
			c.w.Error(errNoCluster)
			return
		}
		run(c)
	}}
}

// clusterReply is for a subcommand whose reply is kept for as long as the
// topology is the same: every client asks every few seconds.
func clusterReply(kind replyKind) handler {
	return clusterSlow(func(c *call) {
		protocol := 0
		if c.w.RESP3 {
			protocol = 1
		}
		c.w.Buf = append(c.w.Buf, c.advertised().replies[kind][protocol]()...)
	})
}

// advertised returns the topology as this port shows it.
func (c *call) advertised() *advertised {
	t := c.srv.keys.Topology()
	self := c.clusterAddress(t)
	if a := c.srv.advertised.Load(); a != nil && a.topology == t && a.address == self {
		return a
	}
	a := newAdvertised(t, self, c.srv.opts.TLS != nil)
	c.srv.advertised.Store(a)
	return a
}

// clusterAddress is where clients reach this node's cluster port: as announced,
// or else the address that this client has found.
func (c *call) clusterAddress(t *ring.Topology) string {
	for _, address := range []string{c.srv.opts.ClusterAnnounce, t.Nodes[t.Self].Cluster} {
		if host, port, ok := splitAddress(address); ok {
			if ip, err := netip.ParseAddr(host); err != nil || !ip.IsUnspecified() {
				return net.JoinHostPort(host, strconv.Itoa(port))
			}
		}
	}
	return c.s.laddr
}

// splitAddress takes host:port apart, where a client can be told of it: in a
// line of CLUSTER NODES neither part may have a space, a comma or a line's end.
func splitAddress(address string) (host string, port int, ok bool) {
	host, digits, err := net.SplitHostPort(address)
	if err != nil || host == "" {
		return "", 0, false
	}
	for _, b := range []byte(host) {
		if b <= ' ' || b >= 0x7f || b == ',' || b == '@' {
			return "", 0, false
		}
	}
	n, err := strconv.ParseUint(digits, 10, 16)
	return host, int(n), err == nil && n > 0
}

func clusterMyID(c *call) { c.w.BulkString(c.srv.keys.NodeID().String()) }

// clusterMyShardID is the id of the node that is the shard's master.
func clusterMyShardID(c *call) {
	a := c.advertised()
	c.w.BulkString(a.nodes[a.nodes[a.self].master].id)
}

// clusterNode finds the node that an argument names, or replies that there is
// none.
func (c *call) clusterNode(a *advertised, id []byte) (n int, ok bool) {
	for i := range a.nodes {
		if strings.EqualFold(a.nodes[i].id, string(id)) {
			return i, true
		}
	}
	c.w.Error(fmt.Sprintf("ERR Unknown node %.128s", id))
	return 0, false
}

func clusterReplicas(c *call) {
	a := c.advertised()
	master, ok := c.clusterNode(a, c.args[2])
	if !ok {
		return
	}
	if !a.isMaster(master) {
		c.w.Error("ERR The specified node is not a master")
		return
	}
	replicas := a.nodes[master].replicas
	c.w.Array(len(replicas))
	for _, n := range replicas {
		c.w.BulkString(a.line(n))
	}
}

func clusterLinks(c *call) { c.w.Array(0) }

func clusterFailureReports(c *call) {
	a := c.advertised()
	if n, ok := c.clusterNode(a, c.args[2]); ok {
		if a.nodes[n].up {
			c.w.Int(0)
		} else {
			c.w.Int(1)
		}
	}
}

// clusterOperators answers what changes a Redis Cluster.
func clusterOperators(c *call) {
	c.w.Error(fmt.Sprintf("ERR CLUSTER %s is not supported: members join by `cartwheel serve --join`, and `cartwheel cluster` "+
		"shows and changes the ring", strings.ToUpper(c.cmd.Name)))
}
