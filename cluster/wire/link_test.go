package wire

import (
	"bytes"
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/tls"
	"crypto/x509"
	"errors"
	"fmt"
	"math/big"
	"net"
	"sync/atomic"
	"testing"
	"testing/synctest"
	"time"
)

func tlsPair(t testing.TB) func() (net.Conn, net.Conn) {
	key, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	if err != nil {
		t.Fatal(err)
	}
	template := x509.Certificate{SerialNumber: big.NewInt(1), DNSNames: []string{"peer"}, NotAfter: time.Now().Add(time.Hour)}
	der, err := x509.CreateCertificate(rand.Reader, &template, &template, &key.PublicKey, key)
	if err != nil {
		t.Fatal(err)
	}
	roots := x509.NewCertPool()
	cert, err := x509.ParseCertificate(der)
	if err != nil {
		t.Fatal(err)
	}
	roots.AddCert(cert)
	connect := tcpPair(t)
	return func() (net.Conn, net.Conn) {
		dialed, accepted := connect()
		return tls.Client(dialed, &tls.Config{RootCAs: roots, ServerName: "peer"}),
			tls.Server(accepted, &tls.Config{Certificates: []tls.Certificate{{Certificate: [][]byte{der}, PrivateKey: key}}})
	}
}

func TestRequestsAreAnsweredOverAnyConnection(t *testing.T) {
	for name, connect := range map[string]func() (net.Conn, net.Conn){"memory": nil, "TCP": tcpPair(t), "TLS": tlsPair(t)} {
		t.Run(name, func(t *testing.T) {
			r := newRig(t, rigOptions{connect: connect})
			type request struct {
				lane    Lane
				payload []byte
			}
			want := map[*request]bool{}
			for i := range 300 {
				req := &request{lane: Lane(i % 2), payload: make([]byte, i*i)}
				if i == 299 {
					req = &request{lane: Bulk, payload: make([]byte, 20<<20)}
				}
				_, _ = rand.Read(req.payload)
				half := len(req.payload) / 2
				if err := r.Send(req.lane, 42, uint64(i), uint64(2*i), time.Minute, req, req.payload[:half], req.payload[half:]); err != nil {
					t.Fatal(err)
				}
				want[req] = true
				if i%7 == 0 {
					r.Flush()
				}
			}
			r.Flush()
			for _, reply := range r.await(t, len(want)) {
				req := reply.Token.(*request)
				if !want[req] || reply.Err != nil || reply.Op != 42 || reply.Status != 42 || reply.HLC != 2*(reply.Epoch-1)+1 {
					t.Fatalf("%+v", reply)
				}
				if !bytes.Equal(reply.Payload, req.payload) {
					t.Fatal("another payload")
				}
				delete(want, req)
			}
		})
	}
}

func TestManySendsGoOutByOneWriteAndAreAnsweredByOne(t *testing.T) {
	entered, goOn := make(chan int, 1000), make(chan struct{})
	handler := handlerFunc(func(b *Batch) {
		entered <- len(b.Requests())
		<-goOn
		echo(b)
	})
	r := newRig(t, rigOptions{connect: tcpPair(t), serve: ServeOptions{Handler: handler}})
	writes, serveWrites := r.linkCounters.Writes.Load(), r.serveCounters.Writes.Load()
	const n = 200 // they fit into one read
	for range n {
		mustSend(t, r.Link, Small, nil, time.Minute, []byte("payload"))
	}
	if got := r.linkCounters.Writes.Load() - writes; got != 0 {
		t.Errorf("%d writes before Flush", got)
	}
	r.Flush()
	if got := r.linkCounters.Writes.Load() - writes; got != 1 {
		t.Errorf("%d writes for one Flush", got)
	}
	if got := <-entered; got != n {
		t.Errorf("a batch of %d", got)
	}
	close(goOn)
	r.await(t, n)
	if got := r.serveCounters.Writes.Load() - serveWrites; got != 1 {
		t.Errorf("%d writes for the replies", got)
	}
}

func TestASendThatNobodyFlushesIsSentAllTheSame(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		r := newRig(t, rigOptions{})
		for range 3 {
			mustSend(t, r.Link, Small, nil, time.Minute)
			start, before := time.Now(), len(r.replies())
			r.await(t, before+1)
			if took := time.Since(start); took > 3*tick {
				t.Errorf("after %v", took)
			}
			time.Sleep(time.Minute) // the sweeper rests meanwhile
		}
		r.close()
	})
}

