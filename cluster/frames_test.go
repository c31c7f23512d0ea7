package cluster

import (
	"bytes"
	"context"
	"encoding/binary"
	"errors"
	"fmt"
	"net"
	"sync"
	"testing"
	"time"

	"cartwheel/cluster/ring"
	"cartwheel/cluster/wire"
)

// A tap counts the frames that the nodes of one world send each other.
type tap struct {
	mu       sync.Mutex
	requests map[byte]int // guarded by mu, by op; puts of hints are not counted
	replies  map[byte]int // guarded by mu
}

// take returns what has been counted of an op since the last take.
func (t *tap) take(op byte) (requests, replies int) {
	t.mu.Lock()
	defer t.mu.Unlock()
	requests, replies = t.requests[op], t.replies[op]
	t.requests[op], t.replies[op] = 0, 0
	return requests, replies
}

// tapped is a Network that its tap listens to, where its nodes dial.
type tapped struct {
	Network
	tap *tap
}

func (n tapped) Dial(ctx context.Context, address string) (net.Conn, error) {
	conn, err := n.Network.Dial(ctx, address)
	if err != nil {
		return nil, err
	}
	return &tappedConn{Conn: conn, sent: frames{tap: n.tap}, received: frames{tap: n.tap}}, nil
}

type tappedConn struct {
	net.Conn
	sent, received frames
}

func (c *tappedConn) Write(b []byte) (int, error) {
	n, err := c.Conn.Write(b)
	c.sent.saw(b[:n])
	return n, err
}

func (c *tappedConn) Read(b []byte) (int, error) {
	n, err := c.Conn.Read(b)
	c.received.saw(b[:n])
	return n, err
}

// frames takes one direction of a connection apart: a hail of 37 bytes, three
// messages of the handshake, then frames.
type frames struct {
	tap      *tap
	messages int // of the handshake that have passed
	hailed   bool
	rest     []byte
}

func (f *frames) saw(b []byte) {
	f.rest = append(f.rest, b...)
	for {
		need := 37
		switch {
		case f.messages == 3 && len(f.rest) >= 4:
			need = 4 + int(binary.BigEndian.Uint32(f.rest))
		case f.messages == 3:
			return
		case f.hailed && len(f.rest) < 5:
			return
		case f.hailed:
			need = 1 + 4 + int(binary.BigEndian.Uint32(f.rest[1:])) + 32
		}
		if len(f.rest) < need {
			return
		}
		switch {
		case f.messages == 3:
			f.tap.frame(f.rest[:need])
		case f.hailed:
			f.messages++
		default:
			f.hailed = true
		}
		f.rest = f.rest[need:]
	}
}

func (t *tap) frame(frame []byte) {
	const reply, clock = 1, 8
	op, flags := frame[12], frame[13]
	t.mu.Lock()
	defer t.mu.Unlock()
	switch {
	case flags&clock != 0:
	case flags&reply != 0:
		t.replies[op]++
	case op != opPut || frame[wire.HeaderBytes]&putHint == 0:
		t.requests[op]++
	}
}

// What a put and a get cost in messages does not depend on how many nodes there are:
// N-1 requests and as many replies, and R-1 of each at an owner. A slow machine makes
// a node ask others too, so it is the least of some tries that is exact.
func TestThePriceOfAPutDoesNotGrowWithTheRing(t *testing.T) {
	for _, nodes := range []int{3, 4, 7} {
		t.Run(fmt.Sprint(nodes, " nodes"), func(t *testing.T) {
			counts := &tap{requests: map[byte]int{}, replies: map[byte]int{}}
			w := newWorldOf(t, nodes, 3, func(i int, o *Options) {
				quiet(i, o)
				o.Network = tapped{o.Network, counts}
			})
			v := w.nodes[0].view.Load()
			preference := v.ring.Preference(v.partition([]byte("k")))
			owner := w.by(preference[0])
			counts.wantLeast(t, "a put", opPut, 2, func() { mustSet(t, owner, 0, "k", "v") })
			counts.wantLeast(t, "a get at an owner", opGet, 1, func() { wantValue(t, owner, 0, "k", "v") })
			if nodes > 3 {
				other := w.by(preference[3])
				counts.wantLeast(t, "a get at another node", opGet, 2, func() { wantValue(t, other, 0, "k", "v") })
			}
		})
	}
}

// wantLeast does something some times, and wants that the least number of requests of
// an op that it took, and of replies to them, is this. Where there are more replies than
// requests, or fewer, one is to an earlier request, or lost: that time says nothing.
func (t *tap) wantLeast(tt *testing.T, what string, op byte, want int, do func()) {
	tt.Helper()
	least := 1 << 20
	for tries, began := 10, time.Now(); tries > 0 && time.Since(began) < patience; {
		t.take(op)
		do()
		requests, replies := 0, 0
		for end := time.Now().Add(requestTimeout); replies < max(requests, want) && time.Now().Before(end); time.Sleep(time.Millisecond) {
			more, answers := t.take(op)
			requests, replies = requests+more, replies+answers
		}
		if replies == requests {
			least = min(least, requests)
			tries--
		}
	}
	if least != want {
		tt.Errorf("%s takes %d requests, not %d", what, least, want)
	}
}

