package compat

import (
	"bytes"
	"errors"
	"fmt"
	"io"
	"net"
	"strconv"
	"strings"
	"sync"
	"syscall"
	"testing"
	"time"

	"cartwheel/bench/proc"
)

const (
	abusedMemory     = "64MB"
	abusedRSSMax     = (64 + 300) << 20
	servedMeanwhile  = 50
	idleConnections  = 10_000
	descriptorsSpare = 1_000
)

// abused starts a server of little memory, and returns it with a function that, at the end of the
// abuse, wants that another client was served all along and that memory stayed within its limit.
func abused(t *testing.T, clientsMax int) (*proc.Server, func()) {
	t.Helper()
	s := startSubject(t, settings{memory: abusedMemory, clientsMax: clientsMax})
	b := &bystander{stop: make(chan struct{}), ended: make(chan error, 1)}
	go func() { b.ended <- b.use(s.Addr) }()
	finish := sync.OnceValue(func() error {
		close(b.stop)
		return <-b.ended
	})
	t.Cleanup(func() { _ = finish() })
	return s, func() {
		t.Helper()
		if err := finish(); err != nil {
			t.Errorf("another client meanwhile: %v", err)
		}
		peak, err := s.PeakRSS()
		if err != nil || peak > abusedRSSMax {
			t.Errorf("resident memory reached %d MB of %d MB allowed, %v", peak>>20, abusedRSSMax>>20, err)
		}
		connect(t, s.Addr).want(t, "+PONG\r\n", "PING")
	}
}

// bystander is a client that wants to be served while others misbehave.
type bystander struct {
	stop  chan struct{}
	ended chan error
}

// use reads and writes until told to stop, and at least servedMeanwhile times.
func (b *bystander) use(addr string) error {
	c, err := dial(addr)
	if err != nil {
		return err
	}
	defer c.Close()
	pause := time.NewTicker(5 * time.Millisecond)
	defer pause.Stop()
	for i := 0; ; i++ {
		value := strconv.Itoa(i)
		if r, err := c.do("SET", "bystander", value); err != nil || r.text != "OK" {
			return fmt.Errorf("SET: %s %w", r, err)
		}
		if r, err := c.do("GET", "bystander"); err != nil || r.text != value {
			return fmt.Errorf("GET: %s %w", r, err)
		}
		if i < servedMeanwhile {
			<-pause.C
			continue
		}
		select {
		case <-b.stop:
			return nil
		case <-pause.C:
		}
	}
}

func TestIdleConnectionsAreCarried(t *testing.T) {
	var limit syscall.Rlimit
	if err := syscall.Getrlimit(syscall.RLIMIT_NOFILE, &limit); err != nil {
		t.Fatal(err)
	}
	if limit.Max < idleConnections+descriptorsSpare {
		skip(t, "needs %d open files, the hard limit is %d", idleConnections+descriptorsSpare, limit.Max)
	}
	limit.Cur = limit.Max
	if err := syscall.Setrlimit(syscall.RLIMIT_NOFILE, &limit); err != nil { // the server inherits it
		t.Fatal(err)
	}
	s, finish := abused(t, idleConnections+100)
	idle := make([]net.Conn, 0, idleConnections)
	defer func() {
		for _, c := range idle {
			_ = c.Close()
		}
	}()
	for range idleConnections {
		c, err := net.DialTimeout("tcp", s.Addr, replyTimeout)
		if err != nil {
			t.Fatalf("after %d: %v", len(idle), err)
		}
		idle = append(idle, c)
	}
	for i, c := range idle {
		if r, err := newConn(c).do("PING"); err != nil || r.text != "PONG" {
			t.Fatalf("connection %d of %d: %s, %v", i, len(idle), r, err)
		}
	}
	finish()
}

// TestAnnouncedBytesTakeNoMemory sends headers of requests that never come.
func TestAnnouncedBytesTakeNoMemory(t *testing.T) {
	s, finish := abused(t, 1000)
	for _, header := range []string{
		"*3\r\n$3\r\nSET\r\n$1\r\nk\r\n$536870912\r\nx",
		"*3\r\n$3\r\nSET\r\n$1\r\nk\r\n$67108864\r\nx",
		"*1000000\r\n",
		"*1048576\r\n$3\r\nDEL\r\n",
	} {
		for range 50 {
			if _, err := connect(t, s.Addr).Write([]byte(header)); err != nil && !isReset(err) {
				t.Fatal(err)
			}
		}
	}
	finish()
}

