package cluster

import (
	"sync"
	"sync/atomic"
	"time"

	"cartwheel/cluster/member"
	"cartwheel/cluster/ring"
	"cartwheel/cluster/wire"
	"cartwheel/store/version"
)

// A peer is another node as this one sees it.
type peer struct {
	c    *Coordinator
	id   ring.NodeID
	link *wire.Link

	where    atomic.Pointer[string]      // its address
	run      atomic.Pointer[[8]byte]     // of its process, as it last said
	wired    atomic.Int32                // lanes that are connected
	tried    atomic.Bool                 // an attempt to connect has ended
	life     *member.Peer                // judges whether it is up
	heardNS  atomic.Int64                // when it last answered, by uptime
	teaching [wire.LaneCount]atomic.Bool // a ring document is on its way to it
	lessons  lessons                     // by it
	deafNS   atomic.Int64                // until then, by uptime, it cannot take a ring
	unsent   atomic.Bool                 // requests wait for a flush, and it is in the coordinator's list
	usualNS  [kinds]atomic.Int64         // by kind of operation
	drifts   atomic.Bool                 // its clock is too far ahead
	status   atomic.Pointer[status]
	pinging  atomic.Bool
	pings    atomic.Uint32
	toldNS   atomic.Int64 // when it last pinged, by uptime
	pingNS   int64        // when it was last pinged in turn, by uptime; runPings' alone

	incarnation atomic.Uint64 // its own, as it last said
	clientsRate atomic.Int64  // what its clients leave to work in the background, as it last said; 0: it has none
	knows       atomic.Uint64 // the hash of the incarnations that it knows of, as it last said
}

// requestTimeout is how long a peer may take to answer.
const requestTimeout = time.Second

// bulkBytes is the size from which a request goes by the lane for bulk.
const bulkBytes = 32 << 10

func (p *peer) up() bool { return p.life.Up() }

// slow reports that the peer does not seem to be up, and may well answer yet.
func (p *peer) slow() bool { return !p.life.Up() && p.life.Reachable() }

// deaf reports that the peer could not take a ring a moment ago.
func (p *peer) deaf() bool { return int64(p.c.uptime()) < p.deafNS.Load() }

// taught notes how a ring that was sent to the peer has ended.
func (p *peer) taught(err error, status uint8) {
	if err == nil && status == statusRefused {
		p.deafNS.Store(int64(p.c.uptime() + deafFor))
	}
}

// usual is how long the peer usually takes to answer.
func (p *peer) usual(k kind) time.Duration { return time.Duration(p.usualNS[k].Load()) }

// took notes how long one answer took.
func (p *peer) took(k kind, d time.Duration) {
	was := p.usualNS[k].Load()
	p.usualNS[k].Store(was + (int64(d)-was)/8) // others may do so too; what one of them adds may be lost
}

// send appends a request, which Kick sends. The end is told to token, unless
// there is an error: then nothing was sent.
func (p *peer) send(op wire.Op, epoch uint64, token ender, parts ...[]byte) error {
	return p.sendOn(laneFor(parts), op, epoch, requestTimeout, token, parts...)
}

// laneFor is the lane of a request with that payload.
func laneFor(parts [][]byte) wire.Lane {
	size := 0
	for _, part := range parts {
		size += len(part)
	}
	if size >= bulkBytes {
		return wire.Bulk
	}
	return wire.Small
}

func (p *peer) sendOn(lane wire.Lane, op wire.Op, epoch uint64, timeout time.Duration, token ender, parts ...[]byte) error {
	p.life.Asked(1)
	err := p.link.Send(lane, op, epoch, uint64(p.c.store.LastHLC()), timeout, token, parts...)
	switch {
	case err != nil:
		p.life.Lost(1)
	case !p.unsent.Load() && !p.unsent.Swap(true):
		p.c.unsent.add(p)
	}
	return err
}

func (p *peer) address() string { return *p.where.Load() }

func (p *peer) setAddress(address string) { p.where.Store(&address) }

// Kick sends the requests that have been appended, to each peer by one write.
func (c *Coordinator) Kick() {
	var some [unsentAtOnce]*peer
	for n := c.unsent.take(&some); n > 0; n = c.unsent.take(&some) {
		for _, p := range some[:n] {
			p.unsent.Store(false) // before the flush: what is appended from now on asks for another
			p.link.Flush()
		}
	}
}

// The unsent are the peers that requests wait for at. It is looked at after every
// read of a connection, where there may be a thousand peers and two that matter.
type unsent struct {
	some  atomic.Bool
	mu    sync.Mutex
	peers []*peer // guarded by mu
}

const unsentAtOnce = 16

func (u *unsent) add(p *peer) {
	u.mu.Lock()
	defer u.mu.Unlock()
	u.peers = append(u.peers, p)
	u.some.Store(true)
}

func (u *unsent) take(into *[unsentAtOnce]*peer) (n int) {
	if !u.some.Load() {
		return 0
	}
	u.mu.Lock()
	defer u.mu.Unlock()
	rest := max(0, len(u.peers)-len(into))
	n = copy(into[:], u.peers[rest:])
	clear(u.peers[rest:])
	u.peers = u.peers[:rest]
	u.some.Store(rest > 0)
	return n
}

// observe takes a peer's HLC into account.
func (c *Coordinator) observe(p *peer, hlc version.HLC) error {
	err := c.store.Observe(hlc)
	if drifts := err != nil; drifts != p.drifts.Load() {
		p.drifts.Store(drifts)
		if drifts {
			c.log.Warn().Stringer("node", p.id).Err(err).Msg("a node's clock is ahead: what it writes is refused")
		} else {
			c.log.Info().Stringer("node", p.id).Msg("a node's clock is right again")
		}
	}
	return err
}
