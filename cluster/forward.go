package cluster

import (
	"bytes"
	"errors"
	"slices"
	"time"

	"cartwheel/cluster/quorum"
	"cartwheel/cluster/ring"
	"cartwheel/cluster/wire"
	"cartwheel/store/version"
)

// Route returns where a command on a key is to run: at this node if it is an owner
// and any owner will do (anyOwner), else at the first live owner or, where none
// is, at the first live fallback; but at an owner that may only be slow if not any will do.
func (c *Coordinator) Route(key []byte, anyOwner bool) (to ring.NodeID, place quorum.Place) {
	v := c.view.Load()
	if v.alone {
		return to, quorum.Alone
	}
	pl := &v.places[v.partition(key)]
	if anyOwner && pl.holds() {
		return to, quorum.Here
	}
	for i, p := range pl.nodes {
		if pl.owners.Has(i) && up(p) {
			if i == pl.self {
				return to, quorum.Here
			}
			return p.id, quorum.Away
		}
	}
	if !anyOwner { // what reads before it writes waits for an owner that may only be slow
		for i, p := range pl.nodes {
			if pl.owners.Has(i) && p.slow() {
				return p.id, quorum.Away
			}
		}
	}
	for _, p := range pl.fallbacks() {
		if p == nil {
			return to, quorum.Here
		}
		if p.up() {
			return p.id, quorum.Away
		}
	}
	return ring.NodeID{}, quorum.Away // Forward says that there is none
}

// againTimeout is how long a node may take to run a command that may be run
// again, elsewhere.
const againTimeout = 300 * time.Millisecond

// movedPause is how long after a refusal a command is routed again: a node that has just started
// gets to the others in that time, mostly.
const movedPause = 20 * time.Millisecond

// soon returns until when what a node writes counts as written that is asked now to run a
// command that may be run again. It is above after, and above what other nodes have written
// lately by clocks that are ahead.
func (c *Coordinator) soon(after version.HLC) version.HLC {
	now := max(c.store.LastHLC(), version.MakeHLC(c.store.NowMS(), 0), after)
	return now + version.MakeHLC(c.store.MaxClockDrift().Milliseconds()/5, 0)
}

// farAhead says whether an HLC is so far ahead that others might refuse what is written above it.
func (c *Coordinator) farAhead(h version.HLC) bool {
	return h > version.MakeHLC(c.store.NowMS()+c.store.MaxClockDrift().Milliseconds()*9/10, 0)
}

// A forward is a command that another node runs.
type forward struct {
	c       *Coordinator
	f       *quorum.Forwarded
	done    quorum.ForwardDone
	tried   []ring.NodeID
	lane    wire.Lane // of the last attempt
	tries   int
	unknown bool // an attempt may have been carried out
}

// Forward has another node run a command.
func (c *Coordinator) Forward(to ring.NodeID, f *quorum.Forwarded, done quorum.ForwardDone) error {
	if c.view.Load().left {
		return wireError(errLeft)
	}
	fw := &forward{c: c, f: f, done: done}
	return wireError(fw.send(to))
}

// send sends the command to a node, or else to another owner that is up.
func (fw *forward) send(to ring.NodeID) error {
	v := fw.c.view.Load()
	if span := &fw.f.Need.Span; fw.f.Again {
		span.Before = fw.c.soon(span.After)
	}
	text := appendForwarded(nil, fw.f)
	p := v.byID[to]
	for range len(v.peers) + 1 {
		if p != nil {
			fw.tried = append(fw.tried, p.id)
			fw.lane = wire.Small
			if len(text) >= bulkBytes || fw.repliesLong() {
				fw.lane = wire.Bulk
			}
			timeout := requestTimeout
			if fw.f.Again {
				timeout = againTimeout
			}
			err := p.sendOn(fw.lane, opForward, v.epoch, timeout, fw, text)
			if err == nil {
				return nil
			}
			if errors.Is(err, wire.ErrOverloaded) {
				return err
			}
		}
		if p = fw.another(v); p == nil {
			break
		}
	}
	return quorum.ErrNoReplicas
}

// repliesLong reports that the reply may be a whole value.
func (fw *forward) repliesLong() bool {
	name := fw.f.Args[0]
	return name[0]|0x20 == 'g' || len(name) == 3 && len(fw.f.Args) > 3
}

