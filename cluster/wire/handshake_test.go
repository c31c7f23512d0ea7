package wire

import (
	"bytes"
	"context"
	"crypto/sha256"
	"errors"
	"fmt"
	"io"
	"net"
	"strings"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"github.com/google/go-cmp/cmp"
	"pgregory.net/rapid"
)

const marker = "what no stranger may see"

func identity(node byte, secret string) Identity {
	return Identity{
		Secret: []byte(secret),
		Hello: func() Hello {
			return Hello{
				Cluster: [16]byte{1, 2, 3}, Node: [20]byte{node}, Run: [8]byte{node, 9}, Incarnation: uint64(node) << 40,
				Epoch: 77, Marks: [16]uint64{0: 5, 15: 6}, Extension: []byte(marker),
			}
		},
		Seen: func(incarnation uint64) uint64 { return incarnation + uint64(node) },
	}
}

type shaken struct {
	peer *Hello
	err  error
}

// shake shakes hands over two connected connections.
func shake(dialed, accepted net.Conn, dialer, listener Identity) (d, l shaken) {
	var both sync.WaitGroup
	defer dialed.Close()
	defer accepted.Close()
	both.Go(func() {
		d.peer, d.err = shakeHandsDialing(dialed, &dialer, Bulk, 1<<20, func() int64 { return 4321 })
		if d.err != nil {
			dialed.Close()
		}
	})
	both.Go(func() {
		var clockMS uint64
		l.peer, clockMS, l.err = shakeHandsListening(accepted, &listener, &[LaneCount]int{1 << 15, 1 << 16})
		if l.err == nil && clockMS != 4321 {
			l.err = errors.New("the dialer's clock was lost")
		}
		if l.err != nil {
			accepted.Close()
		}
	})
	both.Wait()
	return d, l
}

func TestHandshakeTellsEachSideWhoTheOtherIs(t *testing.T) {
	for _, secret := range []string{"", "sesame"} {
		dialed, accepted := net.Pipe()
		d, l := shake(dialed, accepted, identity(1, secret), identity(2, secret))
		if d.err != nil || l.err != nil {
			t.Fatal(d.err, l.err)
		}
		dialer, listener := identity(1, "").Hello(), identity(2, "").Hello()
		dialer.Lane, dialer.FrameBytesMax, dialer.SeenHLC = Bulk, 1<<20, 2<<40+1
		listener.Lane, listener.FrameBytesMax, listener.SeenHLC = Bulk, 1<<16, 1<<40+2
		if diff := cmp.Diff(&listener, d.peer); diff != "" {
			t.Error("the dialer sees:", diff)
		}
		if diff := cmp.Diff(&dialer, l.peer); diff != "" {
			t.Error("the listener sees:", diff)
		}
	}
}

// A tap keeps what is written to a connection.
type tap struct {
	net.Conn
	written bytes.Buffer
}

func (c *tap) Write(p []byte) (int, error) {
	c.written.Write(p)
	return c.Conn.Write(p)
}

func TestAStrangerGetsNothing(t *testing.T) {
	for _, secrets := range [][2]string{{"sesame", "sesam"}, {"", "sesame"}, {"sesame", ""}} {
		left, right := net.Pipe()
		dialed, accepted := &tap{Conn: left}, &tap{Conn: right}
		dialer, listener := identity(1, secrets[0]), identity(2, secrets[1])
		refuse := func(*Hello) error { t.Error("a stranger is judged by its hello"); return nil }
		dialer.Accept, listener.Accept = refuse, refuse
		d, l := shake(dialed, accepted, dialer, listener)

		var refused *RefusedError
		if !errors.As(d.err, &refused) || refused.Reason != "refused" || !refused.ByPeer {
			t.Errorf("%q: the dialer gets %v", secrets, d.err)
		}
		if !errors.As(l.err, &refused) || refused.Reason != "wrong cluster secret" || refused.ByPeer {
			t.Errorf("%q: the listener gets %v", secrets, l.err)
		}
		// A refusal with zeros for a proof is all there is behind the hail.
		if rest := accepted.written.Bytes()[hailSize:]; !bytes.Equal(rest, append(append(messageHead(kindRefusal, 7), bareReason...), make([]byte, proofSize)...)) {
			t.Errorf("%q: the listener has written %q", secrets, rest)
		}
		if n := dialed.written.Len(); n != hailSize+messageHeadSize+proofSize {
			t.Errorf("%q: the dialer has written %d bytes", secrets, n)
		}
	}
}

