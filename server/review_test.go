package server_test

import (
	"bufio"
	"context"
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/tls"
	"crypto/x509"
	"errors"
	"fmt"
	"io"
	"math/big"
	"net"
	"runtime"
	"strings"
	"sync/atomic"
	"testing"
	"time"

	"github.com/cockroachdb/pebble/v2/vfs"
	"github.com/cockroachdb/pebble/v2/vfs/errorfs"

	"cartwheel/cluster"
	"cartwheel/cluster/quorum"
	"cartwheel/cluster/ring"
	"cartwheel/server"
	"cartwheel/store"
	"cartwheel/store/version"
)

// A keyspace is a real one in which a test can interfere.
type keyspace struct {
	*cluster.Coordinator
	hooks atomic.Pointer[hooks]
}

type hooks struct {
	beforeDot func()
	update    func(key []byte, o *version.Object, change version.Change) (done bool)
	scanned   func(again func() bool)
}

func (k *keyspace) interfere() hooks {
	if h := k.hooks.Load(); h != nil {
		return *h
	}
	return hooks{}
}

func (k *keyspace) Dot(key []byte, clock version.Clock, nowMS int64, floor version.HLC) (version.Dot, error) {
	if before := k.interfere().beforeDot; before != nil {
		before()
	}
	return k.Coordinator.Dot(key, clock, nowMS, floor)
}

func (k *keyspace) Update(db uint8, key []byte, need quorum.Need, nowMS int64, o *version.Object, change version.Change, done server.Done) (uint64, bool, error) {
	if update := k.interfere().update; update != nil && update(key, o, change) {
		return 0, false, nil
	}
	return k.Coordinator.Update(db, key, need, nowMS, o, change, done)
}

func (k *keyspace) Scan(db uint8, from ring.Token, visit func(t ring.Token, key []byte, o *version.Object) bool) error {
	return k.Coordinator.Scan(db, from, func(t ring.Token, key []byte, o *version.Object) bool {
		if scanned := k.interfere().scanned; scanned != nil {
			scanned(func() bool { return visit(t, key, o) })
			return false
		}
		return visit(t, key, o)
	})
}

// startOver serves a keyspace over a file system until the test ends.
func startOver(t *testing.T, fs vfs.FS, opts server.Options) (*node, *keyspace) {
	t.Helper()
	coordinator, err := cluster.Open(store.Options{Dir: "data", FS: fs, Partitions: 8, MemoryBytes: 16 << 20})
	if err != nil {
		t.Fatalf("open the store: %v", err)
	}
	keys := &keyspace{Coordinator: coordinator}
	opts.Keys = keys
	n := &node{t: t, srv: server.New(opts)}
	if err := n.srv.Listen(t.Context(), "127.0.0.1:0"); err != nil {
		t.Fatalf("listen: %v", err)
	}
	served := make(chan error, 1)
	go func() { served <- n.srv.Serve() }()
	t.Cleanup(func() {
		ctx, cancel := context.WithTimeout(context.Background(), patience)
		defer cancel()
		if err := errors.Join(n.srv.Shutdown(ctx), <-served); err != nil && !errors.Is(err, net.ErrClosed) {
			t.Errorf("stop: %v", err)
		}
		_ = coordinator.Close() // an error where a test has made it fail
	})
	return n, keys
}

// testTLS is a configuration for a server, with a certificate of its own.
func testTLS(t *testing.T) *tls.Config {
	t.Helper()
	key, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	if err != nil {
		t.Fatal(err)
	}
	template := &x509.Certificate{SerialNumber: big.NewInt(1), NotAfter: time.Now().Add(time.Hour)}
	der, err := x509.CreateCertificate(rand.Reader, template, template, &key.PublicKey, key)
	if err != nil {
		t.Fatal(err)
	}
	return &tls.Config{Certificates: []tls.Certificate{{Certificate: [][]byte{der}, PrivateKey: key}}}
}

func (n *node) dialOverTLS() *client {
	n.t.Helper()
	conn, err := tls.Dial("tcp", n.srv.Addr().String(), &tls.Config{InsecureSkipVerify: true})
	if err != nil {
		n.t.Fatalf("connect: %v", err)
	}
	n.t.Cleanup(func() { _ = conn.Close() })
	return &client{t: n.t, conn: conn, r: bufio.NewReader(conn)}
}

// bothWays runs a test over the loop and over TLS.
func bothWays(t *testing.T, test func(t *testing.T, opts server.Options, dial func(*node) *client)) {
	t.Run("plain", func(t *testing.T) { test(t, server.Options{}, (*node).dial) })
	t.Run("tls", func(t *testing.T) { test(t, server.Options{TLS: testTLS(t)}, (*node).dialOverTLS) })
}

