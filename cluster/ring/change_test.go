package ring

import (
	"errors"
	"reflect"
	"slices"
	"testing"

	gocmp "github.com/google/go-cmp/cmp"
	"pgregory.net/rapid"
)

// A cluster is a document with what the nodes would have on disk: objects of a
// partition are only with its owners, and with those to which a move of it has
// been filled.
type cluster struct {
	t      *rapid.T
	next   func() Member
	d      *Document
	stored []map[NodeID]bool // by partition
}

func newCluster(t *rapid.T) *cluster {
	c := &cluster{t: t, next: joiners(t)}
	partitions := rapid.SampledFrom([]int{1, 8, 64, 256}).Draw(t, "partitions")
	d, err := NewDocument(ClusterID{1}, c.next(), partitions, anyReplicas.Draw(t, "replicas"))
	if err != nil {
		t.Fatal(err)
	}
	c.d = d
	for range partitions {
		c.stored = append(c.stored, map[NodeID]bool{d.Members[0].ID: true})
	}
	return c
}

// change makes a change, and checks what holds of all changes.
func (c *cluster) change(what func() (*Document, error), expected ...error) {
	c.t.Helper()
	before := c.d.Append(nil)
	successor, err := what()
	if !slices.Equal(before, c.d.Append(nil)) {
		c.t.Fatal("a change changed the document that it started from")
	}
	if err != nil {
		for _, e := range expected {
			if errors.Is(err, e) {
				return
			}
		}
		c.t.Fatal(err)
	}
	if successor.Epoch != c.d.Epoch+1 {
		c.t.Fatalf("epoch %d after %d", successor.Epoch, c.d.Epoch)
	}
	c.d = successor
	c.check()
}

func (c *cluster) check() {
	c.t.Helper()
	if err := c.d.Validate(); err != nil {
		c.t.Fatal(err)
	}
	decoded, err := Decode(c.d.Append(nil))
	if err != nil {
		c.t.Fatal(err)
	}
	if !reflect.DeepEqual(c.d, decoded) {
		c.t.Fatalf("the document is decoded as another: %s", gocmp.Diff(c.d, decoded))
	}
	for p, owners := range c.d.Owners {
		for _, owner := range owners {
			if !c.stored[p][owner] {
				c.t.Fatalf("partition %d is owned by %s, which was never filled", p, owner)
			}
		}
	}
	checkFirsts(c.t, c.d.Owners)
	owned, coming := count(c.d.Owners), map[NodeID]int{}
	for _, m := range c.d.Moves {
		coming[m.To]++
	}
	for _, m := range c.d.Members {
		if m.State == Joining && coming[m.ID] == 0 {
			c.t.Fatalf("%s is joining, and nothing is to come", m.ID)
		}
		if m.State == Removed && owned[m.ID] == 0 {
			c.t.Fatalf("%s was removed, and is there while it owns nothing", m.ID)
		}
	}
}

// checkNext checks that the moves lead to where they should.
func (c *cluster) checkNext() {
	c.t.Helper()
	r := c.d.Ring()
	next := make([][]NodeID, c.d.Partitions)
	for p := range next {
		next[p] = slices.Clone(r.Next(Partition(p)))
	}
	checkPlacement(c.t, c.d.Members, c.d.Partitions, c.d.Replicas, inOrder(next))
}

func (c *cluster) join() {
	c.change(func() (*Document, error) { return c.d.WithMember(c.next()) })
	c.checkNext()
}

func (c *cluster) leave() {
	id := c.member().ID
	c.change(func() (*Document, error) { return c.d.WithoutMember(id) }, ErrLastMember, ErrUnchanged)
}

func (c *cluster) remove() {
	id := c.member().ID
	c.change(func() (*Document, error) { return c.d.WithRemoved(id) }, ErrLastMember, ErrUnchanged)
}

// depart lets all go that leave and own nothing.
func (c *cluster) depart() {
	owned := count(c.d.Owners)
	for _, m := range c.d.Members {
		if m.State == Leaving && owned[m.ID] == 0 {
			c.change(func() (*Document, error) { return c.d.WithDeparted(m.ID) })
		}
	}
}

func (c *cluster) reweigh() {
	m := c.next()
	m.ID = c.member().ID
	c.change(func() (*Document, error) { return c.d.WithChanged(m) }, ErrUnchanged)
}