func TestSendRefusesAtOnceWhatItCannotSend(t *testing.T) {
	var mute atomic.Bool
	mute.Store(true)
	handler := handlerFunc(func(b *Batch) {
		if !mute.Load() {
			echo(b)
		}
	})
	limits := [LaneCount]Limits{Small: {FrameBytesMax: 20_000, InFlightMax: 10, BytesMax: 100_000 + HeaderBytes}}
	synctest.Test(t, func(t *testing.T) {
		r := newRig(t, rigOptions{link: LinkOptions{Limits: limits}, serve: ServeOptions{Handler: handler}})
		send := func(timeout time.Duration, bytes int) error {
			return r.Send(Small, 1, 2, 3, timeout, new(int), make([]byte, bytes))
		}
		expect := func(got, want error) {
			t.Helper()
			if !errors.Is(got, want) {
				t.Errorf("%v, want %v", got, want)
			}
		}
		expect(send(0, 10), ErrTimeout)
		expect(send(time.Second, 20_000-HeaderBytes+1), ErrTooLarge)
		for range 10 {
			expect(send(time.Second, 10), nil)
		}
		expect(send(time.Second, 10), ErrOverloaded) // by number
		r.Flush()
		r.await(t, 10)
		for range 5 {
			expect(send(time.Second, 20_000-HeaderBytes), nil)
			r.Flush()
			synctest.Wait() // written, and so in flight and nothing else
		}
		expect(send(time.Second, 1), ErrOverloaded) // by bytes
		r.Flush()
		r.await(t, 15)
		mute.Store(false)
		expect(send(time.Second, 10), nil)
		r.Flush()
		if last := r.await(t, 16)[15]; last.Err != nil {
			t.Error(last.Err)
		}
		r.close()
		expect(send(time.Second, 10), ErrDown)
		if got := r.linkCounters.Overloaded.Load(); got != 2 {
			t.Errorf("%d overloads counted", got)
		}
		if got := len(r.replies()); got != 16 {
			t.Errorf("%d replies", got)
		}
	})
	synctest.Test(t, func(t *testing.T) {
		r := newRig(t, rigOptions{down: true, connect: func() (net.Conn, net.Conn) { return nil, nil }})
		if err := r.Send(Bulk, 1, 2, 3, time.Second, nil); err != ErrDown {
			t.Error(err)
		}
		r.Flush()
		r.close()
	})
}

func TestAPeerThatIsSlowToReadHoldsUpNobody(t *testing.T) {
	for name, connect := range map[string]func() (net.Conn, net.Conn){"memory": nil, "TCP": tcpPair(t)} {
		t.Run(name, func(t *testing.T) {
			goOn := make(chan struct{})
			handler := handlerFunc(func(b *Batch) {
				<-goOn
				for i := range b.Requests() {
					b.Reply(i, 0, 0, 0)
				}
			})
			limits := [LaneCount]Limits{Small: {BytesMax: 64 << 20, InFlightMax: 1 << 20}}
			r := newRig(t, rigOptions{connect: connect, link: LinkOptions{Limits: limits}, serve: ServeOptions{Handler: handler}})
			sent := 0
			for { // much more than the system's buffers hold
				err := r.Send(Small, 1, 2, 3, time.Minute, nil, make([]byte, 100_000))
				r.Flush()
				if errors.Is(err, ErrOverloaded) {
					break
				}
				if err != nil {
					t.Fatal(err)
				}
				sent++
			}
			ln := r.lanes[Small]
			ln.mu.Lock()
			queued := len(ln.box.queued)
			ln.mu.Unlock()
			if queued > 64<<20 || sent < 600 {
				t.Errorf("%d requests sent, %d bytes queued", sent, queued)
			}
			close(goOn)
			for _, reply := range r.await(t, sent) {
				if reply.Err != nil {
					t.Fatal(reply.Err)
				}
			}
		})
	}
}

