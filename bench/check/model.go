package check

import (
	"fmt"
	"slices"
)

// versions is what a history of VGET, VSET and VDEL says of one key.
type versions struct {
	key     string
	writes  []*write
	reads   []*read
	byValue map[string]*write
	lossy   bool // a node was lost: with it, what it alone had of a write of unknown outcome
}

// write is a VSET or VDEL that was not refused.
type write struct {
	*Operation
	given Clock
	dot   Dot // zero where the client was not told
	// shownBy are the contexts of the reads that showed the value, but for final ones, from which
	// nobody writes: each covers its dot.
	shownBy []Clock
}

func (w *write) acknowledged() bool { return w.Outcome == Acknowledged }
func (w *write) tombstone() bool    { return w.Command == VDel }
func (w *write) shown() bool        { return len(w.shownBy) > 0 }

func (w *write) String() string {
	return fmt.Sprintf("%s %q (worker %d, node %d, %v to %v, %s)", w.Command, w.Value, w.Worker, w.Node, w.Call, w.Return, w.Outcome)
}

// covers says whether w, if it is applied, removes x. A context covers a value whose dot is not known if it is, or
// descends from, the context of a read that showed the value: whoever was the first to cover it had its context
// from such a read. A later writer may have been told one that covers it and does not
// descend from that; as nobody knows the dot, that is not seen: what it covers may then be there, or be missing, and be
// judged the wrong way round. It takes a write of unknown outcome that another of unknown outcome had covered.
func (w *write) covers(x *write) bool {
	if w == x {
		return false
	}
	if x.dot.known() {
		return w.given.covers(x.dot)
	}
	return w.given.knows(x)
}

// knows says whether a client with this context has seen x, or one that covers it.
func (c Clock) knows(x *write) bool {
	if x.dot.known() {
		return c.covers(x.dot)
	}
	return slices.ContainsFunc(x.shownBy, c.descends)
}

// read is a VGET that was answered.
type read struct {
	*Operation
	seen  Clock
	shows map[string]bool // by value
}

// versionsOf reads a key's operations. It reports what no reader or writer may ever see: a damaged
// context, a value twice, a value that nobody sent, one that was refused, one from the future.
func versionsOf(key string, operations []*Operation, finals []*Operation) (*versions, []Violation) {
	v := &versions{key: key, byValue: map[string]*write{}}
	var violations []Violation
	report := func(format string, args ...any) {
		violations = append(violations, Violation{key, fmt.Sprintf(format, args...)})
	}
	refused := map[string]*Operation{}
	for _, o := range operations {
		switch {
		case o.Command != VSet && o.Command != VDel:
			continue
		case o.Outcome == Refused:
			refused[o.Value] = o
			continue
		}
		w, err := writeOf(o)
		if err != nil {
			report("%s %q by worker %d: %v", o.Command, o.Value, o.Worker, err)
			continue
		}
		v.writes = append(v.writes, w)
		if o.Command == VSet {
			v.byValue[o.Value] = w
		}
	}
	for i, o := range slices.Concat(operations, finals) {
		if o.Command != VGet || o.Outcome != Acknowledged {
			continue
		}
		r, err := readOf(o)
		if err != nil {
			report("VGET by worker %d of node %d at %v: %v", o.Worker, o.Node, o.Call, err)
			continue
		}
		v.reads = append(v.reads, r)
		for _, value := range o.Values {
			w := v.byValue[value]
			switch {
			case w != nil && w.Call >= r.Return:
				report("node %d showed %q at %v, before it was written at %v", o.Node, value, o.Return, w.Call)
			case w != nil && !r.seen.covers(w.dot):
				report("node %d showed %q at %v with a context that does not cover it", o.Node, value, o.Return)
			case w != nil:
				if i < len(operations) {
					w.shownBy = append(w.shownBy, r.seen)
				}
			case refused[value] != nil:
				report("node %d showed %q at %v, which was refused: %s", o.Node, value, o.Return, refused[value].Error)
			default:
				report("node %d showed %q at %v, which nobody wrote", o.Node, value, o.Return)
			}
		}
	}
	return v, violations
}

func writeOf(o *Operation) (*write, error) {
	given, err := ParseContext(o.Context, o.Key)
	if err != nil {
		return nil, err
	}
	w := &write{Operation: o, given: given}
	if o.Outcome != Acknowledged {
		return w, nil
	}
	returned, err := ParseContext(o.Seen, o.Key)
	if err != nil {
		return nil, err
	}
	w.dot, err = dotOf(given, returned)
	return w, err
}

func readOf(o *Operation) (*read, error) {
	seen, err := ParseContext(o.Seen, o.Key)
	if err != nil {
		return nil, err
	}
	r := &read{Operation: o, seen: seen, shows: make(map[string]bool, len(o.Values))}
	for _, value := range o.Values {
		if r.shows[value] {
			return nil, fmt.Errorf("it shows %q twice", value)
		}
		r.shows[value] = true
	}
	return r, nil
}