// replace gives a member's place to another of its weight and zone.
func (c *cluster) replace() {
	dead, heir := c.member(), c.next()
	heir.Zone, heir.Weight = dead.Zone, dead.Weight
	c.change(func() (*Document, error) { return c.d.WithReplaced(dead.ID, heir) })
}

func (c *cluster) member() Member { return rapid.SampledFrom(c.d.Members).Draw(c.t, "member") }

// commit commits some or all of the moves, once they have been filled.
func (c *cluster) commit(all bool) {
	var done []Move
	for _, m := range c.d.Moves {
		if all || rapid.Bool().Draw(c.t, "done") {
			done = append(done, m)
			c.stored[m.Partition][m.To] = true
		}
	}
	if len(done) == 0 {
		return
	}
	slices.Reverse(done)
	c.change(func() (*Document, error) { return c.d.WithCommitted(done) })
	for p, owners := range c.d.Owners { // who owns it no more drops it
		kept := map[NodeID]bool{}
		for _, owner := range owners {
			kept[owner] = true
		}
		c.stored[p] = kept
	}
}

// Joins, leaves, replacements and changes of weight and zone, several at once
// and each in any stage of the others: nobody ever owns what it was not filled
// with, and in the end everything is placed as it should be.
func TestChangesUnderWayLoseNothing(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		c := newCluster(t)
		for range rapid.IntRange(1, 25).Draw(t, "changes") {
			switch rapid.IntRange(0, 9).Draw(t, "change") {
			case 0, 1, 2, 3:
				c.join()
			case 4:
				c.leave()
			case 5:
				c.remove()
				c.depart()
			case 6:
				c.reweigh()
			case 7:
				c.replace()
			default:
				c.commit(false)
			}
		}
		c.join()
		c.commit(true)
		c.depart()
		if len(c.d.Moves) != 0 {
			t.Fatalf("%d moves are left", len(c.d.Moves))
		}
		for _, m := range c.d.Members {
			if m.State != Active {
				t.Fatalf("in the end %s is %s", m.ID, m.State)
			}
		}
		checkPlacement(t, c.d.Members, c.d.Partitions, c.d.Replicas, c.d.Owners)
	})
}

func mustChange(t *testing.T, d *Document, err error) *Document {
	t.Helper()
	if err != nil {
		t.Fatal(err)
	}
	return d
}

// grown returns a document of members 0 to n-1, each in one of some zones, all
// joined and with nothing under way.
func grown(t *testing.T, n, zones, partitions, replicas int) *Document {
	t.Helper()
	zoneOf := func(i int) int {
		if zones == 0 {
			return 0
		}
		return 1 + i%zones
	}
	d, err := NewDocument(ClusterID{1, 2, 3}, testMember(0, zoneOf(0), 1), partitions, replicas)
	if err != nil {
		t.Fatal(err)
	}
	for i := 1; i < n; i++ {
		d, err = d.WithMember(testMember(i, zoneOf(i), 1))
		d = mustChange(t, d, err)
		d, err = d.WithCommitted(d.Moves)
		d = mustChange(t, d, err)
	}
	return d
}

func TestSecondJoinKeepsWhatTheFirstIsFilledWith(t *testing.T) {
	settled := grown(t, 6, 0, 1024, 3)
	first, err := settled.WithMember(testMember(10, 0, 1))
	first = mustChange(t, first, err)
	second, err := first.WithMember(testMember(11, 0, 1))
	second = mustChange(t, second, err)
	shares := map[NodeID]int{}
	for _, s := range second.Shares() {
		shares[s.Node] = s.Next
	}
	kept := 0
	for _, m := range second.Moves {
		if slices.Contains(first.Moves, m) {
			kept++
		}
	}
	joiner := testMember(10, 0, 1).ID
	if want := shares[joiner]; kept != want || shares[joiner] != 384 {
		t.Errorf("the second join kept %d of the first joiner's %d moves, its share is %d", kept, len(first.Moves), want)
	}
	if want := 2 * 384; len(second.Moves) != want {
		t.Errorf("%d moves are under way for two joiners, want %d", len(second.Moves), want)
	}
}