func TestARequestTimesOutOnceAndItsLateReplyIsDropped(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		handler := handlerFunc(func(b *Batch) {
			for i := range b.Requests() {
				responder := b.Defer(i)
				time.AfterFunc(2*time.Second, func() { responder.Reply(0, 0, 0) })
			}
		})
		type request struct {
			sent    time.Time
			timeout time.Duration
		}
		deliver := func(replies []Reply) {
			for _, reply := range replies {
				req := reply.Token.(*request)
				took := time.Since(req.sent)
				switch {
				case req.timeout > 2*time.Second && reply.Err != nil:
					t.Errorf("timeout %v: %v", req.timeout, reply.Err)
				case req.timeout < 2*time.Second && (reply.Err != ErrTimeout || took < req.timeout || took > req.timeout+2*tick):
					t.Errorf("timeout %v: %v after %v", req.timeout, reply.Err, took)
				}
			}
		}
		r := newRig(t, rigOptions{link: LinkOptions{Deliver: deliver}, serve: ServeOptions{Handler: handler}})
		timeouts := []time.Duration{1, time.Millisecond, 15 * time.Millisecond, 1500 * time.Millisecond, 3 * time.Second, time.Hour, 1 << 62}
		const rounds = 50
		for range rounds {
			for _, timeout := range timeouts {
				mustSend(t, r.Link, Small, &request{time.Now(), timeout}, timeout)
			}
			r.Flush()
			time.Sleep(7 * time.Millisecond)
		}
		time.Sleep(time.Minute)
		if got := len(r.replies()); got != rounds*len(timeouts) {
			t.Errorf("%d replies", got)
		}
		if got := r.linkCounters.TimedOut.Load(); got != rounds*4 {
			t.Errorf("%d timeouts counted", got)
		}
		if got := r.linkCounters.LateReplies.Load(); got == 0 || got > rounds*4 {
			t.Errorf("%d late replies counted", got)
		}
		r.close()
	})
}

func TestWhatIsInFlightIsDeliveredAsLostWhenTheConnectionBreaks(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		var conns []net.Conn
		connect := func() (net.Conn, net.Conn) {
			dialed, accepted := net.Pipe()
			conns = append(conns, accepted)
			return dialed, accepted
		}
		var mute atomic.Bool
		mute.Store(true)
		handler := handlerFunc(func(b *Batch) {
			if !mute.Load() {
				echo(b)
			}
		})
		var r *rig
		deliver := func([]Reply) {
			if mute.Load() && len(r.downs) == 0 {
				t.Error("delivered before Down")
			}
		}
		r = newRig(t, rigOptions{connect: connect, link: LinkOptions{Deliver: deliver}, serve: ServeOptions{Handler: handler}})
		for range 100 {
			mustSend(t, r.Link, Small, new(int), time.Minute)
			mustSend(t, r.Link, Bulk, new(int), time.Minute)
		}
		r.Flush()
		for range 50 {
			mustSend(t, r.Link, Small, new(int), time.Minute) // never flushed
		}
		for _, conn := range conns {
			conn.Close()
		}
		for _, reply := range r.await(t, 250) {
			if reply.Err != ErrLost {
				t.Fatal(reply.Err)
			}
		}
		mute.Store(false)
		<-r.ups
		<-r.ups
		mustSend(t, r.Link, Small, nil, time.Minute)
		r.Flush()
		if last := r.await(t, 251)[250]; last.Err != nil {
			t.Error(last.Err)
		}
		if lost := r.linkCounters.Lost.Load(); lost != 250 {
			t.Errorf("%d lost counted", lost)
		}
		r.close()
	})
}

func TestALinkDialsForEverAndNeverTooOften(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		start := time.Now()
		last := start
		var longest time.Duration
		attempts := 0
		connect := func() (net.Conn, net.Conn) {
			if time.Since(start) > time.Hour {
				return net.Pipe()
			}
			if gap := time.Since(last); attempts > 0 {
				longest = max(longest, gap)
			}
			attempts++
			last = time.Now()
			return nil, nil
		}
		r := newRig(t, rigOptions{connect: connect})
		if took := time.Since(start); took < time.Hour || took > time.Hour+redialMax {
			t.Errorf("connected after %v", took)
		}
		if longest > redialMax || attempts < 2*3600 || attempts > 2*2*3600+20 {
			t.Errorf("%d attempts, %v apart", attempts, longest)
		}
		r.close()
	})
}

func TestAPeerThatFallsSilentIsCutAndASlowOneIsNot(t *testing.T) {
	for _, c := range []struct {
		name      string
		answering time.Duration // each so often one request is answered
		cut       bool
	}{{"silent", time.Hour, true}, {"slow", 3 * time.Second, false}} {
		t.Run(c.name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				start := time.Now()
				last := start
				handler := handlerFunc(func(b *Batch) {
					if time.Since(last) > c.answering {
						last = time.Now()
						b.Reply(0, 0, 0, 0)
					}
				})
				r := newRig(t, rigOptions{serve: ServeOptions{Handler: handler}})
				time.Sleep(time.Minute) // idle, which says nothing of the peer
				start = time.Now()
				for time.Since(start) < 30*time.Second && len(r.downs) == 0 {
					_ = r.Send(Small, 1, 2, 3, 100*time.Millisecond, new(int))
					r.Flush()
					time.Sleep(50 * time.Millisecond)
				}
				took := time.Since(start)
				if cut := len(r.downs) > 0; cut != c.cut || cut && (took < silenceMax || took > silenceMax+time.Second) {
					t.Errorf("cut: %v, after %v", cut, took)
				}
				if c.cut {
					if err := <-r.downs; err != errSilent {
						t.Error(err)
					}
				}
				r.close()
			})
		})
	}
}

