package server

import (
	"fmt"
	"regexp"
	"slices"
	"strconv"
	"strings"
	"testing"

	"pgregory.net/rapid"

	"cartwheel/cluster/ring"
	"cartwheel/resp"
)

// drawTopology makes any topology that a node may have: nodes that are down or
// without a cluster port, and slots whose owners all are.
func drawTopology(t *rapid.T) *ring.Topology {
	nodes := rapid.IntRange(1, 9).Draw(t, "nodes")
	top := &ring.Topology{Epoch: 7, Self: rapid.IntRange(0, nodes-1).Draw(t, "self")}
	for i := range nodes {
		n := ring.NodeView{ID: ring.NodeID{byte(i + 1)}, Peer: fmt.Sprintf("10.0.0.%d:7201", i), Up: rapid.Bool().Draw(t, "up")}
		if rapid.IntRange(0, 4).Draw(t, "cluster port") > 0 {
			n.Cluster = fmt.Sprintf("10.0.0.%d:7101", i)
		}
		top.Nodes = append(top.Nodes, n)
	}
	all := make([]int, nodes)
	for i := range all {
		all[i] = i
	}
	for first := 0; first < ring.Slots; {
		last := min(ring.Slots-1, first+rapid.IntRange(0, 4000).Draw(t, "slots"))
		owners := rapid.Permutation(all).Draw(t, "owners")[:rapid.IntRange(1, min(3, nodes)).Draw(t, "n")]
		slices.SortStableFunc(owners, func(a, b int) int { return bit(top.Nodes[b].Up) - bit(top.Nodes[a].Up) })
		top.Ranges = append(top.Ranges, ring.SlotRange{First: ring.Slot(first), Last: ring.Slot(last), Owners: owners[:len(owners):len(owners)]})
		first = last + 1
	}
	return top
}

func TestEverySlotHasOneMasterThatIsUp(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		top := drawTopology(t)
		a := newAdvertised(top, "10.9.9.9:7101", false)
		next, masters := ring.Slot(0), map[int]int{}
		for _, run := range a.runs {
			if run.first != next || run.last < run.first {
				t.Fatalf("the run %d-%d does not begin at %d", run.first, run.last, next)
			}
			next = run.last + 1
			if !a.nodes[run.master].up {
				t.Fatalf("the master of slots %d-%d is down", run.first, run.last)
			}
			masters[run.master] += int(run.last-run.first) + 1
		}
		if next != ring.Slots {
			t.Fatalf("the runs end at %d", next)
		}
		for n := range a.nodes {
			slots := 0
			for _, run := range a.nodes[n].slots {
				slots += int(run.last-run.first) + 1
			}
			if slots != masters[n] {
				t.Fatalf("node %d: %d slots of its own, but it comes first for %d", n, slots, masters[n])
			}
			if m := a.nodes[n].master; a.isMaster(n) != (m == n) || !a.isMaster(m) {
				t.Fatalf("node %d: master %d", n, m)
			}
		}
	})
}

// TestTheFirstLiveOwnerIsTheMaster holds newAdvertised against the plain rule.
func TestTheFirstLiveOwnerIsTheMaster(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		top := drawTopology(t)
		a := newAdvertised(top, "10.9.9.9:7101", false)
		for _, r := range top.Ranges {
			first := slices.IndexFunc(r.Owners, func(o int) bool { return o == top.Self || top.Nodes[o].Up && top.Nodes[o].Cluster != "" })
			if first < 0 {
				continue
			}
			i := slices.IndexFunc(a.runs, func(run slotRun) bool { return run.first <= r.First && r.Last <= run.last })
			if i < 0 {
				t.Fatalf("slots %d-%d are not in one run", r.First, r.Last)
			}
			if got, want := a.nodes[a.runs[i].master].id, top.Nodes[r.Owners[first]].ID.String(); got != want {
				t.Fatalf("slots %d-%d: master %s, want %s", r.First, r.Last, got, want)
			}
		}
	})
}

// TestNoNodeIsBothMasterAndReplica reads CLUSTER SLOTS as redis-py does.
func TestNoNodeIsBothMasterAndReplica(t *testing.T) {
	id := regexp.MustCompile("\r\n([0-9a-f]{40})\r\n")
	rapid.Check(t, func(t *rapid.T) {
		a := newAdvertised(drawTopology(t), "10.9.9.9:7101", false)
		w := resp.Writer{}
		writeSlots(a, &w)
		masterOf := map[string]string{}
		for _, entry := range regexp.MustCompile(`\*\d+\r\n:\d+\r\n:\d+\r\n`).Split(string(w.Buf), -1)[1:] {
			nodes := id.FindAllStringSubmatch(entry, -1)
			if len(nodes) == 0 {
				t.Fatalf("slots without a node: %q", entry)
			}
			for _, node := range nodes {
				if before, seen := masterOf[node[1]]; seen && before != nodes[0][1] {
					t.Fatalf("%s has the masters %s and %s", node[1], before, nodes[0][1])
				}
				masterOf[node[1]] = nodes[0][1]
			}
		}
		for n := range a.nodes {
			if node := &a.nodes[n]; node.up != (masterOf[node.id] != "") {
				t.Fatalf("node %s: up is %t, its master %q", node.id, node.up, masterOf[node.id])
			}
		}
	})
}

