package server_test

import (
	"bytes"
	"errors"
	"fmt"
	"strings"
	"sync/atomic"
	"testing"

	"github.com/cockroachdb/pebble/v2/vfs"
	"github.com/rs/zerolog"

	"cartwheel/cluster/quorum"
	"cartwheel/server"
	"cartwheel/store"
	"cartwheel/store/version"
)

// A faulty key space fails where the test says.
type faulty struct {
	server.Keyspace
	commitFails atomic.Bool
	dotPanics   atomic.Bool
}

var errCommit = errors.New("TIMEOUT The outcome is unknown: the test says so")

func (f *faulty) Commit(seq uint64) error {
	if f.commitFails.Load() && seq > f.Committed() {
		return errCommit
	}
	return f.Keyspace.Commit(seq)
}

func (f *faulty) CommitReplica(seq uint64) error { return f.Commit(seq) }

// poison is a key that panics.
const poison = "poison"

func (f *faulty) Read(db uint8, key []byte, need quorum.Need, o *version.Object, done server.Done) (uint64, bool, error) {
	if string(key) == poison {
		panic("read poison")
	}
	return f.Keyspace.Read(db, key, need, o, done)
}

func (f *faulty) Update(db uint8, key []byte, need quorum.Need, nowMS int64, o *version.Object, change version.Change, done server.Done) (uint64, bool, error) {
	if string(key) == poison {
		panic("update poison")
	}
	return f.Keyspace.Update(db, key, need, nowMS, o, change, done)
}

// Dot is called in the middle of a change, under the key's lock.
func (f *faulty) Dot(key []byte, clock version.Clock, nowMS int64, floor version.HLC) (version.Dot, error) {
	if f.dotPanics.Load() {
		panic("no dot")
	}
	return f.Keyspace.Dot(key, clock, nowMS, floor)
}

// Of each pipeline: the replies that must be the error (E), for they hang on the
// commit that fails, and those that may be (?), for a slow command stands between.
func TestAFailedCommitFailsEveryReplyThatItHeld(t *testing.T) {
	onBothTransports(t, func(t *testing.T, start func(server.Options) *node, dial func(*node) *client) {
		keys := &faulty{Keyspace: open(t, store.Options{})}
		n := start(server.Options{Keys: keys})
		for _, pipeline := range []struct{ commands, replies string }{
			{"SET a 1", "E"},
			{"SET a 1;GET a;PING;INCR n;NOSUCH;MGET a n", "EEEEEE"},
			{"SET a 1;KEYS *;PING", "EE?"},
			{"KEYS nothing*;SET a 1;RENAME a b;SCAN 0;SET a 2", "?EE?E"},
			{"SET a 1;CLIENT REPLY OFF;SET b 2;GET a;KEYS *;CLIENT REPLY ON;PING", "E??"},
			{"SET a 1;CLIENT REPLY SKIP;SET b 2;PING", "EE"},
			{"SET a 1;CLIENT REPLY SKIP;KEYS *;PING", "E?"},
			{"CLIENT REPLY SKIP;SET a 1;GET a", "E"},
		} {
			c := dial(n)
			keys.commitFails.Store(true)
			c.write(strings.ReplaceAll(pipeline.commands+";", ";", "\r\n"))
			for i, must := range pipeline.replies {
				if got := c.reply(); must == 'E' && got != "-"+errCommit.Error()+"\r\n" {
					t.Errorf("%s: reply %d is %q", pipeline.commands, i, got)
				}
			}
			keys.commitFails.Store(false)
			c.talk("> ECHO next\n$4\nnext")
		}
	})
}

func TestReadsGoOnAfterAFailedCommit(t *testing.T) {
	onBothTransports(t, func(t *testing.T, start func(server.Options) *node, dial func(*node) *client) {
		keys := &faulty{Keyspace: open(t, store.Options{})}
		c := dial(start(server.Options{Keys: keys}))
		c.talk("> SET a 1\n+OK")
		keys.commitFails.Store(true)
		for _, pipeline := range []string{"SET b 1", "SET b 1\r\nKEYS none"} {
			c.write(pipeline + "\r\n")
			for range strings.Split(pipeline, "\n") {
				c.reply()
			}
			c.talk("> PING\n+PONG\n> GET a\n$1\n1\n> SCAN 9007199254740992\n*2\n$1\n0\n*0\n> DBSIZE\n:2")
		}
		keys.commitFails.Store(false)
	})
}

func TestWhatIsNotCommittedIsShownToNobody(t *testing.T) {
	keys := &faulty{Keyspace: open(t, store.Options{})}
	n := start(t, server.Options{Keys: keys})
	writer, reader := n.dial(), n.dial()
	writer.talk("> SET k old\n+OK\n> SET other v\n+OK")
	keys.commitFails.Store(true)
	failed := "-" + errCommit.Error()
	writer.talk("> SET k new\n" + failed)
	reader.talk("> GET other\n$1\nv")
	reader.talk("> GET k\n" + failed)
	reader.talk("> EXISTS other k\n" + failed)
	keys.commitFails.Store(false)
	reader.talk("> GET k\n$3\nnew")
}

