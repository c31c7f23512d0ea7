package member

import (
	"bufio"
	"bytes"
	"crypto/rand"
	"fmt"
	"io"
	"net"
	"runtime"
	"sync"
	"testing"
	"time"

	"github.com/rs/zerolog"
	"pgregory.net/rapid"

	"cartwheel/cluster/ring"
)

// echoPeers serves the peer stream by echoing lines, until the port closes.
func echoPeers(t *testing.T, p *Port) {
	var served sync.WaitGroup
	served.Go(func() {
		for {
			conn, err := p.Peers().Accept()
			if err != nil {
				return
			}
			if _, direct := conn.(*net.TCPConn); !direct {
				t.Errorf("a peer's connection is a %T", conn)
			}
			served.Go(func() {
				defer conn.Close()
				io.Copy(conn, conn)
			})
		}
	})
	t.Cleanup(func() { p.Close(); served.Wait() })
}

func dialPeer(t *testing.T, address string) net.Conn {
	t.Helper()
	conn, err := net.Dial("tcp", address)
	if err != nil {
		t.Fatal(err)
	}
	conn.SetDeadline(time.Now().Add(patience))
	return conn
}

func echo(conn net.Conn, line string) error {
	if _, err := io.WriteString(conn, line+"\n"); err != nil {
		return err
	}
	got, err := bufio.NewReader(conn).ReadString('\n')
	if err == nil && got != line+"\n" {
		err = fmt.Errorf("%q came back as %q", line, got)
	}
	return err
}

func TestOnePortCarriesPeersAndGossip(t *testing.T) {
	w := newWires()
	one := startGossiper(t, w, 1, nil)
	echoPeers(t, one.port)
	two := startGossiper(t, w, 2, seeds(one))
	var peers sync.WaitGroup
	for i := range 20 {
		peers.Go(func() {
			conn := dialPeer(t, one.address)
			defer conn.Close()
			for range 5 {
				if err := echo(conn, fmt.Sprintf("W%d", i)); err != nil {
					t.Error(err)
				}
			}
		})
	}
	peers.Wait()
	eventually(t, "gossip beside the peer stream", func() bool { return sees(one, 2) && sees(two, 1) })
	one.Stop()
	conn := dialPeer(t, one.address)
	defer conn.Close()
	if err := echo(conn, "W after gossip"); err != nil {
		t.Errorf("the peer stream ended with gossip: %v", err)
	}
}

func TestIdleStrangersDoNotKeepAPeerWaiting(t *testing.T) {
	p, err := ListenPort("127.0.0.1:0", zerolog.Nop())
	if err != nil {
		t.Fatal(err)
	}
	echoPeers(t, p)
	goroutines := runtime.NumGoroutine()
	for range 3 * sniffsMax {
		idle := dialPeer(t, p.Addr().String())
		defer idle.Close()
	}
	start := time.Now()
	conn := dialPeer(t, p.Addr().String())
	defer conn.Close()
	if err := echo(conn, "Well?"); err != nil {
		t.Fatal(err)
	}
	if time.Since(start) > sniffTimeout {
		t.Error("a peer waited until the strangers timed out")
	}
	if more := runtime.NumGoroutine() - goroutines; more > sniffsMax+10 {
		t.Errorf("%d goroutines for idle strangers", more)
	}
}

func TestAGossipConnectionWithoutGossipIsClosed(t *testing.T) {
	p, err := ListenPort("127.0.0.1:0", zerolog.Nop())
	if err != nil {
		t.Fatal(err)
	}
	defer p.Close()
	conn := dialPeer(t, p.Addr().String())
	defer conn.Close()
	if _, err := conn.Write([]byte{244, 1, 'x'}); err != nil {
		t.Fatal(err)
	}
	if _, err := conn.Read(make([]byte, 1)); err == nil {
		t.Error("it is still open")
	}
}

func TestTheFirstByteIsReadOnceMore(t *testing.T) {
	ours, theirs := net.Pipe()
	defer ours.Close()
	go func() {
		defer theirs.Close()
		theirs.Write([]byte("W and more"))
	}()
	first, conn, err := firstByte(ours)
	if err != nil || first != 'W' {
		t.Fatalf("%q, %v", first, err)
	}
	if all, err := io.ReadAll(conn); err != nil || string(all) != "W and more" {
		t.Errorf("%q, %v", all, err)
	}
}

