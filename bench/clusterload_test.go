package main

import (
	"bufio"
	"fmt"
	"io"
	"net"
	"runtime"
	"slices"
	"strings"
	"sync/atomic"
	"testing"
	"time"

	"cartwheel/bench/preload"

	"pgregory.net/rapid"
)

func TestRequestIsThePipelineWithItsKeysPutIn(t *testing.T) {
	r := clusterLoad{command: "set", pipeline: 2, wait: true}.request()
	n := uint64(0)
	r.choose(func() uint64 { n++; return loadKeys*5 + n })
	value := string(preload.AppendValue(nil, 0, loadValueBytes))
	want := ""
	for i := 1; i <= 2; i++ {
		want += string(appendCommand(nil, "set", preload.Key(i), value))
	}
	if want += "*3\r\n$4\r\nWAIT\r\n$1\r\n1\r\n$1\r\n0\r\n"; string(r.text) != want || r.replies != 3 {
		t.Errorf("%q, %d replies", r.text, r.replies)
	}
	r = clusterLoad{command: "get", pipeline: 1}.request()
	r.choose(func() uint64 { return 7 })
	if want := "*2\r\n$3\r\nget\r\n$16\r\nkey:000000000007\r\n"; string(r.text) != want || r.replies != 1 {
		t.Errorf("%q, %d replies", r.text, r.replies)
	}
}

func TestRepliesAreSkippedWholeOnly(t *testing.T) {
	for text, wait := range map[string]bool{
		"+OK\r\n": false, ":1\r\n": true, ":0\r\n": false, "$3\r\nabc\r\n": false, "$0\r\n\r\n": false,
		"*2\r\n:1\r\n$1\r\na\r\n": false, "*0\r\n": false,
	} {
		for end := range len(text) {
			if n, err := skipReply([]byte(text[:end]), wait); n != 0 || err != nil {
				t.Errorf("%q: %d, %v", text[:end], n, err)
			}
		}
		if n, err := skipReply([]byte(text+"+next"), wait); n != len(text) || err != nil {
			t.Errorf("%q: %d, %v", text, n, err)
		}
	}
}

func TestRepliesThatSayNoAreErrors(t *testing.T) {
	for text, wait := range map[string]bool{
		"-ERR no\r\n": false, "$-1\r\n": false, ":0\r\n": true, "hello\r\n": false, "$x\r\n": false,
		"+OK\n": false, "\r\n": false, "*2\r\n:1\r\n-ERR\r\n": false, "$99999999\r\n": false, "*-1\r\n": false,
	} {
		if n, err := skipReply([]byte(text), wait); err == nil {
			t.Errorf("%q: %d", text, n)
		}
	}
}

func FuzzSkipReply(f *testing.F) {
	f.Add([]byte("*2\r\n:1\r\n$1\r\na\r\n"), false)
	f.Add([]byte("$-1\r\n"), true)
	f.Fuzz(func(t *testing.T, text []byte, wait bool) {
		if n, err := skipReply(text, wait); n < 0 || n > len(text) || n > 0 && err != nil {
			t.Errorf("%q: %d, %v", text, n, err)
		}
	})
}

func TestQuantilesAreThoseOfTheSortedLatencies(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		var l latencies
		var all []time.Duration
		for range rapid.IntRange(1, 200).Draw(t, "count") {
			us := rapid.OneOf(rapid.IntRange(0, 100), rapid.IntRange(0, 3*latencyCounted)).Draw(t, "us")
			d := time.Duration(us) * time.Microsecond
			l.add(d)
			all = append(all, d)
		}
		slices.Sort(all)
		share := rapid.SampledFrom([]float64{0.5, 0.99, 0.999, 1}).Draw(t, "share")
		at := 0
		for float64(at+1) < share*float64(len(all)) {
			at++
		}
		if got := l.quantile(share); got != all[at] {
			t.Fatalf("%v of %v: %v, not %v", share, all, got, all[at])
		}
	})
	if (&latencies{}).quantile(0.5) != 0 {
		t.Error("a quantile of nothing")
	}
}

// store answers requests of the load with the reply that it is given, and counts them.
func store(t *testing.T, reply func(command string) string) (addr string, commands *atomic.Int64) {
	t.Helper()
	if runtime.GOOS != "linux" {
		t.Skip("the load needs Linux")
	}
	listener, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = listener.Close() })
	commands = new(atomic.Int64)
	go func() {
		for {
			conn, err := listener.Accept()
			if err != nil {
				return
			}
			go func() {
				defer conn.Close()
				for in := bufio.NewReader(conn); ; {
					var args int
					if _, err := fmt.Fscanf(in, "*%d\r\n", &args); err != nil {
						return
					}
					words := make([]string, args)
					for i := range words {
						if _, err := in.ReadString('\n'); err != nil {
							return
						}
						word, err := in.ReadString('\n')
						if err != nil {
							return
						}
						words[i] = strings.TrimSpace(word)
					}
					commands.Add(1)
					if _, err := io.WriteString(conn, reply(words[0])); err != nil {
						return
					}
				}
			}()
		}
	}()
	return listener.Addr().String(), commands
}

