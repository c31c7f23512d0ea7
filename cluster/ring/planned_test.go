package ring

import (
	"errors"
	"fmt"
	"slices"
	"strings"
	"testing"

	gocmp "github.com/google/go-cmp/cmp"
)

func everybody(NodeID) bool { return true }

// except says that all are up but some.
func except(dead ...int) func(NodeID) bool {
	return func(id NodeID) bool {
		return !slices.ContainsFunc(dead, func(i int) bool { return testMember(i, 0, 1).ID == id })
	}
}

func TestAPlanShowsWhatMovesAndTheShares(t *testing.T) {
	d := grown(t, 5, 0, 64, 3)
	leaver := d.Members[2].ID
	sizes := make([]Size, 64)
	owned, want := 0, Size{}
	for p := range sizes {
		sizes[p] = Size{Keys: int64(p), Bytes: int64(1000 * p)}
		if slices.Contains(d.Owners[p], leaver) {
			owned++
			want.add(sizes[p])
		}
	}
	p, err := NewPlan(d, Change{Verb: Leave, Node: leaver.Short()}, sizes, everybody)
	if err != nil {
		t.Fatal(err)
	}
	moving, size := 0, Size{}
	for _, move := range p.Transfers {
		if move.From != leaver || move.UnderWay != 0 {
			t.Errorf("%+v", move)
		}
		moving += move.Partitions
		size.add(move.Size)
	}
	if moving != owned || size != want {
		t.Errorf("%d partitions with %+v move, the leaver has %d with %+v", moving, size, owned, want)
	}
	after := 0
	for i, s := range p.Shares {
		after += s.After
		if s.Node != d.Members[i].ID || s.Before != d.Shares()[i].Total || s.Node == leaver && (s.After != 0 || s.State != Leaving) {
			t.Errorf("%+v", s)
		}
	}
	if after != 3*64 || p.Epoch != d.Epoch || len(p.Warnings) > 0 || len(p.Obstacles) > 0 || p.Unchanged {
		t.Errorf("%+v", p)
	}
	if words := []string{"leave", leaver.String()}; !slices.Equal(p.Change, words) {
		t.Errorf("it is a plan to %v", p.Change)
	}
}

func TestAPlanTellsWhatMovesAlready(t *testing.T) {
	d := grown(t, 5, 0, 64, 3)
	joining, err := d.WithMember(testMember(9, 0, 1))
	joining = mustChange(t, joining, err)
	p, err := NewPlan(joining, Change{Verb: Reweigh, Node: d.Members[0].ID.String(), Weight: 2}, nil, everybody)
	if err != nil {
		t.Fatal(err)
	}
	already, all := 0, 0
	for _, move := range p.Transfers {
		already, all = already+move.UnderWay, all+move.Partitions
	}
	if already == 0 || already > len(joining.Moves) || all <= already {
		t.Errorf("%d of %d moves are under way, %d were", already, all, len(joining.Moves))
	}
	again, err := NewPlan(joining, Change{Verb: Reweigh, Node: d.Members[0].ID.String(), Weight: 1}, nil, everybody)
	if err != nil || !again.Unchanged {
		t.Errorf("what is so already: %+v, %v", again, err)
	}
}