func TestGarbageOnThePortHarmsNobody(t *testing.T) {
	w := newWires()
	one := startGossiper(t, w, 1, nil)
	two := startGossiper(t, w, 2, seeds(one))
	eventually(t, "they see each other", func() bool { return sees(one, 2) && sees(two, 1) })
	label := append([]byte{244, 32}, ring.ClusterID{7}.String()...)
	udp, err := net.Dial("udp", one.address)
	if err != nil {
		t.Fatal(err)
	}
	defer udp.Close()
	for i := range 200 {
		garbage := make([]byte, i)
		rand.Read(garbage)
		if i%2 == 0 {
			garbage = append(bytes.Clone(label), garbage...)
		}
		udp.Write(garbage)
		if i%4 == 0 && len(garbage) > 0 {
			conn := dialPeer(t, one.address)
			conn.Write(garbage)
			conn.Close()
		}
	}
	if !sees(one, 2) {
		t.Error("garbage ended gossip")
	}
	three := startGossiper(t, w, 3, seeds(one))
	eventually(t, "a node still joins", func() bool { return sees(one, 2, 3) && sees(three, 1, 2) })
}

func TestALotClosesTheOldest(t *testing.T) {
	l := newLot(2)
	var far []net.Conn
	for range 3 {
		near, other := net.Pipe()
		far = append(far, other)
		l.keep(near)
	}
	far[0].SetReadDeadline(time.Now().Add(patience))
	if _, err := far[0].Read(make([]byte, 1)); err != io.EOF {
		t.Errorf("the oldest: %v", err)
	}
	if len(l.conns) != 2 {
		t.Errorf("%d are held", len(l.conns))
	}
	l.closeAll()
	for _, conn := range far[1:] {
		if _, err := conn.Read(make([]byte, 1)); err != io.EOF {
			t.Errorf("after closeAll: %v", err)
		}
	}
}

func TestContactsAreReadAsTheyWereWritten(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		text := rapid.StringN(0, 100, 150)
		c := Contact{
			Peer: text.Draw(t, "peer"), Client: text.Draw(t, "client"), Cluster: text.Draw(t, "cluster"),
			Run: rapid.Uint64().Draw(t, "run"), Epoch: rapid.Uint64().Draw(t, "epoch"),
		}
		form, err := c.form(ring.ClusterID{3})
		if err != nil {
			t.Fatal(err)
		}
		cluster, got, err := decodeContact(form)
		if err != nil || got != c || cluster != (ring.ClusterID{3}) {
			t.Fatalf("%+v, %v", got, err)
		}
	})
}

func FuzzDecodeContact(f *testing.F) {
	form, err := Contact{Peer: "a:1", Client: "b:2"}.form(ring.ClusterID{3})
	if err != nil {
		f.Fatal(err)
	}
	f.Add(form)
	f.Fuzz(func(t *testing.T, b []byte) {
		cluster, c, err := decodeContact(b)
		if err != nil {
			return
		}
		if again, err := c.form(cluster); err != nil && len(b) <= 512 || err == nil && !bytes.Equal(again, b) {
			t.Fatalf("a contact of two forms: %v", err)
		}
	})
}

func TestLogLinesKeepTheirLevelsAndAreBounded(t *testing.T) {
	out := &logBuffer{}
	l := &gossipLog{out: zerolog.New(out), bucket: bucketMax}
	for line, want := range map[string]string{
		"[ERR] memberlist: oh no\n": `"level":"error","message":"oh no"`,
		"[WARN] memberlist: hm\n":   `"level":"warn","message":"hm"`,
		"[DEBUG] memberlist: fyi\n": `"level":"debug","message":"fyi"`,
	} {
		if _, err := l.Write([]byte(line)); err != nil || !out.has(want) {
			t.Errorf("%q became %s", line, out)
		}
	}
	for range 1000 {
		l.Write([]byte("[ERR] memberlist: flood\n"))
	}
	if lines := bytes.Count([]byte(out.String()), []byte("flood")); lines > bucketMax+1 {
		t.Errorf("%d lines of a flood", lines)
	}
	if _, suppressed := l.allow(time.Now().Add(time.Hour)); suppressed < 900 {
		t.Errorf("%d lines are said to be suppressed", suppressed)
	}
}
