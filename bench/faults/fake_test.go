package faults

import (
	"bufio"
	"context"
	"encoding/base64"
	"encoding/binary"
	"errors"
	"fmt"
	"io"
	"maps"
	"net"
	"slices"
	"strconv"
	"strings"
	"sync"
	"testing"
	"time"

	"cartwheel/bench/check"

	"github.com/cespare/xxhash/v2"
)

// fake is a system whose nodes are listeners of this process over one shared store that keeps all
// promises, unless it is told to break one: it tests workloads, faults and checkers together.
type fake struct {
	flaw string // which promise it breaks; "": none

	mu       sync.Mutex // guards what follows, and the fields of fakeNode that say so
	versions map[string]*versioned
	plain    map[string]plainValue
	latest   []string // keys of VSETs, the newest last
	hlc      uint64
	count    int // of flawed operations, to break some of them only
	nodes    []*fakeNode
}

type versioned struct {
	clock    check.Clock
	siblings []fakeSibling
	before   []fakeSibling // the write before
}

type fakeSibling struct {
	dot   check.Dot
	value string
}

type plainValue struct {
	value   string
	expires time.Time // zero: never
}

type fakeNode struct {
	fake  *fake
	index int
	addr  string

	served   sync.WaitGroup
	listener net.Listener          // nil while dead; guarded by fake.mu
	conns    map[net.Conn]struct{} // guarded by fake.mu
	stopped  chan struct{}         // not nil while stopped, closed to go on; guarded by fake.mu
}

func startFake(t *testing.T, nodes int, flaw string) *fake {
	t.Helper()
	f := &fake{flaw: flaw, versions: map[string]*versioned{}, plain: map[string]plainValue{}}
	for i := range nodes {
		n := &fakeNode{fake: f, index: i, addr: "127.0.0.1:0", conns: map[net.Conn]struct{}{}}
		f.nodes = append(f.nodes, n)
		if err := n.Restart(t.Context()); err != nil {
			t.Fatal(err)
		}
	}
	t.Cleanup(func() {
		for _, n := range f.nodes {
			_ = n.Cont()
			_ = n.Kill9()
			n.served.Wait()
		}
	})
	return f
}

func (f *fake) Addrs() (addrs []string) {
	for _, n := range f.nodes {
		addrs = append(addrs, n.addr)
	}
	return addrs
}

func (f *fake) Node(i int) node { return f.nodes[i] }

func (f *fake) Settled(context.Context) error {
	f.mu.Lock()
	defer f.mu.Unlock()
	for _, n := range f.nodes {
		if n.listener == nil || n.stopped != nil {
			return fmt.Errorf("node %d is down", n.index)
		}
	}
	return nil
}

func (n *fakeNode) Terminate(context.Context) error { return n.Kill9() }

func (n *fakeNode) Lose() error { panic("the fake has one store") }
func (n *fakeNode) Lost() bool  { return false }

func (n *fakeNode) Log() string { return "" }

func (n *fakeNode) Running() bool {
	n.fake.mu.Lock()
	defer n.fake.mu.Unlock()
	return n.listener != nil && n.stopped == nil
}

func (n *fakeNode) Kill9() error {
	n.fake.mu.Lock()
	defer n.fake.mu.Unlock()
	if n.listener == nil {
		return nil
	}
	err := n.listener.Close()
	n.listener = nil
	for conn := range n.conns {
		_ = conn.Close()
	}
	return err
}

func (n *fakeNode) Stop() error {
	n.fake.mu.Lock()
	defer n.fake.mu.Unlock()
	n.stopped = make(chan struct{})
	return nil
}

func (n *fakeNode) Cont() error {
	n.fake.mu.Lock()
	defer n.fake.mu.Unlock()
	if n.stopped != nil {
		close(n.stopped)
		n.stopped = nil
	}
	return nil
}