// another returns a live owner, or else a fallback, that has not been tried, or else one that may only be slow.
func (fw *forward) another(v *view) *peer {
	if len(fw.f.Args) < 2 {
		return nil
	}
	pl := &v.places[v.partition(fw.f.Args[1])]
	for _, may := range []func(*peer) bool{(*peer).up, (*peer).slow} {
		for i, p := range slices.Concat(pl.nodes, pl.fallbacks()) {
			incoming := i < len(pl.nodes) && !pl.owners.Has(i)
			if p != nil && !incoming && may(p) && !slices.Contains(fw.tried, p.id) {
				return p
			}
		}
	}
	return nil
}

func (fw *forward) end(reply *wire.Reply) {
	err := reply.Err
	failed := err == nil && reply.Status == statusOK && bytes.HasPrefix(reply.Payload, []byte("-"))
	notRun := failed && bytes.HasPrefix(reply.Payload, []byte("-NOREPLICAS "))
	switch {
	case notRun && !fw.unknown:
		// That node sees another ring, or others that are up, than this one did. Another may do;
		// else whoever asked chooses again, when it may have found the others that are up.
		if fw.f.Again && fw.send(ring.NodeID{}) == nil {
			return
		}
		time.AfterFunc(movedPause, func() { fw.done.ForwardDone(nil, wireError(quorum.ErrMoved)) })
		return
	case notRun && fw.tries < callTries:
		fw.tries++
		if fw.retry() == nil {
			return
		}
		err = quorum.ErrNoReplicas
	case err == nil && reply.Status == statusOK && !(failed && fw.unknown):
		fw.done.ForwardDone(append([]byte(nil), reply.Payload...), nil)
		return
	case err == nil && reply.Status == statusRefused:
		err = &WireError{"ERR", string(reply.Payload), errUnknown}
		if word, rest, ok := cutWord(string(reply.Payload)); ok {
			err = &WireError{word, rest, errUnknown}
		}
	case err == nil && (reply.Status == statusBehind || reply.Status == statusEpoch), errors.Is(err, wire.ErrOverloaded):
		// It was not run.
		most := renewsMax
		if err != nil {
			most = callTries
		}
		if err == nil && fw.deaf(reply.Status) {
			if reply.Status == statusBehind && fw.send(ring.NodeID{}) == nil {
				return
			}
			most = 0
		}
		if fw.tries++; fw.tries <= most {
			if err == nil && reply.Status == statusBehind {
				fw.teach()
			}
			if fw.retry() == nil {
				return
			}
		}
		if err == nil {
			err = errRings
		}
	case fw.f.Again:
		fw.unknown = true
		fw.f.Need.Span.After = fw.f.Need.Span.Before
		if !fw.c.farAhead(fw.f.Need.Span.After) && fw.send(ring.NodeID{}) == nil {
			return
		}
		err = errUnknown
	default:
		err = errUnknown
	}
	if fw.unknown {
		err = errUnknown // whatever has become of the last attempt
	}
	fw.done.ForwardDone(nil, wireError(err))
}

// deaf reports that whichever of this node and the one that was asked last is behind cannot take the ring.
func (fw *forward) deaf(status uint8) bool {
	if status == statusEpoch {
		return fw.c.deaf()
	}
	p := fw.c.peer(fw.tried[len(fw.tried)-1])
	return p != nil && p.deaf()
}

// teach sends the ring to the node that was asked last. It takes it before the
// command, which follows on the same lane.
func (fw *forward) teach() {
	v := fw.c.view.Load()
	if p := v.byID[fw.tried[len(fw.tried)-1]]; p != nil {
		p.teach(fw.lane, v)
	}
}

// retry sends the command to the same node again.
func (fw *forward) retry() error {
	last := fw.tried[len(fw.tried)-1]
	fw.tried = fw.tried[:len(fw.tried)-1]
	return fw.send(last)
}

// cutWord splits a text whose first word is in capitals.
func cutWord(s string) (word, rest string, ok bool) {
	for i := range len(s) {
		switch ch := s[i]; {
		case ch == ' ' && i > 1:
			return s[:i], s[i+1:], true
		case ch < 'A' || ch > 'Z':
			return "", s, false
		}
	}
	return "", s, false
}