func TestADialerTellsAnImpostorNothing(t *testing.T) {
	left, accepted := net.Pipe()
	dialed := &tap{Conn: left}
	var impostor sync.WaitGroup
	impostor.Go(func() { // takes any proof, and has none
		defer accepted.Close()
		h := handshake{conn: accepted, identity: &Identity{}, role: roleListener, peerRole: roleDialer, transcript: sha256.New()}
		_ = h.receiveHail()
		_ = h.sendHail()
		_, _ = h.receive(kindProof, 0)
		_ = h.send(kindProof, nil)
		_, _ = io.Copy(io.Discard, accepted)
	})
	dialer := identity(1, "sesame")
	_, err := shakeHandsDialing(dialed, &dialer, Small, 1<<20, func() int64 { return 0 })
	dialed.Close()
	impostor.Wait()
	var refused *RefusedError
	if !errors.As(err, &refused) || refused.ByPeer || strings.Contains(dialed.written.String(), marker) {
		t.Errorf("%v; written: %q", err, dialed.written.String())
	}
}

func TestAReasonWithoutAProofIsNotBelieved(t *testing.T) {
	const lie = "this cluster has moved to evil.example"
	conn := &scriptedConn{in: []byte(hailMagic + "\x01" + strings.Repeat("n", nonceSize))}
	conn.in = append(conn.in, messageHead(kindRefusal, len(lie))...)
	conn.in = append(conn.in, lie+strings.Repeat("\x00", proofSize)...)
	dialer := identity(1, "sesame")
	_, err := shakeHandsDialing(conn, &dialer, Small, 1<<20, func() int64 { return 0 })
	var refused *RefusedError
	if !errors.As(err, &refused) || refused.Reason != "refused" || !refused.ByPeer {
		t.Error(err)
	}
}

func TestNoSideIsConvincedByItsOwnProof(t *testing.T) {
	connect := tcpPair(t)
	dialer := identity(1, "sesame")

	dialed, mirror := connect() // what the dialer sends comes back to it
	var reflecting sync.WaitGroup
	reflecting.Go(func() {
		defer mirror.Close()
		_, _ = io.Copy(mirror, mirror)
	})
	tapped := &tap{Conn: dialed}
	_, err := shakeHandsDialing(tapped, &dialer, Small, 1<<20, func() int64 { return 0 })
	dialed.Close()
	reflecting.Wait()
	if !errors.Is(err, errProof) || strings.Contains(tapped.written.String(), marker) {
		t.Errorf("a mirror: %v", err)
	}

	one, other := connect() // two that dialed, brought together
	errs := make(chan error, 2)
	for _, conn := range []net.Conn{one, other} {
		go func() {
			defer conn.Close()
			_, err := shakeHandsDialing(conn, &dialer, Small, 1<<20, func() int64 { return 0 })
			errs <- err
		}()
	}
	for range 2 {
		if err := <-errs; err == nil {
			t.Error("a dialer takes another for a listener")
		}
	}
}

func TestAProofIsGoodForOneHandshakeOnly(t *testing.T) {
	record := func(secret string) []byte {
		left, right := net.Pipe()
		dialed := &tap{Conn: left}
		if d, l := shake(dialed, right, identity(1, secret), identity(2, secret)); d.err != nil || l.err != nil {
			t.Fatal(d.err, l.err)
		}
		return dialed.written.Bytes()
	}
	conn := &scriptedConn{in: record("sesame")}
	listener := identity(2, "sesame")
	_, _, err := shakeHandsListening(conn, &listener, &[LaneCount]int{1 << 20, 1 << 20})
	if !errors.Is(err, errProof) {
		t.Errorf("a replay: %v", err)
	}
}

func TestRefusalsReachBothSidesWithTheirReason(t *testing.T) {
	refusing := func(node byte, reason string) Identity {
		id := identity(node, "sesame")
		id.Accept = func(peer *Hello) error {
			if peer.SeenHLC == 0 || peer.Epoch != 77 {
				t.Error("judged by half a hello")
			}
			return errors.New(reason)
		}
		return id
	}
	cases := []struct {
		name             string
		dialer, listener Identity
		reason           string
		byDialer         bool
	}{
		{"the listener", identity(1, "sesame"), refusing(2, "foreign cluster"), "foreign cluster", false},
		{"the dialer", refusing(1, "node id in use"), identity(2, "sesame"), "node id in use", true},
		{"long, and not fit for a log", refusing(1, strings.Repeat("\n\x1b", 500)), identity(2, "sesame"), strings.Repeat("?", 256), true},
	}
	for _, c := range cases {
		t.Run(c.name, func(t *testing.T) {
			dialed, accepted := net.Pipe()
			d, l := shake(dialed, accepted, c.dialer, c.listener)
			for _, side := range []struct {
				err    error
				byPeer bool
			}{{d.err, !c.byDialer}, {l.err, c.byDialer}} {
				var refused *RefusedError
				if !errors.As(side.err, &refused) || refused.Reason != c.reason || refused.ByPeer != side.byPeer {
					t.Errorf("%v, want %q, by the peer: %v", side.err, c.reason, side.byPeer)
				}
			}
		})
	}
}