// A logFault makes writes to the log fail once it is on.
type logFault struct{ on atomic.Bool }

func (f *logFault) String() string { return "log fault" }

func (f *logFault) MaybeError(op errorfs.Op) error {
	if f.on.Load() && op.Kind == errorfs.OpFileWrite && strings.Contains(op.Path, ".log") {
		return errorfs.ErrInjected
	}
	return nil
}

func TestAConnectionWhoseCommitFailedReadsOn(t *testing.T) {
	bothWays(t, func(t *testing.T, opts server.Options, dial func(*node) *client) {
		fault := &logFault{}
		n, _ := startOver(t, errorfs.Wrap(vfs.NewMem(), fault), opts)
		c := dial(n)
		c.talk("> SET k before\n+OK")
		fault.on.Store(true)
		// Pebble buffers: some of the first may still succeed.
		value := strings.Repeat("x", 100_000)
		until(t, "a commit fails", func() bool { return strings.HasPrefix(c.do("SET", "other", value), "-TIMEOUT ") })
		c.talk("> PING\n+PONG\n> GET k\n$6\nbefore")
		if reply := c.do("SET", "k", "after"); !strings.HasPrefix(reply, "-MISCONF ") {
			t.Errorf("a write after a failed commit replies %q", reply)
		}
		c.talk("> PING\n+PONG")
	})
}

func TestAPanicEndsItsConnectionAndHoldsNoLock(t *testing.T) {
	bothWays(t, func(t *testing.T, opts server.Options, dial func(*node) *client) {
		n, keys := startOver(t, vfs.NewMem(), opts)
		c, other := dial(n), dial(n)
		var boom atomic.Bool
		keys.hooks.Store(&hooks{beforeDot: func() {
			if boom.Load() {
				panic("boom")
			}
		}})
		c.talk("> SET k v\n+OK")
		for _, command := range []string{"SET k 1", "INCR n", "RENAME k m", "MSETNX x 1", "COPY k m"} {
			boom.Store(true)
			c.write(command + "\r\n")
			c.ends()
			boom.Store(false)
			other.talk("> SET k v\n+OK\n> DEL n m x\n:0\n> MSETNX x 1\n:1\n> DEL x\n:1")
			c = dial(n)
		}
	})
}

func TestAHalfClosedClientGetsAllItsReplies(t *testing.T) {
	n := start(t, server.Options{})
	value := strings.Repeat("v", 12<<20)
	n.dial().expect("+OK\r\n", "SET", "large", value)
	for range 5 {
		c := n.dial()
		c.write("GET large\r\nPING\r\n")
		if err := c.conn.(*net.TCPConn).CloseWrite(); err != nil {
			t.Fatal(err)
		}
		got, err := io.ReadAll(c.r)
		if want := len("$12582912\r\n\r\n+PONG\r\n") + len(value); err != nil || len(got) != want {
			t.Fatalf("%d bytes, want %d: %v", len(got), want, err)
		}
	}
}

func TestShutdownSendsWhatRunningCommandsReplied(t *testing.T) {
	n := start(t, server.Options{})
	value := strings.Repeat("v", 20<<20)
	me, c := n.dial(), n.dial()
	me.expect("+OK\r\n", "SET", "large", value)
	id := strings.Trim(c.do("CLIENT", "ID"), ":\r\n")
	c.write("GET large\r\n")
	until(t, "the reply is under way", func() bool { return !strings.Contains(me.text("CLIENT", "LIST", "ID", id), " omem=0 ") })
	ctx, cancel := context.WithTimeout(t.Context(), patience)
	defer cancel()
	stopped := make(chan error, 1)
	go func() { stopped <- n.srv.Shutdown(ctx) }()
	me.ends()
	if got := len(c.reply()); got != len("$20971520\r\n\r\n")+len(value) {
		t.Errorf("the reply has %d bytes", got)
	}
	c.ends()
	if err := <-stopped; err != nil {
		t.Error(err)
	}
}

func TestAKilledClientRunsNothingMore(t *testing.T) {
	n := start(t, server.Options{})
	me, c := n.dial(), n.dial()
	id := strings.Trim(c.do("CLIENT", "ID"), ":\r\n")
	c.write("WAIT 1 0\r\nSET k v\r\n")
	until(t, "it waits", func() bool { return strings.Contains(me.text("CLIENT", "LIST", "ID", id), " flags=b ") })
	me.expect(":1\r\n", "CLIENT", "KILL", "ID", id)
	until(t, "it is gone", func() bool { return me.text("CLIENT", "LIST", "ID", id) == "" })
	me.talk("> GET k\n$-1")
}

