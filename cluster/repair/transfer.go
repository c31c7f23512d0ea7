package repair

import (
	"context"
	"fmt"

	"cartwheel/cluster/ring"
	"cartwheel/store"
	"cartwheel/store/version"
)

// A need says who is behind with a key.
type need uint8

const (
	needPush need = 1 << iota // the peer is
	needPull                  // this node is
)

// needOf compares the clocks of two different objects of one key. Who has seen
// all that the other has, has all of it that still counts. Two that have seen the
// same, or each something of its own, want each other's.
func needOf(own, theirs version.Clock) need {
	descends, behind := own.Descends(theirs), theirs.Descends(own)
	switch {
	case descends && !behind:
		return needPush
	case behind && !descends:
		return needPull
	}
	return needPush | needPull
}

// settle acts on the findings of one comparison and returns the key that they
// stop before, or nil.
func (x *exchange) settle(ctx context.Context, c *comparison, in *reader) (reached *store.Key, err error) {
	x.peerHas = in.levels()
	if c.from == nil {
		x.peerHad = x.peerHas
	}
	// A peer that has itself forgotten does not say what is deleted.
	behind := x.opts.Store.Levels(c.partition).Stable < x.peerHas.Purge && x.peerHas.Purge <= x.peerHas.Stable &&
		x.mode&modePushOnly == 0
	if flags := in.byte(); flags&flagReached != 0 {
		k := in.key()
		reached = &k
	}
	var push, pull, lacked []store.Key
	m := x.newMerging(x.peerHas)
	for len(in.rest) > 0 {
		switch in.byte() {
		case findWanted:
			if i := in.index(len(c.entries)); !in.bad {
				push = append(push, c.entries[i].key)
				lacked = append(lacked, c.entries[i].key)
			}
		case findDiffers:
			i, theirs := in.index(len(c.entries)), in.clock()
			if in.bad {
				break
			}
			n, err := x.needOf(c.entries[i].key, theirs, c.levels)
			if err != nil {
				return nil, err
			}
			if n&needPush != 0 {
				push = append(push, c.entries[i].key)
			}
			if n&needPull != 0 && x.mode&modePushOnly == 0 {
				pull = append(pull, c.entries[i].key)
			}
		case findObject:
			k, text := in.key(), in.bytes()
			if in.bad || !c.has(k, x.table.Partitions()) {
				in.fail()
				break
			}
			if err := m.add(0, k, text); err != nil {
				return nil, fmt.Errorf("merge what %s has: %w", x.peer, err)
			}
		default:
			in.fail()
		}
	}
	if err := x.replied(in); err != nil {
		return nil, err
	}
	if err := x.merged(m); err != nil {
		return nil, err
	}
	if err := x.transfer(ctx, c.partition, push, pull); err != nil || !behind {
		return reached, err
	}
	return reached, x.forget(lacked)
}

// needOf decides by what is here now. Where this node has pruned, or may, or has
// forgotten something, the clocks do not say who is behind.
func (x *exchange) needOf(k store.Key, theirs version.Clock, own store.Levels) (need, error) {
	text, _, err := x.encoded(k, nil)
	if err != nil {
		return 0, err
	}
	var o version.Object
	if len(text) > 0 {
		if err := o.DecodeTrusted(text); err != nil {
			return 0, err
		}
	}
	if max(o.Clock.MaxHLC(), theirs.MaxHLC()) <= own.Purge || own.Stable < x.peerHas.Purge {
		return needPush | needPull, nil
	}
	return needOf(o.Clock, theirs), nil
}

// merged makes durable what came from the peer.
func (x *exchange) merged(m *merging) error {
	if m.count == 0 {
		return nil
	}
	if err := m.commit(); err != nil {
		return err
	}
	x.admission.spend(m.count * objectCost)
	x.repaired += m.changed
	x.counters.repaired.Add(uint64(m.changed))
	x.counters.refused.Add(uint64(len(m.refused)))
	x.refused += len(m.refused)
	if x.mode&modeExact != 0 && len(m.refused) > 0 {
		return fmt.Errorf("%d objects of %s: %w", len(m.refused), x.peer, store.ErrDrift)
	}
	return nil
}