func TestAnotherVersionIsRefusedByName(t *testing.T) {
	dialed, accepted := net.Pipe()
	var dialing sync.WaitGroup
	dialer, listener := identity(1, "sesame"), identity(2, "sesame")
	var errDialer error
	dialing.Go(func() {
		defer dialed.Close()
		h := handshake{conn: dialed, identity: &dialer, role: roleDialer, peerRole: roleListener, transcript: sha256.New()}
		hail := make([]byte, hailSize)
		copy(hail, hailMagic)
		hail[len(hailMagic)] = Version + 1
		h.transcript.Write(hail)
		_, _ = dialed.Write(hail)
		_ = h.receiveHail()
		_ = h.send(kindProof, nil)
		_, errDialer = h.receive(kindProof, 0)
	})
	_, _, err := shakeHandsListening(accepted, &listener, &[LaneCount]int{1 << 20, 1 << 20})
	accepted.Close()
	dialing.Wait()
	want := fmt.Sprintf("protocol version %d is not %d", Version+1, Version)
	for _, err := range []error{err, errDialer} {
		var refused *RefusedError
		if !errors.As(err, &refused) || refused.Reason != want {
			t.Errorf("%v", err)
		}
	}
}

// A cutConn breaks when so many bytes have been written to it.
type cutConn struct {
	net.Conn
	left int
}

func (c *cutConn) Write(p []byte) (int, error) {
	if len(p) <= c.left {
		c.left -= len(p)
		return c.Conn.Write(p)
	}
	n, _ := c.Conn.Write(p[:c.left])
	c.left = 0
	c.Conn.Close()
	return n, io.ErrClosedPipe
}

func TestAHandshakeThatIsCutAnywhereFailsOnBothSides(t *testing.T) {
	const far = 1 << 20
	for _, cutDialer := range []bool{true, false} {
		for cut := 0; ; cut++ {
			left, right := net.Pipe()
			dialed, accepted := &cutConn{left, far}, &cutConn{right, far}
			if cutDialer {
				dialed.left = cut
			} else {
				accepted.left = cut
			}
			d, l := shake(dialed, accepted, identity(1, "s"), identity(2, "s"))
			if d.err == nil && l.err == nil {
				if cut < 300 {
					t.Fatalf("cut after %d bytes it succeeds", cut)
				}
				break
			}
			// Only the welcome, the last message, can leave them of two minds.
			if d.err == nil || l.err == nil && cutDialer {
				t.Fatalf("cut after %d bytes: dialer %v, listener %v", cut, d.err, l.err)
			}
		}
	}
}

func TestAHandshakeEndsInTime(t *testing.T) {
	for _, sent := range []string{"", "W", "WIRE\x01", "WIRE\x01" + strings.Repeat("n", nonceSize), "WIRE\x01" + strings.Repeat("n", nonceSize) + "\x01\x00\x00"} {
		synctest.Test(t, func(t *testing.T) {
			stranger, accepted := net.Pipe()
			defer stranger.Close()
			go io.Copy(io.Discard, stranger)
			go io.WriteString(stranger, sent)
			start := time.Now()
			err := Serve(context.Background(), accepted, ServeOptions{Identity: identity(2, "s"), Handler: echo})
			if err == nil || time.Since(start) != handshakeTimeout {
				t.Errorf("after %q: %v in %v", sent, err, time.Since(start))
			}
		})
	}
}

func TestAHelloComesOutAsItWentIn(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		h := Hello{
			Incarnation: rapid.Uint64().Draw(t, "incarnation"), Epoch: rapid.Uint64().Draw(t, "epoch"),
			SeenHLC: rapid.Uint64().Draw(t, "seen"), Lane: Lane(rapid.IntRange(0, 1).Draw(t, "lane")),
			FrameBytesMax: rapid.IntRange(frameBytesLeast, frameBytesMost).Draw(t, "max"),
			Extension:     rapid.SliceOfN(rapid.Byte(), 0, 2000).Draw(t, "extension"),
		}
		copy(h.Node[:], rapid.SliceOfN(rapid.Byte(), 20, 20).Draw(t, "node"))
		copy(h.Cluster[:], rapid.SliceOfN(rapid.Byte(), 16, 16).Draw(t, "cluster"))
		copy(h.Run[:], rapid.SliceOfN(rapid.Byte(), 8, 8).Draw(t, "run"))
		for i := range h.Marks {
			h.Marks[i] = rapid.Uint64().Draw(t, "mark")
		}
		b, err := h.append(nil)
		if err != nil {
			t.Fatal(err)
		}
		got, err := parseHello(b)
		if err != nil {
			t.Fatal(err)
		}
		if len(h.Extension) == 0 {
			h.Extension = nil
		}
		if diff := cmp.Diff(&h, got); diff != "" {
			t.Fatal(diff)
		}
		cut := rapid.IntRange(0, len(b)-1).Draw(t, "cut")
		if _, err := parseHello(b[:cut]); err == nil {
			t.Fatal("half a hello is taken")
		}
	})
	h := Hello{FrameBytesMax: frameBytesLeast, Extension: make([]byte, extensionBytesMax)}
	if b, err := h.append(nil); err != nil || len(b) > helloBytesMax {
		t.Errorf("the longest hello: %d bytes, %v", len(b), err)
	}
	h.Extension = append(h.Extension, 0)
	if _, err := h.append(nil); err == nil {
		t.Error("a longer extension is sent")
	}
}

