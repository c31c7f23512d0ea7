package ring

import (
	"fmt"
	"slices"
)

// A Size is how much is stored of a partition.
type Size struct {
	Keys  int64 `json:"keys"`
	Bytes int64 `json:"bytes"` // of keys and values
}

func (s *Size) add(other Size) { s.Keys, s.Bytes = s.Keys+other.Keys, s.Bytes+other.Bytes }

// A Plan shows what a change would do to the ring of that epoch. Its text is
// JSON.
type Plan struct {
	Change    []string      `json:"change"` // as ParseChange reads it
	Epoch     uint64        `json:"epoch"`
	Unchanged bool          `json:"unchanged"` // the ring is already so
	Transfers []PlannedMove `json:"transfers"`
	Shares    []PlannedPart `json:"shares"`
	// Warnings are what an operator should know; Obstacles are why the change is made
	// only by force.
	Warnings  []string `json:"warnings"`
	Obstacles []string `json:"obstacles"`
}

// A PlannedMove is all moves from one node to another once the change is made.
type PlannedMove struct {
	From       NodeID `json:"from"` // none: the other owners fill what is one owner more
	To         NodeID `json:"to"`   // none: nobody takes From's place
	Partitions int    `json:"partitions"`
	UnderWay   int    `json:"under_way"` // those of them that are moving already
	Size
}

// A PlannedPart is a member's part of the ring, in partitions.
type PlannedPart struct {
	Node   NodeID `json:"node"`
	State  State  `json:"state"` // once the change is made
	Zone   string `json:"zone"`
	Weight int    `json:"weight"`
	Up     bool   `json:"up"`
	Before int    `json:"before"` // without the change
	After  int    `json:"after"`
}

// NewPlan plans a change. sizes are of the partitions, nil where they are not
// known; up says which members are up. Its error is that of Document.With.
func NewPlan(d *Document, c Change, sizes []Size, up func(NodeID) bool) (*Plan, error) {
	p := planner{before: d, change: c, up: up}
	var err error
	if p.subject, err = d.Find(c.Node); err != nil {
		return nil, err
	}
	c.Node = p.subject.ID.String()
	p.change = c
	p.plan = &Plan{Change: c.Words(), Epoch: d.Epoch, Transfers: []PlannedMove{}, Warnings: []string{}, Obstacles: []string{}}
	if p.after, err = d.With(c); err == ErrUnchanged {
		p.plan.Unchanged, p.after = true, d
	} else if err != nil {
		return nil, err
	}
	p.transfers(sizes)
	p.shares()
	if !p.plan.Unchanged {
		p.warn()
		p.obstruct()
	}
	return p.plan, nil
}

type planner struct {
	before, after *Document
	change        Change
	subject       Member
	up            func(NodeID) bool
	plan          *Plan
}

func (p *planner) transfers(sizes []Size) {
	type ends struct{ from, to NodeID }
	index := map[ends]int{}
	for _, t := range p.after.Moving() {
		index[ends{t.From, t.To}] = len(p.plan.Transfers)
		p.plan.Transfers = append(p.plan.Transfers, PlannedMove{From: t.From, To: t.To, Partitions: t.Partitions})
	}
	for _, m := range p.after.Moves {
		t := &p.plan.Transfers[index[ends{m.From, m.To}]]
		if _, found := slices.BinarySearchFunc(p.before.Moves, m, Move.compare); found {
			t.UnderWay++
		}
		if sizes != nil && !m.To.none() {
			t.Size.add(sizes[m.Partition])
		}
	}
}

func (p *planner) shares() {
	before := map[NodeID]int{}
	for _, s := range p.before.Shares() {
		before[s.Node] = s.Next
	}
	for i, s := range p.after.Shares() {
		m := p.after.Members[i]
		p.plan.Shares = append(p.plan.Shares, PlannedPart{
			Node: m.ID, State: m.State, Zone: m.Zone, Weight: m.weight(), Up: m.ID == NewNode || p.up(m.ID),
			Before: before[m.ID], After: s.Next,
		})
	}
}

func (p *planner) warnf(format string, args ...any) {
	p.plan.Warnings = append(p.plan.Warnings, fmt.Sprintf(format, args...))
}

func (p *planner) warn() {
	if n := len(p.before.Moves); n > 0 {
		p.warnf("%d moves of partitions are under way already: the change starts from where they lead", n)
	}
	p.warnOfCopies()
	p.warnOfEvenness()
	p.warnOfTheDead()
	if p.change.Verb == Leave && !p.up(p.subject.ID) {
		p.warnf("%s is down, and can leave only once it is back; remove it if it never will be", p.subject.ID.Short())
	}
}