func TestNodesTellsWhatSlotsTells(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		top := drawTopology(t)
		a := newAdvertised(top, "10.9.9.9:7101", false)
		w := resp.Writer{}
		writeNodes(a, &w)
		_, text, _ := strings.Cut(string(w.Buf), "\r\n")
		text = strings.TrimSuffix(text, "\r\n")
		if !strings.HasSuffix(text, "\n") || strings.Count(text, "myself") != 1 {
			t.Fatalf("no line end, or not one myself: %q", text)
		}
		master := make([]string, ring.Slots)
		for line := range strings.Lines(text) {
			fields := strings.Fields(line)
			if len(fields) < 8 {
				t.Fatalf("%d fields in %q", len(fields), line)
			}
			if isMaster := strings.Contains(fields[2], "master"); isMaster != (fields[3] == "-") || isMaster != (len(fields) > 8) {
				t.Fatalf("flags, master and slots do not agree: %q", line)
			}
			if strings.Contains(fields[2], "fail") != (fields[7] == "disconnected") {
				t.Fatalf("flags and link do not agree: %q", line)
			}
			for _, run := range fields[8:] {
				first, last, ok := strings.Cut(run, "-")
				if !ok {
					last = first
				}
				from, _ := strconv.Atoi(first)
				to, _ := strconv.Atoi(last)
				for slot := from; slot <= to; slot++ {
					if master[slot] != "" {
						t.Fatalf("slot %d twice", slot)
					}
					master[slot] = fields[0]
				}
			}
		}
		for _, run := range a.runs {
			for slot := run.first; slot <= run.last; slot++ {
				if master[slot] != a.nodes[run.master].id {
					t.Fatalf("slot %d: NODES says %q, SLOTS %q", slot, master[slot], a.nodes[run.master].id)
				}
			}
		}
	})
}

func TestSlotsWithoutOwnersAreTheSameForAll(t *testing.T) {
	top := &ring.Topology{Ranges: []ring.SlotRange{{First: 0, Last: 8191, Owners: []int{0}}, {First: 8192, Last: 16383, Owners: []int{1}}}}
	for i := range 4 {
		top.Nodes = append(top.Nodes, ring.NodeView{ID: ring.NodeID{byte(i)}, Up: i >= 2, Cluster: fmt.Sprintf("10.0.0.%d:7101", i)})
	}
	for _, self := range []int{2, 3} {
		top.Self = self
		a := newAdvertised(top, top.Nodes[self].Cluster, false)
		if len(a.runs) != 2 || a.runs[0].master != 2 || a.runs[1].master != 3 {
			t.Errorf("node %d shows %v", self, a.runs)
		}
	}
}

func TestAddressesThatCannotBeAnnounced(t *testing.T) {
	for _, bad := range []string{"", "x", ":7101", "h:0", "h:70000", "h:-1", "h:x", "a b:1", "a\nb:1", "a,b:1", "a@b:1", "\x00:1"} {
		if host, port, ok := splitAddress(bad); ok {
			t.Errorf("%q is taken for %q, %d", bad, host, port)
		}
	}
	if host, port, ok := splitAddress("[::1]:7101"); !ok || host != "::1" || port != 7101 {
		t.Errorf("%q, %d, %t", host, port, ok)
	}
}

func TestPortsThatSpeakTLSAreShownAsSuch(t *testing.T) {
	top := &ring.Topology{Nodes: []ring.NodeView{{ID: ring.NodeID{1}, Up: true}}, Ranges: []ring.SlotRange{{First: 0, Last: ring.Slots - 1, Owners: []int{0}}}}
	for tls, want := range map[bool]string{false: "$4\r\nport\r\n:7101\r\n", true: "$8\r\ntls-port\r\n:7101\r\n"} {
		w := resp.Writer{}
		writeShards(newAdvertised(top, "10.0.0.1:7101", tls), &w)
		if !strings.Contains(string(w.Buf), want) {
			t.Errorf("with TLS %t: %q", tls, w.Buf)
		}
	}
}
