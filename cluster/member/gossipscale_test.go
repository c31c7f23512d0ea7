package member

import (
	"flag"
	"math/rand/v2"
	"testing"
	"testing/synctest"
	"time"

	"cartwheel/cluster/ring"
)

var gossipMembers = flag.Int("gossip-members", 50, "how many nodes gossip in TestGossipAmongMany")

// A parish is the nodes that gossip in a hall.
type parish struct {
	t     *testing.T
	hall  *hall
	nodes []*gossiper
}

// gather starts that many nodes, which know the first of them.
func gather(t *testing.T, members int) *parish {
	t.Helper()
	seed := rand.Uint64()
	t.Logf("seed %d", seed)
	p := &parish{t: t, hall: newHall(seed)}
	var list []ring.Member
	for i := range members {
		list = append(list, memberOf(nodeID(i+1)))
	}
	d := &ring.Document{Cluster: ring.ClusterID{7}, Epoch: 1, Partitions: 1024, Replicas: 3, Members: list}
	d.Owners = ring.Place(list, d.Partitions, d.Replicas, nil)
	first := ""
	for i := range members {
		n := p.hall.start(t, i+1, first, d)
		p.nodes = append(p.nodes, n)
		first = p.nodes[0].address
	}
	return p
}

func (p *parish) stop() {
	for _, n := range p.nodes {
		n.stop()
	}
	time.Sleep(time.Minute) // of the bubble: memberlist does not wait for its last probes
}

// await waits, in the time of the bubble, until something holds of every node.
func (p *parish) await(what string, most time.Duration, holds func(*gossiper) bool) (took time.Duration) {
	p.t.Helper()
	began := time.Now()
	for waiting := p.nodes; ; time.Sleep(100 * time.Millisecond) {
		for len(waiting) > 0 && holds(waiting[0]) {
			waiting = waiting[1:]
		}
		if len(waiting) == 0 {
			return time.Since(began)
		}
		if time.Since(began) > most {
			p.t.Fatalf("%s: not within %v", what, most)
		}
	}
}

// The figures of ARCHITECTURE.md, "Scale":
//
//	go test ./cluster/member -run GossipAmongMany -v -args -gossip-members 200
//
// memberlist itself runs, over a network in memory and in the time of a bubble. All
// find each other; then what gossip costs when nothing happens, and how long a ring
// document takes that nobody is told of but by gossip.
func TestGossipAmongMany(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		members := *gossipMembers
		p := gather(t, members)
		defer p.stop()
		found := p.await("all see all", 5*time.Minute, func(n *gossiper) bool {
			alive := 0
			for _, other := range n.Members() {
				if other.Alive {
					alive++
				}
			}
			return alive == members-1
		})
		t.Logf("%d nodes: all see all after %v", members, found)

		const calm, quiet = time.Minute, 2 * time.Minute
		time.Sleep(calm)
		p.hall.counted()
		time.Sleep(quiet)
		sent := p.hall.counted()
		per := func(n int) float64 { return float64(n) / float64(members) / quiet.Seconds() }
		t.Logf("quiet, of each node a second: %.3f exchanges with %.0f bytes, %.2f packets with %.0f bytes",
			per(sent.streams), per(sent.streamBytes), per(sent.packets), per(sent.packetBytes))
		if most := 8 << 10; per(sent.streamBytes+sent.packetBytes) > float64(most) {
			t.Errorf("quiet gossip sends more than %d bytes a second from each node", most)
		}

		next := *p.nodes[0].installed()
		next.Epoch++
		form := next.Append(nil)
		if _, err := p.nodes[0].install(form); err != nil {
			t.Fatal(err)
		}
		spread := p.await("all have the document", 10*time.Minute, func(n *gossiper) bool { return n.installed().Epoch == next.Epoch })
		t.Logf("a document of %d bytes is everywhere, by gossip alone, after %v", len(form), spread)
	})
}