// A scriptedConn is a connection to a peer whose every byte is known, and which
// hears nothing.
type scriptedConn struct {
	net.Conn
	in  []byte
	out int
}

func (c *scriptedConn) Read(p []byte) (int, error) {
	if len(c.in) == 0 {
		return 0, io.EOF
	}
	n := copy(p, c.in)
	c.in = c.in[n:]
	return n, nil
}

func (c *scriptedConn) Write(p []byte) (int, error)      { c.out += len(p); return len(p), nil }
func (c *scriptedConn) Close() error                     { return nil }
func (c *scriptedConn) SetDeadline(time.Time) error      { return nil }
func (c *scriptedConn) SetReadDeadline(time.Time) error  { return nil }
func (c *scriptedConn) SetWriteDeadline(time.Time) error { return nil }

// FuzzStranger sends anything to either side of a handshake. Nothing gets
// through, and little comes back.
func FuzzStranger(f *testing.F) {
	hail := "WIRE\x01" + strings.Repeat("n", nonceSize)
	proof := "\x01\x00\x00\x00\x00" + strings.Repeat("p", proofSize)
	for _, seed := range []string{"", "WIRE", hail, hail + proof, hail + "\x05\x00\x00\x00\x07refused" + strings.Repeat("\x00", proofSize), hail + "\x05\xff\xff\xff\xff"} {
		f.Add([]byte(seed))
	}
	f.Fuzz(func(t *testing.T, sent []byte) {
		id := identity(1, "sesame")
		id.Accept = func(*Hello) error { t.Fatal("a stranger is judged"); return nil }
		toListener := &scriptedConn{in: sent}
		handler := handlerFunc(func(*Batch) { t.Fatal("a stranger's requests are carried out") })
		if err := Serve(context.Background(), toListener, ServeOptions{Identity: id, Handler: handler}); err == nil {
			t.Fatal("a stranger is served")
		}
		toDialer := &scriptedConn{in: sent}
		if _, err := shakeHandsDialing(toDialer, &id, Small, 1<<20, func() int64 { return 0 }); err == nil {
			t.Fatal("a stranger is taken for a peer")
		}
		const most = hailSize + messageHeadSize + len(bareReason) + proofSize + messageHeadSize + proofSize
		if toListener.out > most || toDialer.out > most {
			t.Fatalf("a stranger is sent %d and %d bytes", toListener.out, toDialer.out)
		}
	})
}

// FuzzInsider knows the secret, and sends anything in place of its hello, of
// what it has seen, and of frames.
func FuzzInsider(f *testing.F) {
	h := identity(1, "").Hello()
	h.FrameBytesMax = 1 << 20
	hello, _ := h.append(nil)
	request := appendFrame(nil, &frame{id: 1, op: 2, last: 1000}, [][]byte{[]byte("payload")})
	f.Add(hello, make([]byte, 16), request)
	f.Add(hello, make([]byte, 15), []byte{})
	f.Add(hello[:50], []byte{}, []byte{})
	f.Fuzz(func(t *testing.T, hello, seen, frames []byte) {
		dialed, accepted := net.Pipe()
		var serving sync.WaitGroup
		serving.Go(func() {
			_ = Serve(context.Background(), accepted, ServeOptions{Identity: identity(2, "s"), Handler: echo})
		})
		id := identity(1, "s")
		h := handshake{conn: dialed, identity: &id, role: roleDialer, peerRole: roleListener, transcript: sha256.New()}
		insist(h.sendHail(), h.receiveHail(), h.send(kindProof, nil), h.receiveProof())
		if h.send(kindHello, hello) == nil {
			if _, err := h.receive(kindHello, helloBytesMax); err == nil && h.send(kindSeen, seen) == nil {
				if _, err := h.receive(kindWelcome, 0); err == nil {
					go io.Copy(io.Discard, dialed)
					_, _ = dialed.Write(frames)
				}
			}
		}
		dialed.Close()
		serving.Wait()
	})
}

func insist(errs ...error) {
	if err := errors.Join(errs...); err != nil {
		panic(err)
	}
}