func TestJoinThatIsTakenBackLeavesEverythingAsItWas(t *testing.T) {
	for _, zones := range []int{0, 3} {
		settled := grown(t, 6, zones, 1024, 3)
		joining, err := settled.WithMember(testMember(10, min(zones, 1), 1))
		joining = mustChange(t, joining, err)
		left, err := joining.WithoutMember(testMember(10, 0, 1).ID)
		left = mustChange(t, left, err)
		left, err = left.WithDeparted(testMember(10, 0, 1).ID)
		left = mustChange(t, left, err)
		left.Epoch = settled.Epoch
		if diff := gocmp.Diff(settled, left); diff != "" {
			t.Errorf("%d zones: a join was taken back, and left: %s", zones, diff)
		}
	}
}

func TestLeaverStaysUntilItDeparts(t *testing.T) {
	d := grown(t, 5, 0, 64, 3)
	id := testMember(2, 0, 1).ID
	d, err := d.WithoutMember(id)
	d = mustChange(t, d, err)
	for len(d.Moves) > 0 {
		if _, err := d.WithDeparted(id); !errors.Is(err, ErrHolds) {
			t.Fatalf("with %d moves to come the leaver departs: %v", len(d.Moves), err)
		}
		d, err = d.WithCommitted(d.Moves[:(len(d.Moves)+1)/2])
		d = mustChange(t, d, err)
	}
	if m, known := d.Member(id); !known || m.State != Leaving {
		t.Error("the leaver is gone before it has said so")
	}
	if _, err := d.WithDeparted(testMember(1, 0, 1).ID); !errors.Is(err, ErrHolds) {
		t.Errorf("one that stays departs: %v", err)
	}
	d, err = d.WithDeparted(id)
	if _, known := mustChange(t, d, err).Member(id); known {
		t.Error("the leaver has departed and is a member still")
	}
}

func TestRemovedIsGoneWhenItOwnsNothing(t *testing.T) {
	settled := grown(t, 5, 0, 64, 3)
	id := testMember(2, 0, 1).ID
	leaving, err := settled.WithoutMember(id)
	leaving = mustChange(t, leaving, err)
	for name, from := range map[string]*Document{"at once": settled, "while it leaves": leaving} {
		d, err := from.WithRemoved(id)
		d = mustChange(t, d, err)
		if diff := gocmp.Diff(leaving.Moves, d.Moves); diff != "" {
			t.Errorf("%s: other moves than if it left: %s", name, diff)
		}
		if _, err := d.WithoutMember(id); !errors.Is(err, ErrUnchanged) {
			t.Errorf("%s: who was removed leaves: %v", name, err)
		}
		for len(d.Moves) > 0 {
			if m, known := d.Member(id); !known || m.State != Removed {
				t.Fatalf("%s: with %d moves to come it is %v", name, len(d.Moves), m.State)
			}
			d, err = d.WithCommitted(d.Moves[:(len(d.Moves)+1)/2])
			d = mustChange(t, d, err)
		}
		if _, known := d.Member(id); known {
			t.Errorf("%s: it owns nothing and is a member still", name)
		}
	}
}

func TestJoinerIsActiveWhenItHasAll(t *testing.T) {
	d := grown(t, 5, 0, 64, 3)
	joiner := testMember(9, 0, 1)
	d, err := d.WithMember(joiner)
	d = mustChange(t, d, err)
	for len(d.Moves) > 0 {
		if m, _ := d.Member(joiner.ID); m.State != Joining {
			t.Fatalf("with %d moves to come the joiner is %v", len(d.Moves), m.State)
		}
		d, err = d.WithCommitted(d.Moves[:(len(d.Moves)+1)/2])
		d = mustChange(t, d, err)
	}
	if m, _ := d.Member(joiner.ID); m.State != Active {
		t.Errorf("the joiner that has all is %v", m.State)
	}
}

func TestRingBelowNGrowsAndShrinksWithoutReplacements(t *testing.T) {
	d := grown(t, 1, 0, 8, 3)
	d, err := d.WithMember(testMember(1, 0, 1))
	d = mustChange(t, d, err)
	if want := (Transfer{To: testMember(1, 0, 1).ID, Partitions: 8}); !slices.Equal(d.Moving(), []Transfer{want}) {
		t.Errorf("the second node joins by %v, want %v", d.Moving(), want)
	}
	d, err = d.WithCommitted(d.Moves)
	d = mustChange(t, d, err)
	d, err = d.WithoutMember(testMember(0, 0, 1).ID)
	d = mustChange(t, d, err)
	if want := (Transfer{From: testMember(0, 0, 1).ID, Partitions: 8}); !slices.Equal(d.Moving(), []Transfer{want}) {
		t.Errorf("the first of two nodes leaves by %v, want %v", d.Moving(), want)
	}
}