// replies collects what comes back from a peer.
type replies struct {
	mu     sync.Mutex
	epoch  int // that say that the ring is older than the peer's
	taught int // of them with the newer one
	ended  int
}

func (r *replies) end(reply *wire.Reply) {
	r.mu.Lock()
	defer r.mu.Unlock()
	r.ended++
	if reply.Err == nil && reply.Status == statusEpoch {
		r.epoch++
		if len(reply.Payload) > 0 {
			r.taught++
		}
	}
}

// A ring document has a few hundred kilobytes when there are a thousand nodes, and a
// peer may have thousands of requests under way when the ring changes.
func TestARingDocumentComesOnceWithTheRepliesToOneRead(t *testing.T) {
	w := newWorldOf(t, 3, 3, quiet)
	c := w.nodes[0]
	p := c.view.Load().peers[0]
	got := &replies{}
	g := get{key: []byte("k")}
	const requests = 200
	for range requests {
		if err := p.sendOn(wire.Small, opGet, c.view.Load().epoch-1, requestTimeout, got, g.append(nil)); err != nil {
			t.Fatal(err)
		}
	}
	c.Kick()
	until(t, "all replies", func() bool {
		got.mu.Lock()
		defer got.mu.Unlock()
		return got.ended == requests
	})
	if got.epoch != requests || got.taught < 1 || got.taught > 10 {
		t.Errorf("of %d requests %d were of an old epoch, and %d replies had the ring", requests, got.epoch, got.taught)
	}
}

// The longest document that is valid goes by the lane that agreement uses.
func TestTheLongestRingDocumentFitsIntoAFrame(t *testing.T) {
	d := &ring.Document{Epoch: 1 << 40, Partitions: ring.Slots, Replicas: ring.ReplicasMax}
	text := string(bytes.Repeat([]byte("x"), 255))
	for i := range ring.MembersMax {
		m := ring.Member{Peer: text, Client: text, Cluster: text, Zone: text, Weight: ring.WeightMax, State: ring.Active}
		binary.BigEndian.PutUint32(m.ID[:], uint32(i+1))
		d.Members = append(d.Members, m)
	}
	for p := range ring.Partition(ring.Slots) {
		row := make([]ring.NodeID, ring.ReplicasMax)
		for i := range row {
			row[i] = d.Members[ring.MembersMax-ring.ReplicasMax+i].ID
			d.Moves = append(d.Moves, ring.Move{Partition: p, From: row[i], To: d.Members[ring.MembersMax-2*ring.ReplicasMax+i].ID})
		}
		d.Owners = append(d.Owners, row)
	}
	if err := d.Validate(); err != nil {
		t.Fatal(err)
	}
	form := d.Append(nil)
	w := newWorldOf(t, 2, 2, quiet)
	c := w.nodes[0]
	ctx, cancel := context.WithTimeout(t.Context(), patience)
	defer cancel()
	reply, err := c.call(ctx, c.view.Load().peers[0], wire.Small, opAgree, 0, form, make([]byte, 4096))
	if err != nil || len(reply) == 0 {
		t.Errorf("a message of %d bytes gets %q, %v", len(form)+4096, reply, err)
	}
}

// A decree needs a majority. Those who are silent are not waited for when it is there.
func TestACallEndsWhenNobodyWantsToKnow(t *testing.T) {
	w := newWorldOf(t, 3, 3, quiet)
	c := w.nodes[0]
	p := c.view.Load().peers[0]
	w.net.setCut(p.address(), address(0), true)
	ctx, cancel := context.WithCancel(t.Context())
	ended := make(chan error, 1)
	go func() {
		_, err := messenger{c}.Call(ctx, p.id, nil)
		ended <- err
	}()
	cancel()
	if err := <-ended; !errors.Is(err, context.Canceled) {
		t.Errorf("a call that nobody wants to know the end of ended with %v", err)
	}
	w.net.heal()
}

// Whatever a peer sends, it is refused, ignored or done; the node goes on. Bytes are of those that lengths, counts and ranges go wrong by.
func TestNoMessageOfAPeerEndsANode(t *testing.T) {
	w := newWorldOf(t, 2, 2, quiet)
	c, random := w.nodes[0], w.rand
	p := c.view.Load().peers[0]
	const messages = 3000
	got := &replies{}
	for i := range messages {
		payload := make([]byte, random.IntN(64))
		for j := range payload {
			payload[j] = []byte{0, 0, 0, 1, 255, byte(random.Uint32())}[random.IntN(6)]
		}
		op := wire.Op(random.IntN(opWeigh + 2))
		if op == opScan && len(payload) > 0 {
			payload = append([]byte{0}, bytes.Repeat([]byte{payload[0], payload[len(payload)-1]}, scanHeaderBytes)[:scanHeaderBytes-1]...)
		}
		if err := p.sendOn(wire.Small, op, c.view.Load().epoch, time.Second, got, payload); err != nil {
			t.Fatal(err)
		}
		if i%100 == 0 {
			c.Kick()
			until(t, "all replies", func() bool {
				got.mu.Lock()
				defer got.mu.Unlock()
				return got.ended == i+1
			})
		}
	}
	w.healthy()
	mustSet(t, c, 0, "k", "v")
	wantValue(t, w.nodes[1], 0, "k", "v")
}