func TestABlockedClientThatGoesAwayIsForgotten(t *testing.T) {
	bothWays(t, func(t *testing.T, opts server.Options, dial func(*node) *client) {
		n, _ := startOver(t, vfs.NewMem(), opts)
		me, c := dial(n), dial(n)
		id := strings.Trim(c.do("CLIENT", "ID"), ":\r\n")
		c.write("WAIT 1 0\r\n")
		until(t, "it waits", func() bool { return strings.Contains(me.text("CLIENT", "LIST", "ID", id), " flags=b ") })
		_ = c.conn.Close()
		until(t, "it is gone", func() bool { return me.text("CLIENT", "LIST", "ID", id) == "" })
	})
}

func TestUnfinishedHandshakesCountAsClients(t *testing.T) {
	n, _ := startOver(t, vfs.NewMem(), server.Options{TLS: testTLS(t), MaxClients: 2})
	n.dial()
	n.dial()
	until(t, "the third is refused", func() bool {
		c := n.dial()
		_ = c.conn.SetDeadline(time.Now().Add(100 * time.Millisecond))
		text, _ := io.ReadAll(c.r)
		return string(text) == "-ERR max number of clients reached\r\n"
	})
}

func TestAnUnfinishedHandshakeDoesNotHoldUpShutdown(t *testing.T) {
	n, _ := startOver(t, vfs.NewMem(), server.Options{TLS: testTLS(t)})
	me := n.dialOverTLS()
	c := n.dial()
	until(t, "it is there", func() bool { return strings.Count(me.text("CLIENT", "LIST"), "\n") == 2 })
	if err := n.srv.Shutdown(t.Context()); err != nil {
		t.Error(err)
	}
	c.ends()
}

func TestAScanThatIsCutShortDoesNotSayThatItIsComplete(t *testing.T) {
	for _, command := range []string{"SCAN 0", "KEYS *"} {
		n, keys := startOver(t, vfs.NewMem(), server.Options{})
		me, c := n.dial(), n.dial()
		me.talk("> MSET a 1 b 2 c 3\n+OK")
		id := strings.Trim(c.do("CLIENT", "ID"), ":\r\n")
		began := make(chan struct{})
		keys.hooks.Store(&hooks{scanned: func(again func() bool) {
			close(began)
			for end := time.Now().Add(patience); again() && time.Now().Before(end); {
				time.Sleep(time.Millisecond)
			}
		}})
		if strings.HasPrefix(command, "SCAN") {
			command += " COUNT 1000000"
		}
		c.write(command + "\r\n")
		<-began
		me.expect(":1\r\n", "CLIENT", "KILL", "ID", id)
		if reply := c.reply(); !strings.HasPrefix(reply, "-ERR the connection is ending") {
			t.Errorf("%s replies %.100q", command, reply)
		}
	}
}

func TestABlindWriteReplacesWhatCannotBeRead(t *testing.T) {
	n, keys := startOver(t, vfs.NewMem(), server.Options{})
	c := n.dial()
	c.talk("> SET k v\n+OK")
	dump := c.text("DUMP", "k")
	var changed atomic.Bool
	keys.hooks.Store(&hooks{update: func(key []byte, o *version.Object, change version.Change) bool {
		if string(key) != "bad" || !change.Blind() {
			return false
		}
		o.Reset()
		changed.Store(change.Apply(o))
		return true
	}})
	for _, command := range []struct {
		want string
		args []string
	}{
		{":1\r\n", []string{"DEL", "bad"}},
		{":1\r\n", []string{"UNLINK", "bad"}},
		{"+OK\r\n", []string{"SET", "bad", "v"}},
		{"+OK\r\n", []string{"SET", "bad", "v", "PXAT", "1"}},
		{"+OK\r\n", []string{"RESTORE", "bad", "0", dump, "REPLACE"}},
		{":0\r\n", []string{"BITOP", "OR", "bad", "none"}},
	} {
		changed.Store(false)
		c.expect(command.want, command.args...)
		if !changed.Load() {
			t.Errorf("%q leaves it", command.args)
		}
	}
	c.talk("> DEL none\n:0")
}

func TestRenameOfAKeyThatIsDeletedMeanwhileIsDone(t *testing.T) {
	n, keys := startOver(t, vfs.NewMem(), server.Options{})
	c := n.dial()
	c.talk("> SET from v\n+OK")
	var once atomic.Bool
	keys.hooks.Store(&hooks{update: func(key []byte, _ *version.Object, _ version.Change) bool {
		if string(key) == "from" && once.CompareAndSwap(false, true) {
			n.dial().talk("> DEL from\n:1")
		}
		return false
	}})
	c.talk("> RENAME from to\n+OK\n> GET to\n$1\nv\n> GET from\n$-1")
}

