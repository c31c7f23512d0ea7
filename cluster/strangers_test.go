package cluster

import (
	"context"
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/tls"
	"crypto/x509"
	"errors"
	"math/big"
	"testing"
	"time"

	"github.com/cockroachdb/pebble/v2/vfs"
	"github.com/rs/zerolog"

	"cartwheel/store"
)

// stranger tries for a while to become a node of the world.
func (w *world) stranger(fs vfs.FS, opts func(*Options)) (log *lockedBuffer, err error) {
	log = &lockedBuffer{}
	o := Options{
		Store:      store.Options{Dir: "data", FS: fs, MemoryBytes: 16 << 20, Partitions: 16, SweepInterval: -1, Log: zerolog.New(log)},
		PeerListen: "stranger", Network: w.net.at("stranger"), Join: []string{address(0)},
	}
	opts(&o)
	ctx, cancel := context.WithTimeout(w.t.Context(), 2*time.Second)
	defer cancel()
	c, err := Start(ctx, o)
	if err == nil {
		w.t.Cleanup(func() { _ = c.Close() })
	}
	return log, err
}

func TestAWrongSecretIsRefusedAndBothSidesSaySo(t *testing.T) {
	w := newWorldOf(t, 2, 2, func(_ int, o *Options) { o.Secret = []byte("the secret") })
	for _, secret := range []string{"another", ""} {
		log, err := w.stranger(vfs.NewMem(), func(o *Options) { o.Secret = []byte(secret) })
		if !errors.Is(err, context.DeadlineExceeded) {
			t.Errorf("a node with the secret %q: %v", secret, err)
		}
		if !log.contains("refused") {
			t.Errorf("its log is %s", log.b.String())
		}
	}
	until(t, "the cluster's log names the stranger", func() bool { return w.logs[0].contains("\"addr\":\"stranger\"") })
	if n := len(w.nodes[0].Topology().Nodes); n != 2 {
		t.Errorf("the cluster has %d nodes", n)
	}
}

func TestANodeOfAnotherClusterIsRefused(t *testing.T) {
	w := newWorld(t, 2, 2)
	other := newWorld(t, 2, 2)
	other.net = w.net // they meet
	other.crash(1)
	w.net.mu.Lock()
	w.net.listeners["elsewhere"] = nil
	w.net.mu.Unlock()
	other.opts = func(_ int, o *Options) { o.PeerListen, o.Network = "elsewhere", w.net.at("elsewhere") }
	other.start(1) // it looks for its peer at an address where now another cluster is
	until(t, "both sides say so", func() bool {
		return other.logs[1].contains("it belongs to another cluster") && w.logs[0].contains("it belongs to another cluster")
	})
	if n := len(w.nodes[0].Topology().Nodes); n != 2 {
		t.Errorf("the cluster has %d nodes", n)
	}
}

func TestACopyOfADataDirectoryIsRefused(t *testing.T) {
	w := newWorld(t, 3, 3)
	copied := w.disks[2].CrashClone(vfs.CrashCloneCfg{UnsyncedDataPercent: 100, RNG: w.rand})
	log, err := w.stranger(copied, func(*Options) {})
	if err != nil {
		t.Fatal(err) // it knows its ring: it starts, and gets nowhere
	}
	until(t, "both sides say so", func() bool {
		return log.contains("another process has the same node id") && w.logs[0].contains("another process has the same node id")
	})
	mustSet(t, w.nodes[2], 0, "k", "the one that was there first goes on")
}

func TestANodeIsKnownAtANewAddress(t *testing.T) {
	w := newWorld(t, 3, 3)
	w.crash(2)
	mustSet(t, w.nodes[0], 0, "k", "v")
	w.opts = func(_ int, o *Options) { o.PeerListen, o.Network = "moved", w.net.at("moved") }
	w.start(2)
	w.healthy()
	w.converged()
	if at := w.nodes[0].peer(w.nodes[2].NodeID()).address(); at != "moved" {
		t.Errorf("node 2 is looked for at %s", at)
	}
}

func TestNodesSpeakTLS(t *testing.T) {
	roots := x509.NewCertPool()
	key, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	if err != nil {
		t.Fatal(err)
	}
	template := &x509.Certificate{SerialNumber: big.NewInt(1), NotAfter: time.Now().Add(time.Hour), IsCA: true, BasicConstraintsValid: true}
	text, err := x509.CreateCertificate(rand.Reader, template, template, &key.PublicKey, key)
	if err != nil {
		t.Fatal(err)
	}
	root, err := x509.ParseCertificate(text)
	if err != nil {
		t.Fatal(err)
	}
	roots.AddCert(root)
	config := &tls.Config{Certificates: []tls.Certificate{{Certificate: [][]byte{text}, PrivateKey: key}}, RootCAs: roots}
	w := newWorldOf(t, 3, 3, func(_ int, o *Options) { o.TLS = config })
	mustSet(t, w.nodes[0], 0, "k", "v")
	for _, c := range w.nodes {
		wantValue(t, c, 0, "k", "v")
	}
	if _, err := w.stranger(vfs.NewMem(), func(*Options) {}); err == nil {
		t.Error("a node without TLS has joined")
	}
	foreign := config.Clone()
	key, _ = ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	text, _ = x509.CreateCertificate(rand.Reader, template, template, &key.PublicKey, key)
	foreign.Certificates = []tls.Certificate{{Certificate: [][]byte{text}, PrivateKey: key}}
	if _, err := w.stranger(vfs.NewMem(), func(o *Options) { o.TLS = foreign }); err == nil {
		t.Error("a node with a certificate of its own making has joined")
	}
}
