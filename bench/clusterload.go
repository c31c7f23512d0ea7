package main

import (
	"bytes"
	"errors"
	"fmt"
	"math"
	"slices"
	"strconv"
	"time"

	"cartwheel/bench/preload"
)

// clusterLoad is what the connections of one run send, all of them the same. redis-benchmark cannot send
// a WAIT behind each SET, nor keep a rate, so this load is our own, and both sides get it.
type clusterLoad struct {
	command  string  // get or set, of a random one of loadKeys
	pipeline int     // of them that a connection sends at once
	wait     bool    // WAIT 1 0 behind them, in the same write: at least one replica has them all
	prelude  string  // a command that each connection sends once, in words; none if empty
	rate     float64 // pipelines a second on all connections together, whenever they come back; 0: as fast as they do
}

func (l clusterLoad) String() string {
	said := fmt.Sprintf("%s x%d", l.command, l.pipeline)
	if l.wait {
		said += " + WAIT 1 0"
	}
	if l.prelude != "" {
		said = l.prelude + "; " + said
	}
	if l.rate > 0 {
		said += fmt.Sprintf(", %.0f/s", l.rate)
	}
	return said
}

// request is what a connection sends, encoded once; only the keys are put in anew.
type request struct {
	text    []byte
	keys    []int // where in text each key stands
	replies int   // how many there are to come
	waits   bool  // the last of them is WAIT's
}

func (l clusterLoad) request() *request {
	r := &request{replies: l.pipeline, waits: l.wait}
	value := preload.AppendValue(nil, 0, loadValueBytes)
	for range l.pipeline {
		args := []string{l.command, preload.Key(0)}
		if l.command == "set" {
			args = append(args, string(value))
		}
		at := len(r.text)
		r.text = appendCommand(r.text, args...)
		r.keys = append(r.keys, at+bytes.Index(r.text[at:], []byte(args[1])))
	}
	if l.wait {
		r.text = appendCommand(r.text, "WAIT", "1", "0")
		r.replies++
	}
	return r
}

// choose puts random keys in.
func (r *request) choose(next func() uint64) {
	for _, at := range r.keys {
		preload.AppendKey(r.text[:at], int(next()%loadKeys))
	}
}

func appendCommand(dst []byte, args ...string) []byte {
	dst = append(dst, '*')
	dst = strconv.AppendInt(dst, int64(len(args)), 10)
	dst = append(dst, "\r\n"...)
	for _, arg := range args {
		dst = append(dst, '$')
		dst = strconv.AppendInt(dst, int64(len(arg)), 10)
		dst = append(dst, "\r\n"...)
		dst = append(dst, arg...)
		dst = append(dst, "\r\n"...)
	}
	return dst
}

var (
	errMissing  = errors.New("the reply is that there is no such key")
	errReplicas = errors.New("WAIT says that no replica has the write")
)

// skipReply returns how many bytes the first reply of text takes, 0 where it is not whole yet. A reply
// that says no is an error: only work that was done is counted.
func skipReply(text []byte, wait bool) (int, error) {
	line := bytes.IndexByte(text, '\n') + 1
	if line == 0 {
		return 0, nil
	}
	word := text[1 : line-1]
	if n := len(word); n == 0 || word[n-1] != '\r' {
		return 0, fmt.Errorf("not a reply: %q", text[:line])
	}
	word = word[:len(word)-1]
	switch text[0] {
	case '+':
		return line, nil
	case ':':
		if wait && (len(word) == 0 || word[0] == '0') {
			return 0, errReplicas
		}
		return line, nil
	case '*': // QUORUM shows what it has set
		return skipReplies(text, line, word)
	case '$':
		length, err := strconv.Atoi(string(word))
		if err != nil || length > loadReplyBytesMax {
			return 0, fmt.Errorf("not a reply: %q", text[:line])
		}
		if length < 0 {
			return 0, errMissing
		}
		if len(text) < line+length+2 {
			return 0, nil
		}
		return line + length + 2, nil
	case '-':
		return 0, fmt.Errorf("error reply: %s", word)
	}
	return 0, fmt.Errorf("not a reply: %q", text[:line])
}

// skipReplies is skipReply of an array.
func skipReplies(text []byte, at int, word []byte) (int, error) {
	count, err := strconv.Atoi(string(word))
	if err != nil || count < 0 || count > 100 {
		return 0, fmt.Errorf("not a reply: %q", text[:at])
	}
	for range count {
		n, err := skipReply(text[at:], false)
		if n == 0 {
			return 0, err
		}
		at += n
	}
	return at, nil
}

// loadReplyBytesMax bounds a reply, and loadBufferBytes what a connection has not taken apart yet.
const (
	loadReplyBytesMax = 4 << 10
	loadBufferBytes   = 64 << 10
)

// latencies counts how long pipelines took, to the microsecond.
type latencies struct {
	counts [latencyCounted]uint32 // by microseconds
	beyond []time.Duration        // those too long for that
	total  int
}

const latencyCounted = 50_000

func (l *latencies) add(d time.Duration) {
	l.total++
	if us := d.Microseconds(); us < latencyCounted {
		l.counts[max(us, 0)]++
		return
	}
	l.beyond = append(l.beyond, d)
}

// join adds what another has counted.
func (l *latencies) join(other *latencies) {
	for us, n := range other.counts {
		l.counts[us] += n
	}
	l.beyond = append(l.beyond, other.beyond...)
	l.total += other.total
}

// quantile is the least latency that so large a share of all do not exceed.
func (l *latencies) quantile(share float64) time.Duration {
	left := max(1, int(math.Ceil(share*float64(l.total))))
	for us, n := range l.counts {
		if left -= int(n); left <= 0 {
			return time.Duration(us) * time.Microsecond
		}
	}
	longest := slices.Sorted(slices.Values(l.beyond))
	if len(longest) == 0 {
		return 0
	}
	return longest[min(left, len(longest))-1]
}