// warnOfCopies says where there are too few nodes, or zones, for N.
func (p *planner) warnOfCopies() {
	staying, zones := 0, map[string]bool{}
	for _, m := range p.after.Members {
		if m.State.stays() {
			staying++
			zones[m.Zone] = true
		}
	}
	n := p.after.Replicas
	if staying < n {
		p.warnf("only %d members stay: each key will have %d copies, not %d", staying, staying, n)
	}
	named := len(zones) > 1 || !zones[""]
	if copies := min(n, staying); named && len(zones) < copies {
		p.warnf("there are only %d zones for %d copies: the loss of one zone may take several copies of a key", len(zones), copies)
	}
}

// warnOfEvenness names who will own more, or less, than the weights ask for.
func (p *planner) warnOfEvenness() {
	fair := fairShares(p.after)
	for _, s := range p.after.Shares() {
		share, stays := fair[s.Node]
		if off := s.Next - share; stays && (off > 1 || off < -1) {
			p.warnf("%s will own %d partitions, its weight asks for %d: zones or a replacement come first", s.Node.Short(), s.Next, share)
		}
	}
}

// fairShares returns the shares that the weights alone ask for.
func fairShares(d *Document) map[NodeID]int {
	var nodes []node
	z := zone{}
	for _, m := range d.Members {
		if m.State.stays() {
			z.nodes = append(z.nodes, int32(len(nodes)))
			nodes = append(nodes, node{id: m.ID, weight: int64(m.weight())})
		}
	}
	zones, copies := []zone{z}, min(d.Replicas, len(nodes))
	limitZones(zones, copies)
	setShares(nodes, zones, copies, d.Partitions)
	fair := make(map[NodeID]int, len(nodes))
	for i := range nodes {
		fair[nodes[i].id] = int((nodes[i].share + 1<<(shareBits-1)) >> shareBits)
	}
	return fair
}

// warnOfTheDead says what fewer copies there are of while the change is under way.
func (p *planner) warnOfTheDead() {
	for _, m := range p.before.Members {
		if p.up(m.ID) || m.ID == p.subject.ID && p.change.Verb != Leave {
			continue
		}
		waiting := 0
		for _, move := range p.after.Moves {
			if move.To == m.ID || move.From == m.ID && m.State != Removed {
				waiting++
			}
		}
		if waiting > 0 {
			p.warnf("%s is down: %d moves wait until it is back, or removed", m.ID.Short(), waiting)
		}
		if m.ID == p.subject.ID || !p.gives() {
			continue
		}
		if n := p.shared(m.ID); n > 0 {
			p.warnf("%s is down too: of %d partitions that both own there is one live copy less until they have moved", m.ID.Short(), n)
		}
	}
}

// gives says that the subject gives its data away.
func (p *planner) gives() bool {
	return p.change.Verb == Leave || p.change.Verb == Remove || p.change.Verb == Replace
}

// shared counts the partitions that a member and the subject both own.
func (p *planner) shared(with NodeID) (n int) {
	for _, owners := range p.before.Owners {
		if slices.Contains(owners, with) && slices.Contains(owners, p.subject.ID) {
			n++
		}
	}
	return n
}

// obstruct names why the change is not made without force.
func (p *planner) obstruct() {
	if p.change.Verb != Remove && p.change.Verb != Replace {
		return
	}
	if p.up(p.subject.ID) {
		p.plan.Obstacles = append(p.plan.Obstacles, fmt.Sprintf("%s is up: let it leave, or stop it first", p.subject.ID.Short()))
	}
	lost, bare := 0, 0
	for _, owners := range p.before.Owners {
		if !slices.Contains(owners, p.subject.ID) {
			continue
		}
		live, able := 0, 0
		for _, owner := range owners {
			m, _ := p.before.Member(owner)
			if owner == p.subject.ID || m.State == Removed {
				continue
			}
			able++
			if p.up(owner) {
				live++
			}
		}
		switch {
		case able == 0:
			lost++
		case live == 0:
			bare++
		}
	}
	if lost > 0 {
		p.plan.Obstacles = append(p.plan.Obstacles, fmt.Sprintf("%d partitions have no other owner that was not removed already: all their data is given up", lost))
	}
	if bare > 0 {
		p.plan.Obstacles = append(p.plan.Obstacles, fmt.Sprintf("%d partitions have no other owner that is up: they stay where they are until one is", bare))
	}
}

// Short is as much of the id as people are shown.
func (id NodeID) Short() string {
	switch id {
	case NodeID{}:
		return "-"
	case NewNode:
		return "(new)"
	}
	return id.String()[:8]
}
