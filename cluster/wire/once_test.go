package wire

import (
	"fmt"
	"math/rand/v2"
	"net"
	"sync"
	"sync/atomic"
	"testing"
	"testing/synctest"
	"time"

	"pgregory.net/rapid"
)

// TestEachTokenIsDeliveredExactlyOnce sends from several goroutines over
// connections that break at random, in the middle of frames too, to a peer that
// answers at once, late, never or twice, while requests time out.
func TestEachTokenIsDeliveredExactlyOnce(t *testing.T) {
	rapid.Check(t, func(rt *rapid.T) {
		s := scenario{
			seed:      rapid.Uint64().Draw(rt, "seed"),
			senders:   rapid.IntRange(1, 4).Draw(rt, "senders"),
			requests:  rapid.IntRange(1, 300).Draw(rt, "requests"),
			cutMax:    rapid.SampledFrom([]int{0, 100, 3000, 100_000}).Draw(rt, "bytes until a cut"),
			inFlight:  rapid.SampledFrom([]int{1, 10, 1000}).Draw(rt, "in flight"),
			closeSoon: rapid.Bool().Draw(rt, "close soon"),
		}
		var err error
		synctest.Test(t, func(t *testing.T) { err = s.run(t) })
		if err != nil {
			rt.Fatal(err)
		}
	})
}

type scenario struct {
	seed              uint64
	senders, requests int
	cutMax, inFlight  int
	closeSoon         bool
}

type onceToken struct {
	sent      bool // Send returned nil
	delivered atomic.Int32
	payload   [8]byte
	bad       atomic.Bool // another request's reply
}

func (s *scenario) run(t *testing.T) error {
	limits := [LaneCount]Limits{Small: {InFlightMax: s.inFlight}, Bulk: {InFlightMax: s.inFlight}}
	var random sync.Mutex
	rng := rand.New(rand.NewPCG(s.seed, 1))
	draw := func(n int) int {
		random.Lock()
		defer random.Unlock()
		return rng.IntN(n)
	}
	deliver := func(replies []Reply) {
		for _, reply := range replies {
			token := reply.Token.(*onceToken)
			token.delivered.Add(1)
			if reply.Err == nil && string(reply.Payload) != string(token.payload[:]) {
				token.bad.Store(true)
			}
		}
	}
	r := newRig(t, rigOptions{
		down:    true,
		connect: s.connect(draw),
		link:    LinkOptions{Limits: limits, Deliver: deliver},
		serve:   ServeOptions{Limits: limits, Handler: erratic(draw)},
	})
	tokens := make([][]onceToken, s.senders)
	var sending sync.WaitGroup
	for i := range tokens {
		tokens[i] = make([]onceToken, s.requests)
		rng := rand.New(rand.NewPCG(s.seed, uint64(2+i)))
		sending.Go(func() { sendAll(r.Link, rng, tokens[i]) })
	}
	if s.closeSoon {
		time.Sleep(time.Duration(draw(1000)) * time.Millisecond)
		r.close()
		sending.Wait()
	} else {
		sending.Wait()
		time.Sleep(time.Minute) // beyond every timeout, so without Close's help
	}
	synctest.Wait()
	err := judge(tokens)
	r.close()
	if err == nil {
		err = judge(tokens)
	}
	return err
}

func judge(tokens [][]onceToken) error {
	for i := range tokens {
		for j := range tokens[i] {
			token := &tokens[i][j]
			want := int32(0)
			if token.sent {
				want = 1
			}
			if n := token.delivered.Load(); n != want || token.bad.Load() {
				return fmt.Errorf("token %d of sender %d: sent %v, delivered %d times, with another's reply: %v",
					j, i, token.sent, n, token.bad.Load())
			}
		}
	}
	return nil
}

