package ring

import (
	"errors"
	"fmt"
	"strconv"
	"strings"
)

// A Verb is what an operator asks of the ring.
type Verb string

// The verbs. A join has none: a node joins by being started.
const (
	Leave   Verb = "leave"   // a live member goes, when its data is with others
	Remove  Verb = "remove"  // a dead member is given up
	Replace Verb = "replace" // a new node takes the place of a dead member
	Reweigh Verb = "weight"  // a member is to have another share
	Rezone  Verb = "zone"    // a member is elsewhere
)

// A Change is what an operator asks of the ring.
type Change struct {
	Verb   Verb
	Node   string // whatever Find finds a member by
	Heir   Member // of Replace; its zone and weight are those of the dead
	Weight int    // of Reweigh
	Zone   string // of Rezone; may be ""
}

var (
	// ErrAmbiguous: several members fit a name.
	ErrAmbiguous = errors.New("several members of the ring fit")
	// ErrChange: that is no change of a ring.
	ErrChange = errors.New("a change is one of: leave NODE, remove NODE, replace DEAD, weight NODE W, zone NODE Z")
)

// NewNode stands in plans for a node that is yet to be started.
var NewNode = func() (id NodeID) {
	for i := range id {
		id[i] = 0xff
	}
	return id
}()

// ParseChange reads the words of a change: a verb, a node, and for some a value.
func ParseChange(words []string) (Change, error) {
	if len(words) < 2 {
		return Change{}, ErrChange
	}
	c := Change{Verb: Verb(strings.ToLower(words[0])), Node: words[1]}
	values := 0
	switch c.Verb {
	case Leave, Remove:
	case Replace:
		c.Heir.ID = NewNode
	case Reweigh:
		values = 1
	case Rezone:
		values = 1
	default:
		return Change{}, ErrChange
	}
	if len(words) != 2+values {
		return Change{}, ErrChange
	}
	switch c.Verb {
	case Reweigh:
		w, err := strconv.Atoi(words[2])
		if err != nil || w < 1 || w > WeightMax {
			return Change{}, fmt.Errorf("weight %q is not between 1 and %d", words[2], WeightMax)
		}
		c.Weight = w
	case Rezone:
		c.Zone = words[2]
	}
	return c, nil
}

// Words are the change as ParseChange reads it.
func (c Change) Words() []string {
	words := []string{string(c.Verb), c.Node}
	switch c.Verb {
	case Reweigh:
		words = append(words, strconv.Itoa(c.Weight))
	case Rezone:
		words = append(words, c.Zone)
	}
	return words
}

// Find returns the member that a name names: an id, the beginning of one that no
// other begins with, or one of its addresses.
func (d *Document) Find(name string) (Member, error) {
	var found []Member
	for _, m := range d.Members {
		switch {
		case name == "":
		case name == m.ID.String(), name == m.Peer, name == m.Client, name == m.Cluster:
			return m, nil
		case strings.HasPrefix(m.ID.String(), strings.ToLower(name)):
			found = append(found, m)
		}
	}
	switch len(found) {
	case 0:
		return Member{}, fmt.Errorf("%.100q: %w", name, ErrUnknownMember)
	case 1:
		return found[0], nil
	}
	return Member{}, fmt.Errorf("%.100q: %w", name, ErrAmbiguous)
}

// With returns the document in which the change is made.
func (d *Document) With(c Change) (*Document, error) {
	m, err := d.Find(c.Node)
	if err != nil {
		return nil, err
	}
	switch c.Verb {
	case Leave:
		return d.WithoutMember(m.ID)
	case Remove:
		return d.WithRemoved(m.ID)
	case Replace:
		heir := c.Heir
		heir.Zone, heir.Weight = m.Zone, m.Weight
		return d.WithReplaced(m.ID, heir)
	case Reweigh:
		m.Weight = c.Weight
		return d.WithChanged(m)
	case Rezone:
		m.Zone = c.Zone
		return d.WithChanged(m)
	}
	return nil, ErrChange
}
