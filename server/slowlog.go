package server

import (
	"fmt"
	"math"
	"slices"
	"sync"
	"sync/atomic"
	"time"

	"cartwheel/server/command"
	"cartwheel/server/redisvalue"
)

// slowlog keeps the last commands that took long.
type slowlog struct {
	thresholdNS atomic.Int64 // MaxInt64: nothing is kept
	entriesMax  atomic.Int64

	mu      sync.Mutex
	entries []slowEntry // guarded by mu, like nextID; the newest last
	nextID  int64
}

// A slowEntry is one command that took long.
type slowEntry struct {
	id     int64
	began  int64 // Unix seconds
	tookUS int64
	args   []string
	addr   string
	name   string
}

// What an entry keeps of a command.
const (
	slowlogArgsMax     = 32
	slowlogArgBytesMax = 128
)

const (
	slowerThanUSDefault = 10_000
	slowlogMaxDefault   = 128
)

func (l *slowlog) init() {
	l.setSlowerThanUS(slowerThanUSDefault)
	l.entriesMax.Store(slowlogMaxDefault)
}

func (l *slowlog) setSlowerThanUS(us int64) {
	if us < 0 {
		l.thresholdNS.Store(math.MaxInt64)
		return
	}
	l.thresholdNS.Store(us * int64(time.Microsecond))
}

func (l *slowlog) slowerThanUS() int64 {
	ns := l.thresholdNS.Load()
	if ns == math.MaxInt64 {
		return -1
	}
	return ns / int64(time.Microsecond)
}

// add keeps a call.
func (l *slowlog) add(c *call, took time.Duration) {
	s := c.s
	if c.cmd.Flags.Has(command.SkipSlowlog) {
		return
	}
	s.mu.Lock()
	name := s.name
	s.mu.Unlock()
	entry := slowEntry{
		began: time.Now().Add(-took).Unix(), tookUS: took.Microseconds(),
		args: keptArgs(c.cmd, c.args), addr: s.addr, name: name,
	}
	l.mu.Lock()
	defer l.mu.Unlock()
	entry.id = l.nextID
	l.nextID++
	l.entries = append(l.entries, entry)
	l.trim(int(l.entriesMax.Load()))
}

// trim drops the oldest; mu is held.
func (l *slowlog) trim(most int) {
	if extra := len(l.entries) - most; extra > 0 {
		l.entries = slices.Delete(l.entries, 0, extra)
	}
}

// keptArgs are the arguments within bounds, and without secrets.
func keptArgs(cmd *command.Command, args [][]byte) []string {
	secret := secretArgs(cmd, args)
	kept := make([]string, 0, min(len(args), slowlogArgsMax))
	for i, arg := range args {
		switch {
		case i == slowlogArgsMax-1 && len(args) > slowlogArgsMax:
			return append(kept, fmt.Sprintf("... (%d more arguments)", len(args)-i))
		case secret(i):
			kept = append(kept, "(redacted)")
		case len(arg) > slowlogArgBytesMax:
			kept = append(kept, fmt.Sprintf("%s... (%d more bytes)", arg[:slowlogArgBytesMax], len(arg)-slowlogArgBytesMax))
		default:
			kept = append(kept, string(arg))
		}
	}
	return kept
}

// secretArgs tells which arguments may be passwords: those of AUTH, what follows
// the first AUTH of HELLO, and the values of CONFIG SET.
func secretArgs(cmd *command.Command, args [][]byte) func(i int) bool {
	switch cmd.FullName() {
	case "auth":
		return func(i int) bool { return i > 0 }
	case "hello":
		at := slices.IndexFunc(args, func(arg []byte) bool { return is(arg, "auth") })
		return func(i int) bool { return at >= 0 && i > at }
	case "config|set":
		return func(i int) bool { return i > 2 && i%2 == 1 }
	}
	return func(int) bool { return false }
}

const slowlogHelp = `GET [<count>]
    Return top <count> entries from the slowlog (default: 10, -1 mean all).
    Entries are made of:
    id, timestamp, time in microseconds, arguments array, client IP and port,
    client name
LEN
    Return the length of the slowlog.
RESET
    Reset the slowlog.`

func slowlogGet(c *call) {
	count := int64(10)
	switch len(c.args) {
	case 2:
	case 3:
		var ok bool
		if count, ok = redisvalue.ParseInt(c.args[2]); !ok || count < -1 {
			c.w.Error("ERR count should be greater than or equal to -1")
			return
		}
	default:
		c.w.Error(fmt.Sprintf("ERR unknown subcommand or wrong number of arguments for '%.128s'. Try SLOWLOG HELP.", c.args[1]))
		return
	}
	l := &c.srv.slowlog
	l.mu.Lock()
	defer l.mu.Unlock()
	if count < 0 || count > int64(len(l.entries)) {
		count = int64(len(l.entries))
	}
	c.w.Array(int(count))
	for i := range int(count) {
		c.slowEntry(&l.entries[len(l.entries)-1-i])
	}
}

func (c *call) slowEntry(e *slowEntry) {
	c.w.Array(6)
	c.w.Int(e.id)
	c.w.Int(e.began)
	c.w.Int(e.tookUS)
	c.w.Array(len(e.args))
	for _, arg := range e.args {
		c.w.BulkString(arg)
	}
	c.w.BulkString(e.addr)
	c.w.BulkString(e.name)
}

func slowlogLen(c *call) {
	l := &c.srv.slowlog
	l.mu.Lock()
	defer l.mu.Unlock()
	c.w.Int(int64(len(l.entries)))
}

func slowlogReset(c *call) {
	l := &c.srv.slowlog
	l.mu.Lock()
	defer l.mu.Unlock()
	l.entries = nil
	c.w.OK()
}