func TestAPlanWarnsOfWhatAnOperatorShouldKnow(t *testing.T) {
	name := func(i int) string { return testMember(i, 0, 1).ID.String() }
	zoned := grown(t, 6, 3, 64, 3)
	for what, c := range map[string]struct {
		d        *Document
		change   Change
		up       func(NodeID) bool
		warning  string // none if ""
		obstacle string
	}{
		"nothing to say": {d: grown(t, 5, 0, 64, 3), change: Change{Verb: Leave, Node: name(1)}, up: everybody},
		"fewer than N nodes": {
			d: grown(t, 3, 0, 64, 3), change: Change{Verb: Leave, Node: name(1)}, up: everybody,
			warning: "only 2 members stay: each key will have 2 copies, not 3",
		},
		"too few zones": {
			d: grown(t, 5, 2, 64, 3), change: Change{Verb: Leave, Node: name(1)}, up: everybody,
			warning: "there are only 2 zones for 3 copies",
		},
		"uneven for the sake of zones": {
			d: zoned, change: Change{Verb: Reweigh, Node: name(0), Weight: 9}, up: everybody,
			warning: "its weight asks for",
		},
		"the leaver is down": {
			d: grown(t, 5, 0, 64, 3), change: Change{Verb: Leave, Node: name(1)}, up: except(1),
			warning: "can leave only once it is back",
		},
		"another is down": {
			d: grown(t, 5, 0, 64, 3), change: Change{Verb: Leave, Node: name(1)}, up: except(3),
			warning: "moves wait until it is back, or removed",
		},
		"fewer copies for a while": {
			d: grown(t, 5, 0, 64, 3), change: Change{Verb: Remove, Node: name(1)}, up: except(1, 3),
			warning: "there is one live copy less until they have moved",
		},
		"a live one is removed": {
			d: grown(t, 5, 0, 64, 3), change: Change{Verb: Remove, Node: name(1)}, up: everybody,
			obstacle: "is up: let it leave, or stop it first",
		},
		"a live one is replaced": {
			d: grown(t, 5, 0, 64, 3), change: Change{Verb: Replace, Node: name(1), Heir: Member{ID: NewNode}}, up: everybody,
			obstacle: "is up: let it leave, or stop it first",
		},
		"the only copy": {
			d: grown(t, 3, 0, 64, 1), change: Change{Verb: Remove, Node: name(1)}, up: except(1),
			obstacle: "have no other owner that was not removed already: all their data is given up",
		},
		"no live copy": {
			d: grown(t, 5, 0, 64, 3), change: Change{Verb: Remove, Node: name(1)}, up: except(1, 2, 3),
			obstacle: "have no other owner that is up",
		},
	} {
		p, err := NewPlan(c.d, c.change, nil, c.up)
		if err != nil {
			t.Errorf("%s: %v", what, err)
			continue
		}
		said := func(texts []string, want string) bool {
			if want == "" {
				return len(texts) == 0
			}
			return slices.ContainsFunc(texts, func(text string) bool { return strings.Contains(text, want) })
		}
		if !said(p.Warnings, c.warning) && (c.warning != "" || c.obstacle == "") || !said(p.Obstacles, c.obstacle) {
			t.Errorf("%s: warnings %q, obstacles %q", what, p.Warnings, p.Obstacles)
		}
	}
}

func TestAChangeIsReadAndWrittenAlike(t *testing.T) {
	for _, words := range [][]string{{"leave", "n"}, {"remove", "n"}, {"replace", "n"}, {"weight", "n", "17"}, {"zone", "n", ""}, {"zone", "n", "rack 1"}} {
		c, err := ParseChange(words)
		if err != nil || !slices.Equal(c.Words(), words) {
			t.Errorf("%q is read as %q, %v", words, c.Words(), err)
		}
	}
	for _, words := range [][]string{nil, {"leave"}, {"leave", "n", "x"}, {"weight", "n"}, {"weight", "n", "0"}, {"weight", "n", "1001"}, {"weight", "n", "x"}, {"zone", "n"}, {"join", "n"}} {
		if c, err := ParseChange(words); err == nil {
			t.Errorf("%q is read as %+v", words, c)
		}
	}
	d := grown(t, 3, 0, 8, 2)
	for change, want := range map[Change]error{
		{Verb: Rezone, Node: d.Members[0].ID.String(), Zone: "a\nb"}: nil,
		{Verb: "dance", Node: d.Members[0].ID.String()}:              ErrChange,
		{Verb: Leave, Node: "stranger"}:                              ErrUnknownMember,
	} {
		if _, err := d.With(change); err == nil || want != nil && !errors.Is(err, want) {
			t.Errorf("%+v: %v", change, err)
		}
	}
}

func TestAMemberIsFoundByWhatNamesItAlone(t *testing.T) {
	d := &Document{}
	for i, id := range []string{"abc", "abd", "ff0"} {
		m := Member{Peer: fmt.Sprintf("p%d:1", i), Client: fmt.Sprintf("c%d:1", i)}
		full := id + strings.Repeat("0", 37)
		if err := m.ID.UnmarshalText([]byte(full)); err != nil {
			t.Fatal(err)
		}
		d.Members = append(d.Members, m)
	}
	for name, want := range map[string]int{"abc": 0, "ABD": 1, "f": 2, "p1:1": 1, "c2:1": 2, d.Members[0].ID.String(): 0} {
		if m, err := d.Find(name); err != nil || m.ID != d.Members[want].ID {
			t.Errorf("%q: %v, %v", name, m.ID, err)
		}
	}
	for name, want := range map[string]error{"ab": ErrAmbiguous, "": ErrUnknownMember, "x": ErrUnknownMember, "p9:1": ErrUnknownMember} {
		if m, err := d.Find(name); !errors.Is(err, want) {
			t.Errorf("%q: %v, %v", name, m.ID, err)
		}
	}
	if diff := gocmp.Diff("-", NodeID{}.Short()); diff != "" {
		t.Error(diff)
	}
}