// A narrowConn takes a while for what it reads.
type narrowConn struct{ net.Conn }

func (c narrowConn) Read(p []byte) (int, error) {
	time.Sleep(100 * time.Millisecond)
	return c.Conn.Read(p)
}

func TestAPeerThatTakesALongRequestSlowlyIsNotSilent(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		narrow := func() (net.Conn, net.Conn) {
			dialed, accepted := net.Pipe()
			return dialed, narrowConn{accepted}
		}
		r := newRig(t, rigOptions{connect: narrow})
		start := time.Now()
		long, short := new(int), new(int)
		mustSend(t, r.Link, Bulk, long, time.Hour, make([]byte, 50<<20))
		answered := func() bool {
			for _, reply := range r.replies() {
				if reply.Token == long {
					return true
				}
			}
			return false
		}
		for !answered() && len(r.downs) == 0 {
			mustSend(t, r.Link, Bulk, short, 10*time.Millisecond)
			r.Flush()
			time.Sleep(time.Second)
		}
		if len(r.downs) > 0 {
			t.Errorf("cut after %v: %v", time.Since(start), <-r.downs)
		}
		if took := time.Since(start); took < 2*silenceMax {
			t.Errorf("it took %v only, which shows nothing", took)
		}
		r.close()
	})
}

func TestCloseDeliversWhatIsInFlight(t *testing.T) {
	mute := handlerFunc(func(*Batch) {})
	r := newRig(t, rigOptions{connect: tcpPair(t), serve: ServeOptions{Handler: mute}})
	for range 1000 {
		mustSend(t, r.Link, Small, new(int), time.Minute)
	}
	r.Flush()
	r.Link.Close()
	replies := r.replies() // when Close has returned, not later
	if len(replies) != 1000 {
		t.Fatalf("%d replies", len(replies))
	}
	for _, reply := range replies {
		if reply.Err != ErrLost {
			t.Fatal(reply.Err)
		}
	}
	r.Link.Close()
}

func TestAPeerThatRepliesNonsenseIsCut(t *testing.T) {
	cases := map[string]struct {
		frame []byte
		err   error
	}{
		"a request":      {appendFrame(nil, &frame{id: 1}, nil), errFrameFlags},
		"unknown flags":  {appendFrame(nil, &frame{id: 1, flags: flagReply | 1<<7}, nil), errFrameFlags},
		"a wrong length": {[]byte{0xff, 0xff, 0xff, 0xff}, errFrameLength},
		"unknown ids":    {bytes.Repeat(appendFrame(nil, &frame{id: 1 << 60, flags: flagReply}, nil), 10), nil},
	}
	for name, c := range cases {
		t.Run(name, func(t *testing.T) {
			handler := handlerFunc(func(b *Batch) { b.out = append(b.out, c.frame...) })
			r := newRig(t, rigOptions{serve: ServeOptions{Handler: handler}})
			mustSend(t, r.Link, Small, nil, time.Minute)
			r.Flush()
			if c.err != nil {
				if err := <-r.downs; err != c.err {
					t.Error(err)
				}
				if reply := r.await(t, 1)[0]; reply.Err != ErrLost {
					t.Error(reply.Err)
				}
				return
			}
			eventually(t, func() error {
				if n := r.linkCounters.LateReplies.Load(); n != 10 {
					return fmt.Errorf("%d late replies", n)
				}
				return nil
			})
		})
	}
}

func TestWhyAPeerIsRefusedReachesTheCallers(t *testing.T) {
	refuse := func(*Hello) error { return errors.New("foreign cluster") }
	synctest.Test(t, func(t *testing.T) {
		r := newRig(t, rigOptions{down: true, serve: ServeOptions{Identity: Identity{Accept: refuse}}})
		for _, err := range []error{<-r.failed, <-r.ended} {
			var refused *RefusedError
			if !errors.As(err, &refused) || refused.Reason != "foreign cluster" {
				t.Error(err)
			}
		}
		if r.Send(Small, 1, 2, 3, time.Second, nil) != ErrDown {
			t.Error("one can send to a peer that refuses")
		}
		r.close()
		if r.linkCounters.Refused.Load() == 0 || r.serveCounters.Refused.Load() == 0 {
			t.Error("refusals are not counted")
		}
	})
}