func TestReplacementTakesExactlyThePlaceOfTheDead(t *testing.T) {
	settled := grown(t, 6, 3, 256, 3)
	dead, heir := testMember(2, 3, 1).ID, testMember(20, 3, 1)

	t.Run("at rest", func(t *testing.T) {
		d, err := settled.WithReplaced(dead, heir)
		checkReplaced(t, settled.Ring(), mustChange(t, d, err), dead, heir.ID)
	})
	t.Run("while another joins", func(t *testing.T) {
		joining, err := settled.WithMember(testMember(30, 3, 1))
		joining = mustChange(t, joining, err)
		d, err := joining.WithReplaced(dead, heir)
		checkReplaced(t, joining.Ring(), mustChange(t, d, err), dead, heir.ID)
	})
	t.Run("while it joins itself", func(t *testing.T) {
		joiner := testMember(30, 3, 1)
		joining, err := settled.WithMember(joiner)
		joining = mustChange(t, joining, err)
		d, err := joining.WithReplaced(joiner.ID, heir)
		d = mustChange(t, d, err)
		checkReplaced(t, joining.Ring(), d, joiner.ID, heir.ID)
		if _, known := d.Member(joiner.ID); known {
			t.Error("the dead joiner owned nothing and is a member still")
		}
	})
	t.Run("while it is being removed", func(t *testing.T) {
		leaving, err := settled.WithoutMember(dead)
		leaving = mustChange(t, leaving, err)
		d, err := leaving.WithReplaced(dead, heir)
		d = mustChange(t, d, err)
		for _, m := range d.Moves {
			if m.From == dead && m.To != heir.ID {
				t.Fatalf("partition %d goes to %s", m.Partition, m.To)
			}
		}
	})
}

// checkReplaced checks that the moves lead to where they led, but for the heir
// in the place of the dead.
func checkReplaced(t *testing.T, before *Ring, d *Document, dead, heir NodeID) {
	t.Helper()
	after := d.Ring()
	for p := range Partition(before.Partitions()) {
		want := slices.Clone(before.Next(p))
		if i := slices.Index(want, dead); i >= 0 {
			want[i] = heir
		}
		got := slices.Clone(after.Next(p))
		slices.SortFunc(want, compareIDs)
		slices.SortFunc(got, compareIDs)
		if !slices.Equal(got, want) {
			t.Fatalf("partition %d will be with %v, want %v", p, got, want)
		}
	}
}

func TestAddressesMoveNothing(t *testing.T) {
	d := grown(t, 4, 0, 64, 3)
	m := d.Members[1]
	m.Peer, m.Client, m.Cluster, m.State = "10.0.0.9:7201", "10.0.0.9:7001", "10.0.0.9:7101", Leaving
	changed, err := d.WithMember(m) // a known member
	changed = mustChange(t, changed, err)
	m.State = Active
	if got := changed.Members[1]; got != m || len(changed.Moves) != 0 || &changed.Owners[0][0] != &d.Owners[0][0] {
		t.Errorf("after a change of address the member is %+v, with %d moves", got, len(changed.Moves))
	}
	if _, err := changed.WithMember(m); !errors.Is(err, ErrUnchanged) {
		t.Errorf("the same member once more: %v", err)
	}
	heavier := m
	heavier.Weight = 5
	changed, err = changed.WithChanged(heavier)
	if changed = mustChange(t, changed, err); len(changed.Moves) == 0 {
		t.Error("another weight moves nothing")
	}
}

// Even where a replacement has another weight than the dead had.
func TestAddressAfterReplacementMovesNothing(t *testing.T) {
	settled := grown(t, 5, 0, 64, 3)
	d, err := settled.WithReplaced(settled.Members[0].ID, testMember(20, 0, 9))
	d = mustChange(t, d, err)
	heir, _ := d.Member(testMember(20, 0, 9).ID)
	heir.Peer = "10.0.0.9:7201"
	changed, err := d.WithChanged(heir)
	changed = mustChange(t, changed, err)
	if diff := gocmp.Diff(d.Moves, changed.Moves); diff != "" {
		t.Errorf("a change of address changed the moves: %s", diff)
	}
}