// transfer sends some objects to the peer and gets others from it, in pages.
func (x *exchange) transfer(ctx context.Context, p ring.Partition, push, pull []store.Key) error {
	for len(push) > 0 || len(pull) > 0 {
		page := objectsPage{levels: x.opts.Store.Levels(p)}
		var err error
		if push, err = page.fill(x.Repair, push); err != nil {
			return err
		}
		asked := pull[:min(len(pull), entriesMax)]
		if page.count == 0 && len(asked) == 0 {
			continue // all that was to be pushed is gone
		}
		in, err := x.call(ctx, x.peer, askObjects, func(dst []byte) []byte {
			return appendPulls(page.append(dst), asked)
		})
		if err != nil {
			return err
		}
		theirs, outcome := readOutcome(in, page.count)
		got, err := x.pulled(in, asked, theirs)
		if err != nil {
			return err
		}
		if x.mode&modeExact != 0 && len(outcome.refused) > 0 {
			return fmt.Errorf("%s refuses %d objects: %w", x.peer, len(outcome.refused), store.ErrDrift)
		}
		x.refused += len(outcome.refused)
		x.repaired += outcome.changed
		x.admission.spend(page.count * objectCost)
		pull = pull[got:]
	}
	return nil
}

// pulled merges the objects at the end of a reply, and returns how many there
// were: not always all that were asked for, but one at least.
func (x *exchange) pulled(in *reader, asked []store.Key, from store.Levels) (got int, err error) {
	m := x.newMerging(from)
	for len(in.rest) > 0 && got < len(asked) {
		text := in.bytes()
		if len(text) > 0 {
			if err := m.add(got, asked[got], text); err != nil {
				return 0, fmt.Errorf("merge what %s has: %w", x.peer, err)
			}
		}
		got++
	}
	if got == 0 && len(asked) > 0 {
		in.fail()
	}
	if err := x.replied(in); err != nil {
		return 0, err
	}
	return got, x.merged(m)
}

// An objectsPage is what one message pushes.
type objectsPage struct {
	levels store.Levels // this node's, read before the objects
	text   []byte
	count  int
}

// fill adds objects until the page is full, and returns the keys that are left.
func (page *objectsPage) fill(r *Repair, keys []store.Key) (rest []store.Key, err error) {
	var text []byte
	for i, k := range keys {
		if text, _, err = r.encoded(k, text[:0]); err != nil {
			return nil, err
		}
		if !page.add(k, text) {
			return keys[i:], nil
		}
	}
	return nil, nil
}

// add adds one object, or reports that it does not fit. A large one goes alone.
func (page *objectsPage) add(k store.Key, text []byte) bool {
	if len(text) == 0 {
		return true
	}
	if page.count > 0 && (len(page.text)+len(k.User)+len(text) > pageBytesMax || page.count == entriesMax) {
		return false
	}
	page.text = appendBytes(appendKey(append(page.text, objectPush), k), text)
	page.count++
	return true
}

// append writes the beginning of the message.
func (page *objectsPage) append(dst []byte) []byte {
	return append(appendLevels(dst, page.levels), page.text...)
}

func appendPulls(dst []byte, keys []store.Key) []byte {
	for _, k := range keys {
		dst = appendKey(append(dst, objectPull), k)
	}
	return dst
}

// An outcome is what became of a page.
type outcome struct {
	changed int
	refused map[int]bool // the numbers of those that were from the future
}

func readOutcome(in *reader, count int) (theirs store.Levels, o outcome) {
	theirs = in.levels()
	o = outcome{changed: in.index(count + 1)}
	for n := in.index(count + 1); n > 0 && !in.bad; n-- {
		if o.refused == nil {
			o.refused = map[int]bool{}
		}
		o.refused[in.index(count)] = true
	}
	return theirs, o
}

// push sends a page to a node and returns what became of it, durably.
func (r *Repair) push(ctx context.Context, to ring.NodeID, page *objectsPage) (outcome, error) {
	in, err := r.call(ctx, to, askObjects, func(dst []byte) []byte { return page.append(dst) })
	if err != nil {
		return outcome{}, err
	}
	_, o := readOutcome(in, page.count)
	if err := in.end(); err != nil {
		return outcome{}, fmt.Errorf("the reply of %s: %w", to, err)
	}
	r.admission.spend(page.count * objectCost)
	return o, nil
}
