package server

import (
	"sync"

	"cartwheel/cluster/ring"
	"cartwheel/resp"
)

// An advertised is a topology as a Redis Cluster's client understands it, where
// a node is either a master or the replica of one master:
//
//  1. The nodes are those that have a cluster port.
//  2. The master of a slot is its first owner that is up. Where no owner is, it
//     is one of the nodes that are up, the same one in every node's eyes: any
//     node can coordinate any key.
//  3. A node that is the master of no slot is a replica, of the master that it
//     shares the most slots with. A slot's other owners are mostly masters of
//     others, and not shown as its replicas: clients that find a node in both
//     roles (redis-py, valkey-glide) believe in one of them for all slots.
//
// It is immutable but for replies, which are built when they are first asked
// for. Any number of goroutines may use it.
type advertised struct {
	topology *ring.Topology
	address  string // of this node
	tls      bool
	nodes    []advertisedNode
	self     int
	runs     []slotRun // tile the slots that have an owner, in order
	replies  [replyKinds][2]func() []byte
}

// An advertisedNode is a node with a cluster port.
type advertisedNode struct {
	id       string
	host     string
	port     int
	peerPort int // where Redis Cluster has the port of its bus
	up       bool
	slots    []slotRun   // whose master it is; empty: it is a replica
	master   int         // itself, or a replica's
	replicas []int       // of a master
	shared   map[int]int // slots that it owns, by their masters
}

// A slotRun is a run of slots with the same master.
type slotRun struct {
	first, last ring.Slot // both included
	master      int
}

func newAdvertised(t *ring.Topology, address string, tls bool) *advertised {
	a := &advertised{topology: t, address: address, tls: tls}
	places := a.addNodes()
	for _, r := range t.Ranges {
		a.addRun(r, places)
	}
	first := 0
	for !a.isMaster(first) && first < len(a.nodes)-1 {
		first++
	}
	for n := range a.nodes {
		m := a.masterFor(n, first)
		a.nodes[n].master = m
		if n != m {
			a.nodes[m].replicas = append(a.nodes[m].replicas, n)
		}
	}
	writers := [replyKinds]func(*advertised, *resp.Writer){writeSlots, writeShards, writeNodes, writeInfo}
	for kind, write := range writers {
		for protocol := range a.replies[kind] {
			a.replies[kind][protocol] = sync.OnceValue(func() []byte {
				w := resp.Writer{RESP3: protocol == 1}
				write(a, &w)
				return w.Buf
			})
		}
	}
	return a
}

// addNodes returns the places in a.nodes by those in the topology, -1 for nodes
// without a cluster port.
func (a *advertised) addNodes() (places []int) {
	for i := range a.topology.Nodes {
		n := &a.topology.Nodes[i]
		address, self := n.Cluster, i == a.topology.Self
		if self {
			address = a.address
			a.self = len(a.nodes)
		}
		host, port, ok := splitAddress(address)
		if !ok && !self {
			places = append(places, -1)
			continue
		}
		_, peerPort, _ := splitAddress(n.Peer)
		places = append(places, len(a.nodes))
		a.nodes = append(a.nodes, advertisedNode{
			id: n.ID.String(), host: host, port: port, peerPort: peerPort,
			up: n.Up || self, shared: make(map[int]int),
		})
	}
	return places
}

// addRun adds the slots of r.
func (a *advertised) addRun(r ring.SlotRange, places []int) {
	run := slotRun{first: r.First, last: r.Last, master: -1}
	for _, owner := range r.Owners {
		if n := places[owner]; n >= 0 && a.nodes[n].up {
			run.master = n
			break
		}
	}
	if run.master < 0 {
		run.master = a.standIn(r.First)
	}
	for _, owner := range r.Owners {
		if n := places[owner]; n >= 0 {
			a.nodes[n].shared[run.master] += int(r.Last-r.First) + 1
		}
	}
	a.runs = appendRun(a.runs, run)
	m := &a.nodes[run.master]
	m.slots = appendRun(m.slots, run)
}

// standIn is the master of slots without an owner that is up: all nodes that are
// up take such slots in equal shares.
func (a *advertised) standIn(s ring.Slot) int {
	var up []int
	for n := range a.nodes {
		if a.nodes[n].up {
			up = append(up, n)
		}
	}
	return up[int(s)*len(up)/ring.Slots] // this node is always among them
}

// appendRun appends a run, to the last one where it goes on with that.
func appendRun(runs []slotRun, run slotRun) []slotRun {
	if n := len(runs); n > 0 && runs[n-1].last+1 == run.first && runs[n-1].master == run.master {
		runs[n-1].last = run.last
		return runs
	}
	return append(runs, run)
}

func (a *advertised) isMaster(n int) bool { return len(a.nodes[n].slots) > 0 }

func (a *advertised) masterFor(n, otherwise int) int {
	if a.isMaster(n) {
		return n
	}
	best, most := otherwise, 0
	for m := range a.nodes {
		if slots := a.nodes[n].shared[m]; slots > most {
			best, most = m, slots
		}
	}
	return best
}

// masters counts them.
func (a *advertised) masters() (count int) {
	for n := range a.nodes {
		if a.isMaster(n) {
			count++
		}
	}
	return count
}