func TestClosedLoopCountsWhatWasAnswered(t *testing.T) {
	addr, commands := store(t, func(command string) string {
		return map[string]string{"set": "+OK\r\n", "WAIT": ":2\r\n"}[command]
	})
	began := time.Now()
	found, err := runClusterLoad(t.Context(), []string{addr}, clusterLoad{command: "set", pipeline: 4, wait: true}, 200*time.Millisecond)
	if err != nil {
		t.Fatal(err)
	}
	// All that was begun was answered; the run lasted 200 ms at least, and ended before this.
	answered := float64(commands.Load()) * 4 / 5
	if least, most := answered/time.Since(began).Seconds(), answered/0.2; found.PerSecond < least || found.PerSecond > most {
		t.Errorf("%.0f a second, not %.0f to %.0f", found.PerSecond, least, most)
	}
	if !(found.P50MS > 0 && found.P50MS <= found.P99MS && found.P99MS <= found.P999MS) {
		t.Errorf("%+v", found)
	}
}

// TestOpenLoopKeepsItsRateAndChargesForStalls: a server that stands still for a while is charged for all
// that were due meanwhile.
func TestOpenLoopKeepsItsRateAndChargesForStalls(t *testing.T) {
	began := time.Now()
	addr, commands := store(t, func(string) string {
		if since := time.Since(began); since < 150*time.Millisecond {
			time.Sleep(150*time.Millisecond - since)
		}
		return "$1\r\nv\r\n"
	})
	const rate = 2000
	_, err := runClusterLoad(t.Context(), []string{addr}, clusterLoad{command: "get", pipeline: 1, rate: rate}, 500*time.Millisecond)
	if err != nil {
		t.Fatal(err)
	}
	// One pipeline is due at each n/rate up to the end, however late it was answered.
	if got, want := commands.Load(), int64(rate/2); got < want-1 || got > want+1 {
		t.Errorf("%d commands at %d a second for half a second", got, rate)
	}
	began = time.Now()
	found, err := runClusterLoad(t.Context(), []string{addr}, clusterLoad{command: "get", pipeline: 1, rate: rate}, 500*time.Millisecond)
	if err != nil {
		t.Fatal(err)
	}
	// 30 per cent of all were due in the stall: those behind it waited for it.
	if found.P99MS < 100 {
		t.Errorf("a stall of 150 ms is not seen: %+v", found)
	}
}

func TestLoadStopsAtAReplyThatSaysNo(t *testing.T) {
	for command, reply := range map[string]string{"get": "$-1\r\n", "set": "-OVERLOADED later\r\n"} {
		addr, _ := store(t, func(string) string { return reply })
		if _, err := runClusterLoad(t.Context(), []string{addr}, clusterLoad{command: command, pipeline: 1}, 10*time.Second); err == nil {
			t.Errorf("%s: %q is counted as work", command, reply)
		}
	}
	addr, _ := store(t, func(string) string { return "+OK\r\n+more\r\n" })
	if _, err := runClusterLoad(t.Context(), []string{addr}, clusterLoad{command: "set", pipeline: 1}, 10*time.Second); err == nil {
		t.Error("a reply too many is not noticed")
	}
}

func TestLoadSendsItsPreludeOnEachConnection(t *testing.T) {
	var preludes atomic.Int64
	addr, _ := store(t, func(command string) string {
		if command == "QUORUM" {
			preludes.Add(1)
			return "*2\r\n$1\r\nR\r\n:1\r\n"
		}
		return "$1\r\nv\r\n"
	})
	load := clusterLoad{command: "get", pipeline: 1, prelude: "QUORUM R 1"}
	if _, err := runClusterLoad(t.Context(), []string{addr, addr}, load, 20*time.Millisecond); err != nil {
		t.Fatal(err)
	}
	if preludes.Load() != loadConnections {
		t.Errorf("%d preludes", preludes.Load())
	}
	refusing, _ := store(t, func(string) string { return "-ERR unknown command\r\n" })
	if _, err := runClusterLoad(t.Context(), []string{refusing}, load, time.Second); err == nil {
		t.Error("a refused prelude is not noticed")
	}
}