func (n *fakeNode) Restart(context.Context) error {
	listener, err := net.Listen("tcp", n.addr)
	if err != nil {
		return err
	}
	n.fake.mu.Lock()
	defer n.fake.mu.Unlock()
	n.listener, n.addr = listener, listener.Addr().String()
	if latest := n.fake.latest; n.fake.flaw == "hint" && len(latest) > 0 {
		// What it should have been handed is lost.
		for _, key := range latest[max(0, len(latest)-20):] {
			v := n.fake.versions[key]
			v.siblings = v.siblings[:max(0, len(v.siblings)-1)]
		}
	}
	n.served.Go(func() { n.accept(listener) })
	return nil
}

func (n *fakeNode) accept(listener net.Listener) {
	for {
		conn, err := listener.Accept()
		if err != nil {
			return
		}
		n.fake.mu.Lock()
		n.conns[conn] = struct{}{}
		n.fake.mu.Unlock()
		n.served.Go(func() {
			n.serve(conn)
			n.fake.mu.Lock()
			delete(n.conns, conn)
			n.fake.mu.Unlock()
			_ = conn.Close()
		})
	}
}

func (n *fakeNode) serve(conn net.Conn) {
	requests := bufio.NewReader(conn)
	for {
		args, err := readRequest(requests)
		if err != nil {
			return
		}
		n.fake.mu.Lock()
		stopped := n.stopped
		n.fake.mu.Unlock()
		if stopped != nil {
			<-stopped
		}
		if _, err := io.WriteString(conn, n.fake.answer(n.index, args)); err != nil {
			return
		}
	}
}

func readRequest(r *bufio.Reader) (args []string, err error) {
	count, err := readLength(r, '*')
	if err != nil {
		return nil, err
	}
	for range count {
		length, err := readLength(r, '$')
		if err != nil {
			return nil, err
		}
		arg := make([]byte, length+2)
		if _, err := io.ReadFull(r, arg); err != nil {
			return nil, err
		}
		args = append(args, string(arg[:length]))
	}
	return args, nil
}

func readLength(r *bufio.Reader, kind byte) (int, error) {
	line, err := r.ReadString('\n')
	if err != nil {
		return 0, err
	}
	if line[0] != kind {
		return 0, errors.New("not a request: " + line)
	}
	return strconv.Atoi(strings.TrimSpace(line[1:]))
}

// flawed tells whether to break the promise now: each time so many operations could.
func (f *fake) flawed(flaw string, every int) bool {
	if f.flaw != flaw {
		return false
	}
	f.count++
	return f.count%every == 0
}

func bulk(s string) string { return fmt.Sprintf("$%d\r\n%s\r\n", len(s), s) }

// answer does one command.
func (f *fake) answer(node int, args []string) string {
	f.mu.Lock()
	defer f.mu.Unlock()
	switch command := strings.ToUpper(args[0]); command {
	case "VGET":
		return f.vget(args[1])
	case "VSET":
		return f.vset(node, args[1], args[2], &args[3])
	case "VEXPLAIN":
		return f.explain(args[1])
	case "VDEL":
		return f.vset(node, args[1], args[2], nil)
	case "GET", "SET", "DEL", "PEXPIRE", "INCR":
		return f.plainly(command, args)
	}
	return "-ERR unknown command\r\n"
}

func (f *fake) vget(key string) string {
	v := f.versions[key]
	if v == nil {
		v = &versioned{}
	}
	siblings := v.siblings
	if f.flawed("stale read", 40) {
		siblings = v.before
	}
	reply := fmt.Sprintf("*2\r\n%s*%d\r\n", bulk(token(v.clock, key)), len(siblings))
	for _, s := range slices.Backward(siblings) {
		reply += bulk(s.value)
	}
	return reply
}

// explain shows three owners that hold the same.
func (f *fake) explain(key string) string {
	v := f.versions[key]
	if v == nil {
		v = &versioned{}
	}
	dot := func(d check.Dot) string { return bulk(d.String()) }
	one := "*6\r\n" + bulk("node") + bulk("owner") + bulk("clock") + fmt.Sprintf("*%d\r\n", len(v.clock))
	for incarnation, hlc := range v.clock {
		one += dot(check.Dot{Incarnation: incarnation, HLC: hlc})
	}
	one += bulk("siblings") + fmt.Sprintf("*%d\r\n", len(v.siblings))
	for _, s := range v.siblings {
		one += "*2\r\n" + bulk("dot") + dot(s.dot)
	}
	return "*2\r\n" + bulk("replicas") + "*3\r\n" + one + one + one
}

