package server_test

import (
	"bufio"
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/tls"
	"crypto/x509"
	"math/big"
	"net"
	"strings"
	"testing"
	"time"

	"cartwheel/server"
)

// certificates makes a certificate for 127.0.0.1 that is its own authority, and
// the configurations of a server and of a client that trust it and show it.
func certificates(t *testing.T) (forServer, forClient *tls.Config) {
	t.Helper()
	key, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	if err != nil {
		t.Fatal(err)
	}
	template := &x509.Certificate{
		SerialNumber: big.NewInt(1), IsCA: true, BasicConstraintsValid: true,
		NotBefore: time.Now().Add(-time.Hour), NotAfter: time.Now().Add(time.Hour),
		IPAddresses: []net.IP{net.IPv4(127, 0, 0, 1)},
		KeyUsage:    x509.KeyUsageDigitalSignature | x509.KeyUsageCertSign,
		ExtKeyUsage: []x509.ExtKeyUsage{x509.ExtKeyUsageServerAuth, x509.ExtKeyUsageClientAuth},
	}
	der, err := x509.CreateCertificate(rand.Reader, template, template, key.Public(), key)
	if err != nil {
		t.Fatal(err)
	}
	certificate, err := x509.ParseCertificate(der)
	if err != nil {
		t.Fatal(err)
	}
	trusted := x509.NewCertPool()
	trusted.AddCert(certificate)
	own := []tls.Certificate{{Certificate: [][]byte{der}, PrivateKey: key}}
	return &tls.Config{Certificates: own, ClientCAs: trusted}, &tls.Config{Certificates: own, RootCAs: trusted}
}

func (n *node) dialWith(config *tls.Config) *client {
	n.t.Helper()
	conn, err := tls.Dial("tcp", n.srv.Addr().String(), config)
	if err != nil {
		n.t.Fatalf("connect: %v", err)
	}
	n.t.Cleanup(func() { _ = conn.Close() })
	return &client{t: n.t, conn: conn, r: bufio.NewReader(conn)}
}

// onBothTransports runs a test over TCP and over TLS, which are served in
// different ways.
func onBothTransports(t *testing.T, test func(t *testing.T, start func(server.Options) *node, dial func(*node) *client)) {
	t.Run("TCP", func(t *testing.T) {
		test(t, func(opts server.Options) *node { return start(t, opts) }, (*node).dial)
	})
	t.Run("TLS", func(t *testing.T) {
		forServer, forClient := certificates(t)
		test(t, func(opts server.Options) *node {
			opts.TLS = forServer
			return start(t, opts)
		}, func(n *node) *client { return n.dialWith(forClient) })
	})
}

func TestTLSCarriesCommandsAndPipelines(t *testing.T) {
	forServer, forClient := certificates(t)
	n := start(t, server.Options{TLS: forServer, Password: "secret"})
	a, b := n.dialWith(forClient), n.dialWith(forClient)
	a.talk(`
> GET k
-NOAUTH Authentication required.
> AUTH secret
+OK
> SET k v
+OK`)
	b.talk("> AUTH secret\n+OK\n> GET k\n$1\nv")
	large := strings.Repeat("x", 3_000_000)
	b.expect("+OK\r\n", "SET", "large", large)
	const deep = 500
	a.write(strings.Repeat("INCR n\r\nSCAN 9007199254740992\r\n", deep) + "GET large\r\nQUIT\r\n")
	for range deep - 1 {
		a.reply()
		a.reply()
	}
	for _, want := range []string{":500\r\n", emptyPage, "$3000000\r\n" + large + "\r\n", "+OK\r\n"} {
		if got := a.reply(); got != want {
			t.Errorf("got %.60q, want %.60q", got, want)
		}
	}
	a.ends()
}

// emptyPage is what SCAN replies past the end.
const emptyPage = "*2\r\n$1\r\n0\r\n*0\r\n"

func TestTLSAsksForClientCertificatesWhereItIsToldTo(t *testing.T) {
	forServer, forClient := certificates(t)
	forServer.ClientAuth = tls.RequireAndVerifyClientCert
	n := start(t, server.Options{TLS: forServer})
	n.dialWith(forClient).talk("> SET k v\n+OK")

	_, stranger := certificates(t)
	stranger.RootCAs = forClient.RootCAs
	for name, config := range map[string]*tls.Config{
		"without a certificate": {RootCAs: forClient.RootCAs},
		"with one of its own":   stranger,
	} {
		conn, err := tls.Dial("tcp", n.srv.Addr().String(), config)
		if err == nil { // in TLS 1.3 the client learns by its first read
			_ = conn.SetDeadline(time.Now().Add(patience))
			_, _ = conn.Write([]byte("GET k\r\n"))
			var reply [16]byte
			var read int
			read, err = conn.Read(reply[:])
			if err == nil {
				t.Errorf("a client %s is answered with %q", name, reply[:read])
			}
			_ = conn.Close()
		}
	}
	n.dialWith(forClient).talk("> GET k\n$1\nv")
}

func TestPlainTextIsNotServedWhereTLSIs(t *testing.T) {
	forServer, forClient := certificates(t)
	n := start(t, server.Options{TLS: forServer})
	plain := n.dial()
	plain.write("SET k v\r\n")
	_ = plain.conn.SetDeadline(time.Now().Add(patience))
	if line, err := plain.r.ReadString('\n'); err == nil {
		t.Errorf("plain text is answered with %q", line)
	}
	n.dialWith(forClient).talk("> GET k\n$-1")
}

func TestShutdownAnswersWhatRunsAndEndsTheRest(t *testing.T) {
	onBothTransports(t, func(t *testing.T, start func(server.Options) *node, dial func(*node) *client) {
		n := start(server.Options{})
		idle, waiting := dial(n), dial(n)
		idle.talk("> SET k v\n+OK")
		id := strings.Trim(waiting.do("CLIENT", "ID"), ":\r\n")
		waiting.send("WAIT", "1", "0")
		until(t, "WAIT waits", func() bool { return strings.Contains(idle.text("CLIENT", "LIST", "ID", id), " flags=b ") })
		n.stop()
		if got := waiting.reply(); got != ":0\r\n" {
			t.Errorf("the command that ran is answered with %q", got)
		}
		waiting.ends()
		idle.ends()
		if conn, err := net.Dial("tcp", n.srv.Addr().String()); err == nil {
			_ = conn.Close()
			t.Error("connections are still accepted")
		}
	})
}