func sendAll(l *Link, rng *rand.Rand, tokens []onceToken) {
	for i := range tokens {
		token := &tokens[i]
		for j := range token.payload {
			token.payload[j] = byte(rng.Uint32())
		}
		timeout := time.Duration(1+rng.IntN(2000)) * time.Millisecond
		token.sent = l.Send(Lane(rng.IntN(int(LaneCount))), 1, 2, 3, timeout, token, token.payload[:]) == nil
		if rng.IntN(3) == 0 {
			l.Flush()
		}
		if rng.IntN(10) == 0 {
			time.Sleep(time.Duration(rng.IntN(100)) * time.Millisecond)
		}
	}
	l.Flush()
}

// connect returns connections of which some never come to be and most break
// after a while.
func (s *scenario) connect(draw func(int) int) func() (net.Conn, net.Conn) {
	return func() (net.Conn, net.Conn) {
		if draw(5) == 0 {
			return nil, nil
		}
		dialed, accepted := net.Pipe()
		if s.cutMax == 0 {
			return dialed, accepted
		}
		const handshake = 300
		return &cutConn{dialed, handshake + draw(s.cutMax)}, &cutConn{accepted, handshake + draw(s.cutMax)}
	}
}

// erratic answers as draw has it.
func erratic(draw func(int) int) Handler {
	return handlerFunc(func(b *Batch) {
		for i, r := range b.Requests() {
			switch draw(8) {
			case 0: // never
			case 1: // twice
				b.Reply(i, 0, 0, 0, r.Payload)
				b.Reply(i, 0, 0, 0, []byte("no reply"))
			case 2, 3: // later, perhaps too late
				responder := b.Defer(i)
				if responder == nil {
					continue
				}
				payload := append([]byte(nil), r.Payload...)
				time.AfterFunc(time.Duration(draw(3000))*time.Millisecond, func() { responder.Reply(0, 0, 0, payload) })
			default:
				b.Reply(i, 0, 0, 0, r.Payload)
			}
		}
		if draw(20) == 0 {
			time.Sleep(time.Duration(draw(500)) * time.Millisecond)
		}
	})
}

// TestEachTokenIsDeliveredExactlyOnceOverTCP is for the direct writes, and for pollers.
func TestEachTokenIsDeliveredExactlyOnceOverTCP(t *testing.T) {
	t.Run("read by goroutines", func(t *testing.T) { onceOverTCP(t, rigOptions{}) })
	t.Run("read by pollers", func(t *testing.T) { onceOverTCP(t, pollOptions(t)) })
}

func onceOverTCP(t *testing.T, opts rigOptions) {
	pair := tcpPair(t)
	var mu sync.Mutex
	var conns []net.Conn
	opts.connect = func() (net.Conn, net.Conn) {
		dialed, accepted := pair()
		mu.Lock()
		defer mu.Unlock()
		conns = append(conns, dialed)
		return dialed, accepted
	}
	opts.link.Deliver = func(replies []Reply) {
		for _, reply := range replies {
			reply.Token.(*onceToken).delivered.Add(1)
		}
	}
	r := newRig(t, opts)
	tokens := make([][]onceToken, 4)
	var sending sync.WaitGroup
	for i := range tokens {
		tokens[i] = make([]onceToken, 500)
		rng := rand.New(rand.NewPCG(7, uint64(i)))
		sending.Go(func() { sendAll(r.Link, rng, tokens[i]) })
	}
	breaking := make(chan struct{})
	var breaker sync.WaitGroup
	breaker.Go(func() {
		ticker := time.NewTicker(100 * time.Millisecond)
		defer ticker.Stop()
		for {
			select {
			case <-breaking:
				return
			case <-ticker.C:
			}
			mu.Lock()
			for _, conn := range conns {
				conn.Close()
			}
			conns = conns[:0]
			mu.Unlock()
		}
	})
	sending.Wait()
	close(breaking)
	breaker.Wait()
	r.close()
	if err := judge(tokens); err != nil {
		t.Fatal(err)
	}
}