// TestImpossibleLengthsAreRefused holds the two inputs that end or spin servers built on redcon, and their like.
func TestImpossibleLengthsAreRefused(t *testing.T) {
	s, finish := abused(t, 1000)
	for _, input := range []string{
		"*1\r\n$9223372036854775807\r\n",
		"*9223372036854775807\r\n",
		"*3\r\n$3\r\nSET\r\n$1\r\nk\r\n$2147483648\r\n",
		"*1\r\n$9223372036854775800\r\nx",
		"*-9223372036854775809\r\n",
	} {
		for range 20 {
			got, err := answerToEnd(s.Addr, input)
			if err != nil || !strings.HasPrefix(string(got), "-ERR Protocol error: invalid ") {
				t.Fatalf("%q: %q, %v", input, got, err)
			}
		}
	}
	finish()
}

func TestBulkTrickledByteByByteArrives(t *testing.T) {
	s, finish := abused(t, 1000)
	c := connect(t, s.Addr)
	value := strings.Repeat("drop ", 12_000)
	request := encode("SET", "trickled", value)
	for i := range request {
		if _, err := c.Write(request[i : i+1]); err != nil {
			t.Fatal(err)
		}
	}
	if r, err := c.receive(); err != nil || r.text != "OK" {
		t.Fatalf("%s, %v", r, err)
	}
	c.want(t, string(encode(value))[len("*1\r\n"):], "GET", "trickled")
	finish()
}

func TestMillionArgumentsAreServed(t *testing.T) {
	const million = 1_000_000
	s, finish := abused(t, 1000)
	c := connect(t, s.Addr)
	c.want(t, "+OK\r\n", "SET", "here", "v")
	args := make([]string, million)
	for i := range args {
		args[i] = "absent"
	}
	args[0], args[million-1] = "EXISTS", "here"
	c.want(t, ":1\r\n", args...)
	args[0] = "MGET"
	r, err := c.do(args...)
	if err != nil || len(r.items) != million-1 || r.items[million-2].text != "v" || !r.items[0].null {
		t.Fatalf("MGET of a million keys: %d items, %v, %s", len(r.items), err, shorten(r.String()))
	}
	args[0] = "DEL"
	c.want(t, ":1\r\n", args...)
	args[0] = "NOSUCH"
	if r, err := c.do(args...); err != nil || !strings.HasPrefix(r.text, "ERR unknown command 'NOSUCH'") || len(r.raw) > 1024 {
		t.Fatalf("unknown command of a million arguments: %s, %v", shorten(r.String()), err)
	}
	finish()
}

// TestReadersThatNeverReadAreBounded asks for far more than memory holds and reads none of it.
func TestReadersThatNeverReadAreBounded(t *testing.T) {
	const readers, valueBytes, gets = 4, 1 << 20, 1000
	s, finish := abused(t, 1000)
	connect(t, s.Addr).want(t, "+OK\r\n", "SET", "big", strings.Repeat("x", valueBytes))
	pipeline := bytes.Repeat(encode("GET", "big"), gets)
	for range readers {
		c := connect(t, s.Addr)
		_ = c.SetWriteDeadline(time.Now().Add(replyTimeout))
		if _, err := c.Write(pipeline); err != nil && !isReset(err) {
			t.Fatal(err)
		}
	}
	served := connect(t, s.Addr)
	for range 200 {
		served.want(t, "$"+strconv.Itoa(valueBytes)+"\r\n"+strings.Repeat("x", valueBytes)+"\r\n", "GET", "big")
	}
	finish()
}

func TestGarbageEndsOnlyItsConnection(t *testing.T) {
	s, finish := abused(t, 1000)
	r := random(t)
	for range 300 {
		garbage := make([]byte, 1+r.IntN(20_000))
		for i := range garbage {
			garbage[i] = byte(r.Uint32())
		}
		// Most of it looks like a request for a while.
		if r.IntN(4) > 0 {
			request := encode("SET", "garbage", strings.Repeat("v", r.IntN(5000)))
			for range r.IntN(4) {
				request[r.IntN(len(request))] = byte(r.Uint32())
			}
			garbage = append(request, garbage[:r.IntN(len(garbage))]...)
		}
		if err := throw(s.Addr, garbage); err != nil {
			t.Fatalf("%s: %v", shorten(fmt.Sprintf("%q", garbage)), err)
		}
	}
	finish()
}

// throw sends bytes, says that no more come, and wants the server to end the connection.
func throw(addr string, garbage []byte) error {
	c, err := dial(addr)
	if err != nil {
		return err
	}
	defer c.Close()
	if err := c.SetDeadline(time.Now().Add(replyTimeout)); err != nil {
		return err
	}
	if _, err := c.Write(garbage); err != nil && !isReset(err) {
		return err
	}
	if err := c.Conn.(*net.TCPConn).CloseWrite(); err != nil && !errors.Is(err, syscall.ENOTCONN) {
		return err
	}
	if _, err := io.Copy(io.Discard, c); err != nil && !isReset(err) {
		return err
	}
	return nil
}
