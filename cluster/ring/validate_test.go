package ring

import (
	"errors"
	"slices"
	"strings"
	"testing"
)

func TestInvalidDocumentsAreRefused(t *testing.T) {
	golden := func() *Document { return goldenDocuments()[1].document }
	a, b, c := golden().Members[0].ID, golden().Members[1].ID, golden().Members[2].ID
	if err := golden().Validate(); err != nil {
		t.Fatal(err)
	}
	for name, spoil := range map[string]func(d *Document){
		"partitions no power of two":   func(d *Document) { d.Partitions, d.Owners = 3, d.Owners[:3] },
		"partitions too many":          func(d *Document) { d.Partitions = 2 * Slots },
		"epoch 0":                      func(d *Document) { d.Epoch = 0 },
		"epoch too high":               func(d *Document) { d.Epoch = epochMax + 1 },
		"no replicas":                  func(d *Document) { d.Replicas = 0 },
		"replicas too many":            func(d *Document) { d.Replicas = ReplicasMax + 1 },
		"rows too few":                 func(d *Document) { d.Owners = d.Owners[:3] },
		"members too many":             func(d *Document) { d.Members = make([]Member, MembersMax+1) },
		"members out of order":         func(d *Document) { d.Members[0], d.Members[1] = d.Members[1], d.Members[0] },
		"a member twice":               func(d *Document) { d.Members = append(d.Members, d.Members[2]) },
		"a member without id":          func(d *Document) { d.Members = slices.Insert(d.Members, 0, Member{State: Active}) },
		"a weight too high":            func(d *Document) { d.Members[0].Weight = WeightMax + 1 },
		"a weight below zero":          func(d *Document) { d.Members[0].Weight = -1 },
		"no state":                     func(d *Document) { d.Members[0].State = 0 },
		"an unknown state":             func(d *Document) { d.Members[0].State = 5 },
		"an address too long":          func(d *Document) { d.Members[0].Peer = strings.Repeat("x", 256) },
		"an address of two lines":      func(d *Document) { d.Members[0].Client = "a:1\nb:2" },
		"an address with a space":      func(d *Document) { d.Members[0].Cluster = "a:1 b:2" },
		"a zone that is not text":      func(d *Document) { d.Members[0].Zone = "\xff" },
		"nobody stays":                 func(d *Document) { d.Members[0].State, d.Members[1].State, d.Moves = Leaving, Leaving, nil },
		"no owner":                     func(d *Document) { d.Owners[1] = nil },
		"owners too many":              func(d *Document) { d.Owners[1] = []NodeID{a, b, c} },
		"an owner twice":               func(d *Document) { d.Owners[1] = []NodeID{a, a} },
		"an owner that is no member":   func(d *Document) { d.Owners[1] = []NodeID{{9}} },
		"a move of no partition":       func(d *Document) { d.Moves[2].Partition = 4 },
		"moves out of order":           func(d *Document) { d.Moves[0], d.Moves[1] = d.Moves[1], d.Moves[0] },
		"a move twice":                 func(d *Document) { d.Moves[1] = d.Moves[0] },
		"a move from nobody to nobody": func(d *Document) { d.Moves[0] = Move{} },
		"a move from no owner":         func(d *Document) { d.Moves[1] = Move{2, a, b} },
		"a move to an owner":           func(d *Document) { d.Moves[0].To = a },
		"a move to no member":          func(d *Document) { d.Moves[0].To = NodeID{9} },
		"a move to a leaver":           func(d *Document) { d.Owners[0], d.Moves[0] = []NodeID{a}, Move{0, a, c} },
		"a move beyond N":              func(d *Document) { d.Moves[0].From = NodeID{} },
		"two moves from one owner": func(d *Document) {
			d.Members[2].State, d.Owners[0] = Active, []NodeID{a}
			d.Moves = []Move{{0, a, b}, {0, a, c}}
		},
		"two moves to one node": func(d *Document) { d.Moves = []Move{{0, a, b}, {0, c, b}} },
		"an owner is added and another dropped": func(d *Document) {
			d.Owners[0], d.Moves = []NodeID{a}, []Move{{0, NodeID{}, b}, {0, a, NodeID{}}}
		},
		"moves that leave nobody": func(d *Document) { d.Moves = []Move{{2, c, NodeID{}}} },
		"moves too many":          func(d *Document) { d.Moves = []Move{{0, NodeID{}, b}, {0, a, NodeID{}}, {0, c, NodeID{}}} },
	} {
		t.Run(name, func(t *testing.T) {
			d := golden()
			spoil(d)
			if err := d.Validate(); err == nil {
				t.Error("it is taken for valid")
			}
		})
	}
}

func TestWhatDecodesIsValid(t *testing.T) {
	d := goldenDocuments()[1].document
	d.Moves[0].To = d.Members[0].ID
	if _, err := Decode(d.Append(nil)); !errors.Is(err, ErrCorrupt) {
		t.Errorf("a document with a move to an owner: %v", err)
	}
}
