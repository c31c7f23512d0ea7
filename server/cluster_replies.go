package server

import (
	"fmt"
	"strings"

	"cartwheel/cluster/ring"
	"cartwheel/resp"
)

// A replyKind is a reply of CLUSTER that is the same for all clients.
type replyKind int

const (
	replySlots replyKind = iota
	replyShards
	replyNodes
	replyInfo
	replyKinds
)

func writeSlots(a *advertised, w *resp.Writer) {
	w.Array(len(a.runs))
	for _, run := range a.runs {
		nodes := []int{run.master}
		for _, n := range a.nodes[run.master].replicas {
			if a.nodes[n].up {
				nodes = append(nodes, n)
			}
		}
		w.Array(2 + len(nodes))
		w.Int(int64(run.first))
		w.Int(int64(run.last))
		for _, n := range nodes {
			node := &a.nodes[n]
			w.Array(4)
			w.BulkString(node.host)
			w.Int(int64(node.port))
			w.BulkString(node.id)
			w.Map(0) // it has no other names
		}
	}
}

func writeShards(a *advertised, w *resp.Writer) {
	w.Array(a.masters())
	for m := range a.nodes {
		if !a.isMaster(m) {
			continue
		}
		w.Map(2)
		w.BulkString("slots")
		slots := a.nodes[m].slots
		w.Array(2 * len(slots))
		for _, run := range slots {
			w.Int(int64(run.first))
			w.Int(int64(run.last))
		}
		w.BulkString("nodes")
		replicas := a.nodes[m].replicas
		w.Array(1 + len(replicas))
		a.writeShardNode(w, m, "master")
		for _, n := range replicas {
			a.writeShardNode(w, n, "replica")
		}
	}
}

func (a *advertised) writeShardNode(w *resp.Writer, n int, role string) {
	node := &a.nodes[n]
	port, health := "port", "online"
	if a.tls {
		port = "tls-port"
	}
	if !node.up {
		health = "failed"
	}
	w.Map(7)
	for _, field := range []struct {
		name, text string
		number     int
	}{
		{"id", node.id, 0},
		{port, "", node.port},
		{"ip", node.host, 0},
		{"endpoint", node.host, 0},
		{"role", role, 0},
		{"replication-offset", "", 0},
		{"health", health, 0},
	} {
		w.BulkString(field.name)
		if field.text == "" {
			w.Int(int64(field.number))
		} else {
			w.BulkString(field.text)
		}
	}
}

func writeNodes(a *advertised, w *resp.Writer) {
	var b strings.Builder
	for n := range a.nodes {
		b.WriteString(a.line(n))
		b.WriteByte('\n')
	}
	w.Verbatim("txt", b.String())
}

// line is a node's line of CLUSTER NODES.
func (a *advertised) line(n int) string {
	node := &a.nodes[n]
	flags, master, link := "master", "-", "connected"
	if !a.isMaster(n) {
		flags, master = "slave", a.nodes[node.master].id
	}
	if n == a.self {
		flags = "myself," + flags
	}
	if !node.up {
		flags, link = flags+",fail", "disconnected"
	}
	var b strings.Builder
	fmt.Fprintf(&b, "%s %s:%d@%d %s %s 0 0 %d %s", node.id, node.host, node.port, node.peerPort,
		flags, master, a.topology.Epoch, link)
	for _, run := range node.slots {
		if run.first == run.last {
			fmt.Fprintf(&b, " %d", run.first)
		} else {
			fmt.Fprintf(&b, " %d-%d", run.first, run.last)
		}
	}
	return b.String()
}

func writeInfo(a *advertised, w *resp.Writer) {
	assigned := 0
	for _, run := range a.runs {
		assigned += int(run.last-run.first) + 1
	}
	state := "ok"
	if assigned < ring.Slots {
		state = "fail"
	}
	var t infoText
	t.fields(
		"cluster_state", state,
		"cluster_slots_assigned", assigned,
		"cluster_slots_ok", assigned,
		"cluster_slots_pfail", 0,
		"cluster_slots_fail", 0,
		"cluster_known_nodes", len(a.nodes),
		"cluster_size", a.masters(),
		"cluster_current_epoch", a.topology.Epoch,
		"cluster_my_epoch", a.topology.Epoch,
		"cluster_stats_messages_sent", 0,
		"cluster_stats_messages_received", 0,
		"total_cluster_links_buffer_limit_exceeded", 0,
	)
	w.Verbatim("txt", t.b.String())
}