func (f *fake) vset(node int, key, context string, value *string) string {
	given, err := check.ParseContext(context, key)
	if err != nil {
		return "-ERR invalid context\r\n"
	}
	v := f.versions[key]
	if v == nil {
		v = &versioned{clock: check.Clock{}}
		f.versions[key] = v
	}
	f.hlc++
	dot := check.Dot{Incarnation: uint64(node + 1), HLC: f.hlc}
	before := slices.Clone(v.siblings)
	if !f.flawed("covered kept", 3) {
		v.siblings = slices.DeleteFunc(slices.Clone(v.siblings), func(s fakeSibling) bool { return s.dot.HLC <= given[s.dot.Incarnation] })
	}
	if f.flawed("merge", 20) {
		v.siblings = nil
	}
	returned := maps.Clone(given)
	if returned == nil {
		returned = check.Clock{}
	}
	returned[dot.Incarnation] = dot.HLC
	for _, s := range v.siblings {
		if s.dot.HLC <= returned[s.dot.Incarnation] {
			returned = given
			break
		}
	}
	if f.flawed("acknowledgement", 50) {
		v.siblings = before
		return bulk(token(returned, key))
	}
	v.before = before
	for incarnation, hlc := range given {
		v.clock[incarnation] = max(v.clock[incarnation], hlc)
	}
	v.clock[dot.Incarnation] = dot.HLC
	if value != nil {
		v.siblings = append(v.siblings, fakeSibling{dot, *value})
		f.latest = append(f.latest, key)
	}
	return bulk(token(returned, key))
}

func (f *fake) plainly(command string, args []string) string {
	now := time.Now()
	key := args[1]
	current, has := f.plain[key]
	if has = has && (current.expires.IsZero() || current.expires.After(now) || f.flaw == "expiry"); !has {
		current = plainValue{}
	}
	life := func(at int) time.Time {
		ms, _ := strconv.Atoi(args[at])
		return now.Add(time.Duration(ms) * time.Millisecond)
	}
	switch command {
	case "GET":
		if !has {
			return "$-1\r\n"
		}
		return bulk(current.value)
	case "SET":
		nx := len(args) > 3 && args[3] == "NX"
		if nx && has && !f.flawed("winner", 20) {
			return "$-1\r\n"
		}
		if !nx && f.flawed("older wins", 6) {
			return "+OK\r\n"
		}
		f.plain[key] = plainValue{args[2], life(len(args) - 1)}
		return "+OK\r\n"
	case "DEL":
		if f.flawed("delete", 2) {
			return ":1\r\n"
		}
		delete(f.plain, key)
		return ":1\r\n"
	case "PEXPIRE":
		if !has {
			return ":0\r\n"
		}
		f.plain[key] = plainValue{current.value, life(2)}
		return ":1\r\n"
	}
	n, _ := strconv.Atoi(current.value)
	if !f.flawed("increment", 50) {
		f.plain[key] = plainValue{strconv.Itoa(n + 1), time.Time{}}
	}
	return fmt.Sprintf(":%d\r\n", n+1)
}

// token makes a context as a node does.
func token(c check.Clock, key string) string {
	raw := []byte{1}
	for _, incarnation := range slices.Sorted(maps.Keys(c)) {
		raw = binary.BigEndian.AppendUint64(raw, incarnation)
		raw = binary.BigEndian.AppendUint64(raw, c[incarnation])
	}
	digest := xxhash.NewWithSeed(xxhash.Sum64String(key))
	_, _ = digest.Write(raw)
	return base64.RawURLEncoding.EncodeToString(binary.BigEndian.AppendUint64(raw, digest.Sum64()))
}