func TestManyKeysInOneMsetnx(t *testing.T) {
	args := []string{"MSETNX"}
	for i := range 50_000 {
		args = append(args, fmt.Sprint("{a}", i), "v")
	}
	c := connect(t)
	for _, want := range []string{":1\r\n", ":0\r\n"} {
		if reply := c.do(args...); reply != want {
			t.Errorf("MSETNX replies %.100q, want %q", reply, want)
		}
	}
}

func TestRepliesAboutCommandsAndClientsAreBounded(t *testing.T) {
	c := start(t, server.Options{MemoryBytes: 16 << 20}).dial()
	id := strings.Trim(c.do("CLIENT", "ID"), ":\r\n")
	many := func(args ...string) []string {
		last := args[len(args)-1]
		for range 200_000 {
			args = append(args, last)
		}
		return args
	}
	for _, args := range [][]string{
		many("COMMAND", "DOCS", "get"), many("COMMAND", "INFO", "get"), many("CLIENT", "LIST", "ID", id),
	} {
		if reply := c.do(args...); reply != "-ERR the reply would be larger than client-reply-bytes-max\r\n" {
			t.Errorf("%q replies %.100q", args[:3], reply)
		}
	}
	c.do("GET", "k")
	if reply := c.do("LATENCY", "HISTOGRAM", "get", "get"); !strings.HasPrefix(reply, "*2\r\n$3\r\nget\r\n") {
		t.Errorf("a command that is named twice: %q", reply)
	}
}

func TestSiblingsTogetherAreBounded(t *testing.T) {
	c := start(t, server.Options{MemoryBytes: 16 << 20}).dial()
	large := strings.Repeat("x", 3<<20)
	for _, want := range []byte("$-") {
		if reply := c.do("VSET", "k", "", large); reply[0] != want {
			t.Errorf("VSET replies %.100q, want %c", reply, want)
		}
	}
}

func TestAMemoryValueThatIsNoneIsRefused(t *testing.T) {
	// In lower case, this letter takes more bytes.
	connect(t).talk(`
> CONFIG SET proto-max-bulk-len Ⱥ
-ERR CONFIG SET failed (possibly related to argument 'proto-max-bulk-len') - argument must be a memory value
> CONFIG SET proto-max-bulk-len 2MB
+OK
> CONFIG GET proto-max-bulk-len
*2
$18
proto-max-bulk-len
$7
2097152`)
}

func TestAClientNamedAuthShowsNoPassword(t *testing.T) {
	c := start(t, server.Options{Password: "secret"}).dial()
	c.talk("> AUTH secret\n+OK\n> CONFIG SET slowlog-log-slower-than 0\n+OK")
	c.do("HELLO", "2", "SETNAME", "auth", "AUTH", "default", "secret")
	if reply := c.do("SLOWLOG", "GET"); strings.Contains(reply, "secret") {
		t.Errorf("the slow log shows the password: %q", reply)
	}
}

func TestExpireLTTakesTheLastMomentForAKeyThatNeverExpires(t *testing.T) {
	connect(t).talk(`
> SET k v
+OK
> PEXPIREAT k 9223372036854775807 LT
:1
> PEXPIREAT k 9223372036854775807 GT
:0`)
}

// heapBytes is what is alive.
func heapBytes() int64 {
	runtime.GC()
	runtime.GC()
	var m runtime.MemStats
	runtime.ReadMemStats(&m)
	return int64(m.HeapAlloc)
}

func TestIdleConnectionsHoldNoValues(t *testing.T) {
	bothWays(t, func(t *testing.T, opts server.Options, dial func(*node) *client) {
		n, _ := startOver(t, vfs.NewMem(), opts)
		value := strings.Repeat("v", 4<<20)
		dial(n).expect("+OK\r\n", "SET", "large", value)
		before := heapBytes()
		var clients []*client
		for i := range 40 {
			c := dial(n)
			clients = append(clients, c)
			if i%2 == 0 {
				c.do("GET", "large")
			} else {
				c.do("ECHO", value)
			}
			c.r = nil
		}
		grown := int64(0)
		until(t, "the values are gone", func() bool {
			grown = heapBytes() - before
			return grown < 60<<20
		})
		runtime.KeepAlive(clients)
	})
}

func TestManyRequestsInProgressAreBoundedTogether(t *testing.T) {
	n := start(t, server.Options{})
	me := n.dial()
	part := "*2\r\n$4\r\nECHO\r\n$250000\r\n" + strings.Repeat("x", 200_000)
	until(t, "some are cut off", func() bool {
		for range 100 {
			conn, err := net.Dial("tcp", n.srv.Addr().String())
			if err != nil {
				t.Fatal(err)
			}
			t.Cleanup(func() { _ = conn.Close() })
			_, _ = io.WriteString(conn, part)
		}
		return !strings.Contains(me.text("INFO", "stats"), "evicted_clients:0\r\n")
	})
}