func TestAPanicEndsItsConnectionOnly(t *testing.T) {
	onBothTransports(t, func(t *testing.T, start func(server.Options) *node, dial func(*node) *client) {
		var log bytes.Buffer
		keys := &faulty{Keyspace: open(t, store.Options{})}
		n := start(server.Options{Keys: keys, Log: zerolog.New(zerolog.SyncWriter(&log))})
		bystander := dial(n)
		commands := []string{"GET poison", "SET poison v", "APPEND poison v", "RENAME poison k", "RENAME k poison", "BITOP NOT k poison"}
		for i, command := range commands {
			c := dial(n)
			bystander.talk("> SET k v\n+OK")
			c.write("SET before " + fmt.Sprint(i) + "\r\n" + command + "\r\nSET behind v\r\n")
			if got := c.reply(); got != "+OK\r\n" {
				t.Errorf("before %s comes %q", command, got)
			}
			c.ends()
			bystander.talk(fmt.Sprintf("> MGET before behind\n*2\n$1\n%d\n$-1", i))
		}
		n.stop()
		if lines := strings.Count(log.String(), `"panic":`); lines != len(commands) {
			t.Errorf("%d panics are logged as %s", len(commands), log.String())
		}
	})
}

func TestAPanicInTheMiddleOfAWriteIsNoAcknowledgement(t *testing.T) {
	onBothTransports(t, func(t *testing.T, start func(server.Options) *node, dial func(*node) *client) {
		keys := &faulty{Keyspace: open(t, store.Options{})}
		n := start(server.Options{Keys: keys})
		bystander := dial(n)
		bystander.talk("> SET k old\n+OK")
		for _, command := range []string{"SET k new", "GETSET k new", "DEL k", "SETEX k 10 new", "APPEND k new", "INCR n", "EXPIRE k 100", "MSETNX k2 v", "RENAME k l"} {
			c := dial(n)
			keys.dotPanics.Store(true)
			c.write(command + "\r\n")
			c.ends()
			keys.dotPanics.Store(false)
			bystander.talk("> GET k\n$3\nold\n> SET k old\n+OK") // no lock is held
		}
		bystander.talk("> KEYS *\n*1\n$1\nk")
	})
}

// A smallDisk says how much of it is free.
type smallDisk struct {
	vfs.FS
	free atomic.Uint64
}

func (d *smallDisk) GetDiskUsage(string) (vfs.DiskUsage, error) {
	return vfs.DiskUsage{AvailBytes: d.free.Load()}, nil
}

func TestAFullDiskRefusesWritesAndGoesOnReading(t *testing.T) {
	const reserve = 1 << 20
	disk := &smallDisk{FS: vfs.NewMem()}
	disk.free.Store(reserve)
	c := start(t, server.Options{Keys: open(t, store.Options{FS: disk, DiskReserveBytes: reserve})}).dial()
	c.talk("> MSET a 1 b 2\n+OK")
	disk.free.Store(reserve - 1)
	full := func(reply string) bool { return strings.HasPrefix(reply, "-MISCONF The disk is full: ") }
	until(t, "writes are refused", func() bool { return full(c.do("SET", "a", "2")) })
	was := c.do("GET", "a")
	c.write("INCR a\r\nGET b\r\nMSET a 7 b 7\r\nMSETNX {x}c 1 {x}d 2\r\nRENAME b c\r\nEXPIRE b 100\r\nVSET b \"\" v\r\nPING\r\n")
	for i, refused := range []bool{true, false, true, true, true, true, true, false} {
		if got := c.reply(); full(got) != refused {
			t.Errorf("reply %d on a full disk is %q", i, got)
		}
	}
	c.expect(was, "GET", "a")
	c.talk("> GET b\n$1\n2\n> EXISTS {x}c {x}d c\n:0\n> DEL b\n:1\n> GET b\n$-1") // what frees space may go on
	disk.free.Store(reserve)
	until(t, "writes are taken again", func() bool { return c.do("SET", "a", "3") == "+OK\r\n" })
	c.talk("> GET a\n$1\n3")
}

// counting counts what is written.
type counting struct {
	server.Keyspace
	updates atomic.Int64
}

func (c *counting) Update(db uint8, key []byte, need quorum.Need, nowMS int64, o *version.Object, change version.Change, done server.Done) (uint64, bool, error) {
	c.updates.Add(1)
	return c.Keyspace.Update(db, key, need, nowMS, o, change, done)
}

// TestAKeyIsWrittenOnceByOneMSET: where two writes of one command went their own ways, one that was forwarded and run again
// elsewhere, since a node did not answer, once won against the one behind it.
func TestAKeyIsWrittenOnceByOneMSET(t *testing.T) {
	keys := &counting{Keyspace: open(t, store.Options{})}
	c := start(t, server.Options{Keys: keys}).dial()
	c.expect("+OK\r\n", "MSET", "a", "1", "b", "2", "a", "3", "a", "4")
	c.expect("*2\r\n$1\r\n4\r\n$1\r\n2\r\n", "MGET", "a", "b")
	if n := keys.updates.Load(); n != 2 {
		t.Errorf("%d writes of two keys", n)
	}
}