func TestMovesArePairedAsUnderWayThenWithinAZone(t *testing.T) {
	a, b, x, y, kept := NodeID{1}, NodeID{2}, NodeID{3}, NodeID{4}, NodeID{5}
	zones := map[NodeID]string{a: "1", b: "2", x: "2", y: "1", kept: "3"}
	owners, target := []NodeID{a, kept, b}, []NodeID{x, kept, y}
	for name, c := range map[string]struct{ underWay, want []Move }{
		"nothing under way": {nil, []Move{{0, a, y}, {0, b, x}}},
		"under way":         {[]Move{{0, a, x}}, []Move{{0, a, x}, {0, b, y}}},
		"no longer wanted":  {[]Move{{0, kept, x}}, []Move{{0, a, y}, {0, b, x}}},
	} {
		if diff := gocmp.Diff(c.want, movesToward(0, owners, target, c.underWay, zones)); diff != "" {
			t.Errorf("%s: %s", name, diff)
		}
	}
}

func TestChangesThatCannotBeAreRefused(t *testing.T) {
	d := grown(t, 3, 0, 8, 2)
	one := grown(t, 1, 0, 8, 2)
	member, stranger := d.Members[0], testMember(99, 0, 1)
	heavy, last := stranger, *d
	heavy.Weight = 1 << 40
	last.Epoch = epochMax
	for name, err := range map[string]error{
		"too heavy joins":        second(d.WithMember(heavy)),
		"no id joins":            second(d.WithMember(Member{})),
		"stranger changes":       second(d.WithChanged(stranger)),
		"stranger leaves":        second(d.WithoutMember(stranger.ID)),
		"last one leaves":        second(one.WithoutMember(one.Members[0].ID)),
		"stranger is replaced":   second(d.WithReplaced(stranger.ID, testMember(98, 0, 1))),
		"by a member":            second(d.WithReplaced(member.ID, d.Members[1])),
		"by itself":              second(d.WithReplaced(member.ID, member)),
		"nothing is committed":   second(d.WithCommitted(nil)),
		"no such move":           second(d.WithCommitted([]Move{{0, member.ID, stranger.ID}})),
		"after the last epoch":   second(last.WithMember(stranger)),
		"no partitions":          second(NewDocument(ClusterID{}, member, 3, 1)),
		"no replicas":            second(NewDocument(ClusterID{}, member, 8, 0)),
		"a first one without id": second(NewDocument(ClusterID{}, Member{}, 8, 1)),
	} {
		if err == nil {
			t.Errorf("%s: not refused", name)
		}
	}
}

func second(_ *Document, err error) error { return err }

// Node 2 is to get a partition, then is not, then is again: what was written between it has not got.
func TestAFillThatMissedAnEpochIsNotCommitted(t *testing.T) {
	d := grown(t, 3, 1, 16, 2)
	move := Move{Partition: 3}
	for _, m := range d.Members {
		switch {
		case !slices.Contains(d.Owners[3], m.ID):
			move.To = m.ID
		case move.From == (NodeID{}):
			move.From = m.ID
		}
	}
	with := func(d *Document, moves ...Move) *Document {
		next := d.next()
		next.Moves = moves
		if err := next.Validate(); err != nil {
			t.Fatal(err)
		}
		return next
	}
	moving := with(d, move)
	again := with(moving, move)
	anew := with(with(moving), move)
	for name, at := range map[string]*Document{"the same": moving, "the next": again} {
		next, err := at.WithFilled(moving.Epoch, []Move{move})
		if err != nil || !slices.Contains(next.Owners[3], move.To) || len(next.Moves) > 0 {
			t.Errorf("%s document: %v", name, err)
		}
	}
	if _, err := anew.WithFilled(moving.Epoch, []Move{move}); !errors.Is(err, ErrMissedEpoch) {
		t.Errorf("a move that was given up and begun again: %v", err)
	}
	if _, err := with(moving).WithFilled(moving.Epoch, []Move{move}); !errors.Is(err, ErrUnchanged) {
		t.Errorf("a move that was given up: %v", err)
	}
}
