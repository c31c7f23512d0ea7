package server

import (
	"fmt"
	"strings"
)

func infoRing(s *Server, t *infoText) {
	top := s.keys.Topology()
	up := 0
	for i := range top.Nodes {
		if top.Nodes[i].Up {
			up++
		}
	}
	t.fields(
		"ring_cluster_id", infoWord(top.Cluster),
		"ring_epoch", top.Epoch,
		"ring_replicas", top.Replicas,
		"ring_moves", top.Moving,
		"ring_members", len(top.Nodes),
		"ring_members_up", up,
		"ring_left", bit(top.Self < 0),
	)
	for _, figure := range s.keys.RingFigures() {
		t.field(figure[0], figure[1])
	}
}

// infoMembers has a line for each member. Its words are never split: what could
// end one is written as %XX.
func infoMembers(s *Server, t *infoText) {
	top := s.keys.Topology()
	for i := range top.Nodes {
		n := &top.Nodes[i]
		t.line("member%d:id=%s,peer=%s,client=%s,cluster=%s,zone=%s,weight=%d,state=%s,up=%d,self=%d,owned=%d,primary=%d,hints=%d,hint_bytes=%d,hints_for=%d",
			i, n.ID, infoWord(n.Peer), infoWord(n.Client), infoWord(n.Cluster), infoWord(n.Zone), n.Weight, n.State,
			bit(n.Up), bit(i == top.Self), n.Owned, n.Primary, n.Hints, n.HintBytes, n.HintsFor)
	}
}

func bit(b bool) int {
	if b {
		return 1
	}
	return 0
}

// infoWord escapes, as URLs do, all but what addresses and names are made of.
func infoWord(text string) string {
	var b strings.Builder
	for _, c := range []byte(text) {
		switch {
		case 'a' <= c && c <= 'z', 'A' <= c && c <= 'Z', '0' <= c && c <= '9', strings.IndexByte("-._:/[]", c) >= 0:
			b.WriteByte(c)
		default:
			fmt.Fprintf(&b, "%%%02X", c)
		}
	}
	return b.String()
}
