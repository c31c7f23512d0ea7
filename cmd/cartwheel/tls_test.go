package main

import (
	"bufio"
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/tls"
	"crypto/x509"
	"encoding/pem"
	"math/big"
	"net"
	"os"
	"path/filepath"
	"testing"
	"time"
)

// selfSigned leaves a certificate for 127.0.0.1 that is its own authority, and its key.
func selfSigned(t *testing.T, dir, name string) (certFile, keyFile string) {
	t.Helper()
	key, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	if err != nil {
		t.Fatal(err)
	}
	template := &x509.Certificate{
		SerialNumber: big.NewInt(1), NotAfter: time.Now().Add(time.Hour), IPAddresses: []net.IP{net.IPv4(127, 0, 0, 1)},
		IsCA: true, BasicConstraintsValid: true,
	}
	cert, err := x509.CreateCertificate(rand.Reader, template, template, &key.PublicKey, key)
	if err != nil {
		t.Fatal(err)
	}
	keyText, err := x509.MarshalPKCS8PrivateKey(key)
	if err != nil {
		t.Fatal(err)
	}
	certFile, keyFile = filepath.Join(dir, name+".pem"), filepath.Join(dir, name+".key")
	for file, block := range map[string]*pem.Block{certFile: {Type: "CERTIFICATE", Bytes: cert}, keyFile: {Type: "PRIVATE KEY", Bytes: keyText}} {
		if err := os.WriteFile(file, pem.EncodeToMemory(block), 0o600); err != nil {
			t.Fatal(err)
		}
	}
	return certFile, keyFile
}

// A node behind --tls-ca is asked by who shows a certificate, and believed by who knows its own.
func TestANodeThatWantsACertificateIsAsked(t *testing.T) {
	dir := t.TempDir()
	serverCert, serverKey := selfSigned(t, dir, "server")
	clientCert, clientKey := selfSigned(t, dir, "client")
	own, err := tls.LoadX509KeyPair(serverCert, serverKey)
	if err != nil {
		t.Fatal(err)
	}
	clients, err := certificates("client", clientCert)
	if err != nil {
		t.Fatal(err)
	}
	listener, err := tls.Listen("tcp", "127.0.0.1:0", &tls.Config{
		Certificates: []tls.Certificate{own}, ClientCAs: clients, ClientAuth: tls.RequireAndVerifyClientCert, MinVersion: tls.VersionTLS12,
	})
	if err != nil {
		t.Fatal(err)
	}
	defer listener.Close()
	go func() {
		for {
			conn, err := listener.Accept()
			if err != nil {
				return
			}
			go func() {
				defer conn.Close()
				if line, err := bufio.NewReader(conn).ReadString('\n'); err == nil && line == "PING\r\n" {
					_, _ = conn.Write([]byte("+PONG\r\n"))
				}
			}()
		}
	}()
	for what, c := range map[string]struct {
		flags tlsFlags
		good  bool
	}{
		"a certificate":                    {tlsFlags{TLSCert: clientCert, TLSKey: clientKey}, true},
		"none":                             {tlsFlags{TLS: true}, false},
		"a wrong one":                      {tlsFlags{TLSCert: serverCert, TLSKey: serverKey}, false},
		"no key":                           {tlsFlags{TLSCert: clientCert}, false},
		"a certificate, and the authority": {tlsFlags{TLSServerCA: serverCert, TLSCert: clientCert, TLSKey: clientKey}, true},
		"a certificate, and a wrong one":   {tlsFlags{TLSServerCA: clientCert, TLSCert: clientCert, TLSKey: clientKey}, false},
		"nothing of TLS":                   {tlsFlags{}, false},
	} {
		p := pingCommand{Addr: listener.Addr().String(), Timeout: 5 * time.Second, tlsFlags: c.flags}
		if err := p.Run(); (err == nil) != c.good {
			t.Errorf("with %s: %v", what, err)
		}
	}
}
