package member

import (
	"bytes"
	"errors"
	"io"
	"iter"
	"math/rand/v2"
	"net/netip"
	"slices"
	"strings"
	"sync"
	"sync/atomic"
	"time"

	"cartwheel/cluster/ring"
)

const (
	rejoinPaces = 3  // between two rounds of joins
	calmPaces   = 30 // before a peer that was joined, and is not alive, is joined again
	joinsAtOnce = 8
	targetsMax  = 2 * nodesMax

	// joinWarnEvery is how often the failure to join one address is a warning.
	joinWarnEvery = time.Minute
)

// A target is an address to join.
type target struct {
	after  time.Time // not before
	warned time.Time // when its failure was logged last
}

// rejoin joins, for ever, every known peer, member and seed that is not alive
// here.
func (g *Gossip) rejoin() {
	targets := make(map[string]*target)
	for {
		g.saveKnown() // the document may have changed
		g.retarget(targets)
		g.joinDue(targets)
		pause := rejoinPaces * g.opts.Pace
		pause += time.Duration(rand.Int64N(int64(pause)/2)) - pause/4
		select {
		case <-time.After(pause):
		case <-g.ctx.Done():
			return
		}
	}
}

// retarget adds and drops targets, so that they are the addresses of all that
// are not alive.
func (g *Gossip) retarget(targets map[string]*target) {
	wanted := make(map[string]bool)
	add := func(id ring.NodeID, address string) {
		if address != "" && id != g.opts.Self && !g.Alive(id) && len(wanted) < targetsMax {
			wanted[address] = true
		}
	}
	for id, address := range g.known.all() {
		add(id, address)
	}
	if document := g.opts.Document(); document != nil {
		for i := range document.Members {
			add(document.Members[i].ID, document.Members[i].Peer)
		}
	}
	for _, seed := range g.opts.Seeds {
		add(ring.NodeID{}, seed)
	}
	for address := range targets {
		if !wanted[address] {
			delete(targets, address)
		}
	}
	for address := range wanted {
		if targets[address] == nil {
			targets[address] = &target{}
		}
	}
}

// joinDue joins the targets whose time has come, joinsAtOnce of them at a time,
// and returns when that has ended.
func (g *Gossip) joinDue(targets map[string]*target) {
	now := time.Now()
	var due []string
	for address, t := range targets {
		if !now.Before(t.after) {
			due = append(due, address)
		}
	}
	slices.Sort(due)
	var at atomic.Int64
	var joiners sync.WaitGroup
	for range min(joinsAtOnce, len(due)) {
		joiners.Go(func() {
			for i := at.Add(1) - 1; i < int64(len(due)) && g.ctx.Err() == nil; i = at.Add(1) - 1 {
				g.join(due[i], targets[due[i]])
			}
		})
	}
	joiners.Wait()
}

// join exchanges states with whoever is at the address, unless that is this node
// or one that is alive.
func (g *Gossip) join(address string, t *target) {
	resolved, err := resolve(g.ctx, address)
	if err == nil {
		err = g.joinFirst(resolved)
	}
	if g.ctx.Err() != nil {
		return
	}
	if err == nil {
		t.after, t.warned = time.Now().Add(calmPaces*g.opts.Pace), time.Time{}
		return
	}
	event := g.opts.Log.Debug()
	if time.Since(t.warned) >= joinWarnEvery {
		t.warned = time.Now()
		event = g.opts.Log.Warn()
	}
	event.Str("error", strings.Join(strings.Fields(err.Error()), " ")).Str("peer", address).
		Str("because", reasonOf(err)).Msg("cannot join a peer; trying on")
}

func (g *Gossip) joinFirst(addresses []netip.AddrPort) error {
	alive := g.nodes.aliveAt()
	var failures []error
	for _, address := range addresses {
		if address == g.advertise || alive[address] {
			return nil
		}
		_, err := g.list.Join([]string{address.String()})
		if err == nil {
			return nil
		}
		failures = append(failures, err)
	}
	return errors.Join(failures...)
}

// reasonOf says in plain words what memberlist's errors are known to mean.
func reasonOf(err error) string {
	switch text := err.Error(); {
	case strings.Contains(text, "nstalled keys could decrypt"), strings.Contains(text, "encryption is"):
		return "it has another cluster secret, or only one of us has any"
	case errors.Is(err, io.EOF), strings.Contains(text, "EOF"), strings.Contains(text, "reset by peer"):
		return "it hung up: it belongs to another cluster, or has no gossip at that address"
	case strings.Contains(text, "this node's id is taken"):
		return "a node with this node's id is alive elsewhere"
	}
	return ""
}

func sortedIDs(ids iter.Seq[ring.NodeID]) []ring.NodeID {
	return slices.SortedFunc(ids, func(a, b ring.NodeID) int { return bytes.Compare(a[:], b[:]) })
}
